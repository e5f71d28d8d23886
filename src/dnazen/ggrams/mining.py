"""G-gram mining: token runs held together by pointwise mutual information, counted exactly.

Pairs and candidates are shared out by first token. A part, a range of first tokens, reads the whole
corpus and counts what starts with its tokens: so nothing has to be merged, results are the same for
any number of threads, and a part that would outgrow its memory is halved and counted again.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64, Int, Int64
from numba import njit

from ..errors import ConfigError
from .trie import FIRST_NODE, build, may_start, slot_of
from .vocabulary import MAX_LENGTH, SPECIAL_TOKENS, padded

Method = Literal["pmi", "frequency", "random", "shuffled"]

PAIR_CELLS = 1 << 25
"""Cells of one part's pair table, 4 bytes each (8 from 2^32 tokens on), at most."""
TABLE_SLOTS = 1 << 24
"""Slots of one part's candidate table, 16 bytes each, at most; a fuller part is halved."""


_MOST_SIGHTINGS = (1 << 31) - 1  # sightings stop counting here; only ">= min_count" is asked


@dataclass(frozen=True, kw_only=True)
class MiningConfig:
    """What makes a G-gram (method.md section 3)."""

    min_pmi: float = 1.0
    """Least PMI of a strong pair, in bits."""
    min_pair_count: int = 5
    """Least count of a strong pair."""
    min_token_count: int = 5
    """Least count of each token of a strong pair."""
    min_count: int = 5
    """Least count of a G-gram."""
    max_len: int = 5
    """Longest G-gram in tokens, 2 to 16."""
    max_size: int | None = None
    """Keep at most this many G-grams, the most frequent; None keeps all."""
    method: Method = "pmi"
    """``pmi`` mines; the others are its controls: ``frequency`` takes all token n-grams by count,
    ``random`` n-grams drawn from the corpus with the mined lengths, ``shuffled`` the mined
    G-grams with their tokens permuted."""
    seed: int = 0
    """Seed of the ``random`` and ``shuffled`` controls."""

    def __post_init__(self) -> None:
        if not np.isfinite(self.min_pmi):
            raise ConfigError(f"min_pmi must be a number of bits, got {self.min_pmi}")
        for name in ("min_pair_count", "min_token_count", "min_count"):
            if not 1 <= getattr(self, name) <= _MOST_SIGHTINGS:
                raise ConfigError(
                    f"{name} must lie in 1..{_MOST_SIGHTINGS}, got {getattr(self, name)}"
                )
        if not 2 <= self.max_len <= MAX_LENGTH:
            raise ConfigError(f"max_len must lie in 2..{MAX_LENGTH}, got {self.max_len}")
        if self.max_size is not None and self.max_size < 1:
            raise ConfigError(f"max_size must be at least 1, got {self.max_size}")


class GGrams(NamedTuple):
    """Mined G-grams in the order of their ids 1, 2, ..."""

    tokens: Int[np.ndarray, "total"]
    offsets: Int64[np.ndarray, "ggrams+1"]
    counts: Int64[np.ndarray, "ggrams"]
    """Occurrences anywhere in the corpus, overlapping ones too."""
    pmi: Float64[np.ndarray, "ggrams"]
    """PMI in bits of the weakest adjacent pair, to 4 decimals; NaN for controls."""


class StrongPairs(NamedTuple):
    """Adjacent tokens that hold together."""

    keys: Int64[np.ndarray, "pairs"]
    """``first * vocab_size + second``, ascending."""
    counts: Int64[np.ndarray, "pairs"]
    ratios: Float64[np.ndarray, "pairs"]
    """2 to the power of the PMI."""


class _Corpus(NamedTuple):
    tokens: Int[np.ndarray, "tokens"]
    offsets: Int64[np.ndarray, "sequences+1"]
    vocab_size: int
    threads: int


def mine(
    tokens: Int[np.ndarray, "tokens"],
    offsets: Int[np.ndarray, "sequences+1"],
    vocab_size: int,
    config: MiningConfig,
    threads: int = 1,
) -> GGrams:
    """Mine the G-grams of a corpus (method.md section 3), or a control of the same form.

    Exact, and the same for any number of threads. Time O(tokens).

    Parameters
    ----------
    tokens
        All sequences, one after the other; may be memory-mapped. Special tokens (ids 0-4) count
        as tokens and stand in no G-gram.
    """
    offsets = np.ascontiguousarray(offsets, dtype=np.int64)
    corpus = _Corpus(tokens, offsets, vocab_size, max(1, threads))
    if config.method == "frequency":
        pairs = strong_pairs(*corpus, -np.inf, config.min_count, 1)
    else:
        pairs = strong_pairs(*corpus, config.min_pmi, config.min_pair_count, config.min_token_count)
    grams = _candidates(corpus, pairs, config)
    if config.method == "shuffled":
        grams = _shuffled(*_ordered(corpus, *grams, config.max_size)[:2], config.seed)
    elif config.method == "random":
        lengths = np.diff(_ordered(corpus, *grams, config.max_size)[1])
        grams = _drawn(corpus, lengths, config.seed)
    found = _ordered(corpus, *grams, config.max_size)
    if config.method == "pmi":
        return GGrams(*found, _weakest_pmi(*found[:2], pairs, vocab_size))
    return GGrams(*found, np.full(len(found[2]), np.nan))


