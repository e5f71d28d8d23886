"""Candidates for G-grams, and how often they stand in a corpus; both exact.

Candidates are dealt out by their first pair: a part, a range of pairs, reads the whole corpus and
counts the pieces that start with them. Most pieces occur once or twice. A first reading counts
them in a sketch, an array of small counters by hash: different pieces may share a counter, so it
never says too little. A second reading counts exactly the pieces whose counter reached
``min_count``. A part whose table would outgrow its memory is halved and read again, the pieces of
one pair by their hash; so memory is bounded, nothing has to be merged, and the result is the same
for any number of parts and workers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int64, UInt64

from ...arrays import GrowingArray
from ...workers.cluster import Workers
from ..kernels import kernel
from ..trie import PAYLOAD, Trie, build, longest, possible_starts, slot_of
from .pairs import StrongPairs
from .sequences import MinedSequences, Shard
from .sightings import HASH_BITS, LEAST_SLOTS, PieceRule, extracted, sighted, sketched

SKETCH_CELLS = 1 << 28
"""Counters of the sketches at work on one machine, for each gigabyte it may use; a byte each."""
TABLE_SLOTS = 1 << 24
"""Slots of the candidate tables at work on one machine, for each gigabyte it may use; 16 bytes
each. A part with more is halved."""
TRIE_TOKENS = 1 << 23
"""Tokens of the candidates whose occurrences are counted in one reading: 256 MiB at most."""


class TokenNGrams(NamedTuple):
    """Token n-grams, one after the other."""

    tokens: Int[np.ndarray, "total"]
    offsets: Int64[np.ndarray, "ggrams+1"]

    def where(self, chosen: Bool[np.ndarray, "ggrams"]) -> TokenNGrams:
        """Some of the n-grams."""
        lengths = np.diff(self.offsets)
        return TokenNGrams(self.tokens[np.repeat(chosen, lengths)], bounds(lengths[chosen]))

    def groups(self, most_tokens: int) -> Iterator[TokenNGrams]:
        """Consecutive groups of n-grams with at most so many tokens, or of a single n-gram."""
        first = 0
        while first + 1 < len(self.offsets):
            end = np.searchsorted(self.offsets, self.offsets[first] + most_tokens, side="right") - 1
            end = max(int(end), first + 1)
            offsets = self.offsets[first : end + 1]
            yield TokenNGrams(self.tokens[offsets[0] : offsets[-1]], offsets - offsets[0])
            first = end


class Limits(NamedTuple):
    """How often a part must sight a piece, and the memory it may use."""

    min_count: int
    cells: int
    most_slots: int


def candidates(
    sequences: MinedSequences,
    pairs: StrongPairs,
    vocab_size: int,
    workers: Workers,
    *,
    max_len: int,
    min_count: int,
    all_ngrams: bool,
) -> TokenNGrams:
    """Pieces of strong runs sighted often enough (method.md section 3, steps 1 and 2), in no order.

    With ``all_ngrams``, all n-grams of the runs are sighted, not only the pieces they are cut into.
    """
    strong, weights = _strong_bits(pairs.keys, pairs.counts, vocab_size)
    pieces = int(weights[-1]) * (max_len - 1 if all_ngrams else 1)  # or fewer
    most_cells = min(max(1 << 16, workers.share(SKETCH_CELLS)), 1 << 32)
    # A sketch says little once it holds far more pieces than it has counters.
    parts = max(workers.together, -(-pieces // (2 * most_cells)))
    cells = 1 << (min(max(1 << 16, pieces // parts), most_cells).bit_length() - 1)
    rule = PieceRule(vocab_size, strong, 0, 0, max_len, all_ngrams)
    slots = 1 << (max(LEAST_SLOTS, workers.share(TABLE_SLOTS)).bit_length() - 1)
    limits = Limits(min_count, cells, slots)
    part = partial(_part, sequences, rule, weights, limits)
    with GrowingArray(None, np.uint16) as tokens, GrowingArray(None, np.uint8) as lengths:
        for grams in workers.map(part, _ranges(weights, parts)):
            tokens.append(grams.tokens)
            lengths.append(np.diff(grams.offsets))
        return TokenNGrams(tokens.mapped(), bounds(lengths.mapped()))


def count_occurrences(
    sequences: MinedSequences, grams: TokenNGrams, workers: Workers
) -> Int64[np.ndarray, "ggrams"]:
    """How often each n-gram stands in the sequences, overlapping occurrences included."""
    shards = sequences.shards(workers.together)
    counted = [np.zeros(0, dtype=np.int64)]
    for group in grams.groups(TRIE_TOKENS):
        part = partial(_occurrences, sequences, build(*group), len(group.offsets))
        total = np.zeros(len(group.offsets), dtype=np.int64)
        for counts in workers.map(part, shards):
            total += counts
        counted.append(total[1:])
    return np.concatenate(counted)


def bounds(lengths: Int[np.ndarray, "n"] | Sequence[int]) -> Int64[np.ndarray, "n+1"]:
    """Where the pieces of these lengths start and end, put one after the other."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def _ranges(weights: Int64[np.ndarray, "vocab+1"], parts: int) -> list[tuple[int, int]]:
    """Ranges of keys, at first tokens and of about even weights, that make the whole."""
    size = len(weights) - 1
    even = np.searchsorted(weights, np.linspace(0, weights[-1], parts + 1)[1:-1])
    marks = [(int(token) * size) << HASH_BITS for token in np.unique([0, *even, size])]
    return list(itertools.pairwise(marks))


