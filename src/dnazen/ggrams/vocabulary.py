"""The G-gram vocabulary: arrays in memory, one readable, diff-able text file on disk."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from jaxtyping import Float32, Int, Int64

from ..errors import InputError
from ..records import plain
from ..sequences.lines import read_lines
from ..tables import new_text
from ..tokens.special import MAX_VOCAB_SIZE, SPECIAL_TOKENS
from .settings import MAX_LENGTH

GGRAMS_FILE = "ggrams.tsv"
"""The vocabulary of a model, in its directory."""

FORMAT = "dnazen-ggrams"
VERSION = 1
SPECIAL = len(SPECIAL_TOKENS)
"""Ids below this one are special tokens, which never stand inside a G-gram."""
UNKNOWN_COUNT = -1

_EXPECTED = "a G-gram vocabulary as 'dnazen ggrams mine' writes it"
_ROWS_AT_A_TIME = 1 << 16
_DIGITS = tuple(map(str, range(MAX_VOCAB_SIZE)))
_COLUMNS = "id\tcount\tpmi\ttokens\tbases"
_ROW = (
    r"[1-9]\d{0,9}\t(?:\.|\d{1,18})\t(?:\.|-?\d{1,6}(?:\.\d{1,9})?)\t\d{1,5}(?: \d{1,5}){1,15}"
    r"\t(?:\.|[ACGT]+)\n"
)
# Possessive, so that a damaged table is refused in linear time too.
_TABLE = re.compile(f"(?:{_ROW})*+", re.ASCII)


@dataclass(frozen=True, eq=False, kw_only=True)
class GGramVocabulary:
    """G-grams with their counts and PMI; ids run 1..len, 0 is the padding and never a G-gram."""

    tokens: Int[np.ndarray, "total"]
    """Token ids of all G-grams, one after the other."""
    offsets: Int64[np.ndarray, "ggrams+1"]
    """G-gram ``i`` (id ``i + 1``) is ``tokens[offsets[i]:offsets[i + 1]]``."""
    counts: Int64[np.ndarray, "ggrams"]
    """Occurrences in the corpus, overlapping ones too; -1 where unknown."""
    pmi: Float32[np.ndarray, "ggrams"]
    """PMI in bits of the weakest adjacent pair (Decided here); NaN where unknown."""
    vocab_size: int
    """Tokens of the tokenizer."""
    tokenizer_sha256: str
    """Hash of the tokenizer whose ids these are."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Settings, inputs and exclusions, as JSON values."""
    bases: tuple[str, ...] = ()
    """Each G-gram spelt out; empty when no tokenizer was at hand."""

    def __post_init__(self) -> None:
        problem = first_problem(self.tokens, self.offsets, self.vocab_size)
        if problem:
            raise InputError(f"G-gram {problem[0] + 1}: {problem[1]}")
        sizes = {len(self), len(self.counts), len(self.pmi), len(self.bases) or len(self)}
        if len(sizes) > 1:
            raise ValueError(f"arrays of one vocabulary differ in length: {sorted(sizes)}")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Int64[np.ndarray, "ggrams"]:
        """Tokens of each G-gram."""
        return np.diff(self.offsets)

    def ggram(self, ggram_id: int) -> tuple[int, ...]:
        """Token ids of one G-gram, by its id (1..len)."""
        if not 1 <= ggram_id <= len(self):
            raise IndexError(f"G-gram ids run 1..{len(self)}, got {ggram_id}")
        start, end = self.offsets[ggram_id - 1 : ggram_id + 1]
        return tuple(self.tokens[start:end].tolist())

    def require_tokenizer(self, sha256: str, path: Path | None = None) -> None:
        """Raise unless the ids are those of the tokenizer with this hash.

        Parameters
        ----------
        path
            Where the vocabulary came from, for the message.

        Raises
        ------
        InputError
            If the vocabulary was mined with another tokenizer.
        """
        if sha256 != self.tokenizer_sha256:
            raise InputError(
                f"the G-gram vocabulary was mined with another tokenizer "
                f"({self.tokenizer_sha256[:12]}, this one is {sha256[:12]})",
                path=path,
                expected="both from one corpus",
                fix="mine the G-grams again with 'dnazen ggrams mine'",
            )

    def save(self, path: Path) -> None:
        """Write the vocabulary as one text file: a commented JSON header, then a table.

        PMI is kept to 4 decimals. Where the name ends in ``.gz``, bgzip compresses it.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        header = {
            "format": FORMAT,
            "version": VERSION,
            "ggrams": len(self),
            "vocab_size": self.vocab_size,
            "tokenizer_sha256": self.tokenizer_sha256,
            "provenance": plain(self.provenance),
        }
        commented = "".join(f"# {line}\n" for line in json.dumps(header, indent=1).split("\n"))
        with new_text(path) as write:
            write(f"{commented}{_COLUMNS}\n")
            for first in range(0, len(self), _ROWS_AT_A_TIME):
                write("".join(self._rows(first, min(first + _ROWS_AT_A_TIME, len(self)))))

    def _rows(self, first: int, end: int) -> Iterator[str]:
        """Lines of the table for some G-grams, by place (id - 1)."""
        ggrams = _spelt(self.tokens, self.offsets[first : end + 1], _DIGITS, " ")
        counts = ("." if c < 0 else str(c) for c in self.counts[first:end].tolist())
        pmi = ("." if p != p else f"{p:.4f}" for p in self.pmi[first:end].tolist())
        bases = self.bases[first:end] or ("." for _ in range(first, end))
        for row in zip(range(first + 1, end + 1), counts, pmi, ggrams, bases, strict=True):
            yield "\t".join(map(str, row)) + "\n"

    @classmethod
    def load(cls, path: Path) -> GGramVocabulary:
        """Read a vocabulary file, plain or gzip.

        Memory is a small multiple of the file's size, whatever its header claims.

        Raises
        ------
        InputError
            If the file is absent or not a vocabulary, or anything in it is damaged.
        """
        header, table, first_line = _split(path)
        good = _TABLE.match(table)
        if good is None or good.end() < len(table):
            raise InputError(
                "not a row of a G-gram vocabulary",
                path=path,
                line=first_line + table.count("\n", 0, good.end() if good else 0),
                expected="id, count, PMI, token ids, bases, parted by tabs",
                fix="mine it again, or fetch an undamaged copy",
            )
        cells = table.replace("\n", "\t").split("\t")[:-1]
        ids, counts, pmi, ggrams, bases = (cells[column::5] for column in range(5))
        wrong = next((i for i, number in enumerate(ids) if number != str(i + 1)), None)
        if wrong is not None:
            raise InputError(
                f"G-gram id {ids[wrong]}",
                path=path,
                line=first_line + wrong,
                expected=str(wrong + 1),
            )
        lengths = np.fromiter((ggram.count(" ") + 1 for ggram in ggrams), np.int64, len(ggrams))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        # Five digits at most a token, so int32 holds them before they are checked.
        tokens = np.fromiter(map(int, " ".join(ggrams).split()), np.int32, int(offsets[-1]))
        problem = first_problem(tokens, offsets, header["vocab_size"])
        if problem:
            raise InputError(problem[1], path=path, line=first_line + problem[0])
        return cls(
            tokens=tokens.astype(np.uint16),
            offsets=offsets,
            counts=np.array([UNKNOWN_COUNT if c == "." else int(c) for c in counts], np.int64),
            pmi=np.array([np.nan if p == "." else float(p) for p in pmi], np.float32),
            vocab_size=header["vocab_size"],
            tokenizer_sha256=header["tokenizer_sha256"],
            provenance=header["provenance"],
            bases=() if "." in bases else tuple(bases),
        )


def spell(
    tokens: Int[np.ndarray, "total"], offsets: Int[np.ndarray, "ggrams+1"], strings: Sequence[str]
) -> tuple[str, ...]:
    """The bases of each G-gram, ``strings`` being the tokens' bases by id."""
    blocks = range(0, len(offsets) - 1, _ROWS_AT_A_TIME)
    bounds = (offsets[first : first + _ROWS_AT_A_TIME + 1] for first in blocks)
    return tuple(itertools.chain.from_iterable(_spelt(tokens, b, strings, "") for b in bounds))


