"""Tables of sequences, CSV and TSV: rows with a header, and the letters in their cells."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from ..tables import printable
from .alphabet import foreign
from .lines import Line

SEQUENCE_COLUMNS = ("sequence", "sequence_1", "sequence_2")
"""Header names of the columns that hold sequences in a table."""
NAME_COLUMNS = ("name", "id")
"""Header names of the column that holds a record's name; the first that is there counts."""

SHORTEST_KMER_EVIDENCE_BP = 10
"""Bases by which the words of a cell must overlap in all to be taken for k-mers."""

_FIELD_LIMIT = 1 << 30  # the csv module's own limit of 131,072 is less than a BAC
_DELIMITERS = ("\t", ",", ";")
_SPACE = b" \t\r\n\v\f"


class TableRow(NamedTuple):
    """One row of a table, and the 1-based line on which it ends."""

    line: int
    fields: list[str]


class Table(NamedTuple):
    """The header of a table, and its rows, which can be taken once."""

    header: list[str]
    rows: Iterator[TableRow]
    """Each has as many fields as the header; blank lines are passed over."""


def read_table(path: str | Path, lines: Iterable[Line]) -> Table:
    """Open a table whose first line with text on it is its header.

    Fields are parted by tabs if the header has one, else by commas, else by semicolons, as
    spreadsheets of many countries write them; a first line ``sep=;`` says by what.

    Raises
    ------
    InputError
        Naming file and line, if there is no header; while rows are taken, if the text is not
        UTF-8, a quote is left open, or a row is longer or shorter than the header.
    """
    lines = iter(lines)
    first = next((line for line in lines if line.text.strip()), None)
    if first is None:
        raise InputError(
            "empty file", path=path, line=1, expected="a header line such as sequence,label"
        )
    delimiter = _stated_delimiter(first.text)
    if delimiter:
        first = next(lines, first)
    else:
        delimiter = _delimiter(first.text)
    csv.field_size_limit(_FIELD_LIMIT)
    reader = csv.reader(_texts(path, first, lines), delimiter=delimiter, strict=True)
    rows = _rows(path, first.number - 1, reader)
    header = next(rows)
    return Table([column.strip() for column in header.fields], _of_width(path, header, rows))


def is_table(first: bytes) -> bool:
    """Whether the first line of a file is a table's: a header, or ``sep=``.

    Examples
    --------
    >>> is_table(b"Sequence"), is_table(b"id;sequence"), is_table(b"ACGT ACGT")
    (True, True, False)
    """
    fields = first.split(_delimiter(first).encode())
    columns = [field.strip(_SPACE + b'"').lower() for field in fields]
    return len(columns) > 1 or columns[0] == b"sequence" or bool(_stated_delimiter(first))


def name_column(header: list[str]) -> int | None:
    """The place of the column that names records; None if there is none."""
    columns = [column.lower() for column in header]
    return next((columns.index(name) for name in NAME_COLUMNS if name in columns), None)


def cell_name(
    text: str, ordinal: int, path: str | Path | None = None, line: int | None = None
) -> str:
    """The name in a cell, whole; the record's number where it is empty.

    What would break a line of output is written as its escape.

    Raises
    ------
    InputError
        If it holds a NUL.

    Examples
    --------
    >>> cell_name(" patient 1", 7), cell_name("", 7), cell_name("a\\tb", 7)
    ('patient 1', '7', 'a\\\\tb')
    """
    if "\0" in text:  # no format of ours can hold one, and no editor writes it
        raise InputError("a name holds a NUL", path=path, line=line, fix="copy the file again")
    return printable(text.strip()) or str(ordinal)


def cell_letters(path: str | Path, line: int, text: str, column: str) -> bytes:
    """The nucleotide letters of a cell, as ``sequence_letters`` reads them."""
    return sequence_letters(path, line, text.replace("\n", " ").encode(), column)


