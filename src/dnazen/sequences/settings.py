"""Settings of what is read: regions, tiles, labels and splits; and of what is simulated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import ConfigError
from ..settings import require_choices, require_fractions, require_numbers


@dataclass(frozen=True, kw_only=True)
class RegionConfig:
    """What is taken of the sequences that a command is given; by default all."""

    regions: tuple[str, ...] = ()
    """Only these regions, CHROM:FIRST-LAST (1-based, both ends) or CHROM, '(-)' after it for the
    reverse strand. SEQUENCES is then one genome: FASTA, plain or bgzip, or 2bit."""
    bed: Path | None = None
    """Only the regions of this BED file, likewise; strands are honoured; '-' for stdin."""
    contig_names: Path | None = None
    """What the genome calls the contigs of these: a file of two columns, the other name and the
    genome's, with a tab between; or 'chr': put 'chr' before a name or take it away, and chrM for
    MT, where that makes it one of the genome's. By default names must be the same."""

    def __post_init__(self) -> None:
        if self.contig_names is not None and not self.any:
            raise ConfigError("contig_names is for regions; give regions or bed too")

    @property
    def any(self) -> bool:
        """Whether regions are asked for."""
        return bool(self.regions) or self.bed is not None

    @property
    def in_words(self) -> str:
        """Which regions are asked for; empty where none are."""
        if self.bed is not None:
            return f"the regions of {self.bed.name}"
        more = f" and {len(self.regions) - 3:,} more" if len(self.regions) > 3 else ""
        return f"{', '.join(self.regions[:3])}{more}"


@dataclass(frozen=True, kw_only=True)
class TileConfig:
    """How long records or regions are cut; by default not at all."""

    tile_bp: int | None = None
    """Cut longer records or regions into tiles of so many bases, each read as a record of its own;
    the last one is moved back to end where its record ends. By default none is cut."""
    tile_overlap_bp: int = 0
    """Bases that neighbouring tiles share."""

    def __post_init__(self) -> None:
        require_numbers(self, names="tile_bp", least=1)
        if self.tile_bp is None and self.tile_overlap_bp:
            raise ConfigError("tile_overlap_bp is for tiles; give tile_bp too")
        if self.tile_bp is not None and not 0 <= self.tile_overlap_bp < self.tile_bp:
            raise ConfigError(
                f"tiles of {self.tile_bp} bp cannot overlap by {self.tile_overlap_bp}; expected "
                "0 <= tile_overlap_bp < tile_bp"
            )


ProblemType = Literal[
    "single_label_classification",
    "multi_label_classification",
    "regression",
    "base_classification",
]


@dataclass(frozen=True, kw_only=True)
class LabelConfig:
    """What the labels are and where they stand."""

    problem_type: ProblemType = "single_label_classification"
    """One class of several, any subset of the labels, numbers, or a class for every base."""
    columns: tuple[str, ...] = ("label",)
    """Columns with labels. One class: one column. Multi-label: a column of 0 and 1 per label, or
    one column of label names joined by ';' (empty: no label). Regression: a column per target.
    Classes of bases: one column, with a character a base, or names joined by ';'; '.' is a base
    that is not labelled."""
    bed: Path | None = None
    """Of classes of bases: features (BED) whose names are the classes of the bases they cover, in
    place of a column. The table then says where each sequence is from, in columns chrom, start, end
    (0-based, half-open) and, if at all, strand."""
    bed_strand: Literal["both", "same"] = "both"
    """Which features count: those of both strands, or those of the strand that the sequence is
    read on, and those without a strand."""
    background: str | None = None
    """Of classes of bases: the class of what is nothing, whose stretches are not called. By default
    'background' or '0', where there is such a class. With bed, what no feature covers is of it."""

    def __post_init__(self) -> None:
        require_choices(self)
        if not self.columns:
            raise ConfigError("labels.columns is empty; expected one column or more")
        if self.problem_type == "base_classification":
            if len(self.columns) > 1:
                raise ConfigError(
                    f"labels.columns names {len(self.columns)} columns for the classes of bases; "
                    "expected one, a character or a name for each base"
                )
        elif self.bed is not None or self.background is not None:
            raise ConfigError(
                "labels.bed and labels.background are for classes of bases; set "
                "labels.problem_type base_classification"
            )
        if str(self.bed) == "-":
            raise ConfigError("labels.bed is '-'; expected a file, which a later run can read too")
        if self.bed is None and self.bed_strand != "both":
            raise ConfigError("labels.bed_strand is for features; give labels.bed too")
        if self.problem_type == "single_label_classification" and len(self.columns) > 1:
            raise ConfigError(
                f"labels.columns names {len(self.columns)} columns for one class; expected one, "
                "or labels.problem_type multi_label_classification or regression"
            )


