"""Sequences in: FASTA, FASTQ, tables and plain lines, one record at a time.

The format is told by the content, never by the file's name; gzip and bgzip are seen through; ``-``
is standard input. Memory is one record, whatever the file's size.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ..errors import InputError
from ..records import InputFile
from .alphabet import NUCLEOTIDES

SEQUENCE_COLUMNS = ("sequence", "sequence_1", "sequence_2")
"""Header names of the columns that hold sequences in a table."""

BGZF_FIELD = b"BC\x02\x00"
"""What tells bgzip from other gzip, at byte 12 of the header."""
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block that ends a whole bgzip file."""

_LETTERS = NUCLEOTIDES + NUCLEOTIDES.lower()
_SPACE = b" \t\r\n"
_FORMATS = "FASTA (>name), FASTQ (@name), a table with a column 'sequence', or a sequence a line"
_CSV_FIELD_LIMIT = 1 << 30  # the csv module's own limit of 131,072 is less than a BAC


class Record(NamedTuple):
    """One sequence of a file."""

    name: str
    """First word of its header; the record's 1-based number in the file where it has none."""
    sequence: bytes
    """Nucleotide letters as they stand in the file: either case, U and IUPAC codes included."""


class Line(NamedTuple):
    """A line of a file and its 1-based number."""

    number: int
    text: bytes


def read_lines(path: str | Path, expected: str, name: str | None = None) -> Iterator[Line]:
    """Yield the lines of a text file, in any packing and from any place that records come from.

    Parameters
    ----------
    expected
        What the file should be, for the message: ``a BED file``.
    name
        What messages call the file, by default its path.

    Raises
    ------
    InputError
        If the file is absent, or is gzip and damaged.
    """
    with _opened(str(path), expected) as raw:
        yield from _lines(name or str(path), _Watched(raw))


def read_records(
    path: str | Path, *, identify: Callable[[InputFile], object] | None = None
) -> Iterator[Record]:
    """Yield the records of a sequence file, in file order.

    Records without a base are yielded too; an empty file yields none. Of a table, each row gives
    one record per column of ``SEQUENCE_COLUMNS``, named by its column ``name`` or ``id`` if it
    has one.

    Parameters
    ----------
    path
        FASTA, FASTQ, CSV or TSV with a header, or one sequence a line; plain, gzip or bgzip;
        ``-`` for standard input.
    identify
        Called with the file's size and SHA-256 (as stored, before decompression) once its last
        record has been taken, so that an input, a pipe too, is read only once.

    Raises
    ------
    InputError
        Naming file and line, if the file is absent, of no known format, truncated, or holds a
        character that is no nucleotide.
    """
    path = str(path)
    with _opened(path, "a sequence file") as raw:
        watched = _Watched(raw)
        lines = _lines(path, watched)
        first = next((line for line in lines if line.text.strip()), None)
        if first is not None:
            yield from _records(path, first, lines)
        if identify is not None:
            watched.drain()
            identify(InputFile(path, watched.size, watched.digest.hexdigest()))


def _records(path: str, first: Line, rest: Iterator[Line]) -> Iterator[Record]:
    """The records of a file whose first line with text on it is ``first``."""
    if first.text.startswith(b">"):
        return _fasta(path, first, rest)
    if first.text.startswith(b"@"):
        return _fastq(path, first, rest)
    columns = [word.strip(b' \t\r\n"').lower() for word in first.text.split(_delimiter(first))]
    if len(columns) > 1 or columns[0] == b"sequence":
        return _table(path, first, rest)
    if first.text.translate(None, _LETTERS + _SPACE):
        raise InputError("unknown format", path=path, line=first.number, expected=_FORMATS)
    return _plain_lines(path, first, rest)


def _fasta(path: str, first: Line, rest: Iterator[Line]) -> Iterator[Record]:
    header = first
    body = bytearray()  # with its line ends, so that a bad letter's line can be told
    ordinal = 1
    for line in rest:
        if line.text.startswith(b">"):
            record = Record(
                _name(header.text[1:], ordinal), _letters(path, header.number + 1, body)
            )
            header, body, ordinal = line, bytearray(), ordinal + 1  # frees what may be 250 MB
            yield record
        else:
            body += line.text
    yield Record(_name(header.text[1:], ordinal), _letters(path, header.number + 1, body))


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
        sequence = _letters(path, header.number + 1, body)
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
    csv.field_size_limit(_CSV_FIELD_LIMIT)
    delimiter = _delimiter(first).decode()
    rows = csv.reader(_decoded(path, first, rest), delimiter=delimiter, strict=True)
    try:
        header = [column.strip().lower() for column in next(rows)]
        columns = [header.index(column) for column in SEQUENCE_COLUMNS if column in header]
        if not columns:
            raise InputError(
                f"no column 'sequence' among {', '.join(header)[:80]}",
                path=path,
                line=first.number,
                expected=_FORMATS,
            )
        named = next((header.index(key) for key in ("name", "id") if key in header), None)
        ordinal = 0
        for row in rows:
            if not row:
                continue
            ordinal += 1
            line = first.number - 1 + rows.line_num
            if len(row) != len(header):
                raise InputError(
                    f"{len(row)} fields", path=path, line=line, expected=f"{len(header)}, as above"
                )
            name = str(ordinal) if named is None else _name(row[named].encode(), ordinal)
            for column in columns:
                yield Record(name, _letters(path, line, row[column].encode()))
    except csv.Error as error:
        line = first.number - 1 + rows.line_num
        raise InputError(f"not a readable table ({error})", path=path, line=line) from None


