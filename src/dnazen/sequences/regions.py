"""Regions of a genome: as text (``chr1:1,001-2,000``) and as BED files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, cast

from ..errors import InputError
from ..records import InputFile
from .indexed import Strand
from .lines import read_lines

_REGION = re.compile(r"(?P<chrom>.+):(?P<first>[\d,]+)-(?P<last>[\d,]+)")
_BED_COLUMNS = (
    "chrom, start, end (0-based, start <= end) and, if at all, name, score, strand (+ - .)"
)


LARGEST_PLACE = 10**15
"""No base of any genome stands further on; a larger number is a mistake."""


class Region(NamedTuple):
    """A stretch of a contig, 0-based and half-open on the forward strand, and how to read it.

    Examples
    --------
    >>> str(Region("chr1", 1000, 2000, "-"))
    'chr1:1001-2000(-)'
    """

    chrom: str
    start: int
    end: int
    strand: Strand = "+"
    """``-`` reads the reverse complement."""

    def part(self, start: int, end: int) -> Region:
        """A stretch of it, counted along the strand that it is read on.

        Examples
        --------
        >>> Region("chr1", 1000, 2000, "-").part(0, 10)
        Region(chrom='chr1', start=1990, end=2000, strand='-')
        """
        if self.strand == "+":
            return self._replace(start=self.start + start, end=self.start + end)
        return self._replace(start=self.end - end, end=self.end - start)

    def __str__(self) -> str:
        """As ``parse_region`` reads it: 1-based, both ends; if empty, it ends before it starts."""
        suffix = "" if self.strand == "+" else "(-)"
        return f"{self.chrom}:{self.start + 1}-{self.end}{suffix}"


class NamedRegion(NamedTuple):
    """A region as a user asked for it."""

    name: str
    region: Region
    source: str
    """``file:line`` or the words themselves, for messages."""


def parse_region(
    text: str, lengths: Mapping[str, int], of_genome: Callable[[str], str] = str
) -> Region:
    """The region that ``CHROM:FIRST-LAST`` or ``CHROM`` means, 1-based with both ends included.

    ``(-)`` or ``(+)`` may follow and give the strand. Commas in numbers are ignored. Text that is
    itself a contig's name means the whole contig, colons and all.

    Parameters
    ----------
    lengths
        Bases of each contig of the genome.
    of_genome
        What the genome calls a contig; by default the same.

    Raises
    ------
    InputError
        If it is no such text, starts before base 1, or ends before it starts.

    Examples
    --------
    >>> parse_region("chr1:1,001-2,000", {"chr1": 5000})
    Region(chrom='chr1', start=1000, end=2000, strand='+')
    >>> parse_region("chr1(-)", {"chr1": 5000})
    Region(chrom='chr1', start=0, end=5000, strand='-')
    """
    bare, strand = text, "+"
    if of_genome(text) not in lengths and text.endswith(("(+)", "(-)")):
        bare, strand = text[:-3], text[-2]
    if (own := of_genome(bare)) in lengths:
        return Region(bare, 0, lengths[own], cast(Strand, strand))
    match = _REGION.fullmatch(bare)
    numbers = [match[side].replace(",", "") for side in ("first", "last")] if match else []
    if match is None or not all(numbers):
        raise InputError(
            f"{text[:60]!r} is no region and no contig of the genome",
            expected="CHROM:FIRST-LAST, 1-based with both ends, or the name of a contig",
        )
    first, last = map(whole_number, numbers)
    if first is None or last is None:
        raise InputError(
            f"region {text[:60]!r}: a place of no genome", expected=f"at most {LARGEST_PLACE:,}"
        )
    if not 1 <= first <= last:
        raise InputError(f"region {text!r}: {first} to {last}", expected="1 <= FIRST <= LAST")
    return Region(match["chrom"], first - 1, last, cast(Strand, strand))


def whole_number(text: str) -> int | None:
    """The number, 0 or more and at most ``LARGEST_PLACE``, that decimal digits stand for.

    Examples
    --------
    >>> whole_number("0012"), whole_number("-1"), whole_number("9" * 5000)
    (12, None, None)
    """
    if not (text.isascii() and text.isdecimal()):
        return None
    digits = text.lstrip("0") or "0"
    return int(digits) if len(digits) < 19 and int(digits) <= LARGEST_PLACE else None


class BedRow(NamedTuple):
    """A line of a BED file."""

    region: Region
    name: str
    """Empty where the file has none, or a dot."""
    score: str
    """As the file has it, likewise."""
    strand: Strand | None
    """``None`` where the file has none; the region is then read forward."""
    source: str
    """``file:line``, for messages."""


def read_bed(path: str | Path) -> Iterator[NamedRegion]:
    """Yield the regions of a BED file by name (else by their own text); see ``read_bed_rows``."""
    for row in read_bed_rows(path):
        yield NamedRegion(row.name or str(row.region), row.region, row.source)


def read_bed_rows(
    path: str | Path, *, identify: Callable[[InputFile], object] | None = None
) -> Iterator[BedRow]:
    """Yield the rows of a BED file, in order; plain, gzip or bgzip, ``-`` for stdin.

    Three columns or more, of which the first six are read: name, score and a strand (``.`` is
    forward). Blank lines, comments, ``track`` and ``browser`` lines are passed over. An empty
    region, ``start = end``, is one.

    Parameters
    ----------
    identify
        Called with the file's size and SHA-256 once its last line has been taken.

    Raises
    ------
    InputError
        Naming file and line, if the file cannot be read, or a line is none of BED.
    """
    for number, text in read_lines(path, "a BED file", identify=identify):
        line = text.decode("utf-8", "replace").strip("\r\n")
        if not line.strip() or line.startswith("#") or line.split()[0] in ("track", "browser"):
            continue
        words = line.split("\t") if "\t" in line else line.split()
        problem = _problem(words)
        if problem:
            raise InputError(problem, path=path, line=number, expected=_BED_COLUMNS)
        chrom, start, end, name, score, strand = (*words[:6], *[""] * 6)[:6]
        known = cast(Strand, strand) if strand in ("+", "-") else None
        region = Region(chrom, int(start), int(end), known or "+")
        name, score = ("" if word == "." else word for word in (name, score))
        yield BedRow(region, name, score, known, f"{path}:{number}")


def _problem(words: list[str]) -> str:
    """Why these are not the columns of a BED line; empty if they are."""
    if len(words) < 3:
        return f"{len(words)} columns"
    start, end = map(whole_number, words[1:3])
    if start is None or end is None:
        side, number = ("start", words[1]) if start is None else ("end", words[2])
        size = "of 0 or more" if len(number) < 16 else f"of at most {LARGEST_PLACE:,}"
        return f"{side} {number[:20]!r} is no whole number {size}"
    if start > end:
        return f"start {words[1]} lies behind end {words[2]}"
    if len(words) > 5 and words[5] not in ("+", "-", "."):
        return f"strand {words[5]!r}"
    return ""
