"""VCF and BCF rows in, the same rows with more INFO out.

VCF is read and written as text, so that what is not ours to change comes out byte for byte: header
lines, FILTER, INFO, samples. BCF comes in as the text that htslib makes of it.
"""

from __future__ import annotations

import gzip
import itertools
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pysam

from ..errors import InputError
from ..sequences.lines import Line, read_lines
from ..tables import printable

_EXPECTED = "a VCF or BCF file"
_HEADER = "a VCF header: '##fileformat=VCFv4...' first, and then '#CHROM' and the other columns"
_COLUMNS = 8  # those before the samples
_MOST_DIGITS = 18  # of a POS: no genome comes near, and what reads VCF holds it in 64 bits
_CONTIG_ID = re.compile(r"[0-9A-Za-z!#$%&+./:;?@^_|~-][0-9A-Za-z!#$%&*+./:;=?@^_|~-]*")
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
    """As written: nucleotide letters, unless ``unscorable`` says otherwise."""
    alts: tuple[str, ...]
    """The alleles of ALT as written; none where ALT is a dot."""
    columns: tuple[bytes, ...]
    """The first eight as they stand in the file, and the rest, if any, as one."""


class Vcf(NamedTuple):
    """A file's header, and its rows, which can be taken once."""

    header: tuple[bytes, ...]
    """Lines without their ends; the last is the one of column names."""
    rows: Iterator[VcfRow]


def read_vcf(path: str | Path, name: str | None = None) -> Vcf:
    """Open VCF, plain, gzip or bgzip, or BCF; told by the content.

    Parameters
    ----------
    name
        What messages call the file, by default its path.

    Raises
    ------
    InputError
        If the file is absent or has no header; while rows are taken, naming file and line, if
        it is damaged, cut short, or a row has too few columns, or a POS that is no whole number.
    """
    name = str(path) if name is None else name
    lines = _bcf_lines(path, name) if _is_bcf(path) else read_lines(path, _EXPECTED, name)
    header: list[bytes] = []
    for number, text in lines:
        if not text.startswith(b"#" if header else b"##fileformat=VCF"):
            problem = "a row before the line of column names" if header else "no VCF header"
            raise InputError(problem, path=name, line=number, expected=_HEADER)
        header.append(text.rstrip(b"\r\n"))
        if text.startswith(b"#CHROM\t"):
            return Vcf(tuple(header), _rows(name, lines))
        if re.match(rb"#CHROM +POS\b", text):
            raise InputError(
                "the line of column names has blanks where tabs belong",
                path=name,
                line=number,
                expected=_HEADER,
                fix="replace them: sed -E '/^#CHROM/s/ +/\\t/g' IN.vcf > OUT.vcf",
            )
    raise InputError("the header has no line of column names", path=name, expected=_HEADER)


def unscorable(allele: str) -> str:
    """Why REF or an allele of ALT has no letters to score; empty if it has.

    Examples
    --------
    >>> [unscorable(allele) for allele in ("ACg", "<DEL>", "*", "N[chr2:17[", ".C", "AN")]
    ['', 'symbolic', 'overlapping_deletion', 'breakend', 'breakend', 'ambiguous']
    >>> [unscorable(allele) for allele in (".", "", "C<ctg1>", "A/C")]
    ['missing', 'missing', 'symbolic', 'malformed']
    """
    if _BASES.fullmatch(allele):
        return ""
    if allele in ("", "."):
        return "missing"
    if allele == "*":
        return "overlapping_deletion"
    if _BREAKEND.search(allele):
        return "breakend"
    if "<" in allele:
        return "symbolic"
    return "ambiguous" if _LETTERS.fullmatch(allele) else "malformed"


def as_text(column: bytes) -> str:
    """A column as text; bytes that are not UTF-8 become surrogates, so that none are confused."""
    return column.decode("utf-8", "surrogateescape")