def strong_pairs(
    tokens: Int[np.ndarray, "tokens"],
    offsets: Int64[np.ndarray, "sequences+1"],
    vocab_size: int,
    threads: int,
    min_pmi: float,
    min_pair_count: int,
    min_token_count: int,
) -> StrongPairs:
    """Adjacent pairs with enough PMI and counts (method.md section 3), no special token in them.

    PMI >= min_pmi is asked as ratio >= 2^min_pmi, in float64, which is the same on every machine.
    """
    tokens_total = len(tokens)
    pairs_total = tokens_total - np.count_nonzero(np.diff(offsets))
    token_counts = _count_tokens(tokens, vocab_size)
    eligible = token_counts >= min_token_count
    eligible[:SPECIAL_TOKENS] = False
    kind = np.uint32 if tokens_total < 1 << 32 else np.int64
    rows = max(1, min(-(-vocab_size // threads), PAIR_CELLS // vocab_size))

    def part(low: int) -> StrongPairs:
        high = min(low + rows, vocab_size)
        if not eligible[low:high].any():
            return StrongPairs(*(np.zeros(0, dtype) for dtype in (np.int64, np.int64, np.float64)))
        # One row more than asked takes the pairs that are other parts' business.
        table = np.zeros((high - low + 1, vocab_size), dtype=kind)
        _count_pairs(tokens, offsets, low, table)
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
    tokens: Int[np.ndarray, "tokens"],
    offsets: Int64[np.ndarray, "sequences+1"],
    threads: int,
    ggram_tokens: Int[np.ndarray, "total"],
    ggram_offsets: Int64[np.ndarray, "ggrams+1"],
) -> Int64[np.ndarray, "ggrams"]:
    """How often each G-gram stands in the sequences, overlapping occurrences included."""
    trie = build(ggram_tokens, ggram_offsets)
    # Cut between sequences, at even shares of the tokens.
    cuts = np.searchsorted(offsets, np.linspace(0, len(tokens), threads + 1).astype(np.int64))
    cuts[-1] = len(offsets) - 1

    def part(shard: int) -> Int64[np.ndarray, "ggrams+1"]:
        counts = np.zeros(len(ggram_offsets), dtype=np.int64)
        _count_ggrams(tokens, offsets[cuts[shard] : cuts[shard + 1] + 1], *trie, counts)
        return counts

    with ThreadPoolExecutor(threads) as pool:
        total: Int64[np.ndarray, "ggrams+1"] = sum(pool.map(part, range(threads)))
    return total[1:]


_Grams = tuple[Int64[np.ndarray, "total"], Int64[np.ndarray, "ggrams+1"]]


def _candidates(corpus: _Corpus, pairs: StrongPairs, config: MiningConfig) -> _Grams:
    """Pieces of strong runs sighted often enough; for ``frequency`` all stretches of the runs."""
    size = corpus.vocab_size
    strong = np.zeros(-(-size * size // 64), dtype=np.uint64)
    np.bitwise_or.at(strong, pairs.keys >> 6, np.uint64(1) << (pairs.keys & 63).astype(np.uint64))
    weight = np.cumsum(np.bincount(pairs.keys // size, weights=pairs.counts, minlength=size))

    def part(low: int, high: int) -> list[_Grams]:
        slots = _sight(
            corpus.tokens,
            corpus.offsets,
            size,
            strong,
            low,
            high,
            config.max_len,
            config.method == "frequency",
            TABLE_SLOTS if high - low > 1 else 1 << 62,
        )
        if len(slots):
            return [_extract(slots, config.min_count)]
        half = (weight[low] + weight[high - 1]) / 2
        middle = min(max(low + 1, int(np.searchsorted(weight, half))), high - 1)
        return part(low, middle) + part(middle, high)

    shares = np.linspace(0, weight[-1], corpus.threads + 1)[1:-1]
    cuts = np.unique([0, *np.searchsorted(weight, shares), size])
    with ThreadPoolExecutor(corpus.threads) as pool:
        found = [g for gs in pool.map(part, cuts[:-1].tolist(), cuts[1:].tolist()) for g in gs]
    lengths = np.concatenate([np.diff(offsets) for _, offsets in found])
    return np.concatenate([tokens for tokens, _ in found]), _offsets(lengths)


def _ordered(
    corpus: _Corpus,
    tokens: Int[np.ndarray, "total"],
    offsets: Int64[np.ndarray, "ggrams+1"],
    max_size: int | None,
) -> tuple[Int[np.ndarray, "kept"], Int64[np.ndarray, "ggrams+1"], Int64[np.ndarray, "ggrams"]]:
    """The most frequent G-grams: by count descending, length ascending, tokens ascending."""
    counts = count_occurrences(corpus.tokens, corpus.offsets, corpus.threads, tokens, offsets)
    lengths, rows = np.diff(offsets), padded(tokens, offsets)
    order = np.lexsort((*rows.T[::-1], lengths, -counts))[:max_size]
    lengths, rows = lengths[order], rows[order]
    return rows[np.arange(rows.shape[1]) < lengths[:, None]], _offsets(lengths), counts[order]


def _weakest_pmi(
    tokens: Int[np.ndarray, "total"],
    offsets: Int64[np.ndarray, "ggrams+1"],
    pairs: StrongPairs,
    vocab_size: int,
) -> Float64[np.ndarray, "ggrams"]:
    if len(offsets) == 1:
        return np.zeros(0)
    keys = tokens[:-1].astype(np.int64) * vocab_size + tokens[1:]
    # The pair that straddles two G-grams is no pair of either.
    keys = np.delete(keys, offsets[1:-1] - 1)
    ratios = pairs.ratios[np.searchsorted(pairs.keys, keys)]
    starts = offsets[:-1] - np.arange(len(offsets) - 1)
    return np.round(np.log2(np.minimum.reduceat(ratios, starts)), 4)


def _drawn(corpus: _Corpus, lengths: Int64[np.ndarray, "ggrams"], seed: int) -> _Grams:
    """Distinct stretches at random places of the corpus, as many of each length as asked.

    Fewer where the corpus does not offer as many (after a number of fruitless draws).
    """
    rng = np.random.default_rng(seed)
    tokens, offsets = corpus.tokens, corpus.offsets
    drawn: list[Int64[np.ndarray, "some length"]] = []
    for length, wanted in zip(*np.unique(lengths, return_counts=True), strict=True):
        rows = np.zeros((0, length), dtype=np.int64)
        for _ in range(64):
            start = rng.integers(0, len(tokens) - length + 1, 2 * wanted)
            sequence = np.searchsorted(offsets, start, side="right") - 1
            start = start[start + length <= offsets[sequence + 1]]
            fresh = tokens[start[:, None] + np.arange(length)].astype(np.int64)
            fresh = fresh[(fresh >= SPECIAL_TOKENS).all(axis=1)]
            rows = np.concatenate([rows, fresh])
            _, first = np.unique(rows, axis=0, return_index=True)
            rows = rows[np.sort(first)][:wanted]
            if len(rows) == wanted:
                break
        drawn.append(rows)
    flat = [np.zeros(0, dtype=np.int64), *(rows.reshape(-1) for rows in drawn)]
    return np.concatenate(flat), _offsets([rows.shape[1] for rows in drawn for _ in rows])


def _shuffled(
    tokens: Int[np.ndarray, "total"], offsets: Int64[np.ndarray, "ggrams+1"], seed: int
) -> _Grams:
    """Each G-gram with its tokens permuted to one that is new; left out where none is found."""
    rng = np.random.default_rng(seed)
    grams = [tuple(g.tolist()) for g in np.split(tokens, offsets[1:-1]) if len(g)]
    taken = set(grams)
    kept: list[tuple[int, ...]] = []
    for gram in grams:
        for _ in range(16):
            permuted = tuple(rng.permutation(gram).tolist())
            if permuted not in taken:
                taken.add(permuted)
                kept.append(permuted)
                break
    flat = np.array([t for gram in kept for t in gram], dtype=np.int64)
    return flat, _offsets([len(gram) for gram in kept])


def _offsets(lengths: Int[np.ndarray, "n"] | list[int]) -> Int64[np.ndarray, "n+1"]:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


@njit(cache=True, nogil=True)
def _count_tokens(tokens, vocab_size):  # type: ignore[no-untyped-def]
    counts = np.zeros(vocab_size, dtype=np.int64)
    for i in range(tokens.shape[0]):
        counts[tokens[i]] += 1
    return counts


@njit(cache=True, nogil=True)
def _count_pairs(tokens, offsets, low, table):  # type: ignore[no-untyped-def]
    """Add up the pairs whose first token has a row; all others go to the last row."""
    spare = np.uint64(table.shape[0] - 1)
    for sequence in range(offsets.shape[0] - 1):
        for i in range(offsets[sequence], offsets[sequence + 1] - 1):
            row = min(np.uint64(np.int64(tokens[i]) - low), spare)
            table[row, tokens[i + 1]] += 1


@njit(cache=True, nogil=True)
def _sight(tokens, offsets, vocab_size, strong, low, high, max_len, every, most_slots):  # type: ignore[no-untyped-def]
    """Sightings of the pieces that start with a token of ``low..high - 1``, as a trie's slots.

    The slots are those of ``trie.Trie``, with sightings in the place of G-gram ids. Empty when
    they would be more than ``most_slots``. With ``every``, each stretch of a run is sighted.
    """
    slots = np.zeros((1 << 12, 2), dtype=np.int64)
    used, next_node = 0, FIRST_NODE
    for sequence in range(offsets.shape[0] - 1):
        start, end = offsets[sequence], offsets[sequence + 1]
        while start < end - 1:
            # A run of strong pairs is tokens[start:stop]; alone, a token is a run of one.
            stop = start + 1
            while stop < end:
                pair = np.int64(tokens[stop - 1]) * vocab_size + np.int64(tokens[stop])
                if not (strong[pair >> 6] >> np.uint64(pair & 63)) & np.uint64(1):
                    break
                stop += 1
            step = 1 if every else max_len
            for first in range(start, stop - 1, step):
                node = np.int64(tokens[first])
                if node < low or node >= high:
                    continue
                if 2 * (used + max_len) > slots.shape[0]:
                    if 2 * slots.shape[0] > most_slots:
                        return np.zeros((0, 2), dtype=np.int64)
                    slots = _doubled(slots)
                last = min(first + max_len, stop) - 1
                for i in range(first + 1, last + 1):
                    key = (node << 16) | np.int64(tokens[i])
                    slot = slot_of(slots, key)
                    if slots[slot, 0] == 0:
                        slots[slot, 0] = key
                        used += 1
                    value = slots[slot, 1]
                    if (every or i == last) and value & 0xFFFFFFFF < _MOST_SIGHTINGS:
                        value += 1
                    if i < last and value >> 32 == 0:
                        value |= next_node << 32
                        next_node += 1
                    slots[slot, 1] = value
                    node = value >> 32
            start = stop
    return slots


@njit(cache=True, nogil=True)
def _doubled(slots):  # type: ignore[no-untyped-def]
    wider = np.zeros((2 * slots.shape[0], 2), dtype=np.int64)
    for i in range(slots.shape[0]):
        if slots[i, 0] != 0:
            wider[slot_of(wider, slots[i, 0])] = slots[i]
    return wider


@njit(cache=True, nogil=True)
def _extract(slots, min_count):  # type: ignore[no-untyped-def]
    """Tokens and offsets of the candidates with enough sightings."""
    nodes, found = 0, 0
    for i in range(slots.shape[0]):
        nodes = max(nodes, (slots[i, 1] >> 32) - FIRST_NODE + 1)
        found += slots[i, 1] & 0xFFFFFFFF >= min_count
    reached_by = np.zeros(nodes, dtype=np.int64)  # the key that leads to each node
    for i in range(slots.shape[0]):
        if slots[i, 1] >> 32:
            reached_by[(slots[i, 1] >> 32) - FIRST_NODE] = slots[i, 0]

    tokens = np.empty(found * MAX_LENGTH, dtype=np.int64)
    offsets = np.zeros(found + 1, dtype=np.int64)
    found, end = 0, 0
    for i in range(slots.shape[0]):
        if slots[i, 1] & 0xFFFFFFFF >= min_count:
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
def _count_ggrams(tokens, offsets, starts, slots, counts):  # type: ignore[no-untyped-def]
    """Add every occurrence to ``counts``, by G-gram id."""
    for sequence in range(offsets.shape[0] - 1):
        end = offsets[sequence + 1]
        for first in range(offsets[sequence], end - 1):
            node = np.int64(tokens[first])
            if not may_start(starts, node, np.int64(tokens[first + 1])):
                continue
            for i in range(first + 1, end):
                value = slots[slot_of(slots, (node << 16) | np.int64(tokens[i])), 1]
                if value & 0xFFFFFFFF:
                    counts[value & 0xFFFFFFFF] += 1
                node = value >> 32
                if node == 0:
                    break
