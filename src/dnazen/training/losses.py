"""Losses for uneven classes: rare classes weighed up, sure rows weighed down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from ..errors import ConfigError
from ..model.losses import at_least_float32, classification_loss
from ..sequences.labelled import Label
from ..sequences.settings import ProblemType
from ..sequences.splits import Splits
from .rows import label_rows
from .settings import FinetuneConfig

Loss = Callable[[Float[Tensor, "rows labels"], Tensor], Tensor]
"""The mean over rows, from logits and labels."""


def loss_of(splits: Splits, config: FinetuneConfig) -> Loss:
    """The loss that the settings ask for.

    With ``class_weights`` balanced a row of class c counts n / (classes * n_c), so that all classes
    weigh the same (scikit-learn's rule); of several labels, a positive counts as much as all that
    are negative together. With ``focal_gamma`` each term is multiplied by (1 - p)^gamma, p being
    the probability of the truth (Lin and others 2017, arXiv 1708.02002).

    Raises
    ------
    ConfigError
        If numbers are to be predicted and either is set.
    """
    problem_type = splits.task.problem_type
    weights = class_weights(splits, config)
    if problem_type == "regression":
        if config.focal_gamma:
            raise ConfigError("focal_gamma is for classes and labels, not for numbers")
        return lambda logits, labels: classification_loss(logits, labels, problem_type)

    def loss(logits: Float[Tensor, "rows labels"], labels: Tensor) -> Tensor:
        exact = at_least_float32(logits)
        of_class = None if weights is None else torch.from_numpy(weights).to(exact)
        terms = _terms(exact, labels, problem_type, None)
        weighted = terms if of_class is None else _terms(exact, labels, problem_type, of_class)
        if config.focal_gamma:
            weighted = weighted * (1 - (-terms).exp()) ** config.focal_gamma
        if of_class is not None and problem_type != "multi_label_classification":
            return weighted.sum() / of_class[labels].sum()
        return weighted.mean()

    return loss


def class_weights(splits: Splits, config: FinetuneConfig) -> Float[np.ndarray, "classes"] | None:
    """How much a row of each class, or a positive of each label, counts; ``None`` if all alike.

    Raises
    ------
    ConfigError
        If numbers are to be predicted.
    """
    if config.class_weights == "none":
        return None
    problem_type, labels = splits.task.problem_type, splits.train.labels
    if problem_type == "regression":
        raise ConfigError("class_weights is for classes and labels, not for numbers")
    return balanced(problem_type, labels, len(splits.task.label_names))


def balanced(
    problem_type: ProblemType, labels: Sequence[Label], number: int
) -> Float[np.ndarray, "classes"]:
    """The weights with which classes, or both sides of a label, weigh the same."""
    table: Any = label_rows(labels)
    if problem_type == "multi_label_classification":
        positive = table.sum(axis=0)
        return np.asarray((len(table) - positive) / np.maximum(1, positive), dtype=np.float64)
    counts = np.bincount(table, minlength=number)
    return np.asarray(len(table) / (number * np.maximum(1, counts)), dtype=np.float64)


def _terms(
    logits: Tensor, labels: Tensor, problem_type: ProblemType, weights: Tensor | None
) -> Tensor:
    """The loss of each row, or of each row and label."""
    if problem_type == "multi_label_classification":
        truth = labels.to(logits.dtype)
        return binary_cross_entropy_with_logits(logits, truth, pos_weight=weights, reduction="none")
    return cross_entropy(logits, labels, weight=weights, reduction="none")
