"""Which epoch is the best: by a score on dev, or by the dev loss where that score is undefined."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..sequences.labelled import Label
from .rows import label_rows

_NEED_DIFFERENT_LABELS = frozenset({"mcc", "auroc", "auprc", "pearson", "spearman"})
_LOWER_IS_BETTER = frozenset({"mse"})


def is_defined(metric: str, labels: Sequence[Label]) -> bool:
    """Whether a score can tell models apart on these labels.

    A correlation, and a ranking, of labels that are all the same is undefined, whatever a model
    predicts. MCC counts as 0 there by convention, which would choose the first epoch of any.
    """
    if metric not in _NEED_DIFFERENT_LABELS:
        return True
    rows = label_rows(labels)
    columns = rows.reshape(len(rows), -1)
    return bool((columns != columns[0]).any())


def rank(metric: str | None, score: float, loss: float) -> float:
    """A number that orders epochs, higher being better, and is never NaN.

    An epoch whose score is defined comes before one whose score is not; among the latter a lower
    loss is better. -3 is the worst: neither score nor loss is a number.

    Parameters
    ----------
    metric
        The name of the score, which says whether higher is better; ``None`` takes the loss alone.
    score, loss
        NaN where they are undefined.

    Examples
    --------
    >>> rank("mcc", 0.5, 2.0) > rank("mcc", 0.4, 1.0) > rank("mcc", math.nan, 0.1) > -3
    True
    """
    if metric is not None and not math.isnan(score):
        return _squeezed(score if higher_is_better(metric) else -score)
    if not math.isnan(loss):
        return -2 + _squeezed(-loss)
    return -3.0


def higher_is_better(metric: str) -> bool:
    """Whether the better of two models has the higher score."""
    return metric not in _LOWER_IS_BETTER


def _squeezed(value: float) -> float:
    """The value in its order, within -1 to 1."""
    return math.copysign(1.0, value) if math.isinf(value) else value / (1 + abs(value))
