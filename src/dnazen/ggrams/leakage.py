"""What of some sequences stands in a corpus: benchmark sequences to exclude, or to find leaked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64

from ..errors import InputError
from ..records import InputFile, hash_file
from ..sequences.alphabet import normalise
from ..sequences.reader import Record, read_records
from ..tokens.corpus import Corpus
from .overlaps import Index, build_index, covered_bases, sharing
from .vocabulary import GGramVocabulary


class SequenceFile(NamedTuple):
    """The sequences of a file, and how many of them can share anything."""

    path: Path
    records: list[Record]
    """Normalised: ``A C G T N``."""
    too_short: int
    """Records without as many bases in a row as a shared run has."""
    identity: InputFile

    @property
    def bases(self) -> int:
        """Letters in all."""
        return sum(len(record.sequence) for record in self.records)


class Sharing(NamedTuple):
    """What a corpus shares with some files."""

    sequences: Bool[np.ndarray, "sequences"]
    """Corpus sequences with a shared run of bases."""
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


def _read_and_index(paths: Sequence[Path], overlap_bp: int) -> tuple[list[SequenceFile], Index]:
    """The sequences of some files, and the index of them all."""
    files = [read_sequence_file(path, overlap_bp) for path in paths]
    sequences = (record.sequence for file in files for record in file.records)
    return files, build_index(sequences, overlap_bp)


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


def sharing_sequences(
    corpus: Corpus, paths: Sequence[Path], overlap_bp: int, threads: int
) -> Sharing:
    """Corpus sequences that share ``overlap_bp`` bases or more with any sequence of the files.

    Raises
    ------
    InputError
        If a file cannot be read, or holds nothing that can be shared.
    """
    files, index = _read_and_index(paths, overlap_bp)
    return Sharing(sharing(index, corpus, threads), files)


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
    excluded_part = sharing_sequences(opened, files, source.overlap_bp, threads)
    return opened, ~excluded_part.sequences


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
    files, index = _read_and_index(paths, overlap_bp)
    mined = covered_bases(index, corpus, keep, threads)
    ends = np.cumsum([len(file.records) for file in files])
    return list(map(SharedFile, files, np.split(mined, ends[:-1])))
