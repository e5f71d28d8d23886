"""Records of any length read by a model, window by window: tokenised, batched, back in order."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from tokenizers import Tokenizer

from ..model.batches import token_budget_batches
from ..sequences.alphabet import reverse_complement
from ..sequences.inputs import InputRecord
from ..tokens.encoding import Length, Tokens, encode_examples
from ..tokens.tokenizer import CHUNK_BP, grouped
from ..tokens.windows import Window, token_windows

POOL_BATCHES = 8
"""Batches' worth of windows that are sorted by length together."""

_RECORD_COST_BP = 1000
"""A record takes memory beside its letters, in the like of so many of them."""


class Readable(Protocol):
    """What a model can read."""

    @property
    def tokens(self) -> Tokens:
        """Without special tokens."""


Item = TypeVar("Item", bound=Readable)
Result = TypeVar("Result")


class Side(NamedTuple):
    """A record as it reads on one strand."""

    number: int
    """Of the record, from 0."""
    record: InputRecord
    reverse: bool
    """Whether these are the tokens of its reverse complement."""
    tokens: Tokens
    """None for a record without A, C, G or T."""


class Piece(NamedTuple):
    """A window of a side; a side without tokens has one piece, which is empty."""

    side: Side
    window: Window

    @property
    def tokens(self) -> Tokens:
        """What a model reads, without special tokens."""
        return self.side.tokens[self.window.start : self.window.end]


def sides(
    tokenizer: Tokenizer, records: Iterable[InputRecord], *, both_strands: bool
) -> Iterator[Side]:
    """Tokenise records; with both strands, the reverse complement of each follows it.

    Memory is the letters and tokens of one record or of ``CHUNK_BP``, whichever is more.
    """
    unlimited = Length(sys.maxsize, "refuse")
    number = itertools.count()
    for chunk in grouped(records, lambda r: len(r.sequence) + _RECORD_COST_BP, CHUNK_BP):
        letters = [record.sequence for record in chunk]
        strands = [letters, [reverse_complement(s) for s in letters]] if both_strands else [letters]
        encoded = [
            encode_examples(tokenizer, [(s,) for s in strand], unlimited, []).tokens
            for strand in strands
        ]
        for record, *tokens in zip(chunk, *encoded, strict=True):
            each = next(number)
            for reverse, some in enumerate(tokens):
                yield Side(each, record, bool(reverse), some)


def pieces(some: Iterable[Side], size: int, overlap: int) -> Iterator[Piece]:
    """The windows of each side, of at most ``size`` tokens (``windows.token_windows``)."""
    for side in some:
        if not len(side.tokens):
            yield Piece(side, Window(0, 0, 0, 0))
        for window in token_windows(len(side.tokens), size, overlap):
            yield Piece(side, window)


def read(
    items: Iterable[Item],
    model: Callable[[Sequence[Item]], Sequence[Result]],
    tokens_per_batch: int,
    progress: Callable[[int], object] = lambda tokens: None,
) -> Iterator[tuple[Item, Result | None]]:
    """Yield each item with what ``model`` makes of it, in order; ``None`` for empty ones.

    Items of like length share a batch, so padding is little. Memory is ``POOL_BATCHES`` batches
    and what the model makes of them.

    Parameters
    ----------
    items
        Pieces of records, or other token sequences.
    model
        Takes the items of a batch, none empty, and gives a result for each.
    tokens_per_batch
        Bound on items x longest, special tokens included.
    progress
        Called with the number of tokens of each batch that has been read.
    """

    def cost(item: Item) -> int:
        return len(item.tokens) + 2  # [CLS] and [SEP]

    for pool in grouped(items, cost, POOL_BATCHES * tokens_per_batch):
        found: list[Result | None] = [None] * len(pool)
        present = np.array([n for n, item in enumerate(pool) if len(item.tokens)], dtype=np.int64)
        costs = np.array([cost(pool[n]) for n in present], dtype=np.int64)
        for batch in token_budget_batches(costs, tokens_per_batch, np.random.default_rng(0)):
            numbers = present[batch].tolist()
            results = model([pool[n] for n in numbers])
            for n, result in zip(numbers, results, strict=True):
                found[n] = result
            progress(sum(len(pool[n].tokens) for n in numbers))
        yield from zip(pool, found, strict=True)
