"""Tables and text, to a file or standard output, in the form that the file's name asks for."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from .errors import ConfigError
from .outputs import new_file

_BINARY = (
    *(".xz", ".bz2", ".zst", ".zip", ".lz4", ".7z", ".Z", ".br", ".lzma", ".tar", ".tgz"),
    *(".parquet", ".feather", ".xlsx", ".xls", ".ods", ".h5", ".h5ad", ".npy", ".npz", ".pkl"),
)
"""Names of files that a table must not have, for nobody could read it."""


def check_table_name(path: Path) -> None:
    """Raise ConfigError if a name asks for a form that tables are not written in."""
    if path.suffix in _BINARY:
        raise ConfigError(
            f"{path}: tables are not written as {path.suffix}; expected a name that ends in .tsv "
            "or .csv, or in .tsv.gz or .csv.gz"
        )


@contextmanager
def new_table(path: Path) -> Iterator[Callable[[Sequence[Any]], None]]:
    """Yield a function that writes rows of a table, to a file that is whole or absent.

    ``-`` is standard output. A name in ``.csv`` has commas between cells, any other tabs; one that
    ends in ``.gz`` too is compressed with bgzip. Control characters in cells are escaped, so a row
    is a line.

    Raises
    ------
    ConfigError
        If the name asks for another form.
    OutputError
        If the file cannot be written.
    """
    check_table_name(path)
    bare = path.with_suffix("") if path.suffix == ".gz" else path
    comma = bare.suffix == ".csv"
    with new_text(path) as write:
        handle = SimpleNamespace(write=write)
        writer = csv.writer(handle, delimiter="," if comma else "\t", lineterminator="\n")
        yield lambda cells: writer.writerow([printable(cell) for cell in cells])


@contextmanager
def new_text(path: Path) -> Iterator[Callable[[str], object]]:
    """Yield a function that writes text as UTF-8, to a file that is whole or absent.

    ``-`` is standard output, which gets nothing before the second call or a good end: a header
    goes with the row behind it. A file whose name ends in ``.gz`` is compressed with bgzip.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    if str(path) == "-":
        held: list[str] = []

        def write(text: str) -> None:
            held.append(text)
            if len(held) > 1:
                sys.stdout.write("".join(held))
                held[:] = [""]

        yield write
        sys.stdout.write("".join(held))
        return
    with new_file(path) as temporary:
        if path.suffix != ".gz":
            with temporary.open("w", encoding="utf-8", newline="") as handle:
                yield handle.write
            return
        with bgzipped(temporary) as compress:
            yield lambda text: compress(text.encode())


@contextmanager
def bgzipped(path: Path) -> Iterator[Callable[[bytes], object]]:
    """Yield a function that writes bytes to a file that bgzip compresses.

    Raises
    ------
    OSError
        If the system refuses, with its cause.
    """
    import pysam

    name: Any = os.fsencode(path)  # a name that is not UTF-8 is one for htslib too
    with causes_of_htslib(path), pysam.BGZFile(name, "w", None) as handle:
        yield handle.write


@contextmanager
def causes_of_htslib(path: Path) -> Iterator[None]:
    """Find out why htslib could not write a file: it tells that it failed, and not why.

    Raises
    ------
    OSError
        With the cause.
    """
    import pysam

    before = pysam.set_verbosity(0)
    try:
        yield
    except OSError as error:
        if error.errno is None:
            with path.open("ab") as handle:  # fails likewise, and tells why
                handle.write(bytes(1 << 20))
        raise
    finally:
        pysam.set_verbosity(before)


def printable(value: Any) -> str:
    """A text with its control characters escaped as ``repr`` does, for terminals and tables.

    Bytes of a file's name that are not UTF-8 are escaped too.

    Examples
    --------
    >>> printable("chr\\x1b[31m")
    'chr\\\\x1b[31m'
    """
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else _escaped(character) for character in text
    )


def _escaped(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # a byte that was not UTF-8
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return repr(letter)[1:-1]
