"""Drawn negatives against plain strings: what they are like, where they lie, and that they are
found where there is one place alone."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dnazen.sequences.blocks import Block, Blocks
from dnazen.sequences.composition import composition
from dnazen.sequences.indexed import IndexedGenome
from dnazen.sequences.negatives import Target, draw_negatives
from dnazen.sequences.regions import Region
from dnazen.sequences.settings import DatasetConfig
from sequences.test_indexed import fasta_text


def patchwork(rng: np.random.Generator, bases: int) -> str:
    """Patches of 100 to 400 bases of various GC, some in lower case, a few of N."""
    text = ""
    while len(text) < bases:
        gc = rng.uniform(0.2, 0.7)
        chances = [(1 - gc) / 2, gc / 2, gc / 2, (1 - gc) / 2]
        patch = "".join(rng.choice(list("ACGT"), rng.integers(100, 400), p=chances))
        kind = rng.random()
        text += "N" * len(patch) if kind < 0.03 else patch.lower() if kind < 0.4 else patch
    return text[:bases]


@pytest.fixture(scope="module")
def contigs() -> dict[str, str]:
    rng = np.random.default_rng(5)
    return {name: patchwork(rng, size) for name, size in (("a", 60_000), ("b", 30_000), ("c", 90))}


@pytest.fixture(scope="module")
def genome(contigs, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    path.write_bytes(fasta_text(contigs))
    return path


def whole(contigs) -> Blocks:
    return Blocks([Block(name, 0, len(text), "train") for name, text in contigs.items()], "block")


def targets_of(contigs, places, split="train") -> list[Target]:
    return [
        Target(
            region, composition(contigs[region.chrom][region.start : region.end].encode()), split
        )
        for region in places
    ]


def drawn(genome, targets, blocks, taken, config, seed=1):
    with IndexedGenome(genome, soft_masked=True) as opened:
        rng = np.random.default_rng(seed)
        return draw_negatives(opened, targets, blocks, taken, config, rng)


def measured(contigs, region: Region) -> tuple[float, float, float]:
    text = contigs[region.chrom][region.start : region.end]
    bases = [letter for letter in text.upper() if letter in "ACGT"]
    gc = sum(letter in "GC" for letter in bases) / max(1, len(bases))
    return gc, sum(map(str.islower, text)) / len(text), 1 - len(bases) / len(text)


def test_they_are_alike_apart_and_of_the_split(contigs, genome):
    rng = np.random.default_rng(0)
    places = [
        Region(name, start, start + size, strand)
        for name, number in (("a", 60), ("b", 25))
        for start, size, strand in zip(
            rng.integers(len(contigs[name]) - 150, size=number).tolist(),
            rng.integers(50, 150, size=number).tolist(),
            rng.choice(["+", "-"], number).tolist(),
            strict=True,
        )
    ]
    places = [place for place in places if measured(contigs, place)[2] == 0]
    half = Blocks(
        [
            Block("a", 0, 30_000, "train"),
            Block("a", 30_000, 60_000, "test"),
            Block("b", 0, 30_000, "test"),
            Block("c", 0, 90, "train"),
        ],
        "block",
    )
    targets = [
        target._replace(split=half.split_of(target.region))
        for target in targets_of(contigs, places)
    ]
    barred = {"a": [(1000, 9000)], "b": [(0, 3000)], "c": []}
    for place in places:
        barred[place.chrom].append((place.start, place.end))
    before = {name: list(stretches) for name, stretches in barred.items()}
    config = DatasetConfig(gc_tolerance=0.03, repeat_tolerance=0.1, max_ambiguous=0.05)
    regions = drawn(genome, targets, half, barred, config)
    assert sum(region is not None for region in regions) > 0.9 * len(targets)
    covered: Counter[tuple[str, int]] = Counter()
    for name, stretches in before.items():
        covered.update({(name, i): 1 for start, end in stretches for i in range(start, end)})
    for target, region in zip(targets, regions, strict=True):
        if region is None:
            continue
        assert region.end - region.start == target.region.end - target.region.start
        assert region.strand == target.region.strand
        gc, repeats, ambiguous = measured(contigs, region)
        wanted = measured(contigs, target.region)
        assert abs(gc - wanted[0]) <= 0.03 + 1e-9
        assert abs(repeats - wanted[1]) <= 0.1 + 1e-9
        assert ambiguous <= 0.05
        block = next(
            b for b in half.blocks if b.chrom == region.chrom and b.start <= region.start < b.end
        )
        assert region.end <= block.end
        assert block.split == target.split
        own = [(region.chrom, i) for i in range(region.start, region.end)]
        assert not [place for place in own if place in covered]  # nor one another
        covered.update(own)
    at_home = [r.chrom == t.region.chrom for t, r in zip(targets, regions, strict=True) if r]
    assert np.mean(at_home) > 0.9


def test_they_are_no_nearer_to_the_mean_than_their_positives(contigs, genome):
    """The mean GC of all is the positives', even where these are richer than the genome."""
    rng = np.random.default_rng(1)
    starts = rng.integers(59_900, size=4000)
    places = [Region("a", int(start), int(start) + 100) for start in starts]
    rich = [
        p for p in places if measured(contigs, p)[0] > 0.55 and not any(measured(contigs, p)[1:])
    ]
    taken: dict[str, list[tuple[int, int]]] = {name: [] for name in contigs}
    targets = targets_of(contigs, rich[:12])
    regions = drawn(genome, targets, whole(contigs), taken, DatasetConfig(gc_tolerance=0.05))
    found = [(t, r) for t, r in zip(targets, regions, strict=True) if r is not None]
    assert len(found) >= 10
    bias = [measured(contigs, r)[0] - t.composition.gc for t, r in found]
    assert abs(np.mean(bias)) < 0.005


def test_the_only_place_is_found_and_no_other(tmp_path):
    text = "AT" * 500 + "GC" * 10 + "AT" * 500
    genome = tmp_path / "g.fa"
    genome.write_bytes(fasta_text({"a": text, "b": "AT" * 30}))
    blocks = whole({"a": text, "b": "AT" * 30})
    target = Target(Region("b", 0, 20, "-"), composition(b"GC" * 10), "train")
    config = DatasetConfig(gc_tolerance=0)
    taken: dict[str, list[tuple[int, int]]] = {"a": [], "b": []}
    for seed in range(5):
        regions = drawn(genome, [target, target], blocks, dict(taken, a=[]), config, seed)
        assert regions == [Region("a", 1000, 1020, "-"), None]
    assert drawn(genome, [target], blocks, dict(taken, a=[(1019, 1020)]), config) == [None]
    elsewhere = [target._replace(split="test")]
    assert drawn(genome, elsewhere, blocks, dict(taken, a=[]), config) == [None]
