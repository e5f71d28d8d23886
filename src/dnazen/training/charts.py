"""The charts of a fine-tuned model's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.calibration import calibration_curve
from sklearn.metrics import precision_recall_curve, roc_curve

from ..report.charts import GRID, MUTED, label

MODEL_COLOUR = "#0072b2"
BASELINE_COLOURS = {"k-mers": "#7f7f7f", "neighbouring bases": "#7f7f7f", "CNN": "#b8a800"}
_BINS = 10
_MOST_POINTS = 3000

Chances = Mapping[str, Float[np.ndarray, "rows"]]
"""By the name of the model, how likely each row is positive."""


def curves_chart(history: Sequence[Mapping[str, Any]], metric: str) -> Figure:
    """Loss of train and dev, and the score on dev, by epoch."""
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    train = [(entry["epoch"], entry["loss"]) for entry in history if "loss" in entry]
    dev = [entry for entry in history if "eval_loss" in entry]
    epochs = [entry["epoch"] for entry in dev]
    if train:
        left.plot(*zip(*train, strict=True), color=MUTED, linewidth=1, label="train, deep head")
    left.plot(epochs, [e["eval_loss"] for e in dev], "o-", color=MODEL_COLOUR, label="dev")
    left.set(xlabel="epoch", ylabel="loss")
    left.legend(frameon=False, fontsize="small")
    scores = [e.get(f"eval_{metric}") for e in dev]
    right.plot(epochs, [np.nan if s is None else s for s in scores], "o-", color=MODEL_COLOUR)
    right.set(xlabel="epoch", ylabel=f"{metric} on dev")
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def ranking_chart(positive: Bool[np.ndarray, "rows"], chances: Chances) -> Figure:
    """ROC and precision-recall curves of model and baselines."""
    figure = Figure(figsize=(8, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, values in chances.items():
        look = _look(name)
        false, true, _ = roc_curve(positive, values)
        left.plot(*_thinned(false, true), label=label(name), **look)
        precision, recall, _ = precision_recall_curve(positive, values)
        right.plot(*_thinned(recall, precision), **look)
    left.plot([0, 1], [0, 1], color=GRID, linewidth=1)
    right.axhline(positive.mean(), color=GRID, linewidth=1)
    left.set(xlabel="false positive rate", ylabel="true positive rate")
    right.set(xlabel="recall", ylabel="precision")
    for axes in (left, right):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    _legend(figure, left)
    return figure


def calibration_chart(positive: Bool[np.ndarray, "rows"], chances: Chances) -> Figure:
    """How often rows are positive against how likely they were called, in ten bins of like size."""
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=GRID, linewidth=1)
    for name, values in chances.items():
        often, likely = calibration_curve(positive, values, n_bins=_BINS, strategy="quantile")
        axes.plot(likely, often, "o-", markersize=4, label=label(name), **_look(name))
    axes.set(xlabel="predicted probability", ylabel="fraction that is positive")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    _legend(figure, axes)
    return figure


def confusion_chart(counts: Int[np.ndarray, "classes classes"], names: Sequence[str]) -> Figure:
    """Rows by true and by predicted class, shaded by the share of the true class."""
    size = 2.4 + 0.55 * len(names)
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    edges = np.arange(len(names) + 1) - 0.5  # drawn as a mesh: pages hold no images
    axes.pcolormesh(edges, edges, shares, cmap="Blues", vmin=0, vmax=1.4)
    axes.invert_yaxis()
    for (line, column), count in np.ndenumerate(counts):
        colour = "white" if shares[line, column] > 0.6 else "#202020"
        axes.text(column, line, f"{count:,}", ha="center", va="center", color=colour)
    ticks = [label(name, 16) for name in names]
    axes.set_xticks(range(len(names)), ticks, rotation=90 if len(names) > 4 else 0)
    axes.set_yticks(range(len(names)), ticks)
    axes.set(xlabel="predicted", ylabel="true")
    return figure


def scatter_chart(
    truth: Float[np.ndarray, "rows"], predicted: Float[np.ndarray, "rows"], name: str
) -> Figure:
    """Predicted against true numbers."""
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.subplots()
    ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
    axes.plot(ends, ends, color=GRID, linewidth=1)
    step = max(1, len(truth) // _MOST_POINTS)
    axes.scatter(truth[::step], predicted[::step], s=6, alpha=0.4, color=MODEL_COLOUR)
    axes.set(xlabel=f"true {label(name)}", ylabel=f"predicted {label(name)}")
    return figure


def _thinned(*columns: Float[np.ndarray, "points"]) -> list[Float[np.ndarray, "drawn"]]:
    """At most ``_MOST_POINTS`` points of a curve, its ends among them."""
    points = len(columns[0])
    kept = np.unique(np.linspace(0, points - 1, min(points, _MOST_POINTS)).astype(np.int64))
    return [column[kept] for column in columns]


def _look(name: str) -> dict[str, Any]:
    """Baselines are thin."""
    if name in BASELINE_COLOURS:
        return {"color": BASELINE_COLOURS[name], "linewidth": 1.2}
    return {"color": MODEL_COLOUR, "linewidth": 2}


def _legend(figure: Figure, axes: Axes) -> None:
    """Names above the chart, where they lie over nothing."""
    handles, _ = axes.get_legend_handles_labels()
    figure.legend(handles=handles, loc="outside upper left", ncols=3, frameon=False)
