"""The base view: what stands below tokens, read base by base and given to the tokens that hold it.

Small units end at BPE tokens, whose rows a small data set cannot train and whose borders a single
mutation moves. A light convolution reads the bases in context; each token gets what was read at
its own bases. Decided here: the paper mixes tokens and G-grams, and this is the same idea one step
further down. The view starts at zero, so a model that is given one is unharmed at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, Int8
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ..tokens.special import CLS, MASK, PAD, SEP, SPECIAL_TOKENS, UNK
from ..tokens.tokenizer import token_lengths, token_strings
from .layers import LinearFromZero
from .layout import Layout

UNKNOWN = 4
"""The code of a base that is not seen: N, or under a hidden token. A C G T are 0 to 3."""
NONE = -1
"""Stands behind a token's last base in its row of the table."""

_FIRST_WIDTH, _SECOND_WIDTH = 11, 7  # bases that the convolutions see


def token_base_table(strings: Sequence[str]) -> Int8[Tensor, "vocabulary longest"]:
    """The codes of the bases of each token, ``NONE`` behind them.

    [CLS], [SEP] and [PAD] have no base. [UNK] and [MASK] have one that is unknown, whatever they
    stand for: the length of what is hidden would tell of it.

    Parameters
    ----------
    strings
        The bases of each token by id, as ``tokens.tokenizer.token_strings`` gives them.
    """
    bases = {CLS: [], SEP: [], PAD: [], UNK: [UNKNOWN], MASK: [UNKNOWN]}
    rows = [
        bases[token] if token < len(SPECIAL_TOKENS) else ["ACGT".index(base) for base in string]
        for token, string in enumerate(strings)
    ]
    table = torch.full((len(rows), max(map(len, rows))), NONE, dtype=torch.int8)
    for token, codes in enumerate(rows):
        table[token, : len(codes)] = torch.tensor(codes, dtype=torch.int8)
    return table


def base_table(tokenizer: Tokenizer, vocab_size: int) -> Int8[Tensor, "vocabulary longest"]:
    """``token_base_table`` of a tokenizer, with rows without bases for ids that it lacks."""
    table = token_base_table(token_strings(tokenizer))
    missing = torch.full((vocab_size - len(table), table.shape[1]), NONE, dtype=torch.int8)
    return torch.cat([table, missing])


def longest_token_bp(tokenizer: Tokenizer) -> int:
    """Bases of the longest token."""
    return int(token_lengths(tokenizer).max())


class Bases(NamedTuple):
    """The bases of a batch of sequences, in boxes of (sequences, longest)."""

    codes: Int[Tensor, "sequences longest"]
    """``NONE`` where a sequence has ended."""
    cells: Int[Tensor, "bases"]
    """Box cell of each base, in the order of the tokens."""
    token: Int[Tensor, "bases"]
    """Row of the token that holds each base."""


def bases_of_tokens(
    table: Int8[Tensor, "vocabulary longest"], tokens: Int[Tensor, "rows"], layout: Layout
) -> Bases:
    """Spell out token ids: rows of a batch, whose sequences ``layout`` tells apart."""
    spelt = table[tokens]
    present = spelt != NONE
    token, _ = present.nonzero(as_tuple=True)
    codes = spelt[present].long()
    width = layout.width
    row_cells = torch.arange(len(tokens), device=tokens.device)
    sequence = (row_cells if layout.cells is None else layout.cells)[token] // width
    counts = torch.bincount(sequence, minlength=layout.sequences)
    longest = max(1, int(counts.max())) if len(counts) else 1
    first = counts.cumsum(0) - counts
    place = torch.arange(len(codes), device=tokens.device) - first[sequence]
    cells = sequence * longest + place
    box = torch.full((layout.sequences * longest,), NONE, device=tokens.device)
    box[cells] = codes
    return Bases(box.view(layout.sequences, longest), cells, token)


class BaseReading(NamedTuple):
    """What the convolutions make of the bases of a batch."""

    bases: Bases
    states: Float[Tensor, "bases channels"]
    """In the order of the tokens; 0 or more."""
    sequence: Int[Tensor, "bases"]
    """Which sequence of the batch each base is of."""


class BaseView(nn.Module):
    """Two convolutions over bases; each token gets the largest and the mean state of its own.

    Parameters
    ----------
    shape
        Of the table of ``token_base_table``, which the view keeps; put it in with ``table.copy_``.
    """

    table: Int8[Tensor, "vocabulary longest"]

    def __init__(self, shape: tuple[int, int], channels: int, hidden_size: int) -> None:
        super().__init__()
        self.register_buffer("table", torch.full(shape, NONE, dtype=torch.int8))
        self.first = nn.Conv1d(4, channels, _FIRST_WIDTH, padding="same")
        self.second = nn.Conv1d(channels, channels, _SECOND_WIDTH, padding="same")
        self.output = LinearFromZero(2 * channels, hidden_size, bias=False)

    def forward(self, tokens: Int[Tensor, "rows"], layout: Layout) -> BaseReading:
        """Read the bases of tokens, in the context of their sequence."""
        bases = bases_of_tokens(self.table, tokens, layout)
        channels_first = self._seen(bases.codes).transpose(1, 2)
        within = (bases.codes != NONE)[:, None]
        states = torch.relu(self.first(channels_first)) * within
        states = torch.relu(self.second(states))
        rows = states.transpose(1, 2).flatten(0, 1).index_select(0, bases.cells)
        return BaseReading(bases, rows, bases.cells // max(1, bases.codes.shape[1]))

    def on_tokens(self, reading: BaseReading, tokens: int) -> Float[Tensor, "tokens hidden"]:
        """What is added to the embedding of each token; 0 for one without bases."""
        rows, token = reading.states, reading.bases.token
        empty = rows.new_zeros(tokens, rows.shape[1])
        owner = token[:, None].expand_as(rows)
        largest = empty.scatter_reduce(0, owner, rows, "amax")
        mean = empty.scatter_reduce(0, owner, rows, "mean", include_self=False)
        added: Tensor = self.output(torch.cat([largest, mean], dim=1))
        return added

    def largest(self, reading: BaseReading, sequences: int) -> Float[Tensor, "sequences channels"]:
        """The largest state of each channel in each sequence; 0 for one without bases."""
        rows = reading.states
        owner = reading.sequence[:, None].expand_as(rows)
        return rows.new_zeros(sequences, rows.shape[1]).scatter_reduce(0, owner, rows, "amax")

    def _seen(self, codes: Int[Tensor, "sequences longest"]) -> Float[Tensor, "s longest 4"]:
        """One-hot bases; nothing where a base is unknown or none is."""
        seen_codes = codes.clamp(min=0, max=UNKNOWN)
        seen = one_hot(torch.where(codes == NONE, UNKNOWN, seen_codes), 5)[..., :4]
        return seen.to(self.first.weight.dtype)
