"""``dnazen gue report``: scores and comparisons of a run as HTML, Markdown, pictures and CSV."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ..gue.settings import ReportConfig
from ..settings import FLAT


@dataclass(frozen=True, kw_only=True)
class GueReportCommand:
    """Report the results of a benchmark: scores, intervals, paired comparisons, costs.

    Writes OUTPUT/: report.html (one file with all of it), report.md with figures/, and tables/ with
    the numbers as CSV. A run that is still going can be reported; an earlier report is replaced.
    """

    run: tyro.conf.Positional[Path]
    """Directory that 'dnazen gue run' wrote."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write."""
    report: Annotated[ReportConfig, FLAT] = field(default_factory=ReportConfig)
    """What is compared."""


def run(settings: GueReportCommand) -> None:
    """Write the report and print where it is.

    Raises
    ------
    ConfigError
        If a model named is not of the run.
    InputError
        If the run cannot be read, or has no finished cell.
    OutputError
        If the output holds something that is no report.
    """
    from ..gue.report import write_report

    write_report(settings.run, settings.output, settings.report)
    print(f"report\t{settings.output / 'report.html'}")
