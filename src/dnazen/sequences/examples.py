"""Examples: labelled sequences with their places on a genome, each counted that is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .composition import Composition, composition
from .indexed import IndexedGenome
from .labelled_regions import LabelledRegion, window_of
from .regions import Region
from .settings import DatasetConfig
from .splits import strandless


class Example(NamedTuple):
    """A labelled sequence and where it stands."""

    name: str
    """That of its interval; of a drawn negative its region."""
    region: Region
    """The window, on the genome's contig."""
    label: str
    sequence: bytes
    """Upper-case letters, read on the region's strand."""
    composition: Composition


def example_at(genome: IndexedGenome, name: str, region: Region, label: str) -> Example:
    """The example at a region of a genome that was opened with ``soft_masked``."""
    letters = genome.fetch(*region)
    return Example(name, region, label, letters.upper(), composition(letters))


def examples_of(
    genome: IndexedGenome,
    rows: Sequence[LabelledRegion],
    config: DatasetConfig,
    left_out: Counter[str],
) -> list[Example]:
    """The examples at the windows of intervals.

    Those whose window ends off the contig, or holds more ambiguous letters than
    ``max_ambiguous``, are left out and counted.
    """
    examples = []
    for row in rows:
        window = window_of(row.region, config)
        if window.start < 0 or window.end > genome.lengths[window.chrom]:
            left_out["in windows that end off the contig"] += 1
            continue
        example = example_at(genome, row.name, window, row.label)
        if example.composition.ambiguous > config.max_ambiguous:
            left_out["with too many ambiguous letters"] += 1
            continue
        examples.append(example)
    return examples


def without_equals(examples: Sequence[Example], left_out: Counter[str]) -> list[Example]:
    """One example for each sequence, the first; none where equal sequences have several labels.

    Sequences are equal if their bases are, on either strand.
    """
    labels: dict[tuple[bytes, ...], set[str]] = {}
    keys = [strandless((example.sequence,)) for example in examples]
    for key, example in zip(keys, examples, strict=True):
        labels.setdefault(key, set()).add(example.label)
    kept: dict[tuple[bytes, ...], Example] = {}
    for key, example in zip(keys, examples, strict=True):
        if len(labels[key]) > 1:
            left_out["equal to a sequence of another label"] += 1
        elif key in kept:
            left_out["equal to an earlier sequence"] += 1
        else:
            kept[key] = example
    return list(kept.values())


class Spread(NamedTuple):
    """How values are distributed."""

    mean: float
    sd: float
    """Standard deviation."""
    least: float
    most: float


class Summary(NamedTuple):
    """What some examples, one or more, look like."""

    sequences: int
    length_bp: Spread
    gc: Spread
    repeats: Spread


def summary(examples: Sequence[Example]) -> Summary:
    """The number of examples, and the spread of their lengths, GC and repeats."""
    return Summary(
        len(examples),
        _spread([len(example.sequence) for example in examples]),
        _spread([example.composition.gc for example in examples]),
        _spread([example.composition.repeats for example in examples]),
    )


def _spread(values: Sequence[float]) -> Spread:
    array = np.array(values, dtype=np.float64)
    return Spread(*(float(part) for part in (array.mean(), array.std(), array.min(), array.max())))
