"""A genome in blocks, each of which goes to train, dev or test whole.

Blocks are chromosomes; or, where these are too few, stretches between intervals. Decided here: of
``_DRAWS`` seeded draws the one is taken whose dev and test come closest to their fractions of the
intervals. A draw takes the blocks in random order, each that brings a split nearer to its fraction.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np

from ..errors import ConfigError, InputError
from .regions import Region
from .settings import DatasetConfig

SplitName = Literal["train", "dev", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "dev", "test")

BLOCKS = 20
"""About so many blocks are made of the intervals where chromosomes are too few."""

_DRAWS = 50


class Block(NamedTuple):
    """A stretch of a contig, 0-based and half-open, and the split of all that lies in it."""

    chrom: str
    start: int
    end: int
    split: SplitName


class Blocks:
    """All contigs of a genome as blocks, which neither overlap nor leave a base out."""

    def __init__(self, blocks: Sequence[Block], by: Literal["chromosome", "block"]) -> None:
        self.blocks = tuple(blocks)
        self.by = by
        """What they are: whole chromosomes, or stretches of them."""
        self.of_chrom: dict[str, list[Block]] = {}
        """The blocks of each contig, from left to right."""
        for block in self.blocks:
            self.of_chrom.setdefault(block.chrom, []).append(block)

    def split_of(self, region: Region) -> SplitName:
        """The split of a region, which lies in one block."""
        blocks = self.of_chrom[region.chrom]
        return blocks[bisect_right([block.start for block in blocks], region.start) - 1].split

    def in_words(self, split: SplitName) -> list[str]:
        """The blocks of a split: names of chromosomes, or regions."""
        own = [block for block in self.blocks if block.split == split]
        if self.by == "chromosome":
            return [block.chrom for block in own]
        return [str(Region(block.chrom, block.start, block.end)) for block in own]


def split_genome(
    regions: Sequence[Region],
    lengths: Mapping[str, int],
    config: DatasetConfig,
    rng: np.random.Generator,
) -> Blocks:
    """Part a genome into blocks for train, dev and test.

    Chromosomes are taken if named, asked for, or good for it: dev and test get at least half of
    their fractions of the regions, and train at least half of all. Else blocks of neighbouring
    regions, about ``BLOCKS`` in all, none of which is cut. Contigs without a region go to train.

    Raises
    ------
    ConfigError
        If a chromosome is named that holds no region, or nothing is left for a split.
    InputError
        If regions lie so close together that they make fewer than three blocks.
    """
    counts = Counter(region.chrom for region in regions)
    named: dict[str, SplitName] = dict.fromkeys(config.dev_chroms, "dev")
    named |= dict.fromkeys(config.test_chroms, "test")
    for chrom, split in named.items():
        if not counts[chrom]:
            raise ConfigError(f"{split}_chroms: no interval lies on {chrom!r}")
    if config.split_by != "block":
        chroms = [chrom for chrom in lengths if counts[chrom]]
        sizes = [counts[chrom] for chrom in chroms]
        drawn = _draw(sizes, [named.get(chrom) for chrom in chroms], config, rng)
        if named or config.split_by == "chromosome":
            for split in set(SPLITS) - set(drawn):
                raise ConfigError(
                    f"no chromosome is left for {split}: intervals lie on {len(chroms)}; name "
                    "fewer, or leave split_by, dev_chroms and test_chroms out"
                )
        if named or config.split_by == "chromosome" or _is_fair(sizes, drawn, config):
            split_of = dict(zip(chroms, drawn, strict=True))
            whole = [
                Block(chrom, 0, length, split_of.get(chrom, "train"))
                for chrom, length in lengths.items()
            ]
            return Blocks(whole, "chromosome")
    return _in_blocks(regions, lengths, config, rng)


def _in_blocks(
    regions: Sequence[Region],
    lengths: Mapping[str, int],
    config: DatasetConfig,
    rng: np.random.Generator,
) -> Blocks:
    """Stretches between regions; the borders lie half-way between neighbours."""
    order = {chrom: number for number, chrom in enumerate(lengths)}
    blocks: list[Block] = []
    sizes: list[int] = []
    ordered = sorted(regions, key=lambda region: (order[region.chrom], region))
    for chrom, neighbours in groupby(ordered, key=lambda region: region.chrom):
        start, size, reach = 0, 0, 0
        for region in neighbours:
            if size >= len(regions) / BLOCKS and region.start >= reach:
                border = (reach + region.start) // 2
                blocks.append(Block(chrom, start, border, "train"))
                sizes.append(size)
                start, size = border, 0
            size += 1
            reach = max(reach, region.end)
        blocks.append(Block(chrom, start, lengths[chrom], "train"))
        sizes.append(size)
    drawn = _draw(sizes, [None] * len(sizes), config, rng)
    if set(drawn) != set(SPLITS):
        raise InputError(
            f"the intervals make {len(sizes)} blocks that do not overlap",
            expected="three at least, for train, dev and test",
            fix="give more intervals, or shorter ones (--length-bp)",
        )
    parted = [block._replace(split=split) for block, split in zip(blocks, drawn, strict=True)]
    parts_of = {block.chrom for block in blocks}
    empty = [
        Block(chrom, 0, length, "train")
        for chrom, length in lengths.items()
        if chrom not in parts_of
    ]
    return Blocks(parted + empty, "block")


def _draw(
    sizes: Sequence[int],
    named: Sequence[SplitName | None],
    config: DatasetConfig,
    rng: np.random.Generator,
) -> list[SplitName]:
    """The best of ``_DRAWS`` draws of blocks that hold so many regions each."""
    draws = [_draw_once(sizes, named, config, rng) for _ in range(_DRAWS)]

    def misfit(drawn: list[SplitName]) -> tuple[bool, float]:
        held, wanted = _held(sizes, drawn), _wanted(sizes, config)
        distance = sum(abs(held[split] - number) for split, number in wanted.items())
        return not _is_fair(sizes, drawn, config), distance

    return min(draws, key=misfit)


def _draw_once(
    sizes: Sequence[int],
    named: Sequence[SplitName | None],
    config: DatasetConfig,
    rng: np.random.Generator,
) -> list[SplitName]:
    drawn = list(named)
    for split, wanted in _wanted(sizes, config).items():
        if split in named:
            continue
        held = 0
        free = [number for number in rng.permutation(len(sizes)).tolist() if drawn[number] is None]
        for number in free:
            if abs(held + sizes[number] - wanted) < abs(held - wanted):
                drawn[number] = split
                held += sizes[number]
        if free and not held:
            drawn[min(free, key=lambda number: sizes[number])] = split
    return [split or "train" for split in drawn]


def _wanted(sizes: Sequence[int], config: DatasetConfig) -> dict[SplitName, float]:
    return {"test": config.test_fraction * sum(sizes), "dev": config.dev_fraction * sum(sizes)}


def _held(sizes: Sequence[int], drawn: Sequence[SplitName]) -> Counter[SplitName]:
    held: Counter[SplitName] = Counter()
    for size, split in zip(sizes, drawn, strict=True):
        held[split] += size
    return held


def _is_fair(sizes: Sequence[int], drawn: Sequence[SplitName], config: DatasetConfig) -> bool:
    held = _held(sizes, drawn)
    enough = all(held[split] >= number / 2 for split, number in _wanted(sizes, config).items())
    return enough and held["train"] >= sum(sizes) / 2
