"""Labelled sequences of a genome, in splits: from BED files to what a classifier is trained on.

Each step is counted. Intervals are read and made windows; windows that end off their contig, hold
too many ambiguous letters or contradict one another are left out; the genome is parted into blocks
for train, dev and test; what is near equal across splits is left out; and negatives are drawn that
match the positives that are left.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import ConfigError, InputError
from ..records import InputFile
from .blocks import SPLITS, Blocks, SplitName, split_genome
from .examples import Example, examples_of, without_equals
from .homology import leaking
from .indexed import IndexedGenome
from .labelled_regions import BedReader, LabelledRegion, is_cut, overlapping, window_of
from .matching import match_negatives
from .regions import Region
from .settings import DatasetConfig

POSITIVE, NEGATIVE = "1", "0"
"""Labels of a task of two classes, as in GUE."""
BACKGROUND = "negative"
"""The label of negatives beside several classes."""


class Dataset(NamedTuple):
    """Labelled sequences in splits, and the account of how they came about."""

    splits: dict[SplitName, list[Example]]
    """In the order of the genome."""
    blocks: Blocks
    """The parts of the genome that each split is taken from."""
    regression: bool
    """Whether labels are numbers."""
    drawn: bool
    """Whether negatives were drawn."""
    inputs: list[InputFile]
    """The BED files."""
    left_out: dict[str, int]
    """Intervals that are in no split, by the reason."""
    cut: int
    """Intervals longer than ``max_length_bp``, of which the middle was taken."""
    elsewhere: int
    """Drawn negatives on another chromosome than their positive."""
    renamed: dict[str, str]
    """The genome's name of each contig that a BED file calls otherwise."""
    absent: int
    """Intervals of ``exclude`` on contigs that the genome lacks."""

    def classes(self, split: SplitName) -> dict[str, list[Example]]:
        """The examples of a split by class, in alphabetic order; in regression under ``all``."""
        if self.regression:
            return {"all": self.splits[split]}
        classes: dict[str, list[Example]] = {}
        for example in sorted(self.splits[split], key=lambda e: e.label):
            classes.setdefault(example.label, []).append(example)
        return classes

    @property
    def soft_masked(self) -> bool:
        """Whether some letters are in lower case, and some in upper case."""
        repeats = [e.composition.repeats for rows in self.splits.values() for e in rows]
        return min(repeats) < 1 and max(repeats) > 0


def build_dataset(
    genome: Path,
    positives: Path | Mapping[str, Path],
    config: DatasetConfig | None = None,
    *,
    negatives: Path | None = None,
    exclude: Sequence[Path] = (),
    progress: Callable[[int], object] | None = None,
) -> Dataset:
    """Labelled sequences of a genome, in splits.

    Parameters
    ----------
    genome
        FASTA, plain or bgzip, or 2bit; soft-masked, so that repeats are matched too.
    positives
        A BED file, whose examples get the label ``1``, or that of ``label_column``; or one for
        each of several classes, by the names of the classes.
    negatives
        A BED file of negatives; by default they are drawn (``negatives_per_positive``).
    exclude
        BED files of what no drawn negative may overlap, beside the positives.
    progress
        Called with the number of negatives whose search is done.

    Raises
    ------
    ConfigError
        If the settings contradict one another or the files.
    InputError
        If a file cannot be read or does not go with the genome, too few negatives are like their
        positives, or a split lacks what it needs.
    """
    config = DatasetConfig() if config is None else config
    per_positive = _negatives_per_positive(positives, negatives, config)
    if exclude and not per_positive:
        raise ConfigError("exclude is for negatives that are drawn; leave it out")
    split_rng, draw_rng = map(np.random.default_rng, np.random.SeedSequence(config.seed).spawn(2))
    left_out: Counter[str] = Counter()
    with IndexedGenome(genome, soft_masked=True) as opened:
        reader = BedReader(opened, config.contig_names)
        config = _on_genome(config, reader)
        background = NEGATIVE if _is_binary(positives, config) else BACKGROUND
        rows = _positives(positives, reader, config)
        has_negatives = negatives is not None or per_positive > 0
        _require_classes(rows, background, has_negatives, config)
        barred = [region for row in rows for region in (row.region, window_of(row.region, config))]
        excluded, absent = _excluded(exclude, reader)
        if negatives is not None:
            apart = reader.labelled(negatives, background)
            rows += _without_overlaps(apart, barred, config, left_out)
        examples = without_equals(examples_of(opened, rows, config, left_out), left_out)
        if not examples:
            raise InputError(f"no interval is left: {_reasons(left_out)}")
        blocks = split_genome([e.region for e in examples], opened.lengths, config, split_rng)
        examples, elsewhere = _apart(examples, blocks, config, left_out), 0
        if per_positive:
            examples, elsewhere = match_negatives(
                opened,
                examples,
                background,
                blocks,
                barred + excluded,
                config,
                draw_rng,
                left_out,
                per_positive=per_positive,
                progress=progress,
            )
        splits = _in_splits(examples, blocks, opened.names)
    _require_splits(splits, left_out, config)
    return Dataset(
        splits=splits,
        blocks=blocks,
        regression=config.label_column == "score",
        drawn=per_positive > 0,
        inputs=reader.inputs,
        left_out={reason: number for reason, number in left_out.items() if number},
        cut=sum(is_cut(row.region, config) for row in rows),
        elsewhere=elsewhere,
        renamed=reader.renamed,
        absent=absent,
    )


