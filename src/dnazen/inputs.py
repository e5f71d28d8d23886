"""The sequences that a command is given: whole files, or regions of a genome."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .errors import ConfigError
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


class InputRecord(NamedTuple):
    """One sequence, and where it stands."""

    name: str
    """Name of the record or region; need not be unique."""
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
        self.by_region = self.config.by_region
        """Whether records are regions."""
        if not paths:
            raise ConfigError("no sequences given; expected one or more sequence files")
        if self.by_region and (len(paths) > 1 or str(paths[0]) == "-"):
            raise ConfigError(
                f"regions of {' '.join(map(str, paths))}; expected one genome to take them from: "
                "a file of FASTA, plain or bgzip, or 2bit"
            )

    def __iter__(self) -> Iterator[InputRecord]:
        return itertools.chain.from_iterable(self.parts())

    def parts(self) -> Iterator[Iterator[InputRecord]]:
        """The records of each file, or all the regions."""
        if self.by_region:
            yield self._regions(self.paths[0])
            return
        for path in self.paths:
            yield _records(path)

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
