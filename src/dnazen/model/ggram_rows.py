"""G-gram inputs with one row a sequence, as a tokenizer gives them, and their way to the models.

The models compute on ragged lists (the table in ``encoder``). Hugging Face's collators, pipelines
and exporters want tensors whose first axis is the batch. Decided here: the same names hold both.

===============  ===============  ==========================================================
``ggram_ids``    (batch, slots)   distinct G-grams of each sequence; 0 is padding
``cover_token``  (batch, pairs)   place of each covered token in its row of ``input_ids`` ...
``cover_slot``   (batch, pairs)   ... and the slot that covers it, from 1; 0 is padding
===============  ===============  ==========================================================

All are padded with 0, on either side, so whoever pads unknown names with 0 does it right.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ..ggrams.matching import Matches

GGRAM_INPUTS = ("ggram_ids", "cover_token", "cover_slot")


class RaggedGGrams(NamedTuple):
    """G-gram inputs as the models compute on them."""

    ggram_ids: Int[Tensor, "slots"]
    ggram_offsets: Int[Tensor, "batch+1"]
    cover_token: Int[Tensor, "pairs"]
    cover_slot: Int[Tensor, "pairs"]


def ragged(
    ggram_ids: Int[Tensor, "batch slots"],
    cover_token: Int[Tensor, "batch pairs"] | None,
    cover_slot: Int[Tensor, "batch pairs"] | None,
    width: int,
) -> RaggedGGrams:
    """The rows of a batch as ragged lists, in the same order.

    Parameters
    ----------
    width
        Tokens of a padded sequence.

    Raises
    ------
    ValueError
        If there are no places of the G-grams, or they are of another form.
    """
    if cover_token is None or cover_slot is None or cover_token.dim() != 2:
        raise ValueError(
            "G-grams in rows need cover_token and cover_slot in rows, which say where they are"
        )
    present = ggram_ids > 0
    offsets = torch.nn.functional.pad(present.sum(1).cumsum(0), (1, 0))
    row, pair = (cover_slot > 0).nonzero(as_tuple=True)
    return RaggedGGrams(
        ggram_ids[present],
        offsets,
        row * width + cover_token[row, pair],
        offsets[row] + cover_slot[row, pair] - 1,
    )


def rows_of_matches(
    matches: Matches, offsets: Int[np.ndarray, "sequences+1"]
) -> dict[str, list[list[int]]]:
    """The matches of sequences as a row each, not padded yet.

    Parameters
    ----------
    offsets
        Where each sequence begins in the flat tokens.
    """
    first_pair = np.searchsorted(matches.cover_token, offsets)
    sequence = np.repeat(np.arange(len(offsets) - 1), np.diff(first_pair))
    flat = (
        (matches.ggram_ids, matches.slot_offsets),
        (matches.cover_token - offsets[sequence], first_pair),
        (matches.cover_slot - matches.slot_offsets[sequence] + 1, first_pair),
    )
    return {
        name: [row.tolist() for row in np.split(values, bounds[1:-1])]
        for name, (values, bounds) in zip(GGRAM_INPUTS, flat, strict=True)
    }
