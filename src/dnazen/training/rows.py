"""Labels and logits as rows that losses and scores take: an example each, or a labelled base."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

from ..inference.logits import Logits
from ..sequences.base_labels import NO_CLASS, is_base
from ..sequences.labelled import Label
from ..sequences.splits import Split


def label_rows(labels: Sequence[Label]) -> Shaped[np.ndarray, "rows *labels"]:
    """The labels of examples; where bases have classes, those of all labelled bases."""
    if labels and isinstance(labels[0], np.ndarray):
        classes: Any = np.concatenate([np.asarray(label) for label in labels]).astype(np.int64)
        labelled: Int[np.ndarray, "rows"] = classes[classes != NO_CLASS]
        return labelled
    return np.array(labels)


def logit_rows(
    logits: Sequence[Logits | None], labels: Sequence[Label]
) -> Float[np.ndarray, "rows labels"]:
    """The logits that stand beside ``label_rows``.

    Parameters
    ----------
    logits, labels
        Of examples. Where bases have classes, both of each A, C, G and T.
    """
    if labels and isinstance(labels[0], np.ndarray):
        classes: Any = np.concatenate([np.asarray(label) for label in labels])
        present: Any = [rows for rows in logits if rows is not None]
        labelled: Float[np.ndarray, "rows labels"] = np.concatenate(present)[classes != NO_CLASS]
        return labelled
    return np.array(logits)


def example_of_row(labels: Sequence[Label]) -> Int[np.ndarray, "rows"]:
    """The number of the example that each of ``label_rows`` is of."""
    counts = [
        int((label != NO_CLASS).sum()) if isinstance(label, np.ndarray) else 1 for label in labels
    ]
    return np.repeat(np.arange(len(labels)), counts)


def labels_to_learn(split: Split) -> list[Label]:
    """The labels of a split as a model learns them: of bases, those of each A, C, G and T."""
    return [
        label[is_base(row.sequences[0])] if isinstance(label, np.ndarray) else label
        for row, label in zip(split.table.rows, split.labels, strict=True)
    ]
