"""Adjacent token pairs, counted exactly, and which of them hold together.

The pair table is dealt out by first token: a part, a range of first tokens, reads the whole corpus
and counts its own rows. Nothing has to be merged, any vocabulary fits in memory a part at a time,
and the counts are the same for any number of parts and workers.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64, UInt8

from ...arrays import GrowingArray
from ...errors import InputError
from ...tokens.special import MAX_VOCAB_SIZE
from ...workers.cluster import Workers
from ..kernels import kernel
from ..vocabulary import SPECIAL
from .sequences import MinedSequences, Shard

PAIR_CELLS = 1 << 26
"""Cells of the pair tables at work on one machine for each gigabyte it may use: 64 MiB, and up to
512 MiB as counts pass 255."""


class StrongPairs(NamedTuple):
    """Adjacent tokens that hold together; the arrays lie on disk."""

    keys: Int64[np.ndarray, "pairs"]
    """``first * vocab_size + second``, ascending."""
    counts: Int64[np.ndarray, "pairs"]
    ratios: Float64[np.ndarray, "pairs"]
    """2 to the power of the PMI."""


class PairRule(NamedTuple):
    """Which pairs are strong, beside the tokens' own counts."""

    min_ratio: float
    min_pair_count: int
    eligible: Bool[np.ndarray, "vocab"]
    """Tokens that may stand in a strong pair."""
    frequency: Float64[np.ndarray, "vocab"]
    pairs_total: int


