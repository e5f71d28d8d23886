"""Candidates for G-grams, and how often they stand in a corpus; both exact.

Candidates are shared out by first token: a part, a range of first tokens, reads the whole corpus
and counts the pieces that start with its tokens. Most pieces occur once or twice. A first reading
counts them in a sketch, an array of small counters by hash: different pieces may share a counter,
so it never says too little. A second reading counts exactly the pieces whose counter reached
``min_count``. A part whose table would outgrow its memory is halved and read again; so memory is
bounded, nothing has to be merged, and the result is the same for any number of parts and threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int64, UInt8, UInt64
from numba import njit

from .pairs import Spans, StrongPairs
from .trie import FIRST_NODE, PAYLOAD, build, longest, possible_starts, slot_of
from .vocabulary import MAX_LENGTH

SKETCH_CELLS = 1 << 28
"""Counters of all sketches together, one byte each, at most."""
TABLE_SLOTS = 1 << 24
"""Slots of one part's candidate table, 16 bytes each, at most; a fuller part is halved."""
MOST_SIGHTINGS = (1 << 31) - 1
"""Sightings stop counting here; only whether they reach ``min_count`` is asked."""


class GramTokens(NamedTuple):
    """Token n-grams, one after the other."""

    tokens: Int[np.ndarray, "total"]
    offsets: Int64[np.ndarray, "ggrams+1"]


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

    # A counter for every second token, or for each of its stretches: more than there are pieces.
    wanted = len(spans.tokens) * (max_len if every else 1) // (2 * threads)
    cells = 1 << min(max(16, wanted.bit_length()), (SKETCH_CELLS // threads).bit_length() - 1)

    def part(low: int, high: int, cells: int) -> list[GramTokens]:
        sketch = np.zeros(cells, dtype=np.uint8)
        reading = (*spans, size, strong, low, high, max_len, every, sketch)
        _sketch(*reading)
        most_slots = TABLE_SLOTS if high - low > 1 else 1 << 62
        slots = _sight(*reading, min(min_count, 255), most_slots)
        if len(slots):
            return [GramTokens(*_extract(slots, min_count))]
        half = (weight[low] + weight[high - 1]) / 2
        middle = min(max(low + 1, int(np.searchsorted(weight, half))), high - 1)
        return part(low, middle, cells) + part(middle, high, cells)

    shares = np.linspace(0, weight[-1], threads + 1)[1:-1]
    cuts = np.unique([0, *np.searchsorted(weight, shares), size])
    with ThreadPoolExecutor(threads) as pool:
        found = [
            grams
            for part_grams in pool.map(part, cuts[:-1].tolist(), cuts[1:].tolist(), repeat(cells))
            for grams in part_grams
        ]
    lengths = np.concatenate([np.diff(offsets) for _, offsets in found])
    return GramTokens(np.concatenate([tokens for tokens, _ in found]), bounds(lengths))


def count_occurrences(spans: Spans, grams: GramTokens, threads: int) -> Int64[np.ndarray, "ggrams"]:
    """How often each G-gram stands in the sequences, overlapping occurrences included."""
    trie = build(*grams)
    # Cut between sequences, at about even shares of the tokens.
    last = spans.end[-1] if len(spans.end) else 0
    cuts = np.searchsorted(spans.end, np.linspace(0, last, threads + 1)[1:-1])
    cuts = np.concatenate([[0], cuts, [len(spans.end)]])

    def part(shard: int) -> Int64[np.ndarray, "ggrams+1"]:
        counts = np.zeros(len(grams.offsets), dtype=np.int64)
        sequences = slice(cuts[shard], cuts[shard + 1])
        _count_ggrams(spans.tokens, spans.begin[sequences], spans.end[sequences], *trie, counts)
        return counts

    with ThreadPoolExecutor(threads) as pool:
        shards = list(pool.map(part, range(threads)))
    total: Int64[np.ndarray, "ggrams+1"] = np.sum(shards, axis=0)
    return total[1:]


def bounds(lengths: Int[np.ndarray, "n"] | Sequence[int]) -> Int64[np.ndarray, "n+1"]:
    """Where the pieces of these lengths start and end, put one after the other."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


@njit(cache=True, nogil=True)
def _runs(
    tokens: Int[np.ndarray, "tokens"],
    begin: int,
    end: int,
    vocab_size: int,
    strong: UInt64[np.ndarray, "words"],
    starts: Int64[np.ndarray, "longest"],
    stops: Int64[np.ndarray, "longest"],
) -> np.int64:
    """Write start and end of each run of strong pairs of a sequence, and return their number.

    Without a branch, so that no memory read waits for the one before, and nothing is mispredicted:
    this loop sees every token, the loops over runs only what is left.
    """
    started, stopped = np.int64(0), np.int64(0)
    before = np.uint64(0)
    for i in range(begin, end - 1):
        pair = tokens[i] * vocab_size + tokens[i + 1]
        now = (strong[pair >> 6] >> np.uint64(pair & 63)) & np.uint64(1)
        starts[started] = i
        stops[stopped] = i + 1
        started += np.int64(now & ~before)
        stopped += np.int64(before & ~now)
        before = now
    stops[stopped] = end
    return started


@njit(cache=True, nogil=True)
def _hashed(hashed: np.uint64, token: int) -> np.uint64:
    """The hash of a piece from that of all its tokens but the last."""
    return (hashed ^ np.uint64(token)) * np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def _cell(hashed: np.uint64, sketch: UInt8[np.ndarray, "cells"]) -> np.int64:
    return np.int64(hashed >> np.uint64(32)) & np.int64(sketch.shape[0] - 1)


@njit(cache=True, nogil=True)
def _sketch(
    tokens: Int[np.ndarray, "tokens"],
    begin: Int64[np.ndarray, "sequences"],
    end: Int64[np.ndarray, "sequences"],
    vocab_size: int,
    strong: UInt64[np.ndarray, "words"],
    low: int,
    high: int,
    max_len: int,
    every: bool,
    sketch: UInt8[np.ndarray, "cells"],
) -> None:
    """Count the pieces that start with a token of ``low..high - 1`` by hash, up to 255."""
    step = 1 if every else max_len
    starts = np.empty(longest(begin, end) + 1, dtype=np.int64)
    stops = np.empty_like(starts)
    for sequence in range(begin.shape[0]):
        runs = _runs(tokens, begin[sequence], end[sequence], vocab_size, strong, starts, stops)
        for run in range(runs):
            first, stop = starts[run] - step, stops[run]
            while first + step < stop - 1:
                first += step
                if tokens[first] < low or tokens[first] >= high:
                    continue
                last = min(first + max_len, stop) - 1
                hashed = _hashed(np.uint64(0), tokens[first])
                for i in range(first + 1, last + 1):
                    hashed = _hashed(hashed, tokens[i])
                    if every or i == last:
                        cell = _cell(hashed, sketch)
                        sketch[cell] += sketch[cell] < 255


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
    sketch: UInt8[np.ndarray, "cells"],
    min_sketched: int,
    most_slots: int,
) -> Int64[np.ndarray, "slots 2"]:
    """Sightings of the pieces whose sketch counter reached ``min_sketched``, as a trie's slots.

    The slots are those of ``trie.Trie``, with sightings in the place of G-gram ids. Empty when
    they would be more than ``most_slots``. With ``every``, each stretch of a run is a piece.
    """
    slots = np.zeros((1 << 12, 2), dtype=np.int64)
    used, next_node = 0, FIRST_NODE
    step = 1 if every else max_len
    starts = np.empty(longest(begin, end) + 1, dtype=np.int64)
    stops = np.empty_like(starts)
    for sequence in range(begin.shape[0]):
        runs = _runs(tokens, begin[sequence], end[sequence], vocab_size, strong, starts, stops)
        for run in range(runs):
            first, stop = starts[run] - step, stops[run]
            while first + step < stop - 1:
                first += step
                if tokens[first] < low or tokens[first] >= high:
                    continue
                last = min(first + max_len, stop) - 1
                # The longest stretch to sight: all of a piece or nothing; with ``every``, no
                # further than the first rare one, as those that it starts are rarer still.
                hashed = _hashed(np.uint64(0), tokens[first])
                common = first
                for i in range(first + 1, last + 1):
                    hashed = _hashed(hashed, tokens[i])
                    if every or i == last:
                        if sketch[_cell(hashed, sketch)] < min_sketched:
                            break
                        common = i
                if 2 * (used + max_len) > slots.shape[0]:
                    if 2 * slots.shape[0] > most_slots:
                        return np.zeros((0, 2), dtype=np.int64)
                    slots = _doubled(slots)
                node = np.int64(tokens[first])
                for i in range(first + 1, common + 1):
                    key = (node << 16) | tokens[i]
                    slot = slot_of(slots, key)
                    if slots[slot, 0] == 0:
                        slots[slot, 0] = key
                        used += 1
                    value = slots[slot, 1]
                    if (every or i == last) and value & PAYLOAD < MOST_SIGHTINGS:
                        value += 1
                    if i < common and value >> 32 == 0:
                        value |= next_node << 32
                        next_node += 1
                    slots[slot, 1] = value
                    node = value >> 32
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
    firsts = np.empty(longest(begin, end) + 1, dtype=np.int64)
    for sequence in range(begin.shape[0]):
        for k in range(possible_starts(starts, tokens, begin[sequence], end[sequence], firsts)):
            first = firsts[k]
            node = np.int64(tokens[first])
            for i in range(first + 1, end[sequence]):
                value = slots[slot_of(slots, (node << 16) | tokens[i]), 1]
                if value & PAYLOAD:
                    counts[value & PAYLOAD] += 1
                node = value >> 32
                if node == 0:
                    break
