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
from ..records import InputFile, hash_file
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


class SequenceFile(NamedTuple):
    """The sequences of a file, and how many of them can share anything."""

    path: Path
    records: list[Record]
    """Normalised: ``A C G T N``."""
    too_short: int
    """Records without as many bases in a row as a shared stretch has."""
    identity: InputFile

    @property
    def bases(self) -> int:
        """Letters in all."""
        return sum(len(record.sequence) for record in self.records)


class Sharing(NamedTuple):
    """What a corpus shares with some files."""

    sequences: Bool[np.ndarray, "sequences"]
    """Corpus sequences with a shared stretch."""
    files: list[SequenceFile]


def read_sequence_file(path: Path, overlap_bp: int) -> SequenceFile:
    """The sequences of a file in any format, 2bit too, to be searched for in a corpus.

    Raises
    ------
    InputError
        If the file cannot be read, or holds nothing that can share ``overlap_bp`` bases: a search
        for nothing finds nothing, which is no all-clear.
    """
    identities: list[InputFile] = []
    records = [
        Record(name, normalise(letters)[0])
        for name, letters in read_records(path, identify=identities.append)
    ]
    too_short = sum(_longest_run(record.sequence) < overlap_bp for record in records)
    if too_short == len(records):
        longest = max((_longest_run(record.sequence) for record in records), default=0)
        problem = f"{len(records)} records, none with {overlap_bp} bases of A, C, G or T in a row"
        raise InputError(
            f"{problem} (the most are {longest})",
            path=path,
            expected="sequences that a corpus can share",
            fix="search for shorter stretches, or name another file" if longest else "is it empty?",
        )
    return SequenceFile(path, records, too_short, identities[0])


def in_words(files: Sequence[SequenceFile], overlap_bp: int) -> str:
    """What is searched for, in numbers."""
    records = sum(len(file.records) for file in files)
    return (
        f"{records:,} records of {len(files):,} files, {sum(file.bases for file in files):,} bp; "
        f"{sum(file.too_short for file in files):,} of them are too short to share "
        f"{overlap_bp} bases"
    )


def _longest_run(sequence: bytes) -> int:
    return max(map(len, sequence.split(b"N")))


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
    corpus: Corpus, paths: Sequence[Path], overlap_bp: int, threads: int
) -> Sharing:
    """Corpus sequences that share ``overlap_bp`` bases or more with any sequence of the files.

    Raises
    ------
    InputError
        If a file cannot be read, or holds nothing that can be shared.
    """
    files = [read_sequence_file(path, overlap_bp) for path in paths]
    sequences = (record.sequence for file in files for record in file.records)
    index = build_index(sequences, overlap_bp)
    shared = np.zeros(len(corpus), dtype=np.bool_)
    nothing = np.zeros(0, dtype=np.bool_)

    def search(first: int, text: UInt8[np.ndarray, "n"], offsets: Int64[np.ndarray, "m"]) -> None:
        shared[first : first + len(offsets) - 1] = _search(
            text, offsets, index.text, *index[2:], nothing
        )

    _search_blocks(corpus, np.ones(len(corpus), dtype=np.bool_), search, threads)
    return Sharing(shared, files)


def covered_bases(
    index: Index, corpus: Corpus, keep: Bool[np.ndarray, "sequences"], threads: int
) -> Int64[np.ndarray, "indexed"]:
    """Bases of each indexed sequence that stand in stretches shared with the corpus."""
    covered = np.zeros(len(index.text), dtype=np.bool_)

    def search(first: int, text: UInt8[np.ndarray, "n"], offsets: Int64[np.ndarray, "m"]) -> None:
        _search(text, offsets, index.text, *index[2:], covered)  # threads only ever write True

    _search_blocks(corpus, keep, search, threads)
    counts = []
    for begin, end in zip(index.begin[:-1], index.begin[1:], strict=True):
        forward, backward = np.split(covered[begin:end], 2)
        counts.append(np.count_nonzero(forward[:-1] | backward[:-1][::-1]))
    return np.array(counts, dtype=np.int64)


