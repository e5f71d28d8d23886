"""The charts of a search's page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..report.charts import GRID, MUTED, label
from .space import Domain, Range, Space, short
from .trials import End, Trial, best_trial, spelt

_COLOUR = "#0072b2"
_COLUMNS = 3
_LOOKS: dict[End, tuple[str, str, str]] = {
    "complete": ("o", _COLOUR, _COLOUR),
    "pruned": ("o", "none", _COLOUR),
    "collapsed": ("X", "#d55e00", "none"),
}
"""Marker, fill and edge of the trials that have a score."""


def trials_chart(
    trials: Sequence[Trial], metric: str, *, higher_is_better: bool, kmers: float
) -> Figure:
    """The score of each trial, the best so far, and the score of k-mers alone."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.subplots()
    _scatter(axes, trials, [trial.number for trial in trials], labelled=True)
    so_far = [
        best_trial(trials[: n + 1], higher_is_better=higher_is_better) for n in range(len(trials))
    ]
    best = [math.nan if trial is None or trial.score is None else trial.score for trial in so_far]
    axes.step([trial.number for trial in trials], best, where="post", color=MUTED, label="best")
    axes.axhline(kmers, color=MUTED, linestyle="--", linewidth=1, label="k-mers alone")
    axes.set(xlabel="trial", ylabel=f"{metric} on dev")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, _ = axes.get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside upper left", ncols=5, frameon=False)
    return figure


def importance_chart(shares: Mapping[str, float]) -> Figure:
    """A bar for each setting, the largest on top."""
    figure = Figure(figsize=(8, 0.8 + 0.35 * len(shares)), layout="constrained")
    axes = figure.subplots()
    names = [short(name) for name in shares]
    axes.barh(names, list(shares.values()), color=_COLOUR, height=0.6)
    axes.invert_yaxis()
    axes.set(xlabel="share of the differences between scores", xlim=(0, 1))
    return figure


def settings_chart(trials: Sequence[Trial], space: Space, metric: str) -> Figure:
    """The score of each trial against its value of each setting, a panel a setting."""
    lines = math.ceil(len(space) / _COLUMNS)
    figure = Figure(figsize=(8, 2.5 * lines), layout="constrained")
    panels = figure.subplots(lines, _COLUMNS, squeeze=False, sharey=True).ravel()
    for axes, (name, domain) in zip(panels, space.items(), strict=False):
        _scatter(axes, trials, [_place(trial.values[name], domain) for trial in trials])
        if not isinstance(domain, Range):
            axes.set_xticks(range(len(domain)), [label(spelt(value), 12) for value in domain])
            axes.set_xlim(-0.5, len(domain) - 0.5)
        elif domain.log:
            axes.set_xscale("log")
            ticks = [domain.low, math.sqrt(domain.low * domain.high), domain.high]
            axes.set_xticks(ticks, [f"{tick:.2g}" for tick in ticks])
            axes.minorticks_off()
        else:
            whole = isinstance(domain.low, int)
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=whole))
        axes.set_xlabel(short(name))
        axes.grid(color=GRID, linewidth=0.5)
    for axes in panels[::_COLUMNS]:
        axes.set_ylabel(f"{metric} on dev")
    for axes in panels[len(space) :]:
        axes.set_visible(False)
    return figure


def _place(value: object, domain: Domain) -> float:
    """Where a value stands: a number of a range at itself, others in their order."""
    if isinstance(domain, Range):
        assert isinstance(value, (int, float))
        return value
    return list(domain).index(value)  # type: ignore[arg-type]


def _scatter(
    axes: Axes, trials: Sequence[Trial], places: Sequence[float], *, labelled: bool = False
) -> None:
    for end, (marker, fill, edge) in _LOOKS.items():
        points = [
            (place, trial.outcome.score)
            for trial, place in zip(trials, places, strict=True)
            if trial.outcome.end == end and trial.outcome.score is not None
        ]
        if points:
            x, y = zip(*points, strict=True)
            axes.scatter(
                x,
                y,
                marker=marker,
                s=28,
                facecolors=fill,
                edgecolors=edge,
                label=end if labelled else None,
                zorder=3,
            )
