"""Sequences in, one record at a time: FASTA, FASTQ, tables, plain lines and 2bit.

The one reader of every command. The format is told by the content, never by the file's name;
packings and line ends are those of ``lines.read_lines``. Memory is one record, whatever the file's
size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from ..records import InputFile, hash_file
from .alphabet import NUCLEOTIDES
from .lines import Line, read_lines
from .tables import (
    SEQUENCE_COLUMNS,
    cell_letters,
    cell_name,
    is_table,
    name_column,
    read_table,
    sequence_letters,
)
from .twobit import is_twobit, open_twobit

_LETTERS = NUCLEOTIDES + NUCLEOTIDES.lower()
_FORMATS = (
    "FASTA (>name), FASTQ (@name), a table with a column 'sequence', a sequence a line, or 2bit"
)


class Record(NamedTuple):
    """One sequence of a file."""

    name: str
    """First word of its header, or the whole of a table's name cell; the record's 1-based number
    in the file where it has none."""
    sequence: bytes
    """Nucleotide letters as they stand in the file: either case, U and IUPAC codes included."""


def read_records(
    path: str | Path, *, identify: Callable[[InputFile], object] | None = None
) -> Iterator[Record]:
    """Yield the records of a sequence file, or the contigs of a 2bit genome, in file order.

    Records without a base are yielded too; an empty file yields none. Of a table, each row gives
    one record per column of ``tables.SEQUENCE_COLUMNS``, named by its column ``name`` or ``id`` if
    it has one.

    Parameters
    ----------
    path
        FASTA, FASTQ, CSV or TSV with a header, one sequence a line, or 2bit; in any packing; ``-``
        for standard input.
    identify
        Called with the file's size and SHA-256 (as stored, before it is unpacked) once its last
        record has been taken, so that an input, a pipe too, is read only once.

    Raises
    ------
    InputError
        Naming file and line, if the file is absent, of no known format, truncated, holds a
        character that is no nucleotide, or k-mers in place of sequences.
    """
    if is_twobit(path):
        yield from _twobit(Path(path), identify)
        return
    path = str(path)
    files: list[InputFile] = []
    lines = read_lines(path, "a sequence file", identify=files.append)
    first = next((line for line in lines if line.text.strip()), None)
    if first is not None:
        yield from _records(path, first, lines)
    for _ in lines:  # what a format leaves unread
        pass
    if identify is not None:
        identify(files[0])


def no_bases(paths: Sequence[str | Path]) -> InputError:
    """The error of inputs that hold not one A, C, G or T."""
    return InputError(
        "no A, C, G or T in the input",
        path=paths[0] if len(paths) == 1 else None,
        expected="at least one base",
    )


def _records(path: str, first: Line, rest: Iterator[Line]) -> Iterator[Record]:
    """The records of a file whose first line with text on it is ``first``."""
    if first.text.startswith(b">"):
        return _fasta(path, first, rest)
    if first.text.startswith(b"@"):
        return _fastq(path, first, rest)
    if is_table(first.text):
        return _table(path, first, rest)
    if b"".join(first.text.split()).translate(None, _LETTERS):
        raise InputError("unknown format", path=path, line=first.number, expected=_FORMATS)
    return _plain_lines(path, first, rest)


def _fasta(path: str, first: Line, rest: Iterator[Line]) -> Iterator[Record]:
    header = first
    body = bytearray()  # with its line ends, so that a bad letter's line can be told
    ordinal = 1
    for line in rest:
        if line.text.startswith(b">"):
            record = Record(
                _name(header.text[1:], ordinal), sequence_letters(path, header.number + 1, body)
            )
            header, body, ordinal = line, bytearray(), ordinal + 1  # frees what may be 250 MB
            yield record
        else:
            body += line.text
    yield Record(_name(header.text[1:], ordinal), sequence_letters(path, header.number + 1, body))


def _fastq(path: str, first: Line, rest: Iterator[Line]) -> Iterator[Record]:
    """Reads of FASTQ, with sequence and quality wrapped over several lines or not."""
    header: Line | None = first
    ordinal = 0
    while header is not None:
        ordinal += 1
        if not header.text.startswith(b"@"):
            raise InputError("not a FASTQ header", path=path, line=header.number, expected="@name")
        body = bytearray()
        for line in rest:
            if line.text.startswith(b"+"):
                break
            body += line.text
        else:
            raise InputError(
                "read without its '+' line and qualities",
                path=path,
                line=header.number,
                fix="is the file cut short?",
            )
        sequence = sequence_letters(path, header.number + 1, body)
        qualities = 0
        while qualities < len(sequence):
            quality = next(rest, None)
            if quality is None:
                break
            qualities += len(quality.text.strip())
        if qualities != len(sequence):
            raise InputError(
                f"{qualities} qualities for {len(sequence)} bases",
                path=path,
                line=header.number,
                expected="as many as bases",
                fix="is the file cut short?",
            )
        yield Record(_name(header.text[1:], ordinal), sequence)
        header = next((line for line in rest if line.text.strip()), None)


def _table(path: str, first: Line, rest: Iterator[Line]) -> Iterator[Record]:
    table = read_table(path, chain((first,), rest))
    header = [column.lower() for column in table.header]
    columns = [header.index(column) for column in SEQUENCE_COLUMNS if column in header]
    if not columns:
        raise InputError(
            f"no column 'sequence' among {', '.join(header)[:80]}",
            path=path,
            line=first.number,
            expected=_FORMATS,
        )
    named = name_column(header)
    for ordinal, (line, fields) in enumerate(table.rows, 1):
        name = str(ordinal) if named is None else cell_name(fields[named], ordinal, path, line)
        for column in columns:
            yield Record(name, cell_letters(path, line, fields[column], table.header[column]))


def _plain_lines(path: str, first: Line, rest: Iterator[Line]) -> Iterator[Record]:
    ordinal = 0
    for line in chain((first,), rest):
        if line.text.strip():
            ordinal += 1
            yield Record(str(ordinal), sequence_letters(path, line.number, line.text))


def _twobit(path: Path, identify: Callable[[InputFile], object] | None) -> Iterator[Record]:
    genome = open_twobit(path)
    try:
        for ordinal, (name, length) in enumerate(genome.lengths.items(), 1):
            yield Record(
                cell_name(name, ordinal), genome.read(name, 0, length).encode() if length else b""
            )
    finally:
        genome.close()
    if identify is not None:
        identify(hash_file(path))


def _name(text: bytes, ordinal: int) -> str:
    words = text.split(None, 1)
    return cell_name(words[0].decode("utf-8", "replace"), ordinal) if words else str(ordinal)
