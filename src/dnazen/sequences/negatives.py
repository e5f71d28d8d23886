"""Stretches of a genome that are like given ones in length, GC and repeats: matched negatives.

Decided here: for each positive, places of its split on its own chromosome are drawn evenly,
``BATCH`` at a time. Of those that differ from the positive by no more than the tolerances, and
overlap nothing that is taken, the most alike is its negative: the first that comes would be closer
to the genome's mean than the positive is. After ``TRIES`` places as many follow on the other
chromosomes of the split, in random order, on each in proportion to its room. Memory is one contig,
about 8 bytes a base.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int64
from numpy.lib.stride_tricks import sliding_window_view

from .blocks import Block, Blocks, SplitName
from .composition import Composition, RunningCounts
from .indexed import IndexedGenome
from .regions import Region
from .settings import DatasetConfig

TRIES = 5120
"""Places that are looked at on its positive's chromosome for one negative, and on all others; each
place where there are fewer."""

BATCH = 256
"""Places that are compared at a time."""

_ROUNDING = 1e-9  # 0.42 - 0.40 > 0.02


class Target(NamedTuple):
    """What a negative is to be like."""

    region: Region
    """The positive's: its chromosome, length and strand."""
    composition: Composition
    split: SplitName


def draw_negatives(
    genome: IndexedGenome,
    targets: Sequence[Target],
    blocks: Blocks,
    taken: Mapping[str, list[tuple[int, int]]],
    config: DatasetConfig,
    rng: np.random.Generator,
    progress: Callable[[int], object] | None = None,
) -> list[Region | None]:
    """Draw a region for each target; None where none is found.

    Parameters
    ----------
    genome
        Opened with ``soft_masked``.
    taken
        For each contig the stretches that no negative may overlap; those drawn are added.
    progress
        Called with 1 after each target's first search.
    """
    drawn: list[Region | None] = [None] * len(targets)

    def draw_on(chrom: str, numbers: Sequence[int], *, at_home: bool) -> None:
        search = _Search(genome, chrom, blocks.of_chrom[chrom], taken[chrom], config, rng)
        for number in numbers:
            region, split = targets[number].region, targets[number].split
            size = region.end - region.start
            total = room(chrom, split, size) if at_home else elsewhere(region.chrom, split, size)
            start = search.start_of(targets[number], total)
            if start is not None:
                taken[chrom].append((start, start + size))
                drawn[number] = Region(chrom, start, start + size, region.strand)

    @cache
    def room(chrom: str, split: SplitName, size: int) -> int:
        own = (b for b in blocks.of_chrom[chrom] if b.split == split)
        return sum(max(0, block.end - block.start - size + 1) for block in own)

    @cache
    def elsewhere(home: str, split: SplitName, size: int) -> int:
        return sum(room(chrom, split, size) for chrom in genome.names if chrom != home)

    by_chrom: dict[str, list[int]] = {}
    for number, target in enumerate(targets):
        by_chrom.setdefault(target.region.chrom, []).append(number)
    for chrom in genome.names:
        if chrom in by_chrom:
            draw_on(chrom, by_chrom[chrom], at_home=True)
            if progress is not None:
                progress(len(by_chrom[chrom]))
    for index in rng.permutation(len(genome.names)).tolist():
        chrom = genome.names[index]
        splits = {block.split for block in blocks.of_chrom[chrom]}
        left = [
            number
            for number, target in enumerate(targets)
            if drawn[number] is None and target.region.chrom != chrom and target.split in splits
        ]
        if left:
            draw_on(chrom, left, at_home=False)
    return drawn


class _Search:
    """One contig in which negatives are searched."""

    def __init__(
        self,
        genome: IndexedGenome,
        chrom: str,
        blocks: Sequence[Block],
        taken: Sequence[tuple[int, int]],
        config: DatasetConfig,
        rng: np.random.Generator,
    ) -> None:
        self._blocks, self._config, self._rng = blocks, config, rng
        length = genome.lengths[chrom]
        self._counts = RunningCounts(genome.fetch(chrom, 0, length))
        self._free: Bool[np.ndarray, "bases"] = np.ones(length, dtype=np.bool_)
        for start, end in taken:
            self._free[start:end] = False

    def start_of(self, target: Target, places: int) -> int | None:
        """Where a stretch like the target starts, which is free and from now on taken.

        Parameters
        ----------
        places
            Starts in all that ``TRIES`` are to be drawn from, some of them on this contig.
        """
        size = target.region.end - target.region.start
        starts = self._starts(target.split, size, places)
        wanted, config = target.composition, self._config
        for first in range(0, len(starts), BATCH):
            batch = starts[first : first + BATCH]
            gc, repeats, ambiguous = self._counts.compositions(batch, size)
            off_gc, off_repeats = np.abs(gc - wanted.gc), np.abs(repeats - wanted.repeats)
            alike = off_gc <= config.gc_tolerance + _ROUNDING
            alike &= off_repeats <= config.repeat_tolerance + _ROUNDING
            alike &= ambiguous <= config.max_ambiguous
            if not alike.any():
                continue
            alike[alike] = sliding_window_view(self._free, size)[batch[alike]].all(axis=1)
            if alike.any():
                off = np.where(alike, off_gc + off_repeats, np.inf)
                start = int(batch[np.argmin(off)])
                self._free[start : start + size] = False
                return start
        return None

    def _starts(self, split: SplitName, size: int, places: int) -> Int64[np.ndarray, "starts"]:
        """Random starts of stretches within the blocks of a split; each, if they are few."""
        own = [block for block in self._blocks if block.split == split]
        begins = np.array([block.start for block in own], dtype=np.int64)
        ends = np.array([block.end for block in own], dtype=np.int64)
        before = np.concatenate([[0], np.cumsum(np.maximum(0, ends - begins - size + 1))])
        here = int(before[-1])
        tries = -(-TRIES * here // max(places, 1))
        drawn = (
            self._rng.permutation(here) if here <= tries else self._rng.integers(here, size=tries)
        )
        block = np.searchsorted(before, drawn, side="right") - 1
        starts: Int64[np.ndarray, "starts"] = begins[block] + drawn - before[block]
        return starts
