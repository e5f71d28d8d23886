"""``dnazen gue report``: what a run has found, as HTML, Markdown, pictures and CSV."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import ConfigError, InputError
from ..outputs import new_directory, refuse_existing
from ..records import hash_file, read_json, run_record, write_json
from ..report.document import Document, Section, save_pictures, to_html, to_markdown
from .comparison import Analysis, analyse
from .findings import (
    collapsed,
    comparisons,
    density,
    every_score,
    head_to_head,
    headline,
    means,
    scores,
    summary,
)
from .grid import RUN_FILE
from .provenance import beside_published, cost, how_made, leakage, learning_rates
from .results import Run
from .statistics import DRAWS
from .tables import write_tables
from .tasks import published

RECORD_FILE = "report.json"

PUBLISHED_MODELS = (
    "dnabert-2",
    "dnabert-2-further-pretrained",
    "nt-2.5b-multispecies",
    "nt-v2-500m",
    "caduceus",
    "hyenadna",
    "cnn",
)


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Report what a benchmark run has found: scores, intervals, paired comparisons, costs.

    Writes OUTPUT/: report.html (one file with all of it), report.md with figures/, and tables/ with
    the numbers as CSV. A run that is still going can be reported; an earlier report is replaced.
    """

    run: tyro.conf.Positional[Path]
    """Directory that 'dnazen gue run' wrote."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write."""
    reference: str | None = None
    """The model that all others are compared with; by default the first e4bu, else the first."""
    model: str | None = None
    """The model that is compared with the reference task by task; by default the first other."""
    draws: int = DRAWS
    """Resamples of the test rows."""
    published: tuple[str, ...] = PUBLISHED_MODELS
    """Published models to show beside; published.csv has all."""

    def __post_init__(self) -> None:
        if self.draws < 100:
            raise ConfigError(f"draws must be at least 100, got {self.draws}")
        known = list(dict.fromkeys(row.model for row in published()))
        unknown = [name for name in self.published if name not in known]
        if unknown:
            raise ConfigError(
                f"published: no scores of {unknown[0]!r}; expected some of {', '.join(known)}"
            )


def report_command(config: ReportConfig) -> None:
    """Run ``dnazen gue report``: write the report and print where it is.

    Raises
    ------
    ConfigError
        If a model named is not of the run.
    InputError
        If the run cannot be read, or has no finished cell.
    OutputError
        If the output holds something that is no report.
    """
    write_report(
        config.run,
        config.output,
        reference=config.reference,
        model=config.model,
        draws=config.draws,
        models=config.published,
    )
    print(f"report\t{config.output / 'report.html'}")


def write_report(
    run: Path,
    output: Path,
    *,
    reference: str | None = None,
    model: str | None = None,
    draws: int = DRAWS,
    models: Sequence[str] = PUBLISHED_MODELS,
    title: str = "GUE: scores and comparisons",
    first: Sequence[Section] = (),
) -> None:
    """Write the report of a run; an earlier report is replaced.

    Parameters
    ----------
    reference, model, draws, models
        As in ``ReportConfig``; ``models`` are the published ones.
    first
        Sections to stand before the others, such as what came before fine-tuning.

    Raises
    ------
    ConfigError
        If a model named is not of the run.
    InputError
        If the run cannot be read, or has no finished cell.
    OutputError
        If the output holds something that is no report.
    """
    is_report = _is_report(output)
    if not is_report:
        refuse_existing(output)
    found = Run(run)
    if not found.tasks:
        raise InputError("no finished cell yet", path=run, fix="run it on, and report then")
    against, compared = _pair(found, reference, model)
    analysis = analyse(found, against, draws=draws)
    sections = [*first, *_sections(found, analysis, compared, models, draws)]
    document = Document(title, sections, headline(analysis, compared))
    if is_report:
        shutil.rmtree(output)
    with new_directory(output) as directory:
        html, markdown = to_html(document), to_markdown(document, "figures")
        (directory / "report.html").write_text(html, encoding="utf-8")
        (directory / "report.md").write_text(markdown, encoding="utf-8")
        save_pictures(directory / "figures", document)
        write_tables(directory / "tables", found, analysis)
        record = run_record(
            "gue report",
            {"run": run, "reference": against, "model": compared, "draws": draws},
            [hash_file(run / RUN_FILE)],
        )
        write_json(directory / RECORD_FILE, record)


def _sections(
    run: Run, analysis: Analysis, model: str | None, models: Sequence[str], draws: int
) -> list[Section]:
    """All sections that have something to tell, in the order in which they are read."""
    pair = [] if model is None else [comparisons(run, analysis), head_to_head(run, analysis, model)]
    found = [
        summary(run, analysis, model),
        means(run, analysis),
        scores(run, analysis),
        *pair,
        density(run, analysis, model),
        collapsed(analysis),
        beside_published(run, analysis, models),
        leakage(run),
        cost(run),
        learning_rates(run),
        every_score(analysis),
        how_made(run, draws),
    ]
    return [section for section in found if section.blocks]


def _is_report(output: Path) -> bool:
    """Whether a directory is an earlier report, which alone may be replaced."""
    path = output / RECORD_FILE
    return path.is_file() and read_json(path, "a report's record").get("command") == "gue report"


def _pair(run: Run, reference: str | None, model: str | None) -> tuple[str, str | None]:
    """The reference, and the model compared with it, if there is another."""
    present = [
        model for model in run.models if any(model in task.models for task in run.tasks.values())
    ]
    for flag, name in (("reference", reference), ("model", model)):
        if name is not None and name not in present:
            raise ConfigError(
                f"{flag}: {name!r} has no finished cell in {run.path}; expected one of "
                f"{', '.join(present)}"
            )
    if reference is None:
        kinds = {model["name"]: model["kind"] for model in run.record["arms"]}
        others = [name for name in present if name != model]
        twins = [name for name in others if kinds.get(name) == "e4bu"]
        reference = next(iter([*twins, *others, *present]))
    if model == reference and model is not None:
        raise ConfigError(f"model: {model!r} is the reference; name another")
    rest = [name for name in present if name != reference and _common(run, name, reference)]
    if model is not None and model not in rest:
        raise ConfigError(f"model: {model!r} has no task and seed in common with {reference!r}")
    return reference, model or next(iter(rest), None)


def _common(run: Run, one: str, other: str) -> bool:
    """Whether two models have finished the same seed of a task."""
    both = (task.models for task in run.tasks.values() if {one, other} <= task.models.keys())
    return any(set(models[one].seeds) & set(models[other].seeds) for models in both)