def _part(
    sequences: MinedSequences,
    rule: PieceRule,
    weights: Int64[np.ndarray, "vocab+1"],
    limits: Limits,
    keys: tuple[int, int],
) -> TokenNGrams:
    """The candidates whose keys are in a range; it is halved as long as its table is too large."""
    low, high = keys
    rule = rule._replace(low=low, high=high)
    sketch = sketched(*sequences, rule, limits.cells)
    # Pieces of one and the same key are one, or a chance collision or two of 30 bits.
    most_slots = limits.most_slots if high - low > 1 else 1 << 40
    slots = sighted(*sequences, rule, sketch, limits.min_count, most_slots)
    if len(slots):
        return TokenNGrams(*extracted(slots, limits.min_count))
    del sketch
    middle = _middle(low, high, weights)
    halves = [
        _part(sequences, rule, weights, limits, half) for half in ((low, middle), (middle, high))
    ]
    lengths = np.concatenate([np.diff(half.offsets) for half in halves])
    return TokenNGrams(np.concatenate([half.tokens for half in halves]), bounds(lengths))


def _middle(low: int, high: int, weights: Int64[np.ndarray, "vocab+1"]) -> int:
    """Where to halve a range of keys: by weight between first tokens, else in the middle."""
    size = len(weights) - 1
    first, last = (low >> HASH_BITS) // size, ((high - 1) >> HASH_BITS) // size
    if first == last:
        return (low + high) // 2
    half = (int(weights[first]) + int(weights[last + 1])) / 2
    token = min(max(first + 1, int(np.searchsorted(weights, half))), last)
    return (token * size) << HASH_BITS


def _occurrences(
    sequences: MinedSequences, trie: Trie, ids: int, shard: Shard
) -> Int64[np.ndarray, "ggrams+1"]:
    """Occurrences in a shard, by G-gram id."""
    counts = np.zeros(ids, dtype=np.int64)
    _count_ggrams(*sequences.shard(shard), *trie, counts)
    return counts


@kernel
def _strong_bits(
    keys: Int64[np.ndarray, "pairs"], counts: Int64[np.ndarray, "pairs"], vocab_size: int
) -> tuple[UInt64[np.ndarray, "words"], Int64[np.ndarray, "vocab+1"]]:
    """A bit for each pair key; and how often strong pairs with a lesser first token stand."""
    strong = np.zeros((vocab_size * vocab_size + 63) // 64, dtype=np.uint64)
    weights = np.zeros(vocab_size + 1, dtype=np.int64)
    for i in range(keys.shape[0]):
        strong[keys[i] >> 6] |= np.uint64(1) << np.uint64(keys[i] & 63)
        weights[keys[i] // vocab_size + 1] += counts[i]
    return strong, np.cumsum(weights)


@kernel
def _count_ggrams(
    tokens: Int[np.ndarray, "tokens"],
    offsets: Int64[np.ndarray, "sequences+1"],
    keep: Bool[np.ndarray, "sequences"],
    starts: UInt64[np.ndarray, "words"],
    slots: Int64[np.ndarray, "slots 2"],
    counts: Int64[np.ndarray, "ggrams+1"],
) -> None:
    """Add every occurrence to ``counts``, by G-gram id."""
    firsts = np.empty(longest(offsets) + 1, dtype=np.int64)
    for sequence in range(keep.shape[0]):
        if not keep[sequence]:
            continue
        end = offsets[sequence + 1]
        for k in range(possible_starts(starts, tokens, offsets[sequence], end, firsts)):
            first = firsts[k]
            node = np.int64(tokens[first])
            for i in range(first + 1, end):
                value = slots[slot_of(slots, (node << 16) | tokens[i]), 1]
                if value & PAYLOAD:
                    counts[value & PAYLOAD] += 1
                node = value >> 32
                if node == 0:
                    break
