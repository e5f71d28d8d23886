"""The targets of a regression in a unit that a model learns well."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from ..model.modeling import DnazenForSequenceClassification
from ..sequences.labelled import Label


class Scale(NamedTuple):
    """Targets as the model learns them: (value - mean) / spread, so that any unit will do.

    Decided here: mean and standard deviation of train. Both are put into the last layer when
    training is done, so the model that is saved predicts in the data's own unit.
    """

    mean: Float[np.ndarray, "targets"]
    spread: Float[np.ndarray, "targets"]

    @classmethod
    def of(cls, labels: list[Label]) -> Scale:
        """The scale of some targets; a constant one keeps its unit."""
        targets = np.array(labels, dtype=np.float64)
        spread = targets.std(axis=0)
        return cls(targets.mean(axis=0), np.where(spread > 0, spread, 1.0))

    def scaled(self, labels: list[Label]) -> list[Label]:
        """Targets as the model learns them."""
        scaled = (np.array(labels, dtype=np.float64) - self.mean) / self.spread
        return list(scaled.astype(np.float32).tolist())

    def unscaled(self, values: Float[np.ndarray, "n targets"]) -> Float[np.ndarray, "n targets"]:
        """Back to the data's own unit."""
        back: Float[np.ndarray, "n targets"] = values * self.spread + self.mean
        return back

    def fold_into(self, model: DnazenForSequenceClassification) -> None:
        """Make the model predict in the data's own unit."""
        layers = [model.classifier]
        if model.config.base_channels:
            layers.append(model.base_head)
        if model.config.kmers:
            layers.append(model.kmers.output)
        with torch.no_grad():
            for layer in layers:
                spread = torch.from_numpy(self.spread).to(layer.weight)
                layer.weight.mul_(spread[:, None])
                if layer.bias is not None:
                    layer.bias.mul_(spread)
            layers[0].bias.add_(torch.from_numpy(self.mean).to(layers[0].bias))
