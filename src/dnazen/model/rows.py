"""An embedding table that can be trained by the rows a batch touches, at no cost for the others."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class RowGradient(NamedTuple):
    """What one optimizer step knows of a table: its touched rows, each once, and their gradient."""

    rows: Int[Tensor, "touched"]
    gradient: Float[Tensor, "touched hidden"]


class RowEmbedding(nn.Embedding):
    """``nn.Embedding`` that after ``gather_rows`` takes looked-up rows out of the graph.

    Each look-up is then a leaf of its own and the table as a whole gets no gradient, so neither
    the backward pass nor the optimizer reads or writes the rows that no batch touched.
    """

    _lookups: list[tuple[Tensor, Tensor]] | None = None

    def gather_rows(self) -> None:
        """From now on keep the gradients of looked-up rows for ``take_gradient``."""
        self.weight.requires_grad_(False)
        self._lookups = []

    def forward(self, input: Int[Tensor, "n"]) -> Float[Tensor, "n hidden"]:
        """Look rows up."""
        if self._lookups is None or not torch.is_grad_enabled():
            return super().forward(input)
        leaf = self.weight.detach().index_select(0, input).requires_grad_()
        self._lookups.append((input, leaf))
        return leaf

    def take_gradient(self) -> RowGradient:
        """The gradient of all look-ups since the last call, summed row by row; forgets them."""
        assert self._lookups is not None, "gather_rows comes first"
        given = [(rows, leaf.grad) for rows, leaf in self._lookups if leaf.grad is not None]
        self._lookups.clear()
        if not given:
            nothing = self.weight.new_empty(0, self.embedding_dim)
            return RowGradient(torch.empty(0, dtype=torch.long, device=nothing.device), nothing)
        return sum_by_row(
            torch.cat([rows for rows, _ in given]),
            torch.cat([gradient for _, gradient in given]),
            self.padding_idx,
        )


class SharedRow(RowEmbedding):
    """One row for every id but the padding, which is 0."""

    def __init__(self, embedding_dim: int) -> None:
        super().__init__(2, embedding_dim, padding_idx=0)

    def forward(self, input: Int[Tensor, "n"]) -> Float[Tensor, "n hidden"]:
        """Look the row up."""
        row: Tensor = super().forward(input.clamp(max=1))
        return row


def sum_by_row(
    rows: Int[Tensor, "n"], gradient: Float[Tensor, "n hidden"], padding_idx: int | None = None
) -> RowGradient:
    """Add up the gradients of the same row; rows come out rising, that of the padding left out."""
    if padding_idx is not None:
        real = rows != padding_idx
        rows, gradient = rows[real], gradient[real]
    unique, place = torch.unique(rows, return_inverse=True)
    summed = gradient.new_zeros(len(unique), gradient.shape[1]).index_add_(0, place, gradient)
    return RowGradient(unique, summed)
