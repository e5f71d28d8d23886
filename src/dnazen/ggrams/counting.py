"""Exact counts over a corpus: adjacent pairs, the pieces of strong runs, G-gram occurrences.

Pairs and candidates are shared out by first token. A part, a range of first tokens, reads the whole
corpus and counts what starts with its tokens: so nothing has to be merged, results are the same for
any number of threads, and a part that would outgrow its memory is halved and counted again.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int, Int64, UInt64
from numba import njit

from .trie import FIRST_NODE, PAYLOAD, build, may_start, slot_of
from .vocabulary import MAX_LENGTH, SPECIAL

PAIR_CELLS = 1 << 25
"""Cells of one part's pair table, 4 bytes each (8 from 2^32 tokens on), at most."""
TABLE_SLOTS = 1 << 24
"""Slots of one part's candidate table, 16 bytes each, at most; a fuller part is halved."""
MOST_SIGHTINGS = (1 << 31) - 1
"""Sightings stop counting here; only whether they reach ``min_count`` is asked."""


class GramTokens(NamedTuple):
    """Token n-grams, one after the other."""

    tokens: Int[np.ndarray, "total"]
    offsets: Int64[np.ndarray, "ggrams+1"]


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
    pairs_total = tokens_total - np.count_nonzero(lengths)
    token_counts = _count_tokens(*spans, vocab_size)
    eligible = token_counts >= min_token_count
    eligible[:SPECIAL] = False
    kind = np.uint32 if tokens_total < 1 << 32 else np.int64
    rows = max(1, min(-(-vocab_size // threads), PAIR_CELLS // vocab_size))

    def part(low: int) -> StrongPairs:
        high = min(low + rows, vocab_size)
        if not eligible[low:high].any():
            return StrongPairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
        # One row more than asked takes the pairs that are other parts' business.
        table = np.zeros((high - low + 1, vocab_size), dtype=kind)
        _count_pairs(*spans, low, table)
        cells = np.flatnonzero(table[:-1] >= min_pair_count)
        first, second = np.divmod(cells, vocab_size)
        first += low
        kept = eligible[first] & eligible[second]
        first, second, cells = first[kept], second[kept], cells[kept]
        counts = table.reshape(-1)[cells].astype(np.int64)
        expected = (token_counts[first] / tokens_total) * (token_counts[second] / tokens_total)
        ratios = (counts / pairs_total) / expected
        strong = ratios >= np.exp2(min_pmi)
        keys = first * vocab_size + second
        return StrongPairs(keys[strong], counts[strong], ratios[strong])

    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(part, range(0, vocab_size, rows)))
    return StrongPairs(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def count_occurrences(
    spans: Spans,
    ggram_tokens: Int[np.ndarray, "total"],
    ggram_offsets: Int64[np.ndarray, "ggrams+1"],
    threads: int,
) -> Int64[np.ndarray, "ggrams"]:
    """How often each G-gram stands in the sequences, overlapping occurrences included."""
    trie = build(ggram_tokens, ggram_offsets)
    # Cut between sequences, at about even shares of the tokens.
    last = spans.end[-1] if len(spans.end) else 0
    cuts = np.searchsorted(spans.end, np.linspace(0, last, threads + 1)[1:-1])
    cuts = np.concatenate([[0], cuts, [len(spans.end)]])

    def part(shard: int) -> Int64[np.ndarray, "ggrams+1"]:
        counts = np.zeros(len(ggram_offsets), dtype=np.int64)
        sequences = slice(cuts[shard], cuts[shard + 1])
        _count_ggrams(spans.tokens, spans.begin[sequences], spans.end[sequences], *trie, counts)
        return counts

    with ThreadPoolExecutor(threads) as pool:
        shards = list(pool.map(part, range(threads)))
    total: Int64[np.ndarray, "ggrams+1"] = np.sum(shards, axis=0)
    return total[1:]


def candidates(
    spans: Spans,
    pairs: StrongPairs,
    vocab_size: int,
    threads: int,
    *,
    max_len: int,
    min_count: int,
    every: bool,
) -> GramTokens:
    """Pieces of strong runs sighted often enough (method.md section 3, steps 1 and 2), in no order.

    With ``every``, all stretches of the runs are sighted, not only the pieces they are cut into.
    """
    size = vocab_size
    strong = np.zeros(-(-size * size // 64), dtype=np.uint64)
    np.bitwise_or.at(strong, pairs.keys >> 6, np.uint64(1) << (pairs.keys & 63).astype(np.uint64))
    weight = np.cumsum(np.bincount(pairs.keys // size, weights=pairs.counts, minlength=size))

    def part(low: int, high: int) -> list[GramTokens]:
        slots = _sight(
            *spans,
            size,
            strong,
            low,
            high,
            max_len,
            every,
            TABLE_SLOTS if high - low > 1 else 1 << 62,
        )
        if len(slots):
            return [GramTokens(*_extract(slots, min_count))]
        half = (weight[low] + weight[high - 1]) / 2
        middle = min(max(low + 1, int(np.searchsorted(weight, half))), high - 1)
        return part(low, middle) + part(middle, high)

    shares = np.linspace(0, weight[-1], threads + 1)[1:-1]
    cuts = np.unique([0, *np.searchsorted(weight, shares), size])
    with ThreadPoolExecutor(threads) as pool:
        found = [g for gs in pool.map(part, cuts[:-1].tolist(), cuts[1:].tolist()) for g in gs]
    lengths = np.concatenate([np.diff(offsets) for _, offsets in found])
    return GramTokens(np.concatenate([tokens for tokens, _ in found]), bounds(lengths))


def bounds(lengths: Int[np.ndarray, "n"] | Sequence[int]) -> Int64[np.ndarray, "n+1"]:
    """Where the pieces of these lengths start and end, put one after the other."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


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
    low: int,
    table: Int[np.ndarray, "rows+1 vocab"],
) -> None:
    """Add up the pairs whose first token has a row; all others go to the last row."""
    spare = np.uint64(table.shape[0] - 1)
    for sequence in range(begin.shape[0]):
        for i in range(begin[sequence], end[sequence] - 1):
            # A token below ``low`` wraps around and so is beyond the last row too.
            row = min(np.uint64(tokens[i] - low), spare)
            table[row, tokens[i + 1]] += 1


@njit(cache=True, nogil=True)
def _sight(
    tokens: Int[np.ndarray, "tokens"],
    begin: Int64[np.ndarray, "sequences"],
    end: Int64[np.ndarray, "sequences"],
    vocab_size: int,
    strong: UInt64[np.ndarray, "words"],
    low: int,
    high: int,
    max_len: int,
    every: bool,
    most_slots: int,
) -> Int64[np.ndarray, "slots 2"]:
    """Sightings of the pieces that start with a token of ``low..high - 1``, as a trie's slots.

    The slots are those of ``trie.Trie``, with sightings in the place of G-gram ids. Empty when
    they would be more than ``most_slots``. With ``every``, each stretch of a run is sighted.
    """
    slots = np.zeros((1 << 12, 2), dtype=np.int64)
    used, next_node = 0, FIRST_NODE
    for sequence in range(begin.shape[0]):
        start, beyond = begin[sequence], end[sequence]
        while start < beyond - 1:
            # A run of strong pairs is tokens[start:stop]; alone, a token is a run of one.
            stop = start + 1
            while stop < beyond:
                pair = tokens[stop - 1] * vocab_size + tokens[stop]
                if (strong[pair >> 6] >> np.uint64(pair & 63)) & np.uint64(1) == 0:
                    break
                stop += 1
            for first in range(start, stop - 1, 1 if every else max_len):
                if tokens[first] < low or tokens[first] >= high:
                    continue
                if 2 * (used + max_len) > slots.shape[0]:
                    if 2 * slots.shape[0] > most_slots:
                        return np.zeros((0, 2), dtype=np.int64)
                    slots = _doubled(slots)
                node = np.int64(tokens[first])
                last = min(first + max_len, stop) - 1
                for i in range(first + 1, last + 1):
                    key = (node << 16) | tokens[i]
                    slot = slot_of(slots, key)
                    if slots[slot, 0] == 0:
                        slots[slot, 0] = key
                        used += 1
                    value = slots[slot, 1]
                    if (every or i == last) and value & PAYLOAD < MOST_SIGHTINGS:
                        value += 1
                    if i < last and value >> 32 == 0:
                        value |= next_node << 32
                        next_node += 1
                    slots[slot, 1] = value
                    node = value >> 32
            start = stop
    return slots


@njit(cache=True, nogil=True)
def _doubled(slots: Int64[np.ndarray, "slots 2"]) -> Int64[np.ndarray, "slots*2 2"]:
    wider = np.zeros((2 * slots.shape[0], 2), dtype=np.int64)
    for i in range(slots.shape[0]):
        if slots[i, 0] != 0:
            wider[slot_of(wider, slots[i, 0])] = slots[i]
    return wider


@njit(cache=True, nogil=True)
def _extract(
    slots: Int64[np.ndarray, "slots 2"], min_count: int
) -> tuple[Int64[np.ndarray, "total"], Int64[np.ndarray, "ggrams+1"]]:
    """Tokens and offsets of the candidates with enough sightings."""
    nodes, found = 0, 0
    for i in range(slots.shape[0]):
        nodes = max(nodes, (slots[i, 1] >> 32) - FIRST_NODE + 1)
        found += slots[i, 1] & PAYLOAD >= min_count
    reached_by = np.zeros(nodes, dtype=np.int64)  # the key that leads to each node
    for i in range(slots.shape[0]):
        if slots[i, 1] >> 32:
            reached_by[(slots[i, 1] >> 32) - FIRST_NODE] = slots[i, 0]

    tokens = np.empty(found * MAX_LENGTH, dtype=np.int64)
    offsets = np.zeros(found + 1, dtype=np.int64)
    found, end = 0, 0
    for i in range(slots.shape[0]):
        if slots[i, 1] & PAYLOAD >= min_count:
            begin = end
            key = slots[i, 0]
            while key >> 16 >= FIRST_NODE:
                tokens[end] = key & 0xFFFF
                end += 1
                key = reached_by[(key >> 16) - FIRST_NODE]
            tokens[end] = key & 0xFFFF
            tokens[end + 1] = key >> 16
            end += 2
            tokens[begin:end] = tokens[begin:end][::-1].copy()
            found += 1
            offsets[found] = end
    return tokens[:end].copy(), offsets


@njit(cache=True, nogil=True)
def _count_ggrams(
    tokens: Int[np.ndarray, "tokens"],
    begin: Int64[np.ndarray, "sequences"],
    end: Int64[np.ndarray, "sequences"],
    starts: UInt64[np.ndarray, "words"],
    slots: Int64[np.ndarray, "slots 2"],
    counts: Int64[np.ndarray, "ggrams+1"],
) -> None:
    """Add every occurrence to ``counts``, by G-gram id."""
    for sequence in range(begin.shape[0]):
        for first in range(begin[sequence], end[sequence] - 1):
            if not may_start(starts, tokens[first], tokens[first + 1]):
                continue
            node = np.int64(tokens[first])
            for i in range(first + 1, end[sequence]):
                value = slots[slot_of(slots, (node << 16) | tokens[i]), 1]
                if value & PAYLOAD:
                    counts[value & PAYLOAD] += 1
                node = value >> 32
                if node == 0:
                    break
