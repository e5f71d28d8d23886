"""Tokenised genomes on disk, memory-mapped.

A corpus is a directory: arrays (``tokens.npy`` and ``repeat.npy`` flat, and per sequence
``offsets.npy``, ``record.npy``, ``start.npy``, ``strand.npy``, ``weight.npy``), the records' names
(``records.tsv``), the tokenizer (``tokenizer/``) and, written last, what it all is
(``corpus.json``). The first version had neither repeats nor weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from jaxtyping import Float32, Int8, Int32, Int64, Integer, UInt8, UInt16
from tokenizers import Tokenizer
from tqdm import tqdm

from ..arrays import GrowingArray
from ..errors import InputError
from ..records import COUNT, read_json
from ..sequences.alphabet import BASES, reverse_complement, windows
from ..sequences.genomes import Genomes
from ..sequences.lines import read_lines
from ..tables import printable
from ..workers.cluster import Workers
from .settings import CorpusConfig, Strands
from .special import MAX_VOCAB_SIZE, SPECIAL_TOKENS
from .tokenizer import (
    CHUNK_BP,
    encode,
    grouped,
    load_tokenizer,
    save_tokenizer,
    token_lengths,
    tokenizer_sha256,
)
from .weights import WindowWeights

FORMAT = "dnazen-corpus"
VERSION = 2
RECORD_FILE = "corpus.json"

ARRAYS: dict[str, type[np.generic]] = {
    "tokens": np.uint16,
    "offsets": np.int64,
    "record": np.int32,
    "start": np.int64,
    "strand": np.int8,
    "repeat": np.uint8,
    "weight": np.float32,
}
"""The arrays of a corpus and their types, each in a file of its name with ``.npy``."""

_SINCE_VERSION_2 = ("repeat", "weight")

_FORM = {
    "sequences": COUNT,
    "tokens": COUNT,
    "records": COUNT,
    "vocab_size": COUNT,
    "tokenizer_sha256": str,
    "inputs": [{"path": str, "size": COUNT, "sha256": str}],
    "settings": dict,
}
_REBUILD = "the corpus is damaged; build it anew"
_UNSOUND = {
    "offsets": "offsets do not span the tokens, or run backwards",
    "tokens": "token ids beyond the vocabulary",
    "record": "numbers of records that are not there",
    "start": "windows that begin before their record",
    "strand": "strands other than 1 and -1",
    "repeat": "flags other than 0 and 1",
    "weight": "weights below 0, or without end",
}


class GenomeWindow(NamedTuple):
    """A stretch of a record, on its forward strand: at most ``window_bp`` of ACGT."""

    record: int
    start: int
    bases: bytes
    """In lower case those of repeats."""
    weight: float = 1.0
    """How often it is to be drawn."""


class TokenisedWindows(NamedTuple):
    """Tokenised windows; sequence s is ``tokens[offsets[s]:offsets[s + 1]]``."""

    tokens: UInt16[np.ndarray, "total"]
    offsets: Int64[np.ndarray, "sequences+1"]
    record: Int32[np.ndarray, "sequences"]
    start: Int64[np.ndarray, "sequences"]
    strand: Int8[np.ndarray, "sequences"]
    repeat: UInt8[np.ndarray, "total"]
    """1 for a token of which more than half of the bases are of repeats."""
    weight: Float32[np.ndarray, "sequences"]


def tokenise_windows(
    tokenizer: Tokenizer, batch: Sequence[GenomeWindow], *, strands: Strands = "both"
) -> TokenisedWindows:
    """Tokenise windows in order; with both strands, each window's reverse complement follows it.

    A pure function, and each window stands alone, so however a genome is cut into batches, the
    blocks in order make the same corpus.
    """
    signs = (1, -1) if strands == "both" else (1,)
    letters = [
        window.bases if sign > 0 else reverse_complement(window.bases)
        for window in batch
        for sign in signs
    ]
    tokens, offsets = encode(tokenizer, [text.upper().decode() for text in letters])
    return TokenisedWindows(
        tokens,
        offsets,
        np.repeat(np.array([w.record for w in batch], dtype=np.int32), len(signs)),
        np.repeat(np.array([w.start for w in batch], dtype=np.int64), len(signs)),
        np.tile(np.array(signs, dtype=np.int8), len(batch)),
        _repeats(b"".join(letters), token_lengths(tokenizer)[tokens]),
        np.repeat(np.array([w.weight for w in batch], dtype=np.float32), len(signs)),
    )


def _repeats(letters: bytes, lengths: Int64[np.ndarray, "tokens"]) -> UInt8[np.ndarray, "tokens"]:
    """1 for each token of which more than half of the bases stand in lower case."""
    lower = np.frombuffer(letters, dtype=np.uint8) >> 5 & 1  # where lower case differs from upper
    before = np.concatenate([[0], np.cumsum(lower, dtype=np.int64)])
    ends = np.cumsum(lengths)
    masked = before[ends] - before[ends - lengths]
    flags: UInt8[np.ndarray, "tokens"] = (2 * masked > lengths).astype(np.uint8)
    return flags


@dataclass(frozen=True)
class Corpus:
    """A corpus opened for reading; its arrays are pages of the files, read when touched."""

    directory: Path
    tokens: UInt16[np.memmap, "total"]
    """Token ids of all sequences, one after the other; no special tokens."""
    record: Int32[np.ndarray, "sequences"]
    """Number of the record that the sequence comes from: its row in ``record_names``."""
    start: Int64[np.ndarray, "sequences"]
    """0-based start of the sequence's window on the forward strand of its record, in bases."""
    strand: Int8[np.ndarray, "sequences"]
    """+1, or -1 where the sequence is the reverse complement of the window at ``start``."""
    offsets: Int64[np.ndarray, "sequences+1"]
    """Sequence s is ``tokens[offsets[s]:offsets[s + 1]]``."""
    meta: dict[str, Any]
    """What ``corpus.json`` says."""
    repeat: UInt8[np.ndarray, "total"] | None = None
    """1 for tokens of repeats, which genomes have in lower case; ``None`` in a corpus of the first
    version, which does not tell."""
    weight: Float32[np.ndarray, "sequences"] | None = None
    """How often a sequence is to be drawn in pre-training, beside others; likewise."""

    @classmethod
    def open(cls, directory: str | Path) -> Corpus:
        """Map a corpus and check that its files are whole, and hold what they should.

        All of its arrays are looked through once, so that no number in them leads out of another
        array: as long as it takes to read them.

        Raises
        ------
        InputError
            If the directory is no corpus, is one of a newer format, or its files do not hold
            what ``corpus.json`` states.
        """
        directory = Path(directory)
        path = directory / RECORD_FILE
        meta = read_json(path, "a corpus made by 'dnazen corpus build'")
        if meta.get("format") != FORMAT or not isinstance(meta.get("version"), int):
            raise InputError("not a corpus record", path=path, expected=f"format '{FORMAT}'")
        if meta["version"] > VERSION:
            raise InputError(
                f"corpus format {meta['version']}",
                path=path,
                expected=f"{VERSION} or older",
                fix="update dnazen",
            )
        meta = read_json(path, "a corpus made by 'dnazen corpus build'", _FORM)
        if not len(SPECIAL_TOKENS) < meta["vocab_size"] <= MAX_VOCAB_SIZE:
            raise InputError(f"'vocab_size' is {meta['vocab_size']}", path=path, fix=_REBUILD)
        sequences = meta["sequences"]
        lengths = dict.fromkeys(ARRAYS, sequences)
        lengths |= dict.fromkeys(("tokens", "repeat"), meta["tokens"])
        lengths["offsets"] = sequences + 1
        if meta["version"] < VERSION:
            lengths = {n: length for n, length in lengths.items() if n not in _SINCE_VERSION_2}
        arrays = {name: _mapped(directory, name, length) for name, length in lengths.items()}
        _require_sound(directory, arrays, meta)
        return cls(directory=directory, meta=meta, **arrays)

    def __len__(self) -> int:
        """Sequences: windows, times two where both strands were taken."""
        return len(self.record)

    def __getitem__(self, sequence: int) -> UInt16[np.ndarray, "tokens"]:
        """Token ids of one sequence."""
        return self.tokens[self.offsets[sequence] : self.offsets[sequence + 1]]

    @property
    def vocab_size(self) -> int:
        """Tokens of the tokenizer, special ones included."""
        return int(self.meta["vocab_size"])

    @property
    def tokenizer_sha256(self) -> str:
        """Hash of the tokenizer, as ``tokenizer.tokenizer_sha256`` makes it."""
        return str(self.meta["tokenizer_sha256"])

    @property
    def inputs(self) -> list[dict[str, Any]]:
        """Path, size and SHA-256 of every file it was built from."""
        return list(self.meta["inputs"])

    @property
    def settings(self) -> dict[str, Any]:
        """The ``CorpusConfig`` it was built with."""
        return dict(self.meta["settings"])

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, loaded when first asked for.

        Raises
        ------
        InputError
            If it is not the one that the corpus was built with.
        """
        path = self.directory / "tokenizer"
        tokenizer = load_tokenizer(path)
        if (
            tokenizer_sha256(tokenizer) != self.tokenizer_sha256
            or tokenizer.get_vocab_size() != self.vocab_size
        ):
            raise InputError(
                "not the tokenizer that the corpus was built with",
                path=path,
                fix="build the corpus anew",
            )
        return tokenizer

    @cached_property
    def record_names(self) -> list[str]:
        """The name of every record, by number.

        Raises
        ------
        InputError
            If ``records.tsv`` does not hold as many as ``corpus.json`` states.
        """
        path = self.directory / "records.tsv"
        lines = [line.text.decode(errors="replace") for line in read_lines(path, "a table")]
        names = [line.split("\t", 1)[0] for line in lines[1:]]
        if len(names) != self.meta["records"]:
            raise InputError(
                f"{len(names)} records", path=path, expected=f"{self.meta['records']}", fix=_REBUILD
            )
        return names


def write_corpus(
    directory: Path,
    genomes: Genomes,
    tokenizer: Tokenizer,
    config: CorpusConfig,
    weights: WindowWeights,
    *,
    ray: str | None = None,
) -> dict[str, Any]:
    """Write the arrays of a corpus into an existing directory, and return what they hold.

    Memory is one record of a genome and the chunks of ``CHUNK_BP`` at work, whatever the input's
    size. ``RECORD_FILE``, written with what this returns, makes the directory a corpus.

    Raises
    ------
    InputError
        If a file cannot be read, none holds a base, or none of them any of the regions that the
        weights are of.
    """
    totals = {"sequences": 0, "tokens": 0, "repeat_tokens": 0}
    with ExitStack() as stack:
        files = {
            name: stack.enter_context(GrowingArray(directory / f"{name}.npy", kind))
            for name, kind in ARRAYS.items()
        }
        table = stack.enter_context(open(directory / "records.tsv", "w", encoding="utf-8"))
        table.write("name\tfile\tlength_bp\n")
        progress = stack.enter_context(
            tqdm(desc="tokenising", unit="token", unit_scale=True, disable=None)
        )
        files["offsets"].append(np.zeros(1, dtype=np.int64))
        stream = _windows(genomes, config.window_bp, weights, table)
        batches = grouped(stream, lambda window: len(window.bases), CHUNK_BP)
        tokenise = partial(tokenise_windows, tokenizer, strands=config.strands)
        for block in Workers(ray=ray).map(tokenise, batches):
            files["offsets"].append(block.offsets[1:] + totals["tokens"])
            for name in ARRAYS.keys() - {"offsets"}:
                files[name].append(getattr(block, name))
            totals["sequences"] += len(block.record)
            totals["tokens"] += len(block.tokens)
            totals["repeat_tokens"] += int(block.repeat.sum())
            progress.update(len(block.tokens))
    weights.require_met()
    save_tokenizer(tokenizer, directory / "tokenizer")
    bases = genomes.counts.bases - genomes.counts.ambiguous
    if config.strands == "both":
        bases *= 2
    return {
        "format": FORMAT,
        "version": VERSION,
        **totals,
        "records": genomes.records,
        "bases": bases,
        "normalisation": genomes.counts,
        "vocab_size": tokenizer.get_vocab_size(),
        "tokenizer_sha256": tokenizer_sha256(tokenizer),
    }


def _windows(
    genomes: Genomes, window_bp: int, weights: WindowWeights, table: TextIO
) -> Iterator[GenomeWindow]:
    """Yield all windows in order, and write a row of ``table`` for each record.

    Decided here: a record in lower case throughout is no repeat, but was written so.
    """
    for number, (file, record) in enumerate(genomes):
        table.write(f"{record.name}\t{printable(file)}\t{len(record.sequence)}\n")
        soft_masked = any(base in record.sequence for base in BASES)
        letters = record.sequence if soft_masked else record.sequence.upper()
        batches = grouped(windows(letters, window_bp), lambda w: len(w[1]), CHUNK_BP)
        for batch in batches:
            starts = [start for start, _ in batch]
            ends = [start + len(bases) for start, bases in batch]
            drawn = weights.of_record(file, record.name, starts, ends)
            for (start, bases), weight in zip(batch, drawn.tolist(), strict=True):
                yield GenomeWindow(number, start, bases, weight)


def _mapped(directory: Path, name: str, length: int) -> np.memmap[Any, Any]:
    path = directory / f"{name}.npy"
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # numpy raises whatever its parsers of the header do
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"not readable ({reason})", path=path, fix=_REBUILD) from None
    if array.dtype != ARRAYS[name] or array.shape != (length,):
        raise InputError(
            f"holds {array.dtype} {array.shape}",
            path=path,
            expected=f"{np.dtype(ARRAYS[name])} ({length},)",
            fix=_REBUILD,
        )
    return array


def _require_sound(
    directory: Path, arrays: Mapping[str, np.memmap[Any, Any]], meta: Mapping[str, Any]
) -> None:
    """Raise unless every number of the arrays leads to something that is there."""
    offsets, tokens = arrays["offsets"], arrays["tokens"]
    faults = {
        "offsets": offsets[0] != 0
        or offsets[-1] != len(tokens)
        or any((part[1:] < part[:-1]).any() for part in _chunks(offsets, overlap=1)),
        "tokens": any(part.max() >= meta["vocab_size"] for part in _chunks(tokens)),
        "record": any(
            part.min() < 0 or part.max() >= meta["records"] for part in _chunks(arrays["record"])
        ),
        "start": any(part.min() < 0 for part in _chunks(arrays["start"])),
        "strand": any((np.abs(part) != 1).any() for part in _chunks(arrays["strand"])),
    }
    if "weight" in arrays:
        faults["repeat"] = any((part > 1).any() for part in _chunks(arrays["repeat"]))
        faults["weight"] = any(
            not (np.isfinite(part) & (part >= 0)).all() for part in _chunks(arrays["weight"])
        )
    for name, wrong in faults.items():
        if wrong:
            raise InputError(_UNSOUND[name], path=directory / f"{name}.npy", fix=_REBUILD)


def _chunks(
    array: np.memmap[Any, Any], *, overlap: int = 0, size: int = 1 << 22
) -> Iterator[Integer[np.ndarray, "n"]]:
    """Parts of an array of ``size`` items, so that checking it takes no memory of its own."""
    for start in range(0, len(array), size):
        yield np.asarray(array[start : start + size + overlap])
