"""The pictures of a benchmark's report. Scores and differences are told times 100."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..report.charts import BAND, GRID, MUTED, label, styles
from .comparison import Analysis, OverallDifference, overall_difference, pooled
from .density import STRATA
from .results import Run
from .statistics import LEVEL, Estimate
from .tasks import TASKS

_TASKS_A_COLUMN = 12


def dot_plot(run: Run, analysis: Analysis) -> Figure:
    """The mean of every model on every task with its interval, tasks by group."""
    names = list(analysis.scores)
    columns = _parted(names)
    style = _styles(run, analysis)
    step = 0.13 * len(analysis.models) + 0.16
    height = max(1.2, max(len(column) for column in columns) * step + 1.1)
    figure = Figure(figsize=(5.4 * len(columns) if len(columns) > 1 else 7.5, height))
    figure.set_layout_engine("constrained")
    for axis, column in zip(
        figure.subplots(1, len(columns), squeeze=False)[0], columns, strict=True
    ):
        for row, task in enumerate(column):
            for number, model in enumerate(analysis.models):
                if model in analysis.scores[task]:
                    place = row + 0.8 * (number + 0.5) / len(analysis.models) - 0.4
                    estimate = analysis.scores[task][model].estimate
                    _whisker(axis, estimate, place, **style[model])
        _name_rows(axis, column)
        axis.set_xlabel("MCC × 100 (covid: macro F1 × 100)" if _has_f1(column) else "MCC × 100")
    _legend(figure, style)
    return figure


def forest_plot(analysis: Analysis, model: str) -> Figure:
    """A model minus the reference on every task, with the means of groups and of all tasks."""
    differences = analysis.differences[model]
    rows: list[tuple[str, Estimate, bool, bool]] = []
    for group, members in groupby(differences, lambda task: TASKS[task].group):
        tasks = list(members)
        rows += [
            (task, differences[task].estimate, differences[task].holm < LEVEL, False)
            for task in tasks
        ]
        if len(tasks) > 1:
            mean = overall_difference(differences[task] for task in tasks)
            rows.append((f"{group}: mean of {mean.tasks}", mean.mean, False, True))
    if len(differences) > 1:
        whole: OverallDifference = overall_difference(differences.values())
        rows.append((f"mean of all {whole.tasks}", whole.mean, False, True))
    figure = Figure(figsize=(8.2, 0.25 * len(rows) + 1.1), layout="constrained")
    axis = figure.subplots()
    for place, (_, estimate, sure, is_mean) in enumerate(rows):
        colour = "#000000" if is_mean else "#0072b2"
        style = {"marker": "D" if is_mean else "o", "color": colour, "markersize": 6}
        _whisker(
            axis, estimate, place, **style, markerfacecolor=colour if sure or is_mean else "none"
        )
        if is_mean:
            axis.axhspan(place - 0.5, place + 0.5, color=BAND, zorder=0)
    axis.axvline(0, color=MUTED, linewidth=1, zorder=1)
    axis.set_yticks(range(len(rows)), [name for name, *_ in rows])
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlabel(f"{label(model)} minus {label(analysis.reference)}, points (score × 100)")
    _bare(axis)
    return figure


def strata_plot(run: Run, analysis: Analysis, model: str) -> Figure:
    """Scores by G-gram density of the test sequence, and the difference of the two models."""
    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    style = _styles(run, analysis)
    scores, differences = figure.subplots(1, 2, width_ratios=[3, 2])
    shared = {task: analysis.strata[task] for task in analysis.shared_tasks}
    for number, name in enumerate(analysis.models):
        estimates = [pooled(shared, stratum, name, difference=False) for stratum in STRATA]
        shift = 0.5 * (number + 0.5) / len(analysis.models) - 0.25
        _upright(scores, estimates, shift, **style[name])
    estimates = [pooled(analysis.strata, stratum, model, difference=True) for stratum in STRATA]
    _upright(differences, estimates, 0.0, marker="o", color="#000000", markersize=6)
    differences.axhline(0, color=MUTED, linewidth=1)
    scores.set_ylabel("score × 100")
    differences.set_ylabel(f"{label(model)} minus\n{label(analysis.reference)}, points")
    for axis in (scores, differences):
        axis.set_xticks(range(len(STRATA)), STRATA)
        axis.set_xlim(-0.5, len(STRATA) - 0.5)
        axis.set_xlabel("G-gram density of the test sequence")
        _bare(axis, grid="y")
    _legend(figure, style)
    return figure


def _parted(names: Sequence[str]) -> list[list[str]]:
    """Tasks in one column, or in two that part between groups where they are many."""
    if len(names) <= _TASKS_A_COLUMN:
        return [list(names)]
    cuts = [i for i in range(1, len(names)) if TASKS[names[i]].group != TASKS[names[i - 1]].group]
    cut = min(cuts or [len(names) // 2], key=lambda i: abs(2 * i - len(names)))
    return [list(names[:cut]), list(names[cut:])]


def _name_rows(axis: Axes, tasks: Sequence[str]) -> None:
    """Task names at the left, a band behind every other task, a line between groups."""
    axis.set_yticks(range(len(tasks)), tasks)
    axis.set_ylim(len(tasks) - 0.5, -0.5)
    for row in range(0, len(tasks), 2):
        axis.axhspan(row - 0.5, row + 0.5, color=BAND, zorder=0)
    for row in range(1, len(tasks)):
        if TASKS[tasks[row]].group != TASKS[tasks[row - 1]].group:
            axis.axhline(row - 0.5, color=MUTED, linewidth=0.8, zorder=1)
    _bare(axis)


def _bare(axis: Axes, grid: Literal["x", "y"] = "x") -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis=grid, color=GRID, linewidth=0.7, zorder=0)
    axis.set_axisbelow(True)
    axis.tick_params(length=0)
    (axis.xaxis if grid == "x" else axis.yaxis).set_major_locator(
        MaxNLocator(7, steps=[1, 2, 5, 10])
    )


def _whisker(axis: Axes, estimate: Estimate, place: float, **style: Any) -> None:
    """A point with its interval, lying."""
    low, high = (100 * end for end in estimate.interval)
    axis.plot([low, high], [place, place], color=style["color"], linewidth=1.3, zorder=2)
    axis.plot([100 * estimate.value], [place], linestyle="none", zorder=3, **style)


def _upright(
    axis: Axes, estimates: Sequence[tuple[Estimate, int, int] | None], shift: float, **style: Any
) -> None:
    """Points with intervals, one a stratum."""
    for place, stratum in enumerate(estimates):
        if stratum is not None:
            low, high = (100 * end for end in stratum[0].interval)
            x = place + shift
            axis.plot([x, x], [low, high], color=style["color"], linewidth=1.3, zorder=2)
            axis.plot([x], [100 * stratum[0].value], linestyle="none", zorder=3, **style)


def _styles(run: Run, analysis: Analysis) -> dict[str, dict[str, Any]]:
    """Colour and shape of each model; both, so that it can be told without colours."""
    looks = styles({model["name"]: model["kind"] for model in run.record["arms"]})
    return {model: looks[model] for model in analysis.models}


def _legend(figure: Figure, style: dict[str, dict[str, Any]]) -> None:
    handles = [
        figure.axes[0].plot([], [], linewidth=1.3, label=label(model), **look)[0]
        for model, look in style.items()
    ]
    columns = max(
        1, min(5, len(style), int(8 * figure.get_figwidth() / max(map(len, style), default=1)))
    )
    figure.legend(handles=handles, loc="outside upper center", ncols=columns, frameon=False)


def _has_f1(tasks: Sequence[str]) -> bool:
    return any(TASKS[task].metric == "f1" for task in tasks)
