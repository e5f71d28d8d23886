"""Regions of a genome with labels, from BED files, and the windows that examples are taken from."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from ..records import InputFile
from .contigs import ContigNames
from .indexed import IndexedGenome
from .regions import BedRow, Region, read_bed_rows
from .settings import DatasetConfig, LabelColumn


class LabelledRegion(NamedTuple):
    """An interval of a BED file, on the genome's contig."""

    name: str
    """That of the file; else the region as the file has it."""
    region: Region
    label: str
    source: str
    """``file:line``, for messages."""


class BedReader:
    """Reads the BED files of one genome, with an account of them.

    Raises
    ------
    InputError
        While reading, naming file and line: if a file cannot be read or holds no interval, an
        interval is empty, ends beyond its contig, or lies on none of the genome's, or a label is
        missing or no number.
    """

    def __init__(self, genome: IndexedGenome, contig_names: Path | None) -> None:
        self.genome = genome
        self.names = ContigNames(contig_names, genome)
        self.inputs: list[InputFile] = []
        """What identifies each file that was read."""
        self.renamed: dict[str, str] = {}
        """The genome's name of each contig that a file calls otherwise."""

    def labelled(
        self, path: Path, label: str, column: LabelColumn | None = None
    ) -> list[LabelledRegion]:
        """The intervals of a file, all with a label, or each with that in a column of its own."""
        rows = []
        for row in self._rows(path):
            region = self._on_genome(row)
            own = label if column is None else _label(row, column)
            rows.append(LabelledRegion(row.name or str(row.region), region, own, row.source))
        return rows

    def excluded(self, path: Path) -> tuple[list[Region], int]:
        """The intervals of a file whose contigs the genome has, and the number of the others.

        Raises
        ------
        InputError
            If the genome has none of the contigs.
        """
        regions, absent = [], []
        for row in self._rows(path):
            if self.names.of_genome(row.region.chrom) in self.genome.lengths:
                regions.append(self._on_genome(row))
            else:
                absent.append(row)
        if not regions:
            raise self.genome.unknown(absent[0].region.chrom, at=absent[0].source)
        return regions, len(absent)

    def _rows(self, path: Path) -> Iterator[BedRow]:
        row = None
        for row in read_bed_rows(path, identify=self.inputs.append):
            yield row
        if row is None:
            raise InputError("no interval in it", path=path, expected="lines of chrom, start, end")

    def _on_genome(self, row: BedRow) -> Region:
        region = row.region
        chrom = self.names.of_genome(region.chrom)
        if chrom not in self.genome.lengths:
            raise self.genome.unknown(region.chrom, at=row.source)
        if region.start == region.end:
            raise InputError(
                f"an empty interval, start and end are {region.start}",
                path=row.source,
                expected="start < end",
                fix="of a point, write start and start + 1",
            )
        if region.end > self.genome.lengths[chrom]:
            raise InputError(
                f"{region.chrom} {region.start} to {region.end} ends beyond its contig of "
                f"{self.genome.lengths[chrom]:,} bp",
                path=row.source,
                fix=f"is it of another genome than {self.genome.path}?",
            )
        if chrom != region.chrom:
            self.renamed[region.chrom] = chrom
        return region._replace(chrom=chrom)


def window_of(region: Region, config: DatasetConfig) -> Region:
    """The window that an example is taken from: ``length_bp`` around the middle of an interval.

    Without ``length_bp`` it is the interval, or ``max_length_bp`` around the middle of a longer
    one. Decided here: the middle is base ``(start + end) // 2``, counted on the forward strand, and
    ``bases // 2`` bases of the window lie before it.

    Examples
    --------
    >>> window_of(Region("chr1", 100, 110, "-"), DatasetConfig(length_bp=4))
    Region(chrom='chr1', start=103, end=107, strand='-')
    """
    if config.length_bp is None and not is_cut(region, config):
        return region
    bases = config.length_bp or config.max_length_bp
    start = (region.start + region.end) // 2 - bases // 2
    return region._replace(start=start, end=start + bases)


def is_cut(region: Region, config: DatasetConfig) -> bool:
    """Whether an interval is cut for no other reason than its length."""
    return config.length_bp is None and region.end - region.start > config.max_length_bp


def overlapping(regions: Sequence[Region], others: Iterable[Region]) -> list[bool]:
    """Which regions share a base with one of the others, on either strand. Time O(n log n)."""
    by_chrom: dict[str, list[Region]] = {}
    for other in sorted(others):
        by_chrom.setdefault(other.chrom, []).append(other)
    starts = {chrom: [other.start for other in rows] for chrom, rows in by_chrom.items()}
    reach = {
        chrom: list(accumulate((other.end for other in rows), max))
        for chrom, rows in by_chrom.items()
    }

    def overlaps(region: Region) -> bool:
        before = bisect_left(starts.get(region.chrom, []), region.end)
        return before > 0 and reach[region.chrom][before - 1] > region.start

    return [overlaps(region) for region in regions]


def _label(row: BedRow, column: LabelColumn) -> str:
    """The label in a column of a row."""
    if column == "name":
        if not row.name:
            raise InputError("no name", path=row.source, expected="a class in column 4")
        return row.name
    try:
        finite = math.isfinite(float(row.score))
    except ValueError:
        finite = False
    if not finite:
        raise InputError(
            f"score {row.score!r}", path=row.source, expected="a finite number in column 5"
        )
    return row.score
