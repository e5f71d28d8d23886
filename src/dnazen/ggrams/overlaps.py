"""Which sequences of a corpus hold a run of bases that stands in other sequences, on either strand.

The other sequences, both strands, are indexed by a k-mer at every ``stride``-th position, so that
any run of ``overlap_bp`` bases holds one of them; a hit is extended to both sides and counts when
it is long enough. The search is exact. Time O(bases of the corpus), memory O(bases of the others).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt64

from ..errors import ConfigError, InputError
from ..sequences.alphabet import reverse_complement
from ..tokens.corpus import Corpus
from ..tokens.tokenizer import token_strings
from .kernels import kernel, require_sequences
from .settings import SHORTEST_OVERLAP_BP
from .vocabulary import SPECIAL

_BREAK = 4  # the code of anything that is no base; A C G T are 0-3
_OTHER = 5  # the same in the corpus: it equals no code of an index
_CODES = np.full(256, _BREAK, dtype=np.uint8)
_CODES[np.frombuffer(b"ACGT", dtype=np.uint8)] = range(4)
_SEQUENCES_A_BATCH = 2048


class Index(NamedTuple):
    """Sequences, both strands, by the k-mers at regular positions."""

    text: UInt8[np.ndarray, "letters"]
    """Codes of each sequence and of its reverse complement; a break before and after each."""
    begin: Int64[np.ndarray, "sequences+1"]
    """Where each sequence begins in ``text``; its reverse complement follows it."""
    keys: UInt64[np.ndarray, "slots"]
    """K-mers by hash, 2 bits a base."""
    heads: Int64[np.ndarray, "slots"]
    """The last sample with this slot's k-mer; -1: the slot is free."""
    positions: Int64[np.ndarray, "samples"]
    """Where each indexed k-mer starts in ``text``."""
    earlier: Int64[np.ndarray, "samples"]
    """The sample before it with the same k-mer; -1: none."""
    k: int
    overlap_bp: int


