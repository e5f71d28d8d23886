"""What the bases around each base say of its class: one-hot bases and words at each place nearby.

The features of a logistic regression (``training.neighbours``), and the view that holds a fitted
one in a model. Decided here: it is the simple baseline of classes of bases, as k-mers are that of
whole sequences, and a model that holds it need not lose to it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

REACH = 15
"""Bases before and behind that are read one by one."""
WORD = 4
"""Bases of a word."""
WORD_STARTS = tuple(range(-8, 6))
"""Where words begin, counted from the base."""

_PLACES = range(-REACH, REACH + 1)
FEATURES = 4 * len(_PLACES) + 4**WORD * len(WORD_STARTS)


def neighbour_features(
    codes: Int[Tensor, "sequences longest"],
) -> Int[Tensor, "sequences longest per_base"]:
    """The features of every base by number; ``FEATURES`` where there is none.

    Parameters
    ----------
    codes
        A C G T as 0 to 3; anything else is no base, and neither is what lies beyond the ends.
    """
    width = codes.shape[1]
    reach = max(REACH, WORD_STARTS[-1] + WORD)
    outside = codes.new_full((len(codes), reach), -1)
    padded = torch.cat([outside, codes, outside], dim=1)
    known = (padded >= 0) & (padded < 4)

    def at(place: int) -> tuple[Tensor, Tensor]:
        span = slice(reach + place, reach + place + width)
        return padded[:, span], known[:, span]

    features, first = [], 0
    for place in _PLACES:
        base, present = at(place)
        features.append(torch.where(present, first + base, FEATURES))
        first += 4
    for start in WORD_STARTS:
        parts = [at(start + step) for step in range(WORD)]
        number = sum(4**step * base for step, (base, _) in enumerate(parts))
        present = torch.stack([known for _, known in parts]).all(dim=0)
        features.append(torch.where(present, first + number, FEATURES))
        first += 4**WORD
    return torch.stack(features, dim=2)


class NeighbourView(nn.Module):
    """The logits of each base by a fitted regression: the sum of the weights of its features."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.weights = nn.Embedding(FEATURES + 1, labels, padding_idx=FEATURES)
        self.bias = nn.Parameter(torch.zeros(labels))
        nn.init.zeros_(self.weights.weight)

    def forward(
        self, codes: Int[Tensor, "sequences longest"]
    ) -> Float[Tensor, "sequences longest labels"]:
        """Logits of every base; those of no base mean nothing."""
        out: Tensor = self.weights(neighbour_features(codes)).sum(dim=2) + self.bias
        return out

    def hold(self, weight: Float[Tensor, "labels features"], bias: Float[Tensor, "labels"]) -> None:
        """Take the weights of a regression."""
        with torch.no_grad():
            self.weights.weight[:FEATURES] = weight.T
            self.weights.weight[FEATURES] = 0
            self.bias.copy_(bias)
