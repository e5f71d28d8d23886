"""The sequences that a command is given: whole files, regions of a genome, or tiles of either."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import ConfigError
from .genomes import file_records
from .indexed import IndexedGenome
from .regions import NamedRegion, Region, parse_region, read_bed


@dataclass(frozen=True, kw_only=True)
class InputConfig:
    """What is taken of the sequences that a command is given; by default all."""

    regions: tuple[str, ...] = ()
    """Only these regions, CHROM:FIRST-LAST (1-based, both ends) or CHROM, '(-)' after it for the
    reverse strand. SEQUENCES is then one genome: FASTA, plain or bgzip, or 2bit."""
    bed: Path | None = None
    """Only the regions of this BED file, likewise; strands are honoured; '-' for stdin."""

    @property
    def by_region(self) -> bool:
        """Whether regions are asked for."""
        return bool(self.regions) or self.bed is not None

    @property
    def by_part(self) -> bool:
        """Whether what is read may be parts of contigs."""
        return self.by_region

    def parts_of(self, record: InputRecord) -> Iterator[InputRecord]:
        """What is read of a record: all of it."""
        yield record


@dataclass(frozen=True, kw_only=True)
class TiledInputConfig(InputConfig):
    """The same, with records or regions cut into tiles if they are longer."""

    tile_bp: int | None = None
    """Cut longer records or regions into tiles of so many bases, each read as a record of its own;
    the last one is moved back to end where its record ends. By default none is cut."""
    tile_overlap_bp: int = 0
    """Bases that neighbouring tiles share."""

    def __post_init__(self) -> None:
        if self.tile_bp is None and self.tile_overlap_bp:
            raise ConfigError("tile_overlap_bp is for tiles; give tile_bp too")
        if self.tile_bp is not None and not 0 <= self.tile_overlap_bp < self.tile_bp:
            raise ConfigError(
                f"tiles of {self.tile_bp} bp cannot overlap by {self.tile_overlap_bp}; expected "
                "0 <= tile_overlap_bp < tile_bp"
            )

    @property
    def by_part(self) -> bool:
        """Whether what is read may be parts of contigs."""
        return self.by_region or self.tile_bp is not None

    def parts_of(self, record: InputRecord) -> Iterator[InputRecord]:
        """The tiles of a record, along the strand it is read on; a record that fits is its own.

        Examples
        --------
        >>> config = TiledInputConfig(tile_bp=4, tile_overlap_bp=1)
        >>> record = InputRecord("a", b"ACGTACGTA", Region("chr1", 100, 109), "a.fa: record a")
        >>> [(tile.name, tile.sequence, tile.region.start) for tile in config.parts_of(record)]
        [('a:1-4', b'ACGT', 100), ('a:4-7', b'TACG', 103), ('a:6-9', b'CGTA', 105)]
        """
        bases = len(record.sequence)
        if self.tile_bp is None or bases <= self.tile_bp:
            yield record
            return
        step = self.tile_bp - self.tile_overlap_bp
        for start in range(0, bases - self.tile_overlap_bp, step):
            start = min(start, bases - self.tile_bp)
            end = start + self.tile_bp
            yield InputRecord(
                f"{record.name}:{start + 1}-{end}",
                record.sequence[start:end],
                record.region.part(start, end),
                f"{record.source}, bases {start + 1} to {end}",
            )


class InputRecord(NamedTuple):
    """One sequence, and where it stands."""

    name: str
    """Name of the record or region, ``:FIRST-LAST`` after that of a tile; need not be unique."""
    sequence: bytes
    """Nucleotide letters, N where a region lies off its contig."""
    region: Region
    """Its place in the genome. A record of a file is a contig of its own, read forward."""
    source: str
    """File and record, or file and line of the region, for messages."""


class Inputs:
    """The sequences of files, or regions of one genome, one after the other, with an account.

    Iterate it once. Files are what ``genomes.file_records`` reads. Regions come in the order they
    were asked for, ``config.regions`` first. Memory is one record.

    Raises
    ------
    ConfigError
        If there is no file, or regions are asked of more than one.
    InputError
        While iterating, if a file cannot be read, or a region is none of the genome's.
    """

    padded: int
    """Bases of regions that lay off their contigs and were read as N."""

    def __init__(self, paths: Sequence[Path], config: InputConfig | None = None) -> None:
        self.paths = paths
        self.config = InputConfig() if config is None else config
        self.padded = 0
        if not paths:
            raise ConfigError("no sequences given; expected one or more sequence files")
        if self.config.by_region and (len(paths) > 1 or str(paths[0]) == "-"):
            raise ConfigError(
                f"regions of {' '.join(map(str, paths))}; expected one genome to take them from: "
                "a file of FASTA, plain or bgzip, or 2bit"
            )

    def __iter__(self) -> Iterator[InputRecord]:
        return itertools.chain.from_iterable(self.parts())

    def parts(self) -> Iterator[Iterator[InputRecord]]:
        """The records of each file, or all the regions; or the tiles of these."""
        if self.config.by_region:
            yield self._parts(self._regions(self.paths[0]))
            return
        for path in self.paths:
            yield self._parts(_records(path))

    def _parts(self, records: Iterator[InputRecord]) -> Iterator[InputRecord]:
        return itertools.chain.from_iterable(map(self.config.parts_of, records))

    def _regions(self, path: Path) -> Iterator[InputRecord]:
        with IndexedGenome(path) as genome:
            for name, region, asked_at in _asked(self.config, genome.lengths):
                letters = genome.fetch(*region, at=asked_at)
                self.padded = genome.padded
                yield InputRecord(name, letters, region, asked_at)


def _asked(config: InputConfig, lengths: dict[str, int]) -> Iterator[NamedRegion]:
    for text in config.regions:
        region = parse_region(text, lengths)
        yield NamedRegion(str(region), region, f"--regions {text}")
    if config.bed is not None:
        yield from read_bed(config.bed)


def _records(path: Path) -> Iterator[InputRecord]:
    for name, letters in file_records(path):
        yield InputRecord(name, letters, Region(name, 0, len(letters)), f"{path}: record {name}")
