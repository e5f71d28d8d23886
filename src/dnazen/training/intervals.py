"""How sure a score on test is, and a difference of two: test rows drawn again (bootstrap)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from ..sequences.settings import ProblemType
from .metrics import counted_scores, score

DRAWS = 500
_MOST_ROWS = 10_000_000  # of all draws together; more rows get fewer draws, which they need less
_LEAST_DRAWS = 50


class Interval(NamedTuple):
    """95 % of the draws lie within."""

    low: float
    high: float


def intervals(
    problem_type: ProblemType,
    metric: str,
    labels: Shaped[np.ndarray, "rows *labels"],
    models: Sequence[Float[np.ndarray, "rows labels"]],
) -> tuple[list[Interval], list[Interval]]:
    """Intervals of a score, and of what the first model has more of it than each other.

    The same rows are drawn for all models, with a seed of its own.

    Parameters
    ----------
    models
        Logits, or in regression predictions, of each model.

    Returns
    -------
    One interval a model; one for each model but the first. NaN where the score is not defined.
    """
    rng = np.random.default_rng(0)
    rows = len(labels)
    draws = max(_LEAST_DRAWS, min(DRAWS, _MOST_ROWS // max(1, rows)))
    values = np.empty((draws, len(models)))
    of_rows = _by_counts if _is_counted(problem_type, metric) else _by_rows
    scores = [of_rows(problem_type, metric, labels, logits) for logits in models]
    for number in range(draws):
        drawn = rng.integers(rows, size=rows)
        values[number] = [score_of(drawn) for score_of in scores]
    gains = values[:, :1] - values[:, 1:]
    return _bounds(values), _bounds(gains)


def intervals_of_bases(
    metric: str,
    labels: Int[np.ndarray, "bases"],
    models: Sequence[Float[np.ndarray, "bases labels"]],
    sequence: Int[np.ndarray, "bases"],
) -> tuple[list[Interval], list[Interval]]:
    """``intervals`` of a score of bases: whole sequences are drawn, for bases of one go together.

    Parameters
    ----------
    metric
        One that comes of counts (``metrics.counted_scores``).
    sequence
        The number of the sequence that each base is of.
    """
    rng = np.random.default_rng(0)
    number, classes = int(sequence.max()) + 1, models[0].shape[1]
    counts = []
    for logits in models:
        cells = (sequence * classes + labels) * classes + logits.argmax(axis=1)
        table = np.bincount(cells, minlength=number * classes**2)
        counts.append(table.reshape(number, classes**2))
    values = np.empty((DRAWS, len(models)))
    for draw in range(DRAWS):
        times = np.bincount(rng.integers(number, size=number), minlength=number)
        for place, table in enumerate(counts):
            confusion = (times @ table).reshape(classes, classes)
            values[draw, place] = counted_scores(confusion)[metric]
    return _bounds(values), _bounds(values[:, :1] - values[:, 1:])


ScoreOfRows = Callable[[Int[np.ndarray, "drawn"]], float]


def _is_counted(problem_type: ProblemType, metric: str) -> bool:
    """Whether a score comes of the numbers of rows by true and predicted class."""
    counted = metric in ("mcc", "f1", "accuracy")
    return problem_type == "single_label_classification" and counted


def _by_counts(
    problem_type: ProblemType, metric: str, labels: Any, logits: Float[np.ndarray, "rows labels"]
) -> ScoreOfRows:
    """A score of rows that were drawn; as ``_by_rows``, and a hundred times as fast."""
    if not np.isfinite(logits).all():
        return lambda drawn: math.nan
    classes = logits.shape[1]
    cells = np.asarray(labels) * classes + logits.argmax(axis=1)

    def score_of(drawn: Int[np.ndarray, "drawn"]) -> float:
        counts = np.bincount(cells[drawn], minlength=classes**2)
        return counted_scores(counts.reshape(classes, classes))[metric]

    return score_of


def _by_rows(
    problem_type: ProblemType, metric: str, labels: Any, logits: Float[np.ndarray, "rows labels"]
) -> ScoreOfRows:
    return lambda drawn: score(problem_type, labels[drawn], logits[drawn])[metric]


def _bounds(values: Float[np.ndarray, "draws models"]) -> list[Interval]:
    return [Interval(*_quantiles(column)) for column in values.T]


def _quantiles(values: Float[np.ndarray, "draws"]) -> Any:
    defined = values[~np.isnan(values)]
    return np.quantile(defined, (0.025, 0.975)).tolist() if len(defined) else (np.nan, np.nan)
