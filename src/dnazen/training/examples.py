"""A corpus as examples of pre-training, and what of it is kept for evaluation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int
from torch.utils.data import Dataset

from ..errors import InputError
from ..ggrams.masking import sequence_keys
from ..model.batches import Example
from ..tokens.corpus import Corpus
from .batch_plan import ExampleKey


class TokenIntervals(NamedTuple):
    """Intervals of a corpus' tokens, one an example."""

    start: Int[np.ndarray, "examples"]
    length: Int[np.ndarray, "examples"]
    sequence: Int[np.ndarray, "examples"]
    """Number of the sequence that each is of."""


class PretrainDataset(Dataset[Example]):
    """Examples of a corpus by their key; reads only the tokens it is asked for."""

    def __init__(self, corpus: Corpus, intervals: TokenIntervals, seed: int) -> None:
        self.corpus = corpus
        self.intervals = intervals
        self.seed = seed

    def __len__(self) -> int:
        return len(self.intervals.start)

    def __getitems__(self, keys: list[ExampleKey]) -> list[Example]:
        """The examples of one batch, all of one pass."""
        numbers = np.array([key.number for key in keys])
        mask_keys = sequence_keys(self.seed, keys[0].epoch, numbers)
        starts = self.intervals.start[numbers]
        ends = starts + self.intervals.length[numbers]
        repeat = self.corpus.repeat
        return [
            Example(
                self.corpus.tokens[start:end],
                int(mask_key),
                repeat=None if repeat is None else repeat[start:end],
            )
            for start, end, mask_key in zip(starts, ends, mask_keys, strict=True)
        ]

    def __getitem__(self, key: ExampleKey) -> Example:
        return self.__getitems__([key])[0]


def example_intervals(
    offsets: Int[np.ndarray, "sequences+1"], wanted: Bool[np.ndarray, "sequences"], longest: int
) -> TokenIntervals:
    """Cut the wanted sequences into the fewest near-equal pieces of at most ``longest`` tokens."""
    sequences = np.flatnonzero(wanted & (np.diff(offsets) > 0))
    starts, lengths = offsets[sequences], np.diff(offsets)[sequences]
    pieces = -(-lengths // longest)
    owner = np.repeat(np.arange(len(lengths)), pieces)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    first = number * lengths[owner] // pieces[owner]
    last = (number + 1) * lengths[owner] // pieces[owner]
    return TokenIntervals(starts[owner] + first, last - first, sequences[owner])


def heldout_sequences(
    corpus: Corpus, fraction: float, most_tokens: int, seed: int
) -> Bool[np.ndarray, "sequences"]:
    """Which sequences are kept for evaluation.

    Decided here: blocks of up to 100 neighbouring windows of a record are drawn at random, both
    strands together, so that no held-out window has its reverse complement or most of its
    neighbours in training. Blocks are smaller where there would be fewer than 50 to draw from, or
    fewer than 20 to keep: the loss of one stretch says little of a genome's.

    Raises
    ------
    InputError
        If the corpus is too small to keep anything for evaluation.
    """
    places = np.stack([corpus.record.astype(np.int64), corpus.start.astype(np.int64)])
    order = np.lexsort(places[::-1])
    fresh = np.diff(places[:, order], axis=1, prepend=-1).any(axis=0)
    window = np.empty(len(corpus), dtype=np.int64)  # rank of the window, strands share it
    window[order] = np.cumsum(fresh) - 1
    windows = int(fresh.sum())
    if windows < 2:
        raise InputError(
            f"a corpus of {windows} windows cannot be split",
            expected="at least 2, to train on one and evaluate on the other",
        )
    budget = min(fraction * corpus.offsets[-1], most_tokens)
    kept = int(budget / corpus.offsets[-1] * windows)
    block = window // max(1, min(100, windows // 50, kept // 20))
    tokens = np.bincount(block, np.diff(corpus.offsets))
    drawn = np.random.default_rng((seed, 1)).permutation(len(tokens))
    count = max(1, int(np.searchsorted(np.cumsum(tokens[drawn]), budget, side="right")))
    return np.isin(block, drawn[:count])
