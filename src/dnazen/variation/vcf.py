"""VCF and BCF rows in, the same rows with more INFO out.

VCF is read and written as text, so that what is not ours to change comes out byte for byte: header
lines, FILTER, INFO, samples. BCF comes in as the text that htslib makes of it.
"""

from __future__ import annotations

import gzip
import itertools
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pysam

from ..errors import InputError
from ..sequences.reader import Line, read_lines

_EXPECTED = "a VCF or BCF file"
_HEADER = "a VCF header: '##fileformat=VCFv4...' first, and then '#CHROM' and the other columns"
_COLUMNS = 8  # those before the samples
_LETTERS = re.compile(r"[ACGTURYSWKMBDHVNacgturyswkmbdhvn]+")
_BASES = re.compile(r"[ACGTacgt]+")
_BREAKEND = re.compile(r"[\[\]]|^\..|.\.$")


class VcfRow(NamedTuple):
    """One row; the scores of a row are written by ``annotated``."""

    at: str
    """``file:line``, for messages; of BCF the line of the VCF that it stands for."""
    chrom: str
    start: int
    """0-based place of REF's first letter; -1 for POS 0, the telomere."""
    ref: str
    """Nucleotide letters."""
    alts: tuple[str, ...]
    """The alleles of ALT as written; none where ALT is a dot."""
    columns: tuple[bytes, ...]
    """The first eight as they stand in the file, and the rest, if any, as one."""


class Vcf(NamedTuple):
    """A file's header, and its rows, which can be taken once."""

    header: tuple[bytes, ...]
    """Lines without their ends; the last is the one of column names."""
    rows: Iterator[VcfRow]


def read_vcf(path: str | Path) -> Vcf:
    """Open VCF, plain, gzip or bgzip, or BCF; told by the content.

    Raises
    ------
    InputError
        If the file is absent or has no header; while rows are taken, naming file and line, if
        it is damaged, cut short, or a row has too few columns, or a POS, REF or ALT that is none.
    """
    lines = _bcf_lines(path) if _is_bcf(path) else read_lines(path, _EXPECTED)
    header: list[bytes] = []
    for number, text in lines:
        if not text.startswith(b"#" if header else b"##fileformat=VCF"):
            problem = "a row before the line of column names" if header else "no VCF header"
            raise InputError(problem, path=path, line=number, expected=_HEADER)
        header.append(text.rstrip(b"\r\n"))
        if text.startswith(b"#CHROM\t"):
            return Vcf(tuple(header), _rows(path, lines))
    raise InputError("the header has no line of column names", path=path, expected=_HEADER)


def unscorable(alt: str) -> str:
    """Why an allele of ALT has no letters to score; empty if it has.

    Examples
    --------
    >>> [unscorable(alt) for alt in ("ACg", "<DEL>", "*", "N[chr2:17[", ".C", "AN")]
    ['', 'symbolic', 'overlapping_deletion', 'breakend', 'breakend', 'ambiguous']
    """
    if _BASES.fullmatch(alt):
        return ""
    if alt == "*":
        return "overlapping_deletion"
    if alt.startswith("<"):
        return "symbolic"
    return "breakend" if _BREAKEND.search(alt) else "ambiguous"


def declared(header: Sequence[bytes], kind: str) -> set[str]:
    """The IDs of a header's lines of one kind, such as ``INFO`` or ``contig``."""
    pattern = re.compile(rb"##" + kind.encode() + rb"=<(?:.*,)?ID=([^,>]+)")
    found = (pattern.match(line) for line in header)
    return {match[1].decode() for match in found if match}


def info_line(key: str, kind: Literal["Float", "String"], description: str) -> bytes:
    """The header line of an INFO field that has a value for each allele of ALT."""
    text = description.replace("\\", "\\\\").replace('"', '\\"')
    return f'##INFO=<ID={key},Number=A,Type={kind},Description="{text}">'.encode()


def with_lines(header: Sequence[bytes], lines: Iterable[bytes]) -> tuple[bytes, ...]:
    """A header with more lines, put before the column names."""
    return (*header[:-1], *lines, header[-1])


def annotated(row: VcfRow, fields: Iterable[tuple[str, str]]) -> bytes:
    """A row's line, without its end, with fields added to INFO: keys and values as text."""
    ours = ";".join(f"{key}={value}" for key, value in fields).encode()
    info = row.columns[_COLUMNS - 1]
    both = b";".join(part for part in (b"" if info == b"." else info, ours) if part)
    columns = (*row.columns[: _COLUMNS - 1], both or b".", *row.columns[_COLUMNS:])
    return b"\t".join(columns)


def _rows(path: str | Path, lines: Iterator[Line]) -> Iterator[VcfRow]:
    for number, text in lines:
        if not text.strip():
            continue
        columns = tuple(text.rstrip(b"\r\n").split(b"\t", _COLUMNS))
        if len(columns) < _COLUMNS:
            raise InputError(
                f"{len(columns)} columns",
                path=path,
                line=number,
                expected=f"{_COLUMNS} or more, with tabs between: CHROM POS ID REF ALT QUAL ...",
            )
        chrom, pos, _, ref, alt = (column.decode("utf-8", "replace") for column in columns[:5])
        alts = () if alt == "." else tuple(alt.split(","))
        if problem := _problem(pos, ref, alts):
            raise InputError(problem, path=path, line=number, expected="a row of a VCF")
        yield VcfRow(f"{path}:{number}", chrom, int(pos) - 1, ref, alts, columns)


def _problem(pos: str, ref: str, alts: tuple[str, ...]) -> str:
    """What is wrong with the columns of a row; empty if nothing is."""
    if not (pos.isascii() and pos.isdecimal()):
        return f"POS {pos!r} is no whole number of 0 or more"
    if not _LETTERS.fullmatch(ref):
        return f"REF {ref[:40]!r} is no sequence"
    for alt in alts:
        if unscorable(alt) == "ambiguous" and not _LETTERS.fullmatch(alt):
            return f"ALT {alt[:40]!r} is no allele"
    return ""


def _is_bcf(path: str | Path) -> bool:
    """Whether a file holds BCF; false of what cannot be read."""
    try:
        with gzip.open(path) as handle:
            return handle.read(3) == b"BCF"
    except (OSError, EOFError, zlib.error):
        return False


def _bcf_lines(path: str | Path) -> Iterator[Line]:
    """The lines of the VCF that a BCF file stands for."""
    number = 0
    before = pysam.set_verbosity(0)  # what htslib has to say, our error says in one line
    try:
        with pysam.VariantFile(str(path)) as file:
            lines = itertools.chain(str(file.header).splitlines(), map(str, file))
            for number, line in enumerate(lines, 1):
                yield Line(number, line.encode())
    except (OSError, ValueError) as error:
        raise InputError(
            f"BCF data end early or are damaged ({error})",
            path=path,
            line=number + 1,
            fix="copy the file again",
        ) from None
    finally:
        pysam.set_verbosity(before)
