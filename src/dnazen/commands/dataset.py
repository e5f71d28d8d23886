"""``dnazen dataset``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ..errors import ConfigError
from ..outputs import new_directory, refuse_existing
from ..records import hash_file, run_record, write_json
from ..sequences.settings import DatasetConfig
from ..settings import FLAT
from ..tables import new_table

if TYPE_CHECKING:
    from ..sequences.blocks import SplitName
    from ..sequences.datasets import Dataset
    from ..sequences.examples import Example, Summary

COLUMNS = ("name", "sequence", "label", "chrom", "start", "end", "strand")
"""Of the tables; places are 0-based and half-open, sequences are read on their strand."""

UNLIKE = {"length_bp": 0.05, "gc": 0.02, "repeats": 0.05}
"""Differences of the means of classes that are told of; that of length is a fraction of it."""


@dataclass(frozen=True, kw_only=True)
class DatasetCommand:
    """Make labelled data for 'dnazen finetune' from a genome and BED files.

    Positives are the intervals of a BED file. Negatives are drawn from the genome, each like its
    positive in length, GC and repeats, or are those of a BED file of their own. Whole chromosomes
    go to dev and test, and what is near equal to a sequence of another split, on either strand, is
    left out.
    """

    genome: Path
    """FASTA, plain or bgzip, or 2bit; soft-masked, so that repeats are matched too."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """New directory for train.csv, dev.csv, test.csv and dataset.json."""
    positives: Path | None = None
    """BED file of the positives, label 1 (see label_column); strands are honoured; '-' for
    stdin."""
    classes: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=BED...")] = ()
    """In place of positives a BED file for each of several classes, NAME=FILE."""
    negatives: Path | None = None
    """BED file of negatives, label 0; by default they are drawn from the genome."""
    exclude: tuple[Path, ...] = ()
    """BED files of what no drawn negative may overlap: a blacklist, all known sites. They never
    overlap a positive."""
    dataset: Annotated[DatasetConfig, FLAT] = field(default_factory=DatasetConfig)

    def __post_init__(self) -> None:
        if (self.positives is None) == (not self.classes):
            raise ConfigError(
                f"{'positives and classes' if self.classes else 'no positives'}; expected "
                "--positives BED, or --classes NAME=BED ... in its place"
            )
        if str(self.genome) == "-":
            raise ConfigError("genome: places cannot be found in a pipe; expected a file")
        files = [self.positives, *self.beds.values(), self.negatives, *self.exclude]
        files.append(self.dataset.contig_names)
        if [str(path) for path in files].count("-") > 1:
            raise ConfigError("two inputs are '-'; expected standard input once")

    @property
    def beds(self) -> dict[str, Path]:
        """The files of ``classes`` by name."""
        beds: dict[str, Path] = {}
        for text in self.classes:
            name, _, path = text.partition("=")
            if not (name.strip() and path):
                raise ConfigError(f"classes: {text!r}; expected NAME=FILE")
            if name.strip() in beds:
                raise ConfigError(f"classes: {name.strip()!r} stands there twice")
            beds[name.strip()] = Path(path)
        return beds


def run(settings: DatasetCommand) -> None:
    """Write the tables and the record, and say what they hold."""
    from tqdm import tqdm

    from ..sequences.datasets import build_dataset

    refuse_existing(settings.output)
    with tqdm(desc="drawing negatives", unit="", disable=None) as progress:
        dataset = build_dataset(
            settings.genome,
            settings.positives or settings.beds,
            settings.dataset,
            negatives=settings.negatives,
            exclude=settings.exclude,
            progress=progress.update,
        )
    with new_directory(settings.output) as directory:
        for split, examples in dataset.splits.items():
            _write(directory / f"{split}.csv", examples)
        write_json(directory / "dataset.json", _record(settings, dataset))
    for line in _account(settings, dataset):
        print(line, file=sys.stderr)


def _write(path: Path, examples: Sequence[Example]) -> None:
    with new_table(path) as write:
        write(COLUMNS)
        for example in examples:
            write((example.name, example.sequence.decode(), example.label, *example.region))


def _record(settings: DatasetCommand, dataset: Dataset) -> dict[str, Any]:
    """What the run was, and what it made."""
    names = settings.dataset.contig_names
    files = [settings.genome, *([names] if names is not None and names.is_file() else [])]
    return run_record(
        "dataset",
        settings,
        [*map(hash_file, files), *dataset.inputs],
        split_by=dataset.blocks.by,
        blocks={split: dataset.blocks.in_words(split) for split in ("dev", "test")},
        examples={split: _by_class(dataset, split) for split in dataset.splits},
        left_out=dataset.left_out,
        cut=dataset.cut,
        negatives_on_another_chromosome=dataset.elsewhere,
        soft_masked=dataset.soft_masked,
        renamed_contigs=dataset.renamed,
        excluded_on_absent_contigs=dataset.absent,
    )


def _by_class(dataset: Dataset, split: SplitName) -> dict[str, Summary]:
    """What each class of a split looks like; in regression, all of it."""
    from ..sequences.examples import summary

    return {label: summary(rows) for label, rows in dataset.classes(split).items()}


def _account(settings: DatasetCommand, dataset: Dataset) -> Iterator[str]:
    """What came about, in lines for the terminal."""
    for split in dataset.splits:
        classes = [
            f"{summary.sequences:,} of {label} (GC {summary.gc.mean:.3f}, repeats "
            f"{summary.repeats.mean:.3f}, {summary.length_bp.mean:,.0f} bp)"
            for label, summary in _by_class(dataset, split).items()
        ]
        shown = f"{'; '.join(classes[:4])}{'; ...' if len(classes) > 4 else ''}"
        yield f"{settings.output}/{split}.csv: {shown}"
    places = {split: dataset.blocks.in_words(split) for split in ("dev", "test")}
    if dataset.blocks.by == "block":
        asked = settings.dataset.split_by == "block"
        yield (
            f"note: dev and test are {len(places['dev'])} and {len(places['test'])} blocks of "
            "neighbouring intervals, not chromosomes"
            + ("" if asked else ", of which there are too few with intervals")
        )
    else:
        yield "; ".join(f"{split}: {', '.join(chroms)}" for split, chroms in places.items())
    for reason, number in dataset.left_out.items():
        yield f"left out: {number:,} {reason}"
    yield from _notes(settings, dataset)
    kind = " --labels.problem-type regression" if dataset.regression else ""
    yield f"next: dnazen finetune --data {settings.output}{kind} --model mini -o finetuned"


def _notes(settings: DatasetCommand, dataset: Dataset) -> Iterator[str]:
    """What the user should know."""
    config = settings.dataset
    if dataset.cut:
        yield (
            f"note: of {dataset.cut:,} intervals the middle {config.max_length_bp:,} bp were taken "
            "(--max-length-bp)"
        )
    if dataset.renamed:
        shown = ", ".join(f"{other} is {own}" for other, own in list(dataset.renamed.items())[:3])
        more = ", ..." if len(dataset.renamed) > 3 else ""
        yield (
            f"note: {settings.genome} calls {len(dataset.renamed):,} contigs otherwise "
            f"({shown}{more}; --contig-names)"
        )
    if dataset.absent:
        yield (
            f"note: {dataset.absent:,} excluded intervals lie on contigs that {settings.genome} "
            "does not have"
        )
    if dataset.drawn and not dataset.soft_masked:
        yield (
            "note: the sequences are not soft-masked (letters are all of one case), so negatives "
            "match in length and GC alone"
        )
    if dataset.elsewhere:
        yield (
            f"note: {dataset.elsewhere:,} negatives lie on another chromosome than their positive"
        )
    for split in ("dev", "test"):
        lacking = sorted(_by_class(dataset, "train").keys() - _by_class(dataset, split).keys())
        if lacking:
            shown = ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else "")
            yield f"note: {split} has no sequence of {shown}"
    yield from _differences(dataset)


def _differences(dataset: Dataset) -> Iterator[str]:
    """Notes of classes that differ in what a model could tell them by alone."""
    classes = _by_class(dataset, "train")
    for what, bound in UNLIKE.items():
        means = {label: getattr(summary, what).mean for label, summary in classes.items()}
        low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
        scale = means[high] if what == "length_bp" else 1.0
        if means[high] - means[low] > bound * scale:
            yield (
                f"note: classes differ in {what} (mean in train {means[low]:.3g} of {low}, "
                f"{means[high]:.3g} of {high}), by which alone a model can tell some of them"
            )
