"""``dnazen gue report``."""

from __future__ import annotations

from ..gue.report import ReportConfig, report_command


def run(settings: ReportConfig) -> None:
    """Run the command."""
    report_command(settings)
