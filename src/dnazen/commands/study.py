"""``dnazen study``."""

from __future__ import annotations

from ..study.study import StudyConfig, study


def run(settings: StudyConfig) -> None:
    """Run the command."""
    study(settings)
