"""A trie of G-grams in flat arrays: one hash probe a token, exact at any length and vocabulary."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int64, UInt64

from .kernels import kernel

FIRST_NODE = 1 << 16
"""A token is its own node (0..65,535); the nodes of two tokens and more are numbered from here."""

PAYLOAD = 0xFFFFFFFF
"""The lower half of a slot's value; the upper half is the child node."""


class Trie(NamedTuple):
    """G-grams by their tokens.

    A node is a prefix of some G-gram. Its slot is found by the hash of ``parent << 16 | token``.
    """

    starts: UInt64[np.ndarray, "words"]
    """Bit filter over hashed first pairs: a clear bit means that no G-gram starts so. It is small
    enough to stay in the cache, and most positions of a sequence end here."""
    slots: Int64[np.ndarray, "slots 2"]
    """Key (0: free) and value: ``child << 32 | G-gram id``; child 0: no G-gram goes on here,
    id 0: none ends here."""


@kernel
def slot_of(slots: Int64[np.ndarray, "slots 2"], key: int) -> np.int64:
    """Index of the slot that holds ``key``, or of the free one where it belongs."""
    mask = slots.shape[0] - 1
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    i = np.int64((mixed ^ (mixed >> np.uint64(32))) & np.uint64(mask))
    while slots[i, 0] != key and slots[i, 0] != 0:
        i = (i + 1) & mask
    return i


@kernel
def _start_bit(starts: UInt64[np.ndarray, "words"], first: int, second: int) -> np.int64:
    mixed = np.uint64((first << 16) | second) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(mixed >> np.uint64(40)) & np.int64(64 * starts.shape[0] - 1)


@kernel
def possible_starts(
    starts: UInt64[np.ndarray, "words"],
    tokens: Int[np.ndarray, "tokens"],
    begin: int,
    end: int,
    firsts: Int64[np.ndarray, "longest+1"],
) -> np.int64:
    """Write the places of a sequence where a G-gram may start, and return their number.

    At other places none does. Without a branch, so that no memory read waits for the one before,
    and nothing is mispredicted: this loop sees every token, what follows only what is left.
    """
    count = np.int64(0)
    for i in range(begin, end - 1):
        bit = _start_bit(starts, tokens[i], tokens[i + 1])
        firsts[count] = i
        count += np.int64((starts[bit >> 6] >> np.uint64(bit & 63)) & np.uint64(1))
    return count


@kernel
def longest(offsets: Int64[np.ndarray, "sequences+1"]) -> int:
    """Tokens of the longest sequence."""
    most = 0
    for sequence in range(offsets.shape[0] - 1):
        most = max(most, offsets[sequence + 1] - offsets[sequence])
    return most


@kernel
def _fill(
    tokens: Int[np.ndarray, "total"],
    offsets: Int64[np.ndarray, "ggrams+1"],
    starts: UInt64[np.ndarray, "words"],
    slots: Int64[np.ndarray, "slots 2"],
) -> None:
    next_node = FIRST_NODE
    for ggram in range(offsets.shape[0] - 1):
        begin, end = offsets[ggram], offsets[ggram + 1]
        bit = _start_bit(starts, tokens[begin], tokens[begin + 1])
        starts[bit >> 6] |= np.uint64(1) << np.uint64(bit & 63)
        node = np.int64(tokens[begin])
        for i in range(begin + 1, end):
            key = (node << 16) | tokens[i]
            slot = slot_of(slots, key)
            slots[slot, 0] = key
            if i + 1 == end:
                slots[slot, 1] |= ggram + 1
            else:
                if slots[slot, 1] >> 32 == 0:
                    slots[slot, 1] |= next_node << 32
                    next_node += 1
                node = slots[slot, 1] >> 32


def build(tokens: Int[np.ndarray, "total"], offsets: Int64[np.ndarray, "ggrams+1"]) -> Trie:
    """Index G-grams, whose ids are 1, 2, ... in the order given. Time and memory O(total)."""
    nodes = len(tokens) - (len(offsets) - 1)
    capacity = _power_of_two(2 * nodes + 2)
    words = min(_power_of_two(len(offsets) // 8), 1 << 18)  # at least 8 bits a G-gram
    trie = Trie(np.zeros(max(words, 16), dtype=np.uint64), np.zeros((capacity, 2), dtype=np.int64))
    _fill(tokens, np.asarray(offsets, dtype=np.int64), *trie)
    return trie


def _power_of_two(least: int) -> int:
    return 1 << max(least - 1, 0).bit_length()
