"""``dnazen gue check``."""

from __future__ import annotations

from ..gue.tasks import GueCheckConfig, check_command


def run(settings: GueCheckConfig) -> None:
    """Run the command."""
    check_command(settings)