def sequence_letters(
    path: str | Path, line: int, text: bytes | bytearray, column: str = ""
) -> bytes:
    """The nucleotide letters of a text, blanks and line ends left out.

    Parameters
    ----------
    line
        1-based line of the file on which the text begins, for the message.
    column
        The column of the table that it stands in, for the message.

    Raises
    ------
    InputError
        If another character is there, or the words of a line are k-mers of a sequence, each the
        one before moved on by a base, which taken together would be another sequence.
    """
    letters = bytes(text.translate(None, _SPACE))
    place = f"column {column!r}: " if column else ""
    if foreign(letters):
        begin = letters.index(foreign(letters).encode("latin-1"))
        character = letters[begin : begin + 4].decode("utf-8", "replace")[0]
        raise InputError(
            f"{place}character {character!r} is no nucleotide",
            path=path,
            line=line + text.count(b"\n", 0, text.index(letters[begin : begin + 1])),
            expected="A C G T U, N or another IUPAC code",
            fix="remove gaps and other symbols; is it a protein or no sequence file?",
        )
    if b" " in text or b"\t" in text:
        for number, words in enumerate(bytes(text).split(b"\n"), line):
            if k := overlapping_kmers(words):
                raise InputError(
                    f"{place}overlapping {k}-mers, each word the one before moved on by a base",
                    path=path,
                    line=number,
                    expected="a sequence",
                    fix="join them back: the first letter of each word, then the rest of the last "
                    "(if they are blocks of a repeat, remove the blanks)",
                )
    return letters


def overlapping_kmers(text: bytes) -> int:
    """The k of a text that is the k-mers of a sequence in order; 0 of any other text.

    Words that overlap by chance, fewer than ``SHORTEST_KMER_EVIDENCE_BP`` in all, are none.

    Examples
    --------
    >>> overlapping_kmers(b"ACGTAC CGTACG GTACGG"), overlapping_kmers(b"ACGTACGTAC GTACGTACGT")
    (6, 0)
    """
    words = text.upper().split()
    k = len(words[0]) if words else 0
    if k < 2 or (len(words) - 1) * (k - 1) < SHORTEST_KMER_EVIDENCE_BP:
        return 0
    pairs = pairwise(words)
    return k if all(len(b) == k and a[1:] == b[:-1] for a, b in pairs) else 0


def _stated_delimiter(first: bytes) -> str:
    """What a line ``sep=;`` says that fields are parted by; empty of any other line."""
    text = first.strip(b'\r\n "').lower()
    stated = text[4:].decode("latin-1") if text.startswith(b"sep=") else ""
    return stated if stated in _DELIMITERS else ""


def _delimiter(header: bytes) -> str:
    r"""What parts the fields of a header.

    Examples
    --------
    >>> _delimiter(b"a\tb;c"), _delimiter(b"sequence,x;y"), _delimiter(b"x,y;sequence")
    ('\t', ',', ';')
    """
    text = header.decode("latin-1").strip().lower()
    if "\t" in text:
        return "\t"
    for delimiter in (",", ";"):
        columns = (column.strip(' "') for column in text.split(delimiter))
        if delimiter in text and any(column in SEQUENCE_COLUMNS for column in columns):
            return delimiter
    return ";" if ";" in text and "," not in text else ","


def _texts(path: str | Path, first: Line, rest: Iterator[Line]) -> Iterator[str]:
    line: Line | None = first
    while line is not None:
        try:
            yield line.text.decode()
        except UnicodeDecodeError:
            raise InputError(
                "not UTF-8 text", path=path, line=line.number, fix="save it as UTF-8"
            ) from None
        line = next(rest, None)


def _rows(path: str | Path, lines_before: int, reader: csv._reader) -> Iterator[TableRow]:
    try:
        for fields in reader:
            if fields:
                yield TableRow(lines_before + reader.line_num, fields)
    except csv.Error as error:
        line = lines_before + reader.line_num
        raise InputError(f"not a readable table ({error})", path=path, line=line) from None


def _of_width(path: str | Path, header: TableRow, rows: Iterator[TableRow]) -> Iterator[TableRow]:
    width = len(header.fields)
    for row in rows:
        if len(row.fields) != width:
            raise InputError(
                f"{len(row.fields)} fields",
                path=path,
                line=row.line,
                expected=f"{width}, as in the header",
            )
        yield row
