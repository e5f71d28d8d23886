"""The sections of a benchmark's report that tell how its numbers came about."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from ..report.document import Code, Section, Table, Text
from ..settings import recipe_of
from .comparison import Analysis
from .formats import UNDEFINED, listed, points
from .leakage import OVERLAP_BP
from .results import Run, cells_of
from .tasks import Published, published


def beside_published(run: Run, analysis: Analysis, published_models: Sequence[str]) -> Section:
    """Published scores in columns of their own."""
    rows_shown = [
        row for row in published() if row.task in run.tasks and row.model in published_models
    ]
    columns = dict.fromkeys((row.model, row.source) for row in rows_shown)
    columns = dict.fromkeys(sorted(columns, key=lambda column: published_models.index(column[0])))
    sources = list(dict.fromkeys(row.source for row in published()))
    by_place = {(row.task, row.model, row.source): row for row in rows_shown}
    rows = [
        [task, run.tasks[task].data_state]
        + [points(by_model[a].estimate.value) if a in by_model else "-" for a in analysis.models]
        + [_published_cell(by_place.get((task, *column))) for column in columns]
        for task, by_model in analysis.scores.items()
    ]
    header = ["task", "data of this run", *(f"{model} (this run)" for model in analysis.models)]
    header += [f"{model} [{sources.index(source) + 1}]" for model, source in columns]
    cited = dict.fromkeys(source for _, source in columns)
    sources_cited = "; ".join(f"[{sources.index(source) + 1}] {source}" for source in cited)
    return Section(
        "Beside published scores",
        [
            Text(
                "Published scores stand in columns of their own and enter no computation: they are "
                "of other models, other settings, mostly one seed, and the whole train splits; "
                "where the data of this run are partial they cannot be compared. published.csv has "
                f"the other published models too. Sources: {sources_cited}."
            ),
            Table(header, rows, names=2),
        ]
        if columns
        else [],
    )


def _published_cell(row: Published | None) -> str:
    if row is None:
        return "-"
    return f"{row.score:.2f}" + (f" ± {row.sd:.2f}" if row.sd is not None else "")


def leakage(run: Run) -> Section:
    """What training has read of the test splits."""
    title = "Leakage of test sequences"
    if not run.leakage:
        words = "Nothing is known of what the models were pre-trained on or mined from."
        return Section(title, [Text(words)])
    inputs = [(f"{entry['what']} [{i + 1}]", entry) for i, entry in enumerate(run.leakage)]
    with_tasks = [(name, entry) for name, entry in inputs if entry["tasks"]]
    rows = [
        [task, f"{len(results.labels):,}"]
        + [_shared_cell(e["tasks"].get(task)) for _, e in with_tasks]
        for task, results in run.tasks.items()
    ]
    legend = [
        [name, listed(entry["arms"]), entry["source"], entry["problem"]] for name, entry in inputs
    ]
    models_named = {model for _, entry in inputs for model in entry["arms"]}
    unknown = [model for model in run.models if model not in models_named]
    note = f" Of {listed(unknown)} nothing is known." if unknown else ""
    return Section(
        title,
        [
            Text(
                "What the inputs of pre-training and of G-gram mining share with the test split, "
                "on either strand: the fraction of its bases that stand in a shared stretch of "
                f"{OVERLAP_BP} bases or more, and how many sequences partly / wholly. "
                "Pre-training reads no labels, but has seen such sequences." + note
            ),
            Table(["task", "test rows", *(name for name, _ in with_tasks)], rows),
            Table(["input", "models", "source", "not known, because"], legend, names=4),
        ],
    )


def _shared_cell(shared: dict[str, Any] | None) -> str:
    if shared is None:
        return UNDEFINED
    return f"{shared['fraction']:.4f} ({shared['partly']:,} / {shared['wholly']:,})"


def cost(run: Run) -> Section:
    """Time, memory, parameters and FLOPs of every model."""
    by_model: dict[str, list[dict[str, Any]]] = {model: [] for model in run.models}
    for _, model, record, _ in cells_of(run):
        by_model[model].append(record["cost"])
    rows = [[model, *_costs(costs)] for model, costs in by_model.items() if costs]
    header = ["model", "cells", "parameters (M)", "forward GFLOP a sequence", "training PFLOP"]
    header += ["seconds a cell", "hours in all", "peak memory (GiB)", "peak GPU memory (GiB)"]
    return Section(
        "Cost",
        [
            Text(
                "Of the finished cells at the chosen learning rates, fine-tuning and scoring; "
                "pre-training and the trials of other learning rates come on top. FLOPs count "
                "matrix products, convolutions and attention; training is taken as three times the "
                "forward pass. Times depend on what else the machine did."
            ),
            Table(header, rows),
        ],
    )


def _costs(costs: Sequence[dict[str, Any]]) -> list[str]:
    def total(key: str) -> float:
        return float(sum(cost[key] for cost in costs))

    gpu = [cost["peak_gpu_memory_bytes"] for cost in costs]
    return [
        f"{len(costs):,}",
        f"{max(cost['parameters'] for cost in costs) / 1e6:.2f}",
        f"{total('flops_per_sequence') / len(costs) / 1e9:.4g}",
        f"{total('training_flops') / 1e15:.4g}",
        f"{total('seconds') / len(costs):,.1f}",
        f"{total('seconds') / 3600:.2f}",
        f"{max(cost['peak_memory_bytes'] for cost in costs) / 2**30:.2f}",
        "-" if None in gpu else f"{max(gpu) / 2**30:.2f}",
    ]


def learning_rates(run: Run) -> Section:
    """The learning rates that dev chose, with the dev scores."""
    rows = [
        [task, *(_choice_cell(run.choices.get(model, {}).get(task)) for model in run.models)]
        for task in run.tasks
    ]
    return Section(
        "Learning rates",
        [
            Text(
                "The chosen one first, then the others; in brackets the dev score × 100 of the "
                "first seed, by which it was chosen. Baselines that have a learning rate of their "
                "own, or none, show the task's."
            ),
            Table(["task", *run.models], rows),
        ],
        folded=True,
    )


def _choice_cell(choice: dict[str, Any] | None) -> str:
    if choice is None:
        return "-"
    scores: dict[str, float | None] = next(v for k, v in choice.items() if k.startswith("dev_"))
    first = choice["learning_rate"]
    order = [first, *(rate for rate in scores if rate != first)]
    return ", ".join(f"{rate} ({points(scores.get(rate))})" for rate in order)


def how_made(run: Run, draws: int) -> Section:
    """Methods, models, versions, hardware, command and recipe."""
    costs = [record["cost"] for _, _, record, _ in cells_of(run)]
    records = [record for _, _, record, _ in cells_of(run)]
    versions = [
        ["dnazen", listed({record["dnazen"] for record in records})],
        ["Python", listed({record["python"] for record in records})],
        ["PyTorch", str(run.record.get("torch", UNDEFINED))],
        ["platform", listed({record["platform"] for record in records})],
        ["device", listed({cost["device"] for cost in costs})],
        ["CPU threads a cell", listed({str(cost["threads"]) for cost in costs})],
        ["arithmetic", listed({"bf16" if cost["bf16"] else "float32" for cost in costs})],
    ]
    models = [[model["name"], model["kind"], model["source"]] for model in run.record["arms"]]
    return Section(
        "How this was made",
        [
            Text(
                f"Intervals and p-values: test rows are resampled {draws:,} times, the same rows "
                "for all models and seeds of a task; with s² the variance of the n seeds' scores "
                "(or paired differences) and C the mean covariance of two seeds' resampled scores, "
                "the variance of their mean is s²/n + C, with the degrees of freedom of Hillis "
                "(2007), as in studies of several readers of the same cases (Obuchowski and "
                "Rockette 1995). To resample five seeds themselves would give intervals that are "
                "too narrow. A model was pre-trained once: how another pre-training would have "
                "come out is in no interval."
            ),
            Table(["model", "kind", "source"], models, names=3),
            Table(["what", "of these cells"], versions, names=2),
            Text("The command, and its settings as a recipe:"),
            Code(f"dnazen {shlex.join(run.record['argv'])}"),
            Code(_recipe(run)),
        ],
    )


def _recipe(run: Run) -> str:
    """The settings and the models of a run as a recipe; what is not set is left out."""
    models = {model["name"]: {**model, "name": None} for model in run.record["arms"]}
    settings = {key: value for key, value in run.settings.items() if key != "models"}
    return recipe_of({**settings, "models": models})
