"""Random access to a genome on disk: indexed FASTA, or 2bit.

Memory is the stretch that is fetched, whatever the genome's size.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pysam
from pysam.utils import SamtoolsError

from ..errors import InputError, OutputError
from ..outputs import new_file
from .alphabet import foreign, reverse_complement
from .fai import index_fits, quiet_htslib
from .lines import BGZF_END, BGZF_FIELD, BYTE_ORDER_MARK, packing_of, unpack_command
from .twobit import OpenedGenome, begins_twobit, open_twobit

Strand = Literal["+", "-"]

MAX_PADDING_BP = 1_000_000
"""How far a stretch may reach off its contig at either end: further, it is of another genome."""

_FOREIGN = "is not the file that its index was made of"
_LONE_CR = re.compile(rb"\r[^\n]")
_FORMATS = "a genome: FASTA, plain or bgzip, or 2bit"
_SAME = {"chrM": "MT", "MT": "chrM"}


class IndexedGenome:
    """A genome from which stretches are fetched by contig and coordinates.

    The format is told by the content. FASTA is read by its index: the one beside the file
    (``.fai``, for bgzip ``.gzi`` too) unless the file is newer or another (``fai.index_fits``),
    else a new one, which is written beside it, or used this once where that folder cannot be
    written. Of contigs with the same name the first is meant, as in samtools. 2bit needs the extra
    ``twobit``.

    A context manager, which closes its file at the end. Not for several threads at once.

    Parameters
    ----------
    soft_masked
        Fetch letters in the case of the file, lower case being repeats; by default in upper case.

    Raises
    ------
    InputError
        If the file is absent, cut short, of another format, gzip but not bgzip, or has no contig.
    """

    lengths: dict[str, int]
    """Bases of each contig, by name, in the order of the file."""
    padded: int
    """Letters N that ``fetch`` has put past the ends of contigs so far."""

    def __init__(self, path: str | Path, *, soft_masked: bool = False) -> None:
        self.path = Path(path)
        self.padded = 0
        self._soft_masked = soft_masked
        self.lengths, self._read, self.close = _opened(self.path, soft_masked)
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
        """The letters of a stretch, with N where it lies off the contig.

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
        ``end - start`` letters: A C G T, U and IUPAC codes, upper-case unless ``soft_masked``.

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
            if own := [other for other in others if other in self.lengths]:
                fix = f"this genome writes {own[0]!r} for {chrom!r} (see --contig-names)"
                break
        return InputError(
            f"no contig {_some([repr(chrom) for chrom in chroms])} in {self.path}",
            path=at,
            expected=f"one of its {len(self.names)}: {_some(self.names)}",
            fix=fix,
        )

    def _inside(self, chrom: str, start: int, end: int) -> bytes:
        """Letters of a stretch that lies on the contig."""
        fix = f"copy the file again, or remove {self.path.name}.fai if it is of another file"
        try:
            with quiet_htslib():
                letters = self._read(chrom, start, end).encode()
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
        return letters if self._soft_masked else letters.upper()


def _opened(path: Path, soft_masked: bool) -> OpenedGenome:
    try:
        with open(path, "rb") as handle:
            head = handle.read(1 << 16)
            handle.seek(max(0, path.stat().st_size - len(BGZF_END)))
            tail = handle.read()
    except FileNotFoundError:
        raise InputError("no such file", path=path, expected=_FORMATS) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot be read ({reason})", path=path) from None
    if begins_twobit(head):
        return open_twobit(path, soft_masked=soft_masked)
    packing = packing_of(head)
    zipped = packing == "gzip" and head[12:16] == BGZF_FIELD
    if packing and not zipped:
        raise InputError(
            f"{packing}, in which no place can be found",
            path=path,
            expected=_FORMATS,
            fix=f"run: {unpack_command(packing, path)} | bgzip > {path.stem}.bgz",
        )
    if zipped and tail != BGZF_END:
        raise InputError("bgzip data end early", path=path, fix="copy the file again")
    if zipped:
        with pysam.BGZFile(str(path), "rb", None) as stream:
            head = stream.read(1 << 16)
    _require_fasta(path, head)
    return _open_fasta(path, (".fai", ".gzi") if zipped else (".fai",))


def _require_fasta(path: Path, head: bytes) -> None:
    """Raise unless a file that begins so is FASTA in which htslib finds its way."""
    if head.startswith(BYTE_ORDER_MARK):
        raise InputError(
            "begins with a byte-order mark, after which no place can be found",
            path=path,
            expected=_FORMATS,
            fix="remove its first three bytes: tail -c +4 OLD > NEW",
        )
    if not head.lstrip().startswith(b">"):
        raise InputError("unknown format", path=path, expected=_FORMATS)


def _require_line_ends(path: Path) -> None:
    """Raise if lines of a FASTA file end with CR alone, at which htslib does not part them."""
    with pysam.BGZFile(str(path), "rb", None) as stream:  # reads what is not packed too
        last = b""
        while block := stream.read(1 << 20):
            if _LONE_CR.search(last + block):
                raise InputError(
                    "lines that end with CR alone, between which no place can be found",
                    path=path,
                    expected="lines that end with LF or CRLF",
                    fix="tr '\\r' '\\n' < OLD > NEW",
                )
            last = block[-1:]


def _open_fasta(path: Path, suffixes: tuple[str, ...]) -> OpenedGenome:
    with _index(path, suffixes) as index, quiet_htslib():
        try:
            fasta = pysam.FastaFile(str(path), *map(str, index))  # reads the index whole
            lengths = dict(zip(fasta.references, fasta.lengths, strict=True))
        except (OSError, ValueError):
            raise InputError("cannot be opened with its index", path=path) from None
    return OpenedGenome(lengths, fasta.fetch, fasta.close)


@contextmanager
def _index(path: Path, suffixes: tuple[str, ...]) -> Iterator[list[Path]]:
    """The index of a FASTA file; made if there is none, or it is older or of another file."""
    beside = [path.with_name(path.name + suffix) for suffix in suffixes]
    age = path.stat().st_mtime_ns
    lacking = ""
    if not all(part.is_file() for part in beside):
        lacking = "has no index"
    elif any(part.stat().st_mtime_ns < age for part in beside):
        lacking = "is newer than its index"
    elif not index_fits(path, *beside):
        lacking = _FOREIGN
    if not lacking:
        yield beside
        return
    with quiet_htslib():
        _require_line_ends(path)
    with tempfile.TemporaryDirectory() as folder:
        made = [Path(folder, part.name) for part in beside]
        flags = [
            word for pair in zip(("--fai-idx", "--gzi-idx"), made, strict=False) for word in pair
        ]
        try:
            with quiet_htslib():
                pysam.faidx(*map(os.fsencode, (path, *flags)))  # type: ignore[arg-type]
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
            if lacking == _FOREIGN:
                print(f"note: {path} {lacking}: indexed anew", file=sys.stderr)
        except OutputError:
            print(
                f"note: {path} {lacking}, and none can be written beside it: indexed for this run "
                "only",
                file=sys.stderr,
            )
        yield made


def _some(names: list[str] | tuple[str, ...], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
