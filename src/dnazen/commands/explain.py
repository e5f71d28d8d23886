"""``dnazen explain``."""

from __future__ import annotations

from ..explanation.command import ExplainConfig, explain_command


def run(settings: ExplainConfig) -> None:
    """Run the command."""
    explain_command(settings)
