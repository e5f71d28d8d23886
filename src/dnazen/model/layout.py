"""Flat lists of rows and the (sequences, width) boxes that attention wants.

Every dense layer runs on a flat list, so padding costs nothing there; only attention sees a box.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Layout(NamedTuple):
    """Where each row of a flat list stands in a box of ``sequences`` x ``width``."""

    sequences: int
    width: int
    cells: Int[Tensor, "rows"] | None
    """Box cell of each row, row-major and rising; ``None`` when every cell is a row."""
    present: Bool[Tensor, "sequences width"] | None
    """Which cells hold a row; ``None`` when all do."""

    def box(self, rows: Float[Tensor, "rows *rest"]) -> Float[Tensor, "sequences width *rest"]:
        """Spread rows over the box; empty cells are 0."""
        rest = rows.shape[1:]
        if self.cells is not None:
            rows = rows.new_zeros(self.sequences * self.width, *rest).index_copy(
                0, self.cells, rows
            )
        return rows.view(self.sequences, self.width, *rest)

    def flat(self, box: Float[Tensor, "sequences width *rest"]) -> Float[Tensor, "rows *rest"]:
        """Collect the rows of a box; the inverse of ``box``."""
        rows = box.reshape(self.sequences * self.width, *box.shape[2:])
        return rows if self.cells is None else rows.index_select(0, self.cells)

    def rows_at(self, cells: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
        """Row numbers of occupied box cells."""
        if self.present is None:
            return cells
        return (self.present.flatten().cumsum(0) - 1)[cells]


def layout_of_mask(attention_mask: Int[Tensor, "sequences width"]) -> Layout:
    """The layout of a padded batch, from its attention mask."""
    sequences, width = attention_mask.shape
    present = attention_mask.bool()
    if bool(present.all()):
        return Layout(sequences, width, None, None)
    return Layout(sequences, width, present.flatten().nonzero().squeeze(1), present)


def layout_of_batch(
    batch: Float[Tensor, "batch width *rest"], attention_mask: Int[Tensor, "batch width"] | None
) -> Layout:
    """Where the tokens of a batch, ids or embeddings, stand: everywhere if there is no mask."""
    if attention_mask is None:
        return Layout(batch.shape[0], batch.shape[1], None, None)
    return layout_of_mask(attention_mask)


def layout_of_offsets(offsets: Int[Tensor, "sequences+1"]) -> Layout:
    """The layout of ragged lists that stand one after another.

    Empty lists get no line in the box: a line without a key would make attention divide by zero.
    """
    counts = offsets.diff()
    counts = counts[counts > 0]
    if len(counts) == 0:
        return Layout(0, 0, None, None)
    width = int(counts.max())
    present = torch.arange(width, device=offsets.device) < counts[:, None]
    if bool(present.all()):
        return Layout(len(counts), width, None, None)
    return Layout(len(counts), width, present.flatten().nonzero().squeeze(1), present)
