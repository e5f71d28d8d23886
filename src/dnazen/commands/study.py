"""``dnazen study``: pre-train arms alike, compare them on GUE, and report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import DnazenError
from ..settings import FLAT
from ..study.settings import StudyConfig


@dataclass(frozen=True, kw_only=True)
class StudyCommand:
    """Pre-train arms on the same tokens, steps and seed, run GUE on them, and report.

    Writes OUTPUT/: ggrams/, models/, gue/ (as 'dnazen gue run' does) and report/. Started again it
    goes on with what is missing; arms, seeds and models may be added. (Another task too, if its dev
    and test were left out of the mining.)
    """

    study: Annotated[StudyConfig, FLAT]
    """Arms, and what they share."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write, or to go on with."""
    report_only: bool = False
    """Run nothing, and report what is finished; a study may be at work there."""


def run(settings: StudyCommand) -> None:
    """Run the study, and print where its report is.

    Raises
    ------
    DnazenError
        If something cannot be read, was made with other settings, or, when all is done, if parts
        failed.
    """
    from ..study.study import REPORT, report_study, run_study

    failed: list[Path] = []
    if settings.report_only:
        report_study(settings.study, settings.output)
    else:
        failed = run_study(settings.study, settings.output)
    print(f"report\t{settings.output / REPORT / 'report.html'}")
    if failed:
        raise DnazenError(
            f"{len(failed)} cells of GUE failed, the first as {failed[0]} tells; run the same "
            "command again to try them again"
        )
