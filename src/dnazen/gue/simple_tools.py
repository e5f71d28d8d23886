"""The section of a report that stands first: every model beside the best of the simple tools."""

from __future__ import annotations

from ..report.document import Block, Section, Table, Text
from .comparison import Analysis, ModelScore
from .formats import counted, points
from .results import Run

SIMPLE = ("kmer", "cnn")
"""Kinds of models that need no pre-training, nor this package."""

WORSE = 0.01
"""A model that is so far below the best simple tool is worse on a task."""


def beside_simple_tools(run: Run, analysis: Analysis) -> Section:
    """Each model's scores beside the best simple tool of each task; nothing without both."""
    kinds = {model["name"]: model["kind"] for model in run.record["arms"]}
    tools = [name for name in analysis.models if kinds[name] in SIMPLE]
    others = [name for name in analysis.models if kinds[name] not in SIMPLE]
    title = "Beside the simple tools"
    if not tools or not others:
        return Section(title, [])
    rows = []
    gains: dict[str, list[float]] = {name: [] for name in others}
    for task, scores in analysis.scores.items():
        best = max((t for t in tools if t in scores), key=lambda t: _value(scores[t]), default=None)
        if best is None:
            continue
        least = _value(scores[best])
        cells = []
        for name in others:
            if name not in scores:
                cells.append("-")
                continue
            gain = _value(scores[name]) - least
            gains[name].append(gain)
            cells.append(f"{100 * gain:+.2f}")
        rows.append([task, best, points(least), *cells])
    blocks: list[Block] = [
        Text(_sentence(name, values)) for name, values in gains.items() if values
    ]
    blocks.append(
        Table(
            ["task", "best simple tool", "its score", *(f"{n}, more" for n in others)],
            rows,
            names=2,
        )
    )
    blocks.append(
        Text(
            "The best simple tool of a task is chosen by its test score, which favours it. A model "
            "that is not above it is not worth its cost there; k-mers are fitted in seconds."
        )
    )
    return Section(title, blocks)


def _value(score: ModelScore) -> float:
    return score.estimate.value


def _sentence(name: str, gains: list[float]) -> str:
    above = sum(gain > 0 for gain in gains)
    worse = sum(gain < -WORSE for gain in gains)
    mean = 100 * sum(gains) / len(gains)
    return (
        f"{name} is above the best simple tool on {above} of {counted(len(gains), 'task')}, by "
        f"{mean:+.2f} points in the mean, and more than a point below it on {worse}."
    )