@dataclass(frozen=True, kw_only=True)
class SplitConfig:
    """Which examples train the model, choose the epoch, and test it."""

    train_file: str | None = None
    """Of a directory, the training file; by default train.csv (or .tsv, .gz)."""
    column: str = "split"
    """Of a single table, the column that says train, dev (valid, val) or test."""
    dev_fraction: float = 0.1
    """Of a single table without that column, the fraction for dev; of data without dev, the
    fraction of train."""
    test_fraction: float = 0.1
    """Of a single table without that column, the fraction for test."""
    seed: int = 0
    """Seed of that draw; it does not depend on the seed of training."""

    def __post_init__(self) -> None:
        require_numbers(self, least=0, names="seed")
        for name in ("dev_fraction", "test_fraction"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(
                    f"splits.{name} must lie strictly between 0 and 1, got {getattr(self, name)}"
                )
        if self.dev_fraction + self.test_fraction >= 1:
            raise ConfigError("splits.dev_fraction and splits.test_fraction leave nothing to train")


_MOST_BP = 10_000_000_000
"""Of a simulated genome; the longest that are known have fifteen times as much."""
_MOST_EXAMPLES = 100_000_000


@dataclass(frozen=True, kw_only=True)
class SimulateConfig:
    """A synthetic genome and a labelled task with planted motifs."""

    seed: int = 0
    """The same seed and settings give the same files, byte for byte."""

    genome_bp: int = 1_000_000
    """Length of the genome, over all chromosomes."""

    chromosomes: int = 2
    """Records of the genome, of equal length up to one base."""

    arrangement_every_bp: int = 1000
    """One planted arrangement per this many bases of the genome."""

    repeat_families: int = 4
    """Repeat families of the genome."""

    repeat_bp: int = 300
    """Length of a repeat."""

    repeat_fraction: float = 0.1
    """Fraction of the genome that is repeats."""

    repeat_divergence: float = 0.1
    """Chance of a substitution at each base of a repeat copy."""

    motif_bp: int = 12
    """Length of each of the two motifs."""

    conservation: float = 0.95
    """Chance that a base of a motif instance is the consensus base."""

    min_gap_bp: int = 4
    """Least number of bases between the motifs of an arrangement."""

    max_gap_bp: int = 6
    """Largest number of bases between the motifs of an arrangement."""

    far_gap_bp: int = 30
    """Least number of bases between motifs that stand apart."""

    train: int = 2000
    """Sequences of train.csv."""

    dev: int = 500
    """Sequences of dev.csv."""

    test: int = 500
    """Sequences of test.csv."""

    sequence_bp: int = 100
    """Length of the labelled sequences."""

    strength: float = 0.95
    """Chance that a positive sequence has the arrangement."""

    def __post_init__(self) -> None:
        require_numbers(self, least=0, names="seed")
        require_numbers(
            self, least=1, most=_MOST_BP, names="genome_bp chromosomes arrangement_every_bp"
        )
        require_numbers(self, least=1, most=_MOST_EXAMPLES, names="repeat_families")
        require_numbers(self, least=2, most=_MOST_EXAMPLES, names="train dev test")
        require_numbers(self, least=4, most=self.genome_bp, names="motif_bp repeat_bp")
        require_numbers(
            self, least=0, most=self.genome_bp, names="min_gap_bp max_gap_bp far_gap_bp"
        )
        require_numbers(self, least=1, most=_MOST_BP, names="sequence_bp")
        require_fractions(self, names="repeat_fraction repeat_divergence conservation strength")
        if not 0 <= self.min_gap_bp <= self.max_gap_bp:
            raise ConfigError(
                f"gaps must be 0 <= min_gap_bp <= max_gap_bp, got {self.min_gap_bp} and "
                f"{self.max_gap_bp}"
            )
        if self.far_gap_bp <= self.max_gap_bp:
            raise ConfigError(
                f"far_gap_bp must be above max_gap_bp ({self.max_gap_bp}), got {self.far_gap_bp}"
            )
        apart_bp = 2 * self.motif_bp + self.far_gap_bp
        if self.sequence_bp < apart_bp:
            raise ConfigError(
                f"sequence_bp must hold two motifs apart, {apart_bp} bases, got {self.sequence_bp}"
            )


LabelColumn = Literal["name", "score"]
MOST_SEQUENCE_BP = (1 << 16) - 1
"""Of an example taken from a genome; models read some thousands."""


@dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """How labelled sequences are taken from a genome."""

    length_bp: int | None = None
    """Take so many bases around the middle of each interval; by default the interval as it is."""
    max_length_bp: int = 1000
    """Without length_bp, intervals that are longer are cut to so many bases around their middle,
    and counted."""
    max_ambiguous: float = 0.1
    """Largest fraction of N and other ambiguous letters of a sequence; one with more is left
    out, and none with more is drawn."""
    label_column: LabelColumn | None = None
    """The column of the positives that holds their label: name (classes, as of chromatin states)
    or score (numbers, for a regression). By default the label is 1."""
    negatives_per_positive: int | None = None
    """Negatives to draw from the genome for each positive. By default 1; none if negatives are
    given, or labels are several classes or numbers."""
    gc_tolerance: float = 0.02
    """Largest difference of a drawn negative from its positive in GC, a fraction of A, C, G, T."""
    repeat_tolerance: float = 0.05
    """Largest difference in repeats, the fraction of lower-case letters (soft-masked)."""
    split_by: Literal["auto", "chromosome", "block"] = "auto"
    """What goes to dev and test: chromosomes, or blocks of neighbouring intervals; auto: blocks
    only where the chromosomes are too few to give dev and test about their fractions."""
    dev_chroms: tuple[str, ...] = ()
    """Chromosomes of dev; by default drawn."""
    test_chroms: tuple[str, ...] = ()
    """Chromosomes of test; by default drawn."""
    dev_fraction: float = 0.1
    """Fraction of the intervals that drawn chromosomes or blocks should give to dev."""
    test_fraction: float = 0.1
    """Fraction that they should give to test."""
    near_equal: float = 0.25
    """Sequences that share this fraction of 16-mers, on either strand, are near equal: what is
    near equal to a sequence of train is left out of dev and test. 1 finds those alone whose
    16-mers all stand in the other."""
    contig_names: Path | None = None
    """What the genome calls the contigs of the BED files: a file of two columns, the other name
    and the genome's, with a tab between; or 'chr': put 'chr' before a name or take it away, and
    chrM for MT, where that makes it one of the genome's. By default names must be the same."""
    seed: int = 0
    """The same seed, settings and inputs give the same sequences."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_numbers(self, least=1, most=MOST_SEQUENCE_BP, names="length_bp max_length_bp")
        require_numbers(self, least=0, most=1000, names="negatives_per_positive")
        require_fractions(self, names="max_ambiguous gc_tolerance repeat_tolerance")
        require_fractions(self, names="dev_fraction test_fraction", closed=False)
        require_numbers(self, least=0, names="seed")
        if not 0 < self.near_equal <= 1:
            raise ConfigError(f"near_equal must be above 0 and at most 1, got {self.near_equal}")
        if self.dev_fraction + self.test_fraction > 0.5:
            raise ConfigError(
                "dev_fraction and test_fraction must leave half of the intervals to train, got "
                f"{self.dev_fraction} and {self.test_fraction}"
            )
        if both := set(self.dev_chroms) & set(self.test_chroms):
            raise ConfigError(f"dev_chroms and test_chroms both name {min(both)}; expected one")
        if self.split_by == "block" and (self.dev_chroms or self.test_chroms):
            raise ConfigError("dev_chroms and test_chroms name chromosomes; split_by is block")
        if self.label_column == "score" and self.negatives_per_positive:
            raise ConfigError("negatives have no score; leave negatives_per_positive out")
