"""Random access to a genome on disk: indexed FASTA, or 2bit.

Memory is the stretch that is fetched, whatever the genome's size.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import pysam
from pysam.utils import SamtoolsError

from ..errors import InputError, OutputError
from ..outputs import new_file
from .alphabet import foreign, reverse_complement
from .reader import BGZF_END, BGZF_FIELD

Strand = Literal["+", "-"]

MAX_PADDING_BP = 1_000_000
"""How far a stretch may reach off its contig at either end: further, it is of another genome."""

_FORMATS = "a genome: FASTA, plain or bgzip, or 2bit"
_GZIP = b"\x1f\x8b"
_TWOBIT = 0x1A412743
_SAME = {"chrM": "MT", "MT": "chrM"}


class IndexedGenome:
    """A genome from which stretches are fetched by contig and coordinates.

    The format is told by the content. FASTA is read by its index: the one beside the file
    (``.fai``, for bgzip ``.gzi`` too) unless the file is newer, else a new one, which is written
    beside it, or used this once where that folder cannot be written. Of contigs with the same
    name the first is meant, as in samtools. 2bit needs the extra ``twobit``.

    A context manager, which closes its file at the end. Not for several threads at once.

    Raises
    ------
    InputError
        If the file is absent, cut short, of another format, gzip but not bgzip, or has no contig.
    """

    lengths: dict[str, int]
    """Bases of each contig, by name, in the order of the file."""
    padded: int
    """Letters N that ``fetch`` has put past the ends of contigs so far."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.padded = 0
        self.lengths, self._read, self.close = _opened(self.path)
        if not self.lengths:
            raise InputError("no sequence in it", path=path, expected=_FORMATS)

    def __enter__(self) -> IndexedGenome:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def names(self) -> tuple[str, ...]:
        """The contigs, in the order of the file."""
        return tuple(self.lengths)

    def fetch(
        self, chrom: str, start: int, end: int, strand: Strand = "+", *, at: str | None = None
    ) -> bytes:
        """The letters of a stretch, upper-case, with N where it lies off the contig.

        Parameters
        ----------
        start, end
            0-based and half-open, on the forward strand; both may lie off the contig.
        strand
            ``-`` gives the reverse complement.
        at
            Where the stretch was asked for, such as ``file:line``, for messages.

        Returns
        -------
        ``end - start`` letters: A C G T, U and IUPAC codes.

        Raises
        ------
        InputError
            If there is no such contig, the stretch reaches further off it than ``MAX_PADDING_BP``,
            or the file holds something else than its index says.
        ValueError
            If ``start`` lies behind ``end``.
        """
        if start > end:
            raise ValueError(f"start {start} lies behind end {end}")
        if chrom not in self.lengths:
            raise self.unknown(chrom, at=at)
        length = self.lengths[chrom]
        if start < -MAX_PADDING_BP or end > length + MAX_PADDING_BP:
            raise InputError(
                f"{chrom}:{start + 1}-{end} lies far off its contig of {length:,} bp",
                path=at,
                expected=f"at most {MAX_PADDING_BP:,} bp off it",
                fix=f"is it a region of another genome than {self.path}?",
            )
        first, last = min(max(start, 0), length), min(max(end, 0), length)
        letters = self._inside(chrom, first, last) if first < last else b""
        self.padded += end - start - len(letters)
        letters = b"N" * min(max(-start, 0), end - start) + letters
        letters += b"N" * (end - start - len(letters))
        return letters if strand == "+" else reverse_complement(letters)

    def unknown(self, *chroms: str, at: str | None = None) -> InputError:
        """The error that names contigs this genome does not have, and some that it has.

        Parameters
        ----------
        at
            Where they were asked for, such as ``file:line``.
        """
        fix = ""
        for chrom in chroms:
            others = (chrom.removeprefix("chr"), f"chr{chrom}", _SAME.get(chrom, chrom))
            if found := [other for other in others if other in self.lengths]:
                fix = f"this genome writes {found[0]!r} for {chrom!r}"
                break
        return InputError(
            f"no contig {_some([repr(chrom) for chrom in chroms])} in {self.path}",
            path=at,
            expected=f"one of its {len(self.names)}: {_some(self.names)}",
            fix=fix,
        )

    def _inside(self, chrom: str, start: int, end: int) -> bytes:
        """Upper-case letters of a stretch that lies on the contig."""
        fix = f"copy the file again, or remove {self.path.name}.fai if it is of another file"
        try:
            with _quiet():
                letters = self._read(chrom, start, end).encode().upper()
        except (OSError, ValueError, RuntimeError):
            letters = b""
        if len(letters) != end - start:
            raise InputError(f"{chrom}:{start + 1}-{end} is damaged", path=self.path, fix=fix)
        if bad := foreign(letters):
            raise InputError(
                f"{chrom}:{start + 1}-{end}: character {bad!r} is no nucleotide",
                path=self.path,
                expected="A C G T U, N or another IUPAC code",
                fix=fix,
            )
        return letters


