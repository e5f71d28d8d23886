"""Losses of classes, labels and numbers, from logits."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from ..ggrams.masking import NO_LABEL


def classification_loss(logits: Tensor, labels: Tensor, problem: str) -> Tensor:
    """Mean loss over sequences (and labels, where there are several)."""
    if problem == "regression":
        return mse_loss(logits, labels.to(logits.dtype).view_as(logits))
    if problem == "multi_label_classification":
        return binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    return cross_entropy(logits, labels)


def labelled_loss(
    logits: Float[Tensor, "n labels"],
    labels: Int[Tensor, "n"],
    num_items_in_batch: Tensor | int | None,
) -> Tensor:
    """Cross entropy over what has a label other than -100, divided by their number, or by that of
    all batches of a step; 0 where none has."""
    summed = cross_entropy(at_least_float32(logits), labels, reduction="sum", ignore_index=NO_LABEL)
    total = (labels != NO_LABEL).sum().clamp(min=1)
    return summed / (total if num_items_in_batch is None else num_items_in_batch)


def at_least_float32(logits: Tensor) -> Tensor:
    """Logits precise enough for a loss."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