def _plain_lines(path: str, first: Line, rest: Iterator[Line]) -> Iterator[Record]:
    ordinal = 0
    for line in _chain(first, rest):
        if line.text.strip():
            ordinal += 1
            yield Record(str(ordinal), _letters(path, line.number, line.text))


def _letters(path: str, line: int, body: bytes | bytearray) -> bytes:
    """The text without blanks, or an error that names the line of the first bad character."""
    letters = bytes(body.translate(None, _SPACE))
    bad = letters.translate(None, _LETTERS)
    if bad:
        line += body.count(b"\n", 0, body.index(bad[:1]))
        raise InputError(
            f"character {chr(bad[0])!r} is no nucleotide",
            path=path,
            line=line,
            expected="A C G T U, N or another IUPAC code",
            fix="remove gaps and other symbols; is it a protein or no sequence file?",
        )
    return letters


def _name(text: bytes, ordinal: int) -> str:
    words = text.split(None, 1)
    return words[0].decode("utf-8", "replace") if words else str(ordinal)


def _delimiter(line: Line) -> bytes:
    return b"\t" if b"\t" in line.text.strip() else b","


def _decoded(path: str, first: Line, rest: Iterator[Line]) -> Iterator[str]:
    for line in _chain(first, rest):
        try:
            yield line.text.decode()
        except UnicodeDecodeError:
            raise InputError(
                "not UTF-8 text", path=path, line=line.number, expected=_FORMATS
            ) from None


def _chain(first: Line, rest: Iterable[Line]) -> Iterator[Line]:
    yield first
    yield from rest


def _lines(path: str, stored: _Watched) -> Iterator[Line]:
    """The lines of a stored file, decompressed where it is gzip, a byte-order mark left out."""
    number = 0
    buffered = io.BufferedReader(stored, 1 << 20)
    head = buffered.peek(16)
    zipped = head[:2] == b"\x1f\x8b"
    stream = io.BufferedReader(gzip.GzipFile(fileobj=buffered), 1 << 20) if zipped else buffered
    try:
        for number, text in enumerate(stream, 1):
            yield Line(number, text.removeprefix(b"\xef\xbb\xbf") if number == 1 else text)
        # bgzip is gzip in blocks: a file cut between two of them decompresses without complaint
        if zipped and head[12:16] == BGZF_FIELD and stored.tail != BGZF_END:
            raise EOFError("bgzip's end marker is missing")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(
            f"gzip data ends early or is damaged ({error})",
            path=path,
            line=number + 1,
            fix="copy or compress the file anew",
        ) from None


def _opened(path: str, expected: str) -> AbstractContextManager[BinaryIO]:
    if path == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return open(path, "rb")
    except FileNotFoundError:
        raise InputError("no such file", path=path, expected=expected) from None
    except IsADirectoryError:
        raise InputError(
            "is a directory", path=path, expected=expected, fix="name its files"
        ) from None
    except PermissionError:
        raise InputError("may not be read", path=path, fix="check its permissions") from None


class _Watched(io.RawIOBase):
    """A raw stream that counts and hashes what is read from it."""

    def __init__(self, raw: BinaryIO) -> None:
        self.raw = raw
        self.size = 0
        self.tail = b""
        """The last bytes read, as many as ``BGZF_END`` has."""
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` from the stream and return the number of bytes."""
        view = memoryview(buffer)
        block = self.raw.read(len(view))
        view[: len(block)] = block
        self.size += len(block)
        self.tail = (self.tail + block[-len(BGZF_END) :])[-len(BGZF_END) :]
        self.digest.update(block)
        return len(block)

    def drain(self) -> None:
        """Read to the end, past what a format leaves unread."""
        while self.read(1 << 20):
            pass
