"""How much a model listens to its deep head and how much to its k-mers, chosen on dev."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.optimize import minimize
from torch import Tensor

_MOST = 10.0
_NOTHING = 1e-3
"""A share below this is none."""


class Blend(NamedTuple):
    """Logits are ``deep`` times those of the deep head and ``kmers`` times those of k-mers."""

    deep: float
    kmers: float

    def of(
        self, deep: Float[np.ndarray, "rows labels"], kmers: Float[np.ndarray, "rows labels"]
    ) -> Float[np.ndarray, "rows labels"]:
        """The blended logits."""
        mixed: Float[np.ndarray, "rows labels"] = self.deep * deep + self.kmers * kmers
        return mixed


def best_blend(
    deep: Float[np.ndarray, "rows labels"],
    kmers: Float[np.ndarray, "rows labels"],
    loss: Callable[[Float[Tensor, "rows labels"]], Tensor],
) -> Blend:
    """The shares with the least loss on dev, each 0 to 10.

    Decided here: two numbers are all that dev fits, so a small dev will do; one imagined row holds
    both to 1/2. They also make the probabilities as sure of themselves as dev bears out
    (temperature scaling; Guo and others 2017, arXiv 1706.04599). The loss is convex in them.

    Parameters
    ----------
    loss
        Of dev, from its logits.
    """
    if not np.isfinite(deep).all():
        return Blend(0.0, 1.0)
    parts = torch.from_numpy(np.stack([deep, kmers]).astype(np.float64))

    def of_shares(shares: Float64[np.ndarray, "2"]) -> tuple[float, Float64[np.ndarray, "2"]]:
        wanted = torch.tensor(shares, requires_grad=True)
        mixed = torch.einsum("p,pnl->nl", wanted, parts)
        value = loss(mixed) + (wanted - 0.5).square().sum() / len(deep)
        (slope,) = torch.autograd.grad(value, wanted)
        return float(value.detach()), slope.numpy()

    found = minimize(of_shares, np.array([0.5, 0.5]), jac=True, bounds=[(0, _MOST)] * 2)
    return Blend(*(share if share > _NOTHING else 0.0 for share in found.x.tolist()))