def strong_pairs(
    sequences: MinedSequences,
    vocab_size: int,
    workers: Workers,
    *,
    min_pmi: float = -np.inf,
    min_pair_count: int = 1,
    min_token_count: int = 1,
) -> StrongPairs:
    """Adjacent pairs with enough PMI and counts (method.md section 3), no special token in them.

    PMI >= min_pmi is tested as ratio >= 2^min_pmi in float64, which is the same on every machine.

    Raises
    ------
    InputError
        If a token is none of the vocabulary's.
    """
    count = partial(_tokens_and_pairs, sequences)
    nothing = np.zeros(MAX_VOCAB_SIZE + 1, dtype=np.int64)
    counts = sum(workers.map(count, sequences.shards(workers.together)), nothing)
    token_counts, foreign, pairs_total = counts[:vocab_size], counts[vocab_size:-1], int(counts[-1])
    if foreign.any():
        raise InputError(
            f"token id {vocab_size + np.flatnonzero(foreign)[0]} in the corpus",
            expected=f"ids below {vocab_size}, the tokens of its tokenizer",
            fix="the corpus is damaged; build it anew",
        )
    eligible = token_counts >= min_token_count
    eligible[:SPECIAL] = False
    frequency = token_counts / max(int(token_counts.sum()), 1)
    rule = PairRule(float(np.exp2(min_pmi)), min_pair_count, eligible, frequency, pairs_total)

    most = workers.share(PAIR_CELLS) // vocab_size
    rows = max(1, min(-(-vocab_size // workers.together), most))
    part = partial(_strong_of_rows, sequences, vocab_size, rows, rule)
    with (
        GrowingArray(None, np.int64) as keys,
        GrowingArray(None, np.int64) as pair_counts,
        GrowingArray(None, np.float64) as ratios,
    ):
        columns = keys, pair_counts, ratios
        for strong in workers.map(part, range(0, vocab_size, rows)):
            for column, values in zip(columns, strong, strict=True):
                column.append(values)
        return StrongPairs(*(column.mapped() for column in columns))


def _tokens_and_pairs(sequences: MinedSequences, shard: Shard) -> Int64[np.ndarray, "ids+1"]:
    """How often each token id stands in a shard; at the end, the number of adjacent pairs."""
    return _count_tokens(*sequences.shard(shard), MAX_VOCAB_SIZE)


def _strong_of_rows(
    sequences: MinedSequences, vocab_size: int, rows: int, rule: PairRule, low: int
) -> tuple[np.ndarray, ...]:
    """Keys, counts and ratios of the strong pairs that start with a token of the rows."""
    high = min(low + rows, vocab_size)
    if not rule.eligible[low:high].any():
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    # One row more takes the pairs that are other parts' work.
    cells = (high - low + 1) * vocab_size
    units, carries = np.zeros(cells, dtype=np.uint8), np.zeros(cells, dtype=np.int64)
    _count_pairs(*sequences, vocab_size, low, high, units, carries)
    return _strong(units, carries, vocab_size, low, high, *rule)


@kernel
def _count_tokens(
    tokens: Int[np.ndarray, "tokens"],
    offsets: Int64[np.ndarray, "sequences+1"],
    keep: Bool[np.ndarray, "sequences"],
    ids: int,
) -> Int64[np.ndarray, "ids+1"]:
    counts = np.zeros(ids + 1, dtype=np.int64)
    for sequence in range(keep.shape[0]):
        if keep[sequence]:
            for i in range(offsets[sequence], offsets[sequence + 1]):
                counts[tokens[i]] += 1
            counts[ids] += max(offsets[sequence + 1] - offsets[sequence] - 1, 0)
    return counts


@kernel
def _count_pairs(
    tokens: Int[np.ndarray, "tokens"],
    offsets: Int64[np.ndarray, "sequences+1"],
    keep: Bool[np.ndarray, "sequences"],
    vocab_size: int,
    low: int,
    high: int,
    units: UInt8[np.ndarray, "cells"],
    carries: Int64[np.ndarray, "cells"],
) -> None:
    """Count the pairs whose first token has a row; all others go to the row after the last.

    A count is ``carries * 256 + units``: one byte a cell stays in the cache as long as most counts
    are small, and the pages of ``carries`` that are never touched take no memory.
    """
    spare = np.uint64(high - low)
    for sequence in range(keep.shape[0]):
        if not keep[sequence]:
            continue
        for i in range(offsets[sequence], offsets[sequence + 1] - 1):
            # A token below ``low`` wraps around and so is beyond the last row too.
            row = np.int64(min(np.uint64(tokens[i] - low), spare))
            cell = row * vocab_size + tokens[i + 1]
            units[cell] += 1
            if units[cell] == 0:
                carries[cell] += 1


@kernel
def _strong(
    units: UInt8[np.ndarray, "cells"],
    carries: Int64[np.ndarray, "cells"],
    vocab_size: int,
    low: int,
    high: int,
    min_ratio: float,
    min_pair_count: int,
    eligible: Bool[np.ndarray, "vocab"],
    frequency: Float64[np.ndarray, "vocab"],
    pairs_total: int,
) -> tuple[Int64[np.ndarray, "pairs"], Int64[np.ndarray, "pairs"], Float64[np.ndarray, "pairs"]]:
    """Keys, counts and ratios of the strong pairs of these rows."""
    keys = np.empty(1 << 12, dtype=np.int64)
    counts = np.empty(1 << 12, dtype=np.int64)
    ratios = np.empty(1 << 12, dtype=np.float64)
    size = 0
    for first in range(low, high):
        if not eligible[first]:
            continue
        row = (first - low) * vocab_size
        if size + vocab_size > keys.shape[0]:
            space = 2 * keys.shape[0] + vocab_size
            keys, counts = _grown(keys, space), _grown(counts, space)
            ratios = _grown(ratios, space)
        for second in range(vocab_size):
            cell = row + second
            if units[cell] == 0 and carries[cell] == 0:
                continue
            count = (carries[cell] << 8) + np.int64(units[cell])
            if count < min_pair_count or not eligible[second]:
                continue
            ratio = (count / pairs_total) / (frequency[first] * frequency[second])
            if ratio >= min_ratio:
                keys[size] = first * vocab_size + second
                counts[size] = count
                ratios[size] = ratio
                size += 1
    return keys[:size].copy(), counts[:size].copy(), ratios[:size].copy()


@kernel
def _grown(array: Int[np.ndarray, "n"], size: int) -> Int[np.ndarray, "size"]:
    wider = np.empty(size, dtype=array.dtype)
    wider[: array.shape[0]] = array
    return wider
