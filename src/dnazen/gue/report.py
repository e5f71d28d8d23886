"""The report of a run: scores, intervals and comparisons as HTML, Markdown, pictures and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import ConfigError, InputError
from ..outputs import new_directory, refuse_existing
from ..records import hash_file, read_json, run_record, write_json
from ..report.document import Document, Section, save_pictures, to_html, to_markdown
from ..settings import settings_or_default
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
from .settings import ReportConfig
from .simple_tools import beside_simple_tools
from .tables import write_tables

RECORD_FILE = "report.json"


def write_report(
    run: Path,
    output: Path,
    config: ReportConfig | None = None,
    *,
    title: str = "GUE: scores and comparisons",
    first: Sequence[Section] = (),
) -> None:
    """Write the report of a run; an earlier report stands until the new one is whole.

    Parameters
    ----------
    config
        What is compared; by default as ``dnazen gue report`` compares.
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
    config = settings_or_default(config, ReportConfig)
    if not _is_report(output):
        refuse_existing(output)
    results = Run(run)
    if not results.tasks:
        problem = "; ".join(["no finished cell yet", *results.damaged[:1]])
        raise InputError(problem, path=run, fix="run it on, and report then")
    _ = results.leakage  # read now: if it is damaged, the summary says so
    reference, model = _pair(results, config.reference, config.model)
    analysis = analyse(results, reference, draws=config.draws)
    sections = [*first, *_sections(results, analysis, model, config)]
    document = Document(title, sections, headline(analysis, model))
    with new_directory(output, replaceable=_is_report) as directory:
        html, markdown = to_html(document), to_markdown(document, "figures")
        (directory / "report.html").write_text(html, encoding="utf-8")
        (directory / "report.md").write_text(markdown, encoding="utf-8")
        save_pictures(directory / "figures", document)
        write_tables(directory / "tables", results, analysis)
        record = run_record(
            "gue report",
            {"run": run, "reference": reference, "model": model, "draws": config.draws},
            [hash_file(run / RUN_FILE)],
        )
        write_json(directory / RECORD_FILE, record)


def _sections(
    run: Run, analysis: Analysis, model: str | None, config: ReportConfig
) -> list[Section]:
    """All sections that have something to tell, in the order in which they are read."""
    pair = [] if model is None else [comparisons(run, analysis), head_to_head(run, analysis, model)]
    sections = [
        beside_simple_tools(run, analysis),
        summary(run, analysis, model),
        means(run, analysis),
        scores(run, analysis),
        *pair,
        density(run, analysis, model),
        collapsed(analysis),
        beside_published(run, analysis, config.published),
        leakage(run),
        cost(run),
        learning_rates(run),
        every_score(analysis),
        how_made(run, config.draws),
    ]
    return [section for section in sections if section.blocks]


def _is_report(output: Path) -> bool:
    """Whether a directory is an earlier report, which alone may be replaced."""
    try:
        record = read_json(output / RECORD_FILE, "a report's record")
    except (InputError, OSError):
        return False
    return record.get("command") == "gue report"


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
