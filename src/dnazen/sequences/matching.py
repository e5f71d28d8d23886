"""Positives with their matched negatives, which are near equal to nothing in another split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import InputError
from .blocks import Blocks
from .examples import Example, example_at
from .homology import leaking
from .indexed import IndexedGenome
from .negatives import Target, draw_negatives
from .regions import Region
from .settings import DatasetConfig
from .splits import strandless

MOST_UNMATCHED = 0.05
"""Fraction of the positives that may be left out because no negative is like them."""

ROUNDS = 5
"""How often negatives are drawn in place of those that equal, or nearly, another sequence."""


def match_negatives(
    genome: IndexedGenome,
    positives: Sequence[Example],
    label: str,
    blocks: Blocks,
    barred: Sequence[Region],
    config: DatasetConfig,
    rng: np.random.Generator,
    left_out: Counter[str],
    *,
    per_positive: int = 1,
    progress: Callable[[int], object] | None = None,
) -> tuple[list[Example], int]:
    """Draw negatives (``draw_negatives``) for positives; those that lack one are left out.

    A negative that equals another example, or is near equal to one of another split
    (``homology``), is drawn anew, ``ROUNDS`` times at most.

    Parameters
    ----------
    label
        That of the negatives.
    barred
        What they may not overlap, in windows or not.
    left_out
        Gets the number of positives that are left out.

    Returns
    -------
    examples
        The positives, then their negatives.
    elsewhere
        How many negatives are on another chromosome than their positive.

    Raises
    ------
    InputError
        If more than ``MOST_UNMATCHED`` of the positives lack a negative.
    """
    taken: dict[str, list[tuple[int, int]]] = {chrom: [] for chrom in genome.names}
    for region in barred:
        taken[region.chrom].append((max(0, region.start), region.end))
    splits = [blocks.split_of(example.region) for example in positives]
    sequences = _Distinct(positives)
    wanted = [number for number in range(len(positives)) for _ in range(per_positive)]
    lacking = Counter(wanted)
    pairs: list[_Pair] = []
    for _ in range(ROUNDS):
        targets = [Target(positives[n].region, positives[n].composition, splits[n]) for n in wanted]
        regions = draw_negatives(genome, targets, blocks, taken, config, rng, progress)
        progress = None  # what is drawn anew was counted
        drawn = [
            _Pair(positive, example_at(genome, str(region), region, label))
            for positive, region in zip(wanted, regions, strict=True)
            if region is not None
        ]
        kept = _apart(
            positives, pairs, [p for p in drawn if sequences.add(p.negative)], blocks, config
        )
        pairs += kept
        wanted = sorted(
            (Counter(p.positive for p in drawn) - Counter(p.positive for p in kept)).elements()
        )
        if not wanted:
            break
    lacking.subtract(pair.positive for pair in pairs)
    unmatched = {positive for positive, number in lacking.items() if number}
    if len(unmatched) > MOST_UNMATCHED * len(positives):
        raise _no_room(genome, len(unmatched), len(positives), len(pairs), per_positive, config)
    left_out["positives without a matched negative"] += len(unmatched)
    whole = [pair for pair in pairs if pair.positive not in unmatched]
    examples = [example for n, example in enumerate(positives) if n not in unmatched]
    elsewhere = sum(positives[n].region.chrom != negative.region.chrom for n, negative in whole)
    return examples + [pair.negative for pair in whole], elsewhere


class _Pair(NamedTuple):
    """A negative, and the number of its positive."""

    positive: int
    negative: Example


class _Distinct:
    """Sequences that are equal on neither strand."""

    def __init__(self, examples: Iterable[Example]) -> None:
        self._keys = {strandless((example.sequence,)) for example in examples}

    def add(self, example: Example) -> bool:
        """Add a sequence; false if it is there already."""
        key = strandless((example.sequence,))
        is_new = key not in self._keys
        self._keys.add(key)
        return is_new


def _apart(
    positives: Sequence[Example],
    pairs: Sequence[_Pair],
    drawn: Sequence[_Pair],
    blocks: Blocks,
    config: DatasetConfig,
) -> list[_Pair]:
    """The pairs just drawn whose negatives are near equal to nothing in another split."""
    examples = [*positives, *(pair.negative for pair in (*pairs, *drawn))]
    first = len(examples) - len(drawn)
    gone = leaking(
        [example.sequence for example in examples],
        [blocks.split_of(example.region) for example in examples],
        config.near_equal,
        removable=np.arange(len(examples)) >= first,
    )
    return [pair for pair, near in zip(drawn, gone[first:].tolist(), strict=True) if not near]


def _no_room(
    genome: IndexedGenome,
    unmatched: int,
    positives: int,
    negatives: int,
    per_positive: int,
    config: DatasetConfig,
) -> InputError:
    return InputError(
        f"for {unmatched:,} of {positives:,} positives there is no room for matched negatives: "
        f"{negatives:,} of {per_positive * positives:,} were found",
        path=genome.path,
        expected=f"them for all but {100 * MOST_UNMATCHED:.0f} % of the positives",
        fix=f"raise --gc-tolerance ({config.gc_tolerance}) or --repeat-tolerance "
        f"({config.repeat_tolerance}), ask for fewer --negatives-per-positive, exclude less, or "
        "give --negatives",
    )
