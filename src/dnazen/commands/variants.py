"""``dnazen variants``."""

from __future__ import annotations

from ..variation.variants import VariantsConfig, variants


def run(settings: VariantsConfig) -> None:
    """Run the command."""
    variants(settings)