def _spelt(
    tokens: Int[np.ndarray, "total"],
    bounds: Int[np.ndarray, "some+1"],
    strings: Sequence[str],
    between: str,
) -> Iterator[str]:
    """The strings of the tokens of some G-grams, put together with ``between`` between them."""
    words = [strings[t] for t in tokens[bounds[0] : bounds[-1]].tolist()]
    for a, b in itertools.pairwise((bounds - bounds[0]).tolist()):
        yield between.join(words[a:b])


def padded(
    tokens: Int[np.ndarray, "total"], offsets: Int[np.ndarray, "ggrams+1"]
) -> Int[np.ndarray, "ggrams longest"]:
    """G-grams as rows, padded on the right with 0, which is no G-gram's token."""
    lengths = np.diff(offsets)
    rows = np.zeros((len(lengths), lengths.max(initial=0)), dtype=tokens.dtype)
    rows[np.arange(rows.shape[1]) < lengths[:, None]] = tokens
    return rows


def order_of_ids(
    rows: Int[np.ndarray, "ggrams longest"],
    lengths: Int[np.ndarray, "ggrams"],
    counts: Int[np.ndarray, "ggrams"],
) -> Int64[np.ndarray, "ggrams"]:
    """The order that ids follow: count descending, length ascending, token ids ascending.

    Parameters
    ----------
    rows
        The G-grams, as ``padded`` gives them.
    """
    return np.lexsort((*rows.T[::-1], lengths, -counts))


