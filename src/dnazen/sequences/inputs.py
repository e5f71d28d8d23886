"""The sequences that a command is given: whole files, regions of a genome, or tiles of either."""

from __future__ import annotations

import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import ConfigError, InputError
from .alphabet import AMBIGUOUS, foreign
from .contigs import ContigNames
from .indexed import IndexedGenome
from .reader import no_bases, read_records
from .regions import NamedRegion, Region, parse_region, read_bed
from .settings import RegionConfig, TileConfig


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


def tiles_of(record: InputRecord, config: TileConfig) -> Iterator[InputRecord]:
    """Yield the tiles of a record along the strand it is read on; one that fits is its own.

    Examples
    --------
    >>> record = InputRecord("a", b"ACGTACGTA", Region("chr1", 100, 109), "a.fa: record a")
    >>> tiles = tiles_of(record, TileConfig(tile_bp=4, tile_overlap_bp=1))
    >>> [(tile.name, tile.sequence, tile.region.start) for tile in tiles]
    [('a:1-4', b'ACGT', 100), ('a:4-7', b'TACG', 103), ('a:6-9', b'CGTA', 105)]
    """
    bases = len(record.sequence)
    if config.tile_bp is None or bases <= config.tile_bp:
        yield record
        return
    step = config.tile_bp - config.tile_overlap_bp
    for start in range(0, bases - config.tile_overlap_bp, step):
        start = min(start, bases - config.tile_bp)
        end = start + config.tile_bp
        yield InputRecord(
            f"{record.name}:{start + 1}-{end}",
            record.sequence[start:end],
            record.region.part(start, end),
            f"{record.source}, bases {start + 1} to {end}",
        )


class Inputs:
    """The sequences of files, or regions of one genome, one after the other, with an account.

    Iterate it once. Files are what ``reader.read_records`` reads. Regions come in the order they
    were asked for, ``--regions`` before ``--bed``. Memory is one record.

    Raises
    ------
    ConfigError
        If there is no file, or regions are asked of more than one.
    InputError
        While iterating, if a file cannot be read, a region is none of the genome's, or, at the
        end, no record held an A, C, G or T.
    """

    padded: int
    """Bases of regions that lay off their contigs and were read as N."""

    def __init__(
        self,
        paths: Sequence[Path],
        regions: RegionConfig | None = None,
        tiles: TileConfig | None = None,
    ) -> None:
        self.paths = paths
        self.regions = RegionConfig() if regions is None else regions
        self.tiles = TileConfig() if tiles is None else tiles
        self.padded = 0
        self._has_base = False
        if not paths:
            raise ConfigError("no sequences given; expected one or more sequence files")
        if self.regions.any and (len(paths) > 1 or str(paths[0]) == "-"):
            raise ConfigError(
                f"regions of {' '.join(map(str, paths))}; expected one genome to take them from: "
                "a file of FASTA, plain or bgzip, or 2bit"
            )

    def __iter__(self) -> Iterator[InputRecord]:
        return itertools.chain.from_iterable(self.parts())

    @property
    def files(self) -> list[Path]:
        """All files that are read."""
        bed = self.regions.bed
        return [*self.paths, *([] if bed is None else [bed])]

    @property
    def contig_lengths(self) -> dict[str, int] | None:
        """Bases of the contigs that regions are taken from; ``None`` where none are."""
        if not self.regions.any:
            return None
        with IndexedGenome(self.paths[0]) as genome:
            return dict(genome.lengths)

    @property
    def by_part(self) -> bool:
        """Whether what is read may be parts of contigs."""
        return self.regions.any or self.tiles.tile_bp is not None

    def parts(self) -> Iterator[Iterator[InputRecord]]:
        """The records of each file, or all the regions; or the tiles of these."""
        if self.regions.any:
            yield self._parts(self._regions(self.paths[0]))
        else:
            for path in self.paths:
                yield self._parts(_records(path))
        if not self._has_base:
            raise no_bases(self.paths)

    def _parts(self, records: Iterator[InputRecord]) -> Iterator[InputRecord]:
        for record in records:
            if not self._has_base:
                self._has_base = bool(record.sequence.upper().translate(None, AMBIGUOUS))
            yield from tiles_of(record, self.tiles)

    def _regions(self, path: Path) -> Iterator[InputRecord]:
        renamed: Counter[str] = Counter()
        with IndexedGenome(path) as genome:
            names = ContigNames(self.regions.contig_names, genome)
            for name, region, source in _requested(self.regions, genome, names):
                own = names.of_genome(region.chrom)
                letters = genome.fetch(*region._replace(chrom=own), at=source)
                self.padded = genome.padded
                if own != region.chrom:
                    renamed[f"{region.chrom} is {own}"] += 1
                yield InputRecord(name, letters, region, source)
        if renamed:
            shown = ", ".join(list(renamed)[:3]) + (", ..." if len(renamed) > 3 else "")
            print(
                f"note: {renamed.total():,} regions lie on contigs that {path} calls otherwise "
                f"({shown}; --contig-names)",
                file=sys.stderr,
            )


