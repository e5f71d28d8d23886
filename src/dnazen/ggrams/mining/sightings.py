"""The inner loops of sighting: the pieces of strong runs, sketched, then counted exactly.

The *key* of a piece is that of its first pair, then 30 bits of its hash. A range of keys can be
halved until one piece is left in it, so any part of the work can be made as small as it must be.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int64, UInt8, UInt16, UInt64

from ..kernels import kernel
from ..settings import MAX_LENGTH, MOST_SIGHTINGS
from ..trie import FIRST_NODE, PAYLOAD, longest, slot_of

HASH_BITS = 30
"""Bits of a piece's key below that of its first pair."""

LEAST_SLOTS = 64
"""A table that holds any one piece."""


class PieceRule(NamedTuple):
    """How sequences are cut into pieces, and which pieces count."""

    vocab_size: int
    strong: UInt64[np.ndarray, "words"]
    """A bit for each pair key: whether the pair is strong."""
    low: int
    """The least key of a piece that counts."""
    high: int
    """Pieces with this key or a greater one do not count."""
    max_len: int
    all_ngrams: bool
    """All n-grams of a run are pieces, not only those it is cut into."""


@kernel
def sketched(
    tokens: Int[np.ndarray, "tokens"],
    offsets: Int64[np.ndarray, "sequences+1"],
    keep: Bool[np.ndarray, "sequences"],
    rule: PieceRule,
    cells: int,
) -> UInt8[np.ndarray, "cells"]:
    """Count the pieces by hash, up to 255; ``cells`` is a power of two."""
    sketch = np.zeros(cells, dtype=np.uint8)
    room = _room(offsets, rule)
    for sequence in range(keep.shape[0]):
        if keep[sequence]:
            pieces = _pieces(tokens, offsets[sequence], offsets[sequence + 1], rule, *room)
            for piece in range(pieces):
                cell = _cell(room[4][piece], sketch)
                sketch[cell] += sketch[cell] < 255
    return sketch


@kernel
def sighted(
    tokens: Int[np.ndarray, "tokens"],
    offsets: Int64[np.ndarray, "sequences+1"],
    keep: Bool[np.ndarray, "sequences"],
    rule: PieceRule,
    sketch: UInt8[np.ndarray, "cells"],
    min_count: int,
    most_slots: int,
) -> Int64[np.ndarray, "slots 2"]:
    """Sightings of the pieces that the sketch calls frequent, as a trie's slots.

    The slots are those of ``trie.Trie``, with sightings in the place of G-gram ids. Empty when
    they would be more than ``most_slots``, a power of two and at least ``LEAST_SLOTS``.
    """
    slots = np.zeros((min(1 << 12, most_slots), 2), dtype=np.int64)
    used, next_node = 0, FIRST_NODE
    min_sketched = min(min_count, 255)
    room = _room(offsets, rule)
    first, last, hashed = room[2], room[3], room[4]
    frequent = np.empty(first.shape[0] + 1, dtype=np.int64)
    for sequence in range(keep.shape[0]):
        if not keep[sequence]:
            continue
        pieces = _pieces(tokens, offsets[sequence], offsets[sequence + 1], rule, *room)
        chosen = np.int64(0)
        for piece in range(pieces):  # no branch: the reads of the sketch overlap
            frequent[chosen] = piece
            chosen += np.int64(sketch[_cell(hashed[piece], sketch)] >= min_sketched)
        begun, slot = np.int64(-1), np.int64(0)
        for k in range(chosen):
            piece = frequent[k]
            if 2 * (used + MAX_LENGTH) > slots.shape[0]:
                if 2 * slots.shape[0] > most_slots:
                    return np.zeros((0, 2), dtype=np.int64)
                slots = _doubled(slots)
                begun = np.int64(-1)
            # An n-gram goes on where the one before, with the same start, ended.
            at = last[frequent[k - 1]] + 1 if first[piece] == begun else first[piece] + 1
            node = np.int64(tokens[first[piece]])
            for i in range(at, last[piece] + 1):
                if i > first[piece] + 1:
                    node = slots[slot, 1] >> 32
                    if node == 0:
                        node = np.int64(next_node)
                        slots[slot, 1] |= node << 32
                        next_node += 1
                key = (node << 16) | tokens[i]
                slot = slot_of(slots, key)
                if slots[slot, 0] == 0:
                    slots[slot, 0] = key
                    used += 1
            if slots[slot, 1] & PAYLOAD < MOST_SIGHTINGS:
                slots[slot, 1] += 1
            begun = first[piece]
    return slots