def declared(header: Sequence[bytes], kind: str) -> set[str]:
    """The IDs of a header's lines of one kind, such as ``INFO`` or ``contig``."""
    pattern = re.compile(rb"##" + kind.encode() + rb"=<(?:.*,)?ID=([^,>]+)")
    matches = (pattern.match(line) for line in header)
    return {as_text(match[1]) for match in matches if match}


def info_line(key: str, kind: Literal["Float", "String"], description: str) -> bytes:
    """The header line of an INFO field that has a value for each allele of ALT."""
    text = printable(description).replace("\\", "\\\\").replace('"', '\\"')
    return f'##INFO=<ID={key},Number=A,Type={kind},Description="{text}">'.encode()


def contig_line(name: str, length: int | None) -> bytes | None:
    """The header line of a contig; ``None`` for a name that VCF does not allow."""
    if not _CONTIG_ID.fullmatch(name):
        return None
    return f"##contig=<ID={name}{'' if length is None else f',length={length}'}>".encode()


def with_lines(header: Sequence[bytes], lines: Iterable[bytes]) -> tuple[bytes, ...]:
    """A header with more lines, put before the column names."""
    return (*header[:-1], *lines, header[-1])


def require_without(row: VcfRow, keys: Collection[str]) -> None:
    """Raise InputError if INFO of a row holds one of these fields."""
    for part in row.columns[_COLUMNS - 1].split(b";"):
        if (key := as_text(part.partition(b"=")[0])) in keys:
            raise InputError(
                f"{row.at}: INFO holds {key} already, which the header does not declare",
                fix="choose another --prefix, or take it out",
            )


def annotated(row: VcfRow, fields: Iterable[tuple[str, str]]) -> bytes:
    """A row's line, without its end, with fields added to INFO: keys and values as text."""
    ours = ";".join(f"{key}={value}" for key, value in fields).encode()
    info = row.columns[_COLUMNS - 1]
    both = b";".join(part for part in (b"" if info == b"." else info, ours) if part)
    columns = (*row.columns[: _COLUMNS - 1], both or b".", *row.columns[_COLUMNS:])
    return b"\t".join(columns)


def _rows(name: str, lines: Iterator[Line]) -> Iterator[VcfRow]:
    for number, text in lines:
        if not text.strip():
            continue
        columns = tuple(text.rstrip(b"\r\n").split(b"\t", _COLUMNS))
        if len(columns) < _COLUMNS:
            raise InputError(
                f"{len(columns)} columns",
                path=name,
                line=number,
                expected=f"{_COLUMNS} or more, with tabs between: CHROM POS ID REF ALT QUAL ...",
            )
        chrom, pos, _, ref, alt = map(as_text, columns[:5])
        if not (pos.isascii() and pos.isdecimal() and len(pos) <= _MOST_DIGITS):
            raise InputError(
                f"POS {pos[:40]!r} is no whole number of 0 or more, of up to {_MOST_DIGITS} digits",
                path=name,
                line=number,
                expected="a row of a VCF",
            )
        alts = () if alt == "." else tuple(alt.split(","))
        yield VcfRow(f"{name}:{number}", chrom, int(pos) - 1, ref, alts, columns)


def _is_bcf(path: str | Path) -> bool:
    """Whether a file holds BCF; false of what cannot be read."""
    try:
        with gzip.open(path) as handle:
            return handle.read(3) == b"BCF"
    except (OSError, EOFError, zlib.error):
        return False


def _bcf_lines(path: str | Path, name: str) -> Iterator[Line]:
    """The lines of the VCF that a BCF file stands for."""
    number = 0
    before = pysam.set_verbosity(0)  # what htslib has to say, our error says in one line
    try:
        with pysam.VariantFile(str(path)) as file:
            header = str(file.header).rstrip("\n").split("\n")
            lines = itertools.chain(header, map(str, file))
            for number, line in enumerate(lines, 1):
                yield Line(number, line.encode())
    except Exception as error:  # htslib's, of whatever kind: what is done with a line is not in it
        raise InputError(
            f"BCF data end early or are damaged ({error})",
            path=name,
            line=number + 1,
            fix="copy the file again",
        ) from None
    finally:
        pysam.set_verbosity(before)
