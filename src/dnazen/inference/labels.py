"""From logits to labels and probabilities, and the table of predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from ..sequences.labelled import Label, Task, spelt
from ..sequences.regions import Region
from ..sequences.settings import ProblemType

MISSING = "NA"
"""Stands for the prediction of a record without a base."""


class PredictionTable:
    """Writes predictions as they come: name, place and label where known, then the prediction."""

    def __init__(
        self,
        write: Callable[[Sequence[Any]], object],
        task: Task,
        *,
        with_labels: bool,
        with_places: bool = False,
    ) -> None:
        self.task = task
        self._write = write
        places = Region._fields if with_places else ()
        columns = ["name", *places, *(["label"] if with_labels else []), "prediction"]
        if task.problem_type != "regression":
            columns += [f"p_{name}" for name in task.label_names]
        self._write(columns)

    def write(
        self,
        name: str,
        logits: Float[np.ndarray, "labels"] | None,
        label: Label | None = None,
        place: Region | None = None,
    ) -> None:
        """Write one row; ``MISSING`` in every column of a prediction that there is none of."""
        cells = [name, *map(str, place or ())]
        if label is not None:
            cells.append(spelt(self.task, label))
        if logits is None:
            regression = self.task.problem_type == "regression"
            cells += [MISSING] * (1 if regression else 1 + len(self.task.label_names))
        else:
            cells += _cells(self.task, logits)
        self._write(cells)


def predicted(task: Task, logits: Float[np.ndarray, "labels"]) -> str:
    """The prediction, spelt as labels are in the data."""
    if task.problem_type == "regression":
        return spelt(task, logits.tolist())
    several = task.problem_type == "multi_label_classification"
    label: Label = (logits > 0).astype(float).tolist() if several else int(logits.argmax())
    return spelt(task, label)


def probabilities(
    problem_type: ProblemType, logits: Float[np.ndarray, "examples labels"]
) -> Float[np.ndarray, "examples labels"]:
    """Probability of each class (they add up to 1) or of each label; in float64."""
    exact = torch.from_numpy(np.asarray(logits, dtype=np.float64))
    independent = problem_type == "multi_label_classification"
    likely: Float[np.ndarray, "examples labels"] = (
        exact.sigmoid() if independent else exact.softmax(1)
    ).numpy()
    return likely


def _cells(task: Task, logits: Float[np.ndarray, "labels"]) -> list[str]:
    """The prediction and the probabilities."""
    if task.problem_type == "regression":
        return [predicted(task, logits)]
    likely = probabilities(task.problem_type, logits[None])[0]
    return [predicted(task, logits), *(f"{probability:.7g}" for probability in likely)]
