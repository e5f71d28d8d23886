"""Sequences packed one after another: which row may see which, as FlexAttention wants it told."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from .layout import Layout

BLOCK = 128
"""Rows and columns of the blocks that FlexAttention skips, takes whole, or masks."""


class Packed(NamedTuple):
    """The mask of packed rows, and where each stands in its own sequence."""

    mask: BlockMask
    position: Int[Tensor, "rows"]


def document_mask(layout: Layout, device: torch.device) -> Packed:
    """Each row sees the rows of its own sequence.

    The blocks come from the first and last sequence in each, so the cost is one number a block
    pair and not one a row pair.
    """
    cells = layout.cells
    if cells is None:
        cells = torch.arange(layout.sequences * layout.width, device=device)
    sequence, position = cells // layout.width, cells % layout.width
    rows = len(cells)
    first = sequence[::BLOCK]
    last = sequence[
        (torch.arange(len(first), device=device) * BLOCK + BLOCK - 1).clamp(max=rows - 1)
    ]
    meet = (first[:, None] <= last) & (first <= last[:, None])
    # A last block that is not full must be masked: it has columns beyond the rows.
    full_rows = torch.arange(1, len(first) + 1, device=device) * BLOCK <= rows
    alone = (first == last) & full_rows
    whole = meet & alone[:, None] & alone

    def same(_: Tensor, __: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return sequence[i] == sequence[j]

    counts, columns = _listed(meet & ~whole)
    whole_counts, whole_columns = _listed(whole)
    mask = BlockMask.from_kv_blocks(
        counts,
        columns,
        whole_counts,
        whole_columns,
        BLOCK_SIZE=BLOCK,
        mask_mod=same,
        seq_lengths=(rows, rows),
    )
    return Packed(mask, position)


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of each line are set, and their columns, those first."""
    columns = blocks.int().argsort(dim=1, descending=True, stable=True)
    return blocks.sum(1).int()[None, None], columns.int()[None, None]
