"""Genomes as 2bit, by way of the extra ``twobit``."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..errors import InputError

_MAGIC = 0x1A412743


class OpenedGenome(NamedTuple):
    """A genome file that is open for random access."""

    lengths: dict[str, int]
    """Bases of each contig, in the order of the file."""
    read: Callable[[str, int, int], str]
    """Contig, start, end: the letters, where 0 <= start < end <= length."""
    close: Callable[[], None]


def is_twobit(path: str | Path) -> bool:
    """Whether a file is 2bit; false of what cannot be read, and of ``-``, standard input."""
    try:
        if not Path(path).is_file():  # a pipe would lose what is read of it
            return False
        with open(path, "rb") as handle:
            return begins_twobit(handle.read(4))
    except (OSError, ValueError):
        return False


def begins_twobit(head: bytes) -> bool:
    """Whether a file that begins so is 2bit, in either byte order."""
    return _MAGIC in (int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big"))


def open_twobit(path: Path, *, soft_masked: bool = False) -> OpenedGenome:
    """Open a 2bit file; letters come in upper case, those of repeats in lower if ``soft_masked``.

    Raises
    ------
    InputError
        If the extra is not installed, or the file is damaged, cut short, or has no contig.
    """
    try:
        import py2bit
    except ImportError:
        raise InputError(
            "2bit, which needs another package",
            path=path,
            fix="pip install 'dnazen[twobit]', or convert it to FASTA",
        ) from None
    with open(path, "rb") as handle:
        _require_whole(handle, path)
    damaged = InputError("2bit data are damaged", path=path, fix="copy the file again")
    try:
        genome = py2bit.open(str(path), soft_masked)
        lengths = genome.chroms()
    except UnicodeEncodeError:
        raise InputError(
            "2bit under a name that is not UTF-8", path=path, fix="rename it"
        ) from None
    except (RuntimeError, OSError, ValueError, TypeError):
        raise damaged from None
    if not lengths:
        genome.close()
        raise damaged

    def read(name: str, start: int, end: int) -> str:
        try:
            return str(genome.sequence(name, start, end))
        except (RuntimeError, OSError, ValueError):
            raise damaged from None

    return OpenedGenome(lengths, read, genome.close)


def _require_whole(handle: BinaryIO, path: Path) -> None:
    """Raise unless every part lies within the file: py2bit crashes on one that is cut short."""
    size = path.stat().st_size

    def number() -> int:
        data = handle.read(4)
        if len(data) < 4:
            raise InputError("2bit data end early", path=path, fix="copy the file again")
        return int.from_bytes(data, "little")

    if number() != _MAGIC or number() != 0:
        raise InputError(
            "2bit of another byte order or version", path=path, expected="version 0, little-endian"
        )
    contigs, _ = number(), number()
    if contigs == 0:
        raise InputError("no sequence in it", path=path, expected="2bit with a contig")
    offsets = []
    for _ in range(contigs):
        handle.seek(int.from_bytes(handle.read(1), "little"), os.SEEK_CUR)
        offsets.append(number())
    for offset in offsets:
        handle.seek(offset)
        bases = number()
        for _ in ("stretches of N", "soft-masked stretches"):
            handle.seek(8 * number(), os.SEEK_CUR)
        number()
        if handle.tell() + (bases + 3) // 4 > size:
            raise InputError("2bit data end early", path=path, fix="copy the file again")
