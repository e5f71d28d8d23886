"""Leakage: sequences of a corpus that share a verbatim stretch with others, on either strand.

The other sequences, both strands, are indexed by a k-mer at every ``stride``-th place, so that any
stretch of ``overlap_bp`` bases holds one of them; a hit is extended to both sides and counts when
it is long enough. The search is exact. Time O(bases of the corpus), memory O(bases of the others).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64, UInt8, UInt64

from ..errors import ConfigError, InputError
from ..records import InputFile
from ..sequences.alphabet import normalise, reverse_complement
from ..sequences.reader import Record, read_records
from ..tokens.corpus import Corpus
from ..tokens.tokenizer import token_strings
from .kernels import kernel, require_sequences
from .settings import SHORTEST_OVERLAP_BP
from .vocabulary import SPECIAL, GGramVocabulary

_BREAK = 4  # the code of anything that is no base; A C G T are 0-3
_OTHER = 5  # the same in the corpus: it equals no code of an index
_CODES = np.full(256, _BREAK, dtype=np.uint8)
_CODES[np.frombuffer(b"ACGT", dtype=np.uint8)] = range(4)
_SEQUENCES_A_BLOCK = 2048


class Index(NamedTuple):
    """Sequences, both strands, by the k-mers at regular places."""

    text: UInt8[np.ndarray, "letters"]
    """Codes of each sequence and of its reverse complement; a break before and after each."""
    begin: Int64[np.ndarray, "sequences+1"]
    """Where each sequence stands in ``text``; its reverse complement follows it."""
    keys: UInt64[np.ndarray, "slots"]
    """K-mers by hash, 2 bits a base."""
    heads: Int64[np.ndarray, "slots"]
    """The last sample with this slot's k-mer; -1: the slot is free."""
    places: Int64[np.ndarray, "samples"]
    """Where each indexed k-mer starts in ``text``."""
    earlier: Int64[np.ndarray, "samples"]
    """The sample before it with the same k-mer; -1: none."""
    k: int
    overlap_bp: int


class Sharing(NamedTuple):
    """What a corpus shares with some files."""

    sequences: Bool[np.ndarray, "sequences"]
    """Corpus sequences with a shared stretch."""
    inputs: list[InputFile]
    """The files."""


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
    places, earlier = np.empty(samples, dtype=np.int64), np.empty(samples, dtype=np.int64)
    _fill(text, begin, k, stride, keys, heads, places, earlier)
    return Index(text, begin[::2], keys, heads, places, earlier, k, overlap_bp)


def sharing_sequences(
    corpus: Corpus, files: Sequence[Path], overlap_bp: int, threads: int
) -> Sharing:
    """Corpus sequences that share ``overlap_bp`` bases or more with any sequence of the files."""
    inputs: list[InputFile] = []
    records = [r for file in files for r in read_records(file, identify=inputs.append)]
    index = build_index((normalise(r.sequence)[0] for r in records), overlap_bp)
    shared = np.zeros(len(corpus), dtype=np.bool_)
    nothing = np.zeros(0, dtype=np.bool_)

    def search(first: int, text: UInt8[np.ndarray, "n"], offsets: Int64[np.ndarray, "m"]) -> None:
        shared[first : first + len(offsets) - 1] = _search(
            text, offsets, index.text, *index[2:], nothing
        )

    _each_block(corpus, np.ones(len(corpus), dtype=np.bool_), search, threads)
    return Sharing(shared, inputs)


def covered_bases(
    index: Index, corpus: Corpus, keep: Bool[np.ndarray, "sequences"], threads: int
) -> Int64[np.ndarray, "indexed"]:
    """Bases of each indexed sequence that stand in stretches shared with the corpus."""
    covered = np.zeros(len(index.text), dtype=np.bool_)

    def search(first: int, text: UInt8[np.ndarray, "n"], offsets: Int64[np.ndarray, "m"]) -> None:
        _search(text, offsets, index.text, *index[2:], covered)  # threads only ever write True

    _each_block(corpus, keep, search, threads)
    counts = []
    for begin, end in zip(index.begin[:-1], index.begin[1:], strict=True):
        forward, backward = np.split(covered[begin:end], 2)
        counts.append(np.count_nonzero(forward[:-1] | backward[:-1][::-1]))
    return np.array(counts, dtype=np.int64)