def _requested(
    config: RegionConfig, genome: IndexedGenome, names: ContigNames
) -> Iterator[NamedRegion]:
    for text in config.regions:
        region = parse_region(text, genome.lengths, names.of_genome)
        yield NamedRegion(str(region), region, f"--regions {text}")
    if config.bed is not None:
        yield from read_bed(config.bed)


def _records(path: Path) -> Iterator[InputRecord]:
    for name, letters in read_records(path):
        yield InputRecord(name, letters, Region(name, 0, len(letters)), f"{path}: record {name}")


def records_of(sequences: Iterable[object]) -> list[InputRecord]:
    """Sequences of a library call as records, named by their number from 1.

    Raises
    ------
    InputError
        If there is one sequence in place of a list, or one is none (see ``letters_of``).
    """
    if isinstance(sequences, str | bytes) or hasattr(sequences, "reverse_complement"):
        raise InputError("one text, where a list of sequences is wanted", fix="put it in brackets")
    if isinstance(sequences, Mapping) or not isinstance(sequences, Iterable):
        raise InputError(
            f"a {type(sequences).__name__}, where a list of sequences is wanted",
            fix="give its sequences as a list",
        )
    return [_record_of(number, sequence) for number, sequence in enumerate(sequences, 1)]


def letters_of(sequence: object, what: str) -> bytes:
    """The letters of a sequence that a library's user gives.

    Parameters
    ----------
    sequence
        Text, bytes, or a sequence of Biopython, scikit-bio or pyfaidx.
    what
        What it is called in the message, such as ``sequence 3``.

    Raises
    ------
    InputError
        If it is something else, or holds a character that is no nucleotide.

    Examples
    --------
    >>> letters_of("ACgt", "sequence 1")
    b'ACgt'
    """
    letters = text_of(sequence, what).encode("utf-8", "replace")
    if foreign(letters):
        character = letters[letters.index(foreign(letters).encode("latin-1")) :][:4]
        raise InputError(
            f"{what}: character {character.decode('utf-8', 'replace')[0]!r} is no nucleotide",
            expected="A C G T U, N or another IUPAC code",
        )
    return letters


def text_of(sequence: object, what: str) -> str:
    """The text of a sequence or allele that a library's user gives, as ``letters_of`` takes it.

    Raises
    ------
    InputError
        If it has none.
    """
    content = getattr(sequence, "seq", sequence)  # of a Biopython SeqRecord and of pyfaidx
    if isinstance(content, bytes | bytearray | memoryview):
        return bytes(content).decode("latin-1")
    if not isinstance(content, str) and not hasattr(content, "reverse_complement"):
        raise InputError(
            f"{what}: {_described(sequence)}", expected="text, bytes, or a Biopython sequence"
        )
    try:
        return str(content)
    except ValueError as error:  # Biopython's sequences of a length alone
        raise InputError(f"{what}: has no letters ({error})") from None


def _record_of(number: int, sequence: object) -> InputRecord:
    name = str(number)
    letters = letters_of(sequence, f"sequence {name}")
    return InputRecord(name, letters, Region(name, 0, len(letters)), f"sequence {name}")


def _described(value: object) -> str:
    """A value that is no sequence, in a few words."""
    if value is None or isinstance(value, (int, float)):
        return repr(value)
    return f"a {type(value).__name__} object"