@kernel
def extracted(
    slots: Int64[np.ndarray, "slots 2"], min_count: int
) -> tuple[UInt16[np.ndarray, "total"], Int64[np.ndarray, "ggrams+1"]]:
    """Tokens and offsets of the candidates with enough sightings."""
    nodes, candidates = 0, 0
    for i in range(slots.shape[0]):
        nodes = max(nodes, (slots[i, 1] >> 32) - FIRST_NODE + 1)
        candidates += slots[i, 1] & PAYLOAD >= min_count
    reached_by = np.zeros(nodes, dtype=np.int64)  # the key that leads to each node
    for i in range(slots.shape[0]):
        if slots[i, 1] >> 32:
            reached_by[(slots[i, 1] >> 32) - FIRST_NODE] = slots[i, 0]

    tokens = np.empty(candidates * MAX_LENGTH, dtype=np.uint16)
    offsets = np.zeros(candidates + 1, dtype=np.int64)
    number, end = 0, 0
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
            number += 1
            offsets[number] = end
    return tokens[:end].copy(), offsets


@kernel
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


@kernel
def _room(
    offsets: Int64[np.ndarray, "sequences+1"], rule: PieceRule
) -> tuple[Int64[np.ndarray, "n"], ...]:
    """Space for the runs and the pieces of any of the sequences."""
    most = longest(offsets) + 1
    pieces = most * (rule.max_len if rule.all_ngrams else 1)
    return (
        np.empty(most, dtype=np.int64),
        np.empty(most, dtype=np.int64),
        np.empty(pieces, dtype=np.int64),
        np.empty(pieces, dtype=np.int64),
        np.empty(pieces, dtype=np.uint64),
    )


@kernel
def _pieces(
    tokens: Int[np.ndarray, "tokens"],
    begin: int,
    end: int,
    rule: PieceRule,
    starts: Int64[np.ndarray, "longest"],
    stops: Int64[np.ndarray, "longest"],
    first: Int64[np.ndarray, "pieces"],
    last: Int64[np.ndarray, "pieces"],
    hashed: UInt64[np.ndarray, "pieces"],
) -> np.int64:
    """Write first and last token and the hash of the pieces that count; return their number."""
    pieces = np.int64(0)
    step = 1 if rule.all_ngrams else rule.max_len
    low, high = rule.low >> HASH_BITS, (rule.high - 1) >> HASH_BITS
    runs = _runs(tokens, begin, end, rule.vocab_size, rule.strong, starts, stops)
    for run in range(runs):
        start, stop = starts[run], stops[run]
        while start + 1 < stop:
            pair = np.int64(tokens[start]) * rule.vocab_size + np.int64(tokens[start + 1])
            if low <= pair <= high:
                till = min(start + rule.max_len, stop)
                code = _hashed(np.uint64(0), tokens[start])
                for i in range(start + 1, till):
                    code = _hashed(code, tokens[i])
                    if rule.all_ngrams or i + 1 == till:
                        first[pieces], last[pieces], hashed[pieces] = start, i, code
                        key = (pair << HASH_BITS) | np.int64(
                            _spread(code) >> np.uint64(64 - HASH_BITS)
                        )
                        pieces += np.int64(rule.low <= key < rule.high)
            start += step
    return pieces


@kernel
def _hashed(hashed: np.uint64, token: int) -> np.uint64:
    """The hash of a piece from that of all its tokens but the last."""
    return (hashed ^ np.uint64(token)) * np.uint64(0x9E3779B97F4A7C15)


@kernel
def _spread(hashed: np.uint64) -> np.uint64:
    """A second hash, so that the pieces of a narrow range of keys still fill a whole sketch."""
    return (hashed ^ (hashed >> np.uint64(32))) * np.uint64(0xD6E8FEB86659FD93)


@kernel
def _cell(hashed: np.uint64, sketch: UInt8[np.ndarray, "cells"]) -> np.int64:
    return np.int64(hashed >> np.uint64(32)) & np.int64(sketch.shape[0] - 1)


@kernel
def _doubled(slots: Int64[np.ndarray, "slots 2"]) -> Int64[np.ndarray, "slots*2 2"]:
    wider = np.zeros((2 * slots.shape[0], 2), dtype=np.int64)
    for i in range(slots.shape[0]):
        if slots[i, 0] != 0:
            wider[slot_of(wider, slots[i, 0])] = slots[i]
    return wider