def mined_part(
    path: Path, vocabulary: GGramVocabulary, *, corpus: Path | None = None, threads: int = 1
) -> tuple[Corpus, Bool[np.ndarray, "sequences"]]:
    """The corpus that a vocabulary was mined from, and which of its sequences were mined.

    Parameters
    ----------
    path
        Where the vocabulary came from, for the message.
    corpus
        Where the corpus is now; None: where the vocabulary says.

    Raises
    ------
    InputError
        If the vocabulary does not say, or the corpus or an excluded file is not what it was.
    """
    try:
        source, excluded = vocabulary.provenance["corpus"], vocabulary.provenance["excluded"]
        place, hashes = str(source["path"]), [i["sha256"] for i in source["inputs"]]
        files = [Path(f["path"]) for f in excluded["files"]]
        hashes_excluded = [f["sha256"] for f in excluded["files"]]
        overlap_bp = int(excluded["overlap_bp"])
    except (KeyError, TypeError, ValueError):
        raise InputError(
            "does not say what it was mined from",
            path=path,
            expected="a vocabulary that 'dnazen ggrams mine' wrote",
        ) from None
    opened = Corpus.open(corpus or place)
    if [i.get("sha256") for i in opened.inputs] != hashes:
        raise InputError(
            "not the corpus that the G-grams were mined from",
            path=opened.directory,
            fix="name it with --corpus",
        )
    if not files:
        return opened, np.ones(len(opened), dtype=np.bool_)
    sharing = sharing_sequences(opened, files, overlap_bp, threads)
    for before, now in zip(hashes_excluded, sharing.inputs, strict=True):
        if before != now.sha256:
            raise InputError("changed since it was excluded from mining", path=now.path)
    return opened, ~sharing.sequences


class SharedFile(NamedTuple):
    """The sequences of a file, and how many bases of each were mined."""

    path: Path
    records: list[Record]
    mined: Int64[np.ndarray, "records"]

    @property
    def bases(self) -> int:
        """In all."""
        return sum(len(record.sequence) for record in self.records)

    @property
    def mined_bases(self) -> int:
        """In all."""
        return int(self.mined.sum())

    @property
    def numbers(self) -> tuple[int, int, int, int, int]:
        """Sequences, those that were mined partly, and wholly; bases, and those mined."""
        lengths = np.array([len(record.sequence) for record in self.records], dtype=np.int64)
        wholly = int(np.count_nonzero((self.mined == lengths) & (lengths > 0)))
        partly = int(np.count_nonzero(self.mined))
        return len(self.records), partly, wholly, self.bases, self.mined_bases


def shared_with(
    corpus: Corpus,
    keep: Bool[np.ndarray, "sequences"],
    paths: Sequence[Path],
    overlap_bp: int,
    threads: int,
) -> list[SharedFile]:
    """How much of the sequences of some files stands in a corpus, on either strand.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    files = [list(read_records(path)) for path in paths]
    sequences = (normalise(record.sequence)[0] for records in files for record in records)
    mined = covered_bases(build_index(sequences, overlap_bp), corpus, keep, threads)
    ends = np.cumsum([len(records) for records in files])
    by_file = np.split(mined, ends[:-1])
    return list(map(SharedFile, paths, files, by_file))


def _each_block(
    corpus: Corpus,
    keep: Bool[np.ndarray, "sequences"],
    search: Callable[[int, UInt8[np.ndarray, "n"], Int64[np.ndarray, "m"]], None],
    threads: int,
) -> None:
    """Call ``search(first sequence, codes, offsets)`` on each block of the corpus as bases.

    Sequences that are not kept are empty.
    """
    strings = [b""] * SPECIAL + [s.encode() for s in token_strings(corpus.tokenizer)[SPECIAL:]]
    letters = _CODES[np.frombuffer(b"".join(strings), dtype=np.uint8)]
    letters[letters == _BREAK] = _OTHER
    ends = np.concatenate([[0], np.cumsum([len(s) for s in strings])]).astype(np.int64)

    def block(first: int) -> None:
        bounds = np.asarray(corpus.offsets[first : first + _SEQUENCES_A_BLOCK + 1])
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
        for _ in pool.map(block, range(0, len(corpus), _SEQUENCES_A_BLOCK)):
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
    places: Int64[np.ndarray, "samples"],
    earlier: Int64[np.ndarray, "samples"],
) -> None:
    sample = 0
    for strand in range(begin.shape[0] - 1):
        for place in range(begin[strand], begin[strand + 1] - k, stride):
            kmer = np.uint64(0)
            whole = True
            for letter in text[place : place + k]:
                kmer = (kmer << np.uint64(2)) | np.uint64(letter & 3)
                whole = whole and letter != _BREAK
            if whole:
                slot = _slot(keys, heads, kmer)
                keys[slot] = kmer
                places[sample] = place
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
    places: Int64[np.ndarray, "samples"],
    earlier: Int64[np.ndarray, "samples"],
    k: int,
    overlap_bp: int,
    covered: Bool[np.ndarray, "letters"],
) -> Bool[np.ndarray, "sequences"]:
    """Which query sequences share a stretch with the indexed text.

    Every shared stretch is marked in ``covered``; where that is empty, one a sequence is enough.
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
                place, left, right = places[sample], 0, k
                while first - left > begin and query[first - left - 1] == text[place - left - 1]:
                    left += 1
                while first + right < end and query[first + right] == text[place + right]:
                    right += 1
                if left + right >= overlap_bp:
                    sharing[sequence] = True
                    if covered.shape[0] == 0:
                        break
                    covered[place - left : place + right] = True
                sample = earlier[sample]
            if sharing[sequence] and covered.shape[0] == 0:
                break
    return sharing