def mined_part(
    path: Path,
    vocabulary: GGramVocabulary,
    *,
    corpus: Path | None = None,
    excluded: Sequence[Path] = (),
    threads: int = 1,
) -> tuple[Corpus, Bool[np.ndarray, "sequences"]]:
    """The corpus that a vocabulary was mined from, and which of its sequences were mined.

    Parameters
    ----------
    path
        Where the vocabulary came from. Relative paths that it states are looked for in this
        process's folder and in the vocabulary's own.
    corpus
        Where the corpus is now; None: where the vocabulary says.
    excluded
        Where the files are now that were excluded from mining; none: where the vocabulary says.

    Raises
    ------
    InputError
        If the vocabulary does not say, or the corpus or an excluded file is not what it was.
    """
    source = _source(path, vocabulary)
    opened = Corpus.open(corpus or _corpus_of(source, path.parent))
    if [i.get("sha256") for i in opened.inputs] != source.inputs:
        raise InputError(
            "not the corpus that the G-grams were mined from",
            path=opened.directory,
            fix="name it with --corpus",
        )
    if not source.excluded:
        return opened, np.ones(len(opened), dtype=np.bool_)
    files = _excluded_files(source, excluded, path.parent)
    sharing = sharing_sequences(opened, files, source.overlap_bp, threads)
    return opened, ~sharing.sequences


class _Source(NamedTuple):
    """What a vocabulary says of its mining."""

    corpus: str
    inputs: list[str]
    """SHA-256 of the files that the corpus was built from."""
    excluded: dict[str, str]
    """Paths of the excluded files by their SHA-256."""
    overlap_bp: int


def _source(path: Path, vocabulary: GGramVocabulary) -> _Source:
    try:
        corpus, excluded = vocabulary.provenance["corpus"], vocabulary.provenance["excluded"]
        files = {str(f["sha256"]): str(f["path"]) for f in excluded["files"]}
        inputs = [str(i["sha256"]) for i in corpus["inputs"]]
        source = _Source(str(corpus["path"]), inputs, files, int(excluded["overlap_bp"]))
        if any("\0" in place for place in (source.corpus, *files.values())):
            raise ValueError
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(
            "does not say what it was mined from",
            path=path,
            expected="a vocabulary that 'dnazen ggrams mine' wrote",
        ) from None
    return source


def _corpus_of(source: _Source, folder: Path) -> Path:
    places = [Path(source.corpus), folder / source.corpus]
    corpus = next((place for place in places if place.is_dir()), None)
    if corpus is None:
        raise InputError(
            "no such corpus; the G-grams were mined from it",
            path=source.corpus,
            fix="say with --corpus where it is now",
        )
    return corpus


def _excluded_files(source: _Source, named: Sequence[Path], folder: Path) -> list[Path]:
    """Where the excluded files are now, each with the content that it had."""
    places: dict[str, list[Path]] = {
        sha256: list(named) or [Path(path), folder / path]
        for sha256, path in source.excluded.items()
    }
    identities = {
        path: hash_file(path).sha256
        for paths in places.values()
        for path in paths
        if path.is_file()
    }
    files = []
    for sha256, paths in places.items():
        file = next((path for path in paths if identities.get(path) == sha256), None)
        if file is None:
            changed = any(path in identities for path in paths)
            problem = "changed since" if changed else "no such file;"
            raise InputError(
                f"{problem} it was excluded from mining",
                path=source.excluded[sha256],
                fix="say with --excluded where the excluded files are now",
            )
        files.append(file)
    return files


class SharedFile(NamedTuple):
    """The sequences of a file, and how many bases of each were mined."""

    file: SequenceFile
    mined: Int64[np.ndarray, "records"]

    @property
    def numbers(self) -> tuple[int, int, int, int, int]:
        """Sequences, those that were mined partly, and wholly; bases, and those mined."""
        lengths = np.array([len(record.sequence) for record in self.file.records], dtype=np.int64)
        wholly = int(((self.mined == lengths) & (lengths > 0)).sum())
        partly = int((self.mined > 0).sum())
        return len(lengths), partly, wholly, int(lengths.sum()), int(self.mined.sum())


def shared_with(
    corpus: Corpus,
    keep: Bool[np.ndarray, "sequences"],
    paths: Sequence[Path],
    overlap_bp: int,
    threads: int,
) -> list[SharedFile]:
    """How much of the sequences of some files stands in a corpus, on either strand.

    Parameters
    ----------
    keep
        The sequences of the corpus that count.

    Raises
    ------
    InputError
        If a file cannot be read, or holds nothing that can be shared.
    """
    files = [read_sequence_file(path, overlap_bp) for path in paths]
    sequences = (record.sequence for file in files for record in file.records)
    mined = covered_bases(build_index(sequences, overlap_bp), corpus, keep, threads)
    ends = np.cumsum([len(file.records) for file in files])
    return list(map(SharedFile, files, np.split(mined, ends[:-1])))


def _search_blocks(
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
