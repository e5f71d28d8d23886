"""``dnazen convert``."""

from __future__ import annotations

from ..model.convert import ConvertConfig, convert


def run(settings: ConvertConfig) -> None:
    """Run the command."""
    convert(settings)
