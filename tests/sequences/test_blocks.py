"""How a genome is parted: laws of every partition, and small cases worked by hand."""

from __future__ import annotations

import contextlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dnazen.errors import ConfigError, InputError
from dnazen.sequences.blocks import split_genome
from dnazen.sequences.regions import Region
from dnazen.sequences.settings import DatasetConfig

LENGTHS = {f"chr{number}": 10_000 for number in range(1, 13)}


def scattered(counts: dict[str, int], seed: int = 0) -> list[Region]:
    rng = np.random.default_rng(seed)
    starts = {chrom: rng.integers(9_900, size=number) for chrom, number in counts.items()}
    return [Region(c, int(s), int(s) + 50) for c, own in starts.items() for s in own]


def parted(regions, config=None, lengths=LENGTHS, seed=0):
    config = DatasetConfig() if config is None else config
    return split_genome(regions, lengths, config, np.random.default_rng(seed))


def shares(regions, blocks) -> dict[str, float]:
    counts = Counter(blocks.split_of(region) for region in regions)
    return {split: counts[split] / len(regions) for split in ("train", "dev", "test")}


def test_chromosomes_go_whole_and_hold_their_fractions():
    regions = scattered({chrom: 30 + 10 * n for n, chrom in enumerate(LENGTHS)})
    for seed in range(5):
        blocks = parted(regions, seed=seed)
        assert blocks.by == "chromosome"
        assert [block[:3] for block in blocks.blocks] == [(c, 0, n) for c, n in LENGTHS.items()]
        held = shares(regions, blocks)
        assert held["dev"] == pytest.approx(0.1, abs=0.03)
        assert held["test"] == pytest.approx(0.1, abs=0.03)
    drawn = {tuple(parted(regions, seed=seed).in_words("test")) for seed in range(8)}
    assert len(drawn) > 1


def test_the_same_seed_draws_the_same():
    regions = scattered(dict.fromkeys(LENGTHS, 50))
    assert parted(regions).blocks == parted(list(reversed(regions))).blocks


def test_named_chromosomes_are_those():
    regions = scattered(dict.fromkeys(LENGTHS, 50))
    config = DatasetConfig(dev_chroms=("chr8",), test_chroms=("chr9", "chr2"))
    blocks = parted(regions, config)
    assert (blocks.in_words("dev"), blocks.in_words("test")) == (["chr8"], ["chr2", "chr9"])
    blocks = parted(regions, DatasetConfig(test_chroms=("chr9",)))
    assert blocks.in_words("test") == ["chr9"]
    assert len(blocks.in_words("dev")) == 1
    assert blocks.in_words("dev") != ["chr9"]


@pytest.mark.parametrize(
    ("counts", "by"),
    [
        ([100], "block"),
        ([100, 100], "block"),
        ([100, 100, 100], "block"),  # a third is too much for test
        ([100, 100, 100, 100], "chromosome"),  # train keeps its half
        ([980, 10, 10], "block"),  # too little for dev and test
        ([800, 100, 100], "chromosome"),
        ([200, 200, 200, 230, 160, 10], "chromosome"),  # a fly's
    ],
)
def test_chromosomes_are_taken_where_they_serve(counts, by):
    names = dict(zip(LENGTHS, counts, strict=False))
    assert parted(scattered(names)).by == by


def test_contigs_without_a_region_are_of_train():
    blocks = parted(scattered({"chr1": 100}))
    assert {block.split for block in blocks.blocks if block.chrom != "chr1"} == {"train"}
    assert sum(block.chrom == "chr1" for block in blocks.blocks) > 10


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 900), st.integers(1, 60)),
        min_size=12,
        max_size=80,
    ),
    st.integers(0, 9),
)
def test_blocks_tile_the_genome_and_cut_no_region(places, seed):
    lengths = {"a": 1000, "b": 960, "c": 5}
    regions = [Region(chrom, start, start + size) for chrom, start, size in places]
    blocks = None
    with contextlib.suppress(InputError):  # heaps that make fewer than three blocks
        blocks = parted(regions, DatasetConfig(split_by="block"), lengths, seed)
    assume(blocks is not None)
    for chrom, length in lengths.items():
        own = blocks.of_chrom[chrom]
        assert [own[0].start, *(block.end for block in own)] == [
            *(block.start for block in own),
            length,
        ]
    for region in regions:
        (holder,) = [
            block
            for block in blocks.blocks
            if block.chrom == region.chrom and block.start < region.end and region.start < block.end
        ]
        assert holder.start <= region.start
        assert region.end <= holder.end
        assert blocks.split_of(region) == holder.split
    assert set(shares(regions, blocks)) == {"train", "dev", "test"}


def test_blocks_hold_their_fractions_too():
    regions = scattered({"chr1": 400})
    held = shares(regions, parted(regions))
    assert held["dev"] == pytest.approx(0.1, abs=0.04)
    assert held["test"] == pytest.approx(0.1, abs=0.04)


def test_what_cannot_be_parted_is_told():
    with pytest.raises(ConfigError, match="dev_chroms: no interval lies on 'chr5'"):
        parted(scattered({"chr1": 5}), DatasetConfig(dev_chroms=("chr5",)))
    with pytest.raises(ConfigError, match="no chromosome is left for train: intervals lie on 2"):
        parted(scattered({"chr1": 5, "chr2": 5}), DatasetConfig(split_by="chromosome"))
    heap = [Region("chr1", 5, 50)] * 30
    with pytest.raises(InputError, match=r"make 1 blocks that do not overlap; expected three"):
        parted(heap)