def is_twobit(path: str | Path) -> bool:
    """Whether a file is 2bit; false of what cannot be read, and of ``-``, standard input."""
    if not Path(path).is_file():  # a pipe would lose what is read of it
        return False
    try:
        with open(path, "rb") as handle:
            return _is_twobit(handle.read(4))
    except OSError:
        return False


class _Opened(NamedTuple):
    """What an open file gives."""

    lengths: dict[str, int]
    read: Callable[[str, int, int], str]
    """Contig, start, end: the letters, where 0 <= start < end <= length."""
    close: Callable[[], None]


def _opened(path: Path) -> _Opened:
    try:
        with open(path, "rb") as handle:
            head = handle.read(18)
            handle.seek(max(0, path.stat().st_size - len(BGZF_END)))
            tail = handle.read()
    except FileNotFoundError:
        raise InputError("no such file", path=path, expected=_FORMATS) from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path=path) from None
    if _is_twobit(head):
        return _open_twobit(path)
    zipped = head.startswith(_GZIP)
    if zipped and head[12:16] != BGZF_FIELD:
        raise InputError(
            "gzip, in which no place can be found",
            path=path,
            expected=_FORMATS,
            fix=f"run: gunzip -c {path} | bgzip > {path.stem}.bgz",
        )
    if zipped and tail != BGZF_END:
        raise InputError("bgzip data end early", path=path, fix="copy the file again")
    if not zipped and not head.lstrip().startswith(b">"):
        raise InputError("unknown format", path=path, expected=_FORMATS)
    return _open_fasta(path, (".fai", ".gzi") if zipped else (".fai",))


def _open_fasta(path: Path, suffixes: tuple[str, ...]) -> _Opened:
    with _index(path, suffixes) as index, _quiet():
        try:
            fasta = pysam.FastaFile(str(path), *map(str, index))  # reads the index whole
        except (OSError, ValueError):
            raise InputError(
                "cannot be opened with its index",
                path=path,
                fix=f"remove {path.name}{suffixes[0]} to make it anew",
            ) from None
    lengths = dict(zip(fasta.references, fasta.lengths, strict=True))
    return _Opened(lengths, fasta.fetch, fasta.close)


@contextmanager
def _index(path: Path, suffixes: tuple[str, ...]) -> Iterator[list[Path]]:
    """The index of a FASTA file, made if there is none that is as young as the file."""
    beside = [path.with_name(path.name + suffix) for suffix in suffixes]
    age = path.stat().st_mtime_ns
    if all(part.is_file() and part.stat().st_mtime_ns >= age for part in beside):
        yield beside
        return
    with tempfile.TemporaryDirectory() as folder:
        made = [Path(folder, part.name) for part in beside]
        flags = [
            word for pair in zip(("--fai-idx", "--gzi-idx"), made, strict=False) for word in pair
        ]
        try:
            with _quiet():
                pysam.faidx(str(path), *map(str, flags))
        except SamtoolsError:
            raise InputError(
                "cannot be indexed",
                path=path,
                expected="FASTA whose lines are of one length within a contig, its last one aside",
                fix="wrap its lines anew, and make sure that it is whole",
            ) from None
        try:
            for part, place in zip(made, beside, strict=True):
                with new_file(place) as temporary:
                    shutil.copyfile(part, temporary)
        except OutputError:
            print(
                f"note: {path} has no index as young as itself, and none can be written beside "
                "it: indexed for this run only",
                file=sys.stderr,
            )
        yield made


def _open_twobit(path: Path) -> _Opened:
    try:
        import py2bit
    except ImportError:
        raise InputError(
            "2bit, which needs another package",
            path=path,
            fix="pip install 'dnazen[twobit]', or convert it to FASTA",
        ) from None
    with open(path, "rb") as handle:
        _require_whole_twobit(handle, path)
    genome = py2bit.open(str(path))
    return _Opened(genome.chroms(), genome.sequence, genome.close)


def _is_twobit(head: bytes) -> bool:
    return _TWOBIT in (int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big"))


def _require_whole_twobit(handle: BinaryIO, path: Path) -> None:
    """Raise unless every part lies within the file: py2bit crashes on one that is cut short."""
    size = path.stat().st_size

    def number() -> int:
        data = handle.read(4)
        if len(data) < 4:
            raise InputError("2bit data end early", path=path, fix="copy the file again")
        return int.from_bytes(data, "little")

    if number() != _TWOBIT or number() != 0:
        raise InputError(
            "2bit of another byte order or version", path=path, expected="version 0, little-endian"
        )
    contigs, _ = number(), number()
    if contigs == 0:
        raise InputError("no sequence in it", path=path, expected=_FORMATS)
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep htslib from writing to stderr: what it has to say, our errors say in one line."""
    before = pysam.set_verbosity(0)
    try:
        yield
    finally:
        pysam.set_verbosity(before)


def _some(names: list[str] | tuple[str, ...], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