def _is_binary(positives: Path | Mapping[str, Path], config: DatasetConfig) -> bool:
    return isinstance(positives, Path) and config.label_column is None


def _negatives_per_positive(
    positives: Path | Mapping[str, Path], negatives: Path | None, config: DatasetConfig
) -> int:
    """How many negatives to draw for each positive."""
    if negatives is not None:
        if config.negatives_per_positive:
            raise ConfigError(
                "negatives are given; expected no negatives_per_positive, or no negatives"
            )
        if config.label_column == "score":
            raise ConfigError("negatives have no score; leave them out")
        return 0
    if not isinstance(positives, Path) and config.label_column is not None:
        raise ConfigError("classes have their labels; leave label_column out")
    if config.negatives_per_positive is not None:
        return config.negatives_per_positive
    return 1 if _is_binary(positives, config) else 0


def _on_genome(config: DatasetConfig, reader: BedReader) -> DatasetConfig:
    """The settings with chromosomes named as the genome names them."""

    def own(flag: str, chroms: Sequence[str]) -> tuple[str, ...]:
        names = tuple(map(reader.names.of_genome, chroms))
        if absent := [name for name in names if name not in reader.genome.lengths]:
            raise reader.genome.unknown(*absent, at=flag)
        return names

    dev, test = (
        own("--dev-chroms", config.dev_chroms),
        own("--test-chroms", config.test_chroms),
    )
    return replace(config, dev_chroms=dev, test_chroms=test)


def _positives(
    positives: Path | Mapping[str, Path], reader: BedReader, config: DatasetConfig
) -> list[LabelledRegion]:
    if isinstance(positives, Path):
        return reader.labelled(positives, POSITIVE, config.label_column)
    return [row for label, path in positives.items() for row in reader.labelled(path, label)]


def _excluded(paths: Sequence[Path], reader: BedReader) -> tuple[list[Region], int]:
    """The regions of several files, and the number of those on contigs that the genome lacks."""
    files = [reader.excluded(path) for path in paths]
    return [region for regions, _ in files for region in regions], sum(n for _, n in files)


def _without_overlaps(
    rows: Sequence[LabelledRegion],
    barred: Iterable[Region],
    config: DatasetConfig,
    left_out: Counter[str],
) -> list[LabelledRegion]:
    """The negatives that were given, without those that overlap a positive."""
    overlaps = overlapping([window_of(row.region, config) for row in rows], barred)
    left_out["negatives that overlap a positive"] += sum(overlaps)
    return [row for row, overlaps_one in zip(rows, overlaps, strict=True) if not overlaps_one]


def _apart(
    examples: Sequence[Example], blocks: Blocks, config: DatasetConfig, left_out: Counter[str]
) -> list[Example]:
    """The examples without those of dev and test that are near equal to another split's."""
    splits = [blocks.split_of(example.region) for example in examples]
    gone = leaking([example.sequence for example in examples], splits, config.near_equal).tolist()
    for split, near in zip(splits, gone, strict=True):
        left_out[f"of {split}, near equal to a sequence of another split"] += near
    return [example for example, near in zip(examples, gone, strict=True) if not near]


def _in_splits(
    examples: Iterable[Example], blocks: Blocks, chroms: Sequence[str]
) -> dict[SplitName, list[Example]]:
    order = {chrom: place for place, chrom in enumerate(chroms)}
    splits: dict[SplitName, list[Example]] = {split: [] for split in SPLITS}
    for example in sorted(examples, key=lambda e: (order[e.region.chrom], *e.region[1:], e.name)):
        splits[blocks.split_of(example.region)].append(example)
    return splits


def _require_classes(
    rows: Sequence[LabelledRegion], background: str, has_negatives: bool, config: DatasetConfig
) -> None:
    """Raise ConfigError if positives are one class alone, or have the label of the negatives."""
    labels = {row.label for row in rows}
    if has_negatives and background in labels:
        raise ConfigError(f"a class is called {background!r}, as the negatives are; rename it")
    if len(labels) < 2 and not has_negatives and config.label_column != "score":
        raise ConfigError(
            f"{min(labels)!r} is the only class; expected negatives, given or drawn "
            "(negatives_per_positive), or several classes"
        )


def _require_splits(
    splits: Mapping[SplitName, Sequence[Example]],
    left_out: Mapping[str, int],
    config: DatasetConfig,
) -> None:
    """Raise InputError if a split is empty, or has a class that train lacks."""
    labels = {split: {example.label for example in rows} for split, rows in splits.items()}
    for split in SPLITS:
        if not splits[split]:
            raise InputError(
                f"no sequence is left for {split} ({_reasons(left_out)})",
                expected="some for train, dev and test",
                fix="give more intervals, other chromosomes or another --seed",
            )
        if config.label_column != "score" and labels[split] - labels["train"]:
            raise InputError(
                f"{split} has sequences of class {min(labels[split] - labels['train'])!r}, "
                "and train has none",
                fix="give more intervals of it, other chromosomes or another --seed",
            )
    if config.label_column != "score" and len(labels["train"]) < 2:
        raise InputError(
            f"train has sequences of one class alone, {min(labels['train'])!r} "
            f"({_reasons(left_out)})",
            expected="two or more",
        )


def _reasons(left_out: Mapping[str, int]) -> str:
    reasons = [f"{number:,} {reason}" for reason, number in left_out.items() if number]
    return f"left out: {', '.join(reasons) or 'none'}"