def build_index(sequences: Iterable[bytes], overlap_bp: int) -> Index:
    """Index sequences of upper-case letters; whatever is not ACGT matches nothing.

    Raises
    ------
    ConfigError
        If ``overlap_bp`` is less than ``SHORTEST_OVERLAP_BP``.
    """
    if overlap_bp < SHORTEST_OVERLAP_BP:
        raise ConfigError(f"overlap_bp must be at least {SHORTEST_OVERLAP_BP}, got {overlap_bp}")
    strands = [s for forward in sequences for s in (forward, reverse_complement(forward))]
    text = _CODES[np.frombuffer(b"N".join([b"", *strands, b""]), dtype=np.uint8)]
    begin = 1 + np.concatenate([[0], np.cumsum([len(s) + 1 for s in strands])]).astype(np.int64)
    k = min(32, max(SHORTEST_OVERLAP_BP, overlap_bp // 2))
    stride = overlap_bp - k + 1
    samples = len(text) // stride + len(strands)  # or a few less
    slots = 1 << (2 * samples).bit_length()
    keys, heads = np.zeros(slots, dtype=np.uint64), np.full(slots, -1, dtype=np.int64)
    positions, earlier = np.empty(samples, dtype=np.int64), np.empty(samples, dtype=np.int64)
    _fill(text, begin, k, stride, keys, heads, positions, earlier)
    return Index(text, begin[::2], keys, heads, positions, earlier, k, overlap_bp)


def sharing(index: Index, corpus: Corpus, threads: int) -> Bool[np.ndarray, "sequences"]:
    """Which sequences of the corpus share a run with any indexed sequence."""
    shared = np.zeros(len(corpus), dtype=np.bool_)
    nothing = np.zeros(0, dtype=np.bool_)

    def search(first: int, text: UInt8[np.ndarray, "n"], offsets: Int64[np.ndarray, "m"]) -> None:
        shared[first : first + len(offsets) - 1] = _search(
            text, offsets, index.text, *index[2:], nothing
        )

    _search_batches(corpus, np.ones(len(corpus), dtype=np.bool_), search, threads)
    return shared


def covered_bases(
    index: Index, corpus: Corpus, keep: Bool[np.ndarray, "sequences"], threads: int
) -> Int64[np.ndarray, "indexed"]:
    """Bases of each indexed sequence that stand in runs shared with the corpus."""
    covered = np.zeros(len(index.text), dtype=np.bool_)

    def search(first: int, text: UInt8[np.ndarray, "n"], offsets: Int64[np.ndarray, "m"]) -> None:
        _search(text, offsets, index.text, *index[2:], covered)  # threads only ever write True

    _search_batches(corpus, keep, search, threads)
    counts = []
    for begin, end in zip(index.begin[:-1], index.begin[1:], strict=True):
        forward, backward = np.split(covered[begin:end], 2)
        counts.append(np.count_nonzero(forward[:-1] | backward[:-1][::-1]))
    return np.array(counts, dtype=np.int64)


def _search_batches(
    corpus: Corpus,
    keep: Bool[np.ndarray, "sequences"],
    search: Callable[[int, UInt8[np.ndarray, "n"], Int64[np.ndarray, "m"]], None],
    threads: int,
) -> None:
    """Call ``search(first sequence, codes, offsets)`` on each batch of the corpus as bases.

    Sequences that are not kept are empty.
    """
    strings = [b""] * SPECIAL + [s.encode() for s in token_strings(corpus.tokenizer)[SPECIAL:]]
    letters = _CODES[np.frombuffer(b"".join(strings), dtype=np.uint8)]
    letters[letters == _BREAK] = _OTHER
    ends = np.concatenate([[0], np.cumsum([len(s) for s in strings])]).astype(np.int64)

    def search_batch(first: int) -> None:
        bounds = np.asarray(corpus.offsets[first : first + _SEQUENCES_A_BATCH + 1])
        require_sequences(corpus.tokens, bounds)
        tokens = np.asarray(corpus.tokens[bounds[0] : bounds[-1]])
        if len(tokens) and tokens.max() >= len(strings):
            raise InputError(
                f"token id {tokens.max()}, which its tokenizer does not have",
                path=corpus.directory,
                fix="the corpus is damaged; build it anew",
            )
        kept = keep[first : first + len(bounds) - 1]
        search(first, *_spelt(tokens, bounds - bounds[0], kept, letters, ends))

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(search_batch, range(0, len(corpus), _SEQUENCES_A_BATCH)):
            pass


@kernel
def _spelt(
    tokens: Int64[np.ndarray, "tokens"],
    offsets: Int64[np.ndarray, "sequences+1"],
    keep: Bool[np.ndarray, "sequences"],
    letters: UInt8[np.ndarray, "letters"],
    ends: Int64[np.ndarray, "vocab+1"],
) -> tuple[UInt8[np.ndarray, "bases"], Int64[np.ndarray, "sequences+1"]]:
    """The codes of the bases of each sequence."""
    spelt = np.zeros(offsets.shape[0], dtype=np.int64)
    for sequence in range(offsets.shape[0] - 1):
        spelt[sequence + 1] = spelt[sequence]
        if keep[sequence]:
            for i in range(offsets[sequence], offsets[sequence + 1]):
                spelt[sequence + 1] += ends[tokens[i] + 1] - ends[tokens[i]]
    text = np.empty(spelt[-1], dtype=np.uint8)
    at = 0
    for sequence in range(offsets.shape[0] - 1):
        if keep[sequence]:
            for i in range(offsets[sequence], offsets[sequence + 1]):
                for letter in range(ends[tokens[i]], ends[tokens[i] + 1]):
                    text[at] = letters[letter]
                    at += 1
    return text, spelt


@kernel
def _slot(
    keys: UInt64[np.ndarray, "slots"], heads: Int64[np.ndarray, "slots"], kmer: np.uint64
) -> np.int64:
    """The slot of a k-mer, or the free one where it belongs."""
    mask = np.int64(heads.shape[0] - 1)
    mixed = kmer * np.uint64(0x9E3779B97F4A7C15)
    i = np.int64(mixed >> np.uint64(32)) & mask
    while heads[i] >= 0 and keys[i] != kmer:
        i = (i + 1) & mask
    return i


@kernel
def _fill(
    text: UInt8[np.ndarray, "letters"],
    begin: Int64[np.ndarray, "strands+1"],
    k: int,
    stride: int,
    keys: UInt64[np.ndarray, "slots"],
    heads: Int64[np.ndarray, "slots"],
    positions: Int64[np.ndarray, "samples"],
    earlier: Int64[np.ndarray, "samples"],
) -> None:
    sample = 0
    for strand in range(begin.shape[0] - 1):
        for position in range(begin[strand], begin[strand + 1] - k, stride):
            kmer = np.uint64(0)
            whole = True
            for letter in text[position : position + k]:
                kmer = (kmer << np.uint64(2)) | np.uint64(letter & 3)
                whole = whole and letter != _BREAK
            if whole:
                slot = _slot(keys, heads, kmer)
                keys[slot] = kmer
                positions[sample] = position
                earlier[sample] = heads[slot]
                heads[slot] = sample
                sample += 1


@kernel
def _search(
    query: UInt8[np.ndarray, "bases"],
    offsets: Int64[np.ndarray, "sequences+1"],
    text: UInt8[np.ndarray, "letters"],
    keys: UInt64[np.ndarray, "slots"],
    heads: Int64[np.ndarray, "slots"],
    positions: Int64[np.ndarray, "samples"],
    earlier: Int64[np.ndarray, "samples"],
    k: int,
    overlap_bp: int,
    covered: Bool[np.ndarray, "letters"],
) -> Bool[np.ndarray, "sequences"]:
    """Which query sequences share a run with the indexed text.

    Every shared run is marked in ``covered``; where that is empty, one a sequence is enough.
    """
    sharing = np.zeros(offsets.shape[0] - 1, dtype=np.bool_)
    low_bits = np.uint64(0xFFFFFFFFFFFFFFFF) >> np.uint64(64 - 2 * k)
    for sequence in range(offsets.shape[0] - 1):
        begin, end = offsets[sequence], offsets[sequence + 1]
        kmer = np.uint64(0)
        bases = 0  # since the begin, or the last letter that is no base
        for last in range(begin, end):
            kmer = ((kmer << np.uint64(2)) | np.uint64(query[last] & 3)) & low_bits
            bases = bases + 1 if query[last] < _BREAK else 0
            if bases < k:
                continue
            first = last - k + 1
            sample = heads[_slot(keys, heads, kmer)]
            while sample >= 0:
                position, left, right = positions[sample], 0, k
                while first - left > begin and query[first - left - 1] == text[position - left - 1]:
                    left += 1
                while first + right < end and query[first + right] == text[position + right]:
                    right += 1
                if left + right >= overlap_bp:
                    sharing[sequence] = True
                    if covered.shape[0] == 0:
                        break
                    covered[position - left : position + right] = True
                sample = earlier[sample]
            if sharing[sequence] and covered.shape[0] == 0:
                break
    return sharing