def first_problem(
    tokens: Int[np.ndarray, "total"], offsets: Int[np.ndarray, "ggrams+1"], vocab_size: int
) -> tuple[int, str] | None:
    """The first G-gram (0-based) that a vocabulary must not hold, and why; None if all is well."""
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != len(tokens):
        raise ValueError("offsets must run from 0 to the number of tokens")
    lengths = np.diff(offsets)
    wrong = np.flatnonzero((lengths < 2) | (lengths > MAX_LENGTH))
    if len(wrong):
        return int(wrong[0]), f"a G-gram has 2 to {MAX_LENGTH} tokens, not {lengths[wrong[0]]}"
    if not SPECIAL < vocab_size <= MAX_VOCAB_SIZE:
        raise ValueError(f"vocab_size must be {SPECIAL + 1} to {MAX_VOCAB_SIZE}, got {vocab_size}")
    wrong = np.flatnonzero((tokens < SPECIAL) | (tokens >= vocab_size))
    if len(wrong):
        row = int(np.searchsorted(offsets, wrong[0], side="right")) - 1
        return row, f"token id {tokens[wrong[0]]} is not in {SPECIAL}..{vocab_size - 1}"
    rows = padded(tokens, offsets)
    order = np.lexsort(rows.T[::-1]) if len(rows) else np.zeros(0, dtype=np.int64)
    twins = np.flatnonzero((rows[order[1:]] == rows[order[:-1]]).all(axis=1))
    if len(twins):
        row = int(order[twins + 1].min())
        return row, "this G-gram stood in the vocabulary before"
    return None


def _split(path: Path) -> tuple[dict[str, Any], str, int]:
    """Header, the table's rows as text, and the 1-based line number of the first row."""

    def refuse(problem: str, line: int | None = None) -> NoReturn:
        raise InputError(
            problem,
            path=path,
            line=line,
            expected=_EXPECTED,
        )

    try:
        text = b"".join(line.text for line in read_lines(path, _EXPECTED)).decode("ascii")
    except UnicodeDecodeError:
        refuse("not plain text")
    text = text.replace("\r\n", "\n")
    at, comments = 0, 0
    while text.startswith("# ", at):
        at = text.find("\n", at) + 1 or len(text)
        comments += 1
    try:
        header = json.loads("\n".join(line[2:] for line in text[:at].splitlines()))
    except (ValueError, RecursionError):
        refuse("the header is not JSON", 1)
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        refuse("not a G-gram vocabulary", 1)
    if header.get("version") != VERSION:
        refuse(f"format version {header.get('version')!r}, this dnazen reads {VERSION}", 1)
    kinds = {"ggrams": int, "vocab_size": int, "tokenizer_sha256": str, "provenance": dict}
    for key, kind in kinds.items():
        if type(header.get(key)) is not kind:
            refuse(f"the header's {key!r} is missing or no {kind.__name__}", 1)
    if not SPECIAL < header["vocab_size"] <= MAX_VOCAB_SIZE:
        refuse(f"the header's vocab_size {header['vocab_size']} is out of range", 1)
    columns, _, table = text[at:].partition("\n")
    if columns != _COLUMNS:
        refuse("the table's column names are missing", comments + 1)
    rows = table.count("\n")
    if table and not table.endswith("\n"):
        refuse("the last line is cut short", comments + 2 + rows)
    if rows != header["ggrams"]:
        refuse(f"{rows} rows where the header says {header['ggrams']}", comments + 1 + rows)
    return header, table, comments + 2
