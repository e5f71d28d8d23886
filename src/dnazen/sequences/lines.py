"""Lines of text files in any packing, from any place, with any line ends.

Gzip, bgzip, xz, bzip2, zip and (where Python has it) zstd are seen through, told by the content;
``-`` is standard input. A line ends with LF, CRLF or CR, whichever the file has, also mixed.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import importlib
import io
import lzma
import re
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from ..errors import InputError
from ..records import InputFile

GZIP = b"\x1f\x8b"
BGZF_FIELD = b"BC\x02\x00"
"""What tells bgzip from other gzip, at byte 12 of the header."""
BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
"""The empty block that ends a whole bgzip file."""

BYTE_ORDER_MARK = b"\xef\xbb\xbf"

PACKINGS = {
    "gzip": GZIP,
    "xz": b"\xfd7zXZ\x00",
    "bzip2": b"BZh",
    "zip": b"PK\x03\x04",
    "zstd": b"\x28\xb5\x2f\xfd",
}
"""How each packing begins."""
_UNPACK = {"gzip": "gunzip -c", "xz": "xz -dc", "bzip2": "bunzip2 -c", "zip": "unzip -p"}
_UNPACK["zstd"] = "zstd -dc"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, OSError, zipfile.BadZipFile, NotImplementedError)


class Line(NamedTuple):
    """A line of a file and its 1-based number."""

    number: int
    text: bytes
    """With its end, which is LF or CRLF; the last line may have none."""


def read_lines(
    path: str | Path,
    expected: str,
    name: str | None = None,
    *,
    identify: Callable[[InputFile], object] | None = None,
) -> Iterator[Line]:
    """Yield the lines of a text file.

    Memory is one line; of a file whose lines end with CR alone it is the file.

    Parameters
    ----------
    expected
        What the file should be, for the message: ``a BED file``.
    name
        What messages call the file, by default its path.
    identify
        Called with the file's size and SHA-256 (as stored, before it is unpacked) once its last
        line has been taken, so that an input, a pipe too, is read only once.

    Raises
    ------
    InputError
        If the file is absent, damaged, not in UTF-8 or a packing that cannot be read.
    """
    path = str(path)
    with _opened(path, expected) as raw:
        stored = _Watched(raw)
        yield from _lines(path, name or path, stored)
        if identify is not None:
            stored.drain()
            identify(InputFile(path, stored.size, stored.digest.hexdigest()))


def packing_of(head: bytes) -> str:
    """The packing of a file that begins so, a key of ``PACKINGS``; empty for none of them.

    Examples
    --------
    >>> packing_of(b"BZh91AY&SY"), packing_of(b">chr1")
    ('bzip2', '')
    """
    return next((name for name, magic in PACKINGS.items() if head.startswith(magic)), "")


def unpack_command(packing: str, path: str | Path) -> str:
    """The shell command that writes what a packed file holds to standard output."""
    return f"{_UNPACK[packing]} {path}"


def _lines(path: str, name: str, stored: _Watched) -> Iterator[Line]:
    number = 0
    buffered = io.BufferedReader(stored, 1 << 20)
    head = buffered.peek(16)
    packing = packing_of(head)
    stream = _unpacked(path, packing, buffered)
    try:
        for text in stream:
            if number == 0:
                text = _without_mark(name, text)
            cr = text.find(b"\r")
            if cr < 0 or (cr == len(text) - 2 and text[-1:] == b"\n"):
                number += 1
                yield Line(number, text)
            else:
                for part in _split(text):
                    number += 1
                    yield Line(number, part)
        # bgzip is gzip in blocks: a file cut between two of them decompresses without complaint
        if packing == "gzip" and head[12:16] == BGZF_FIELD and stored.tail != BGZF_END:
            raise EOFError("bgzip's end marker is missing")
    except _DAMAGE as error:
        if not packing:
            raise
        raise InputError(
            f"{packing} data ends early or is damaged ({error})",
            path=name,
            line=number + 1,
            fix="copy or compress the file anew",
        ) from None


def _split(text: bytes) -> list[bytes]:
    """The lines of a text that has CR for line ends here or there, each ended by LF.

    Examples
    --------
    >>> _split(b"AC\\rGT\\r\\nA")
    [b'AC\\n', b'GT\\n', b'A']
    """
    *lines, last = _LINE_END.split(text)
    return [line + b"\n" for line in lines] + ([last] if last else [])


def _without_mark(path: str, text: bytes) -> bytes:
    """The first line without a byte-order mark; raises if it is UTF-16, or no text."""
    if text.startswith(_UTF16) or b"\0" in text[:200]:
        raise InputError(
            "UTF-16 text, or a binary file",
            path=path,
            line=1,
            expected="text in UTF-8",
            fix="save it as UTF-8 text (iconv -f UTF-16 -t UTF-8)",
        )
    return text.removeprefix(BYTE_ORDER_MARK)


def _unpacked(path: str, packing: str, stored: io.BufferedReader[_Watched]) -> Any:
    """A stream of the bytes that are packed in another."""
    if packing == "gzip":
        return io.BufferedReader(gzip.GzipFile(fileobj=stored), 1 << 20)
    if packing == "xz":
        return io.BufferedReader(lzma.LZMAFile(stored), 1 << 20)
    if packing == "bzip2":
        return io.BufferedReader(bz2.BZ2File(stored), 1 << 20)
    if packing == "zip":
        return _only_member(path)
    if packing == "zstd":
        return _zstd(path, stored)
    return stored


def _only_member(path: str) -> Any:
    """The file in a zip archive of one file."""
    by_hand = f"{unpack_command('zip', 'FILE')} | dnazen ... -"
    if not Path(path).is_file():
        raise InputError("zip from a pipe", path=path, expected="a file", fix=by_hand)
    try:
        archive = zipfile.ZipFile(path)
        members = [
            member
            for member in archive.infolist()
            if not (member.is_dir() or member.filename.startswith("__MACOSX/"))
        ]
        if len(members) != 1:
            names = ", ".join(repr(member.filename) for member in members[:5])
            raise InputError(
                f"zip of {len(members)} files ({names})",
                path=path,
                expected="one file in it",
                fix="unzip it and name its files; of a workbook, save the sheet as CSV",
            )
        if members[0].flag_bits & 1:
            raise InputError("zip with a password", path=path, fix="unzip it first")
        return io.BufferedReader(archive.open(members[0]), 1 << 20)
    except _DAMAGE as error:
        raise InputError(
            f"zip data ends early or is damaged ({error})",
            path=path,
            fix="copy or compress the file anew",
        ) from None


def _zstd(path: str, stored: io.BufferedReader[_Watched]) -> Any:
    """Zstandard needs Python 3.14 or the package zstandard."""
    for module in ("compression.zstd", "zstandard"):
        try:
            return importlib.import_module(module).open(stored, "rb")
        except ImportError:
            continue
    raise InputError(
        "zstd, which this Python does not read",
        path=path,
        expected="plain text, gzip, bgzip, xz, bzip2 or zip",
        fix=f"{unpack_command('zstd', path)} | dnazen ... -, or pip install zstandard",
    )


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
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be opened ({error})", path=path, expected=expected) from None


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
