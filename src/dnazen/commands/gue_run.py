"""``dnazen gue run``."""

from __future__ import annotations

from ..gue.grid import GueRunConfig, gue_run


def run(settings: GueRunConfig) -> None:
    """Run the command."""
    gue_run(settings)
