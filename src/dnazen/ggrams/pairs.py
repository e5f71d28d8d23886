"""Adjacent token pairs, counted exactly, and which of them hold together.

The pair table is shared out by first token: a part, a range of first tokens, reads the whole corpus
and counts its own rows. Nothing has to be merged, any vocabulary fits in memory a part at a time,
and the counts are the same for any number of parts and threads.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64, UInt8
from numba import njit

from .vocabulary import SPECIAL

PAIR_CELLS = 1 << 25
"""Cells of one part's pair table, at most: 32 MiB, and up to 256 MiB as counts pass 255."""


class StrongPairs(NamedTuple):
    """Adjacent tokens that hold together."""

    keys: Int64[np.ndarray, "pairs"]
    """``first * vocab_size + second``, ascending."""
    counts: Int64[np.ndarray, "pairs"]
    ratios: Float64[np.ndarray, "pairs"]
    """2 to the power of the PMI."""


class Spans(NamedTuple):
    """Sequences ``tokens[begin[s]:end[s]]``, ascending; what lies between them is left out."""

    tokens: Int[np.ndarray, "tokens"]
    begin: Int64[np.ndarray, "sequences"]
    end: Int64[np.ndarray, "sequences"]


def strong_pairs(
    spans: Spans,
    vocab_size: int,
    threads: int,
    *,
    min_pmi: float = -np.inf,
    min_pair_count: int = 1,
    min_token_count: int = 1,
) -> StrongPairs:
    """Adjacent pairs with enough PMI and counts (method.md section 3), no special token in them.

    PMI >= min_pmi is asked as ratio >= 2^min_pmi, in float64, which is the same on every machine.
    """
    lengths = spans.end - spans.begin
    tokens_total = int(lengths.sum())
    pairs_total = tokens_total - int(np.count_nonzero(lengths))
    token_counts = _count_tokens(*spans, vocab_size)
    eligible = token_counts >= min_token_count
    eligible[:SPECIAL] = False
    rows = max(1, min(-(-vocab_size // threads), PAIR_CELLS // vocab_size))

    def part(low: int) -> StrongPairs:
        high = min(low + rows, vocab_size)
        if not eligible[low:high].any():
            return StrongPairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
        # One row more than asked takes the pairs that are other parts' business.
        cells = (high - low + 1) * vocab_size
        units, carries = np.zeros(cells, dtype=np.uint8), np.zeros(cells, dtype=np.int64)
        _count_pairs(*spans, vocab_size, low, high, units, carries)
        found = _strong(
            units,
            carries,
            vocab_size,
            low,
            high,
            min_pair_count,
            eligible,
            token_counts / max(tokens_total, 1),
            pairs_total,
            np.exp2(min_pmi),
        )
        return StrongPairs(*found)

    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(part, range(0, vocab_size, rows)))
    return StrongPairs(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


@njit(cache=True, nogil=True)
def _count_tokens(
    tokens: Int[np.ndarray, "tokens"],
    begin: Int64[np.ndarray, "sequences"],
    end: Int64[np.ndarray, "sequences"],
    vocab_size: int,
) -> Int64[np.ndarray, "vocab"]:
    counts = np.zeros(vocab_size, dtype=np.int64)
    for sequence in range(begin.shape[0]):
        for i in range(begin[sequence], end[sequence]):
            counts[tokens[i]] += 1
    return counts


@njit(cache=True, nogil=True)
def _count_pairs(
    tokens: Int[np.ndarray, "tokens"],
    begin: Int64[np.ndarray, "sequences"],
    end: Int64[np.ndarray, "sequences"],
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
    for sequence in range(begin.shape[0]):
        for i in range(begin[sequence], end[sequence] - 1):
            # A token below ``low`` wraps around and so is beyond the last row too.
            row = np.int64(min(np.uint64(tokens[i] - low), spare))
            cell = row * vocab_size + tokens[i + 1]
            units[cell] += 1
            if units[cell] == 0:
                carries[cell] += 1


@njit(cache=True, nogil=True)
def _strong(
    units: UInt8[np.ndarray, "cells"],
    carries: Int64[np.ndarray, "cells"],
    vocab_size: int,
    low: int,
    high: int,
    min_pair_count: int,
    eligible: Bool[np.ndarray, "vocab"],
    frequency: Float64[np.ndarray, "vocab"],
    pairs_total: int,
    min_ratio: float,
) -> tuple[Int64[np.ndarray, "pairs"], Int64[np.ndarray, "pairs"], Float64[np.ndarray, "pairs"]]:
    """Keys, counts and ratios of the strong pairs of these rows."""
    keys = np.empty(1 << 12, dtype=np.int64)
    counts = np.empty(1 << 12, dtype=np.int64)
    ratios = np.empty(1 << 12, dtype=np.float64)
    found = 0
    for first in range(low, high):
        if not eligible[first]:
            continue
        row = (first - low) * vocab_size
        if found + vocab_size > keys.shape[0]:
            size = 2 * keys.shape[0] + vocab_size
            keys, counts, ratios = _grown(keys, size), _grown(counts, size), _grown(ratios, size)
        for second in range(vocab_size):
            cell = row + second
            if units[cell] == 0 and carries[cell] == 0:
                continue
            count = (carries[cell] << 8) + np.int64(units[cell])
            if count < min_pair_count or not eligible[second]:
                continue
            ratio = (count / pairs_total) / (frequency[first] * frequency[second])
            if ratio >= min_ratio:
                keys[found] = first * vocab_size + second
                counts[found] = count
                ratios[found] = ratio
                found += 1
    return keys[:found].copy(), counts[:found].copy(), ratios[:found].copy()


@njit(cache=True, nogil=True)
def _grown(array: Int[np.ndarray, "n"], size: int) -> Int[np.ndarray, "size"]:
    wider = np.empty(size, dtype=array.dtype)
    wider[: array.shape[0]] = array
    return wider
