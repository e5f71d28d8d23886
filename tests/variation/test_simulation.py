"""Simulated variants against plain strings: their class, their REF, and where they may stand."""

from __future__ import annotations

import itertools
import re
from collections import Counter

import numpy as np
import pytest

from dnazen.sequences.indexed import IndexedGenome
from dnazen.variation.simulation import class_of, draw_variants
from dnazen.variation.vcf import VcfRow
from plain_scorer import other_strand

CONTIGS = {"x": "ACGTTGCATTNNGA", "short": "CCA"}


def opened(path, contigs):
    path.write_text("".join(f">{name}\n{text}\n" for name, text in contigs.items()))
    return IndexedGenome(path)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("small") / "g.fa", CONTIGS) as genome:
        yield genome


@pytest.fixture(scope="module")
def large(contigs, tmp_path_factory):
    with opened(tmp_path_factory.mktemp("large") / "g.fa", contigs | CONTIGS) as genome:
        yield genome


def row(chrom, pos, ref, alt):
    return VcfRow("a row", chrom, pos - 1, ref, (alt,), ())


@pytest.mark.parametrize(
    ("variant", "name"),
    [
        (("x", 2, "C", "T"), "SNV ACG>T"),
        (("x", 3, "G", "A"), "SNV ACG>T"),  # the other strand of a CpG
        (("x", 2, "cg", "tg"), "SNV ACG>T"),
        (("x", 5, "T", "A"), "SNV TTG>A"),
        (("x", 4, "T", "A"), "SNV GTT>A"),
        (("x", 1, "ACGT", "ACTT"), "SNV ACG>A"),  # G>T of CGT is C>A of ACG
        (("x", 1, "A", "C"), None),  # N is beside it
        (("x", 10, "T", "C"), None),
        (("short", 2, "C", "C"), None),
        (("x", 2, "CGT", "CGT"), None),
        (("x", 2, "CG", "TA"), "MNV 2-3"),
        (("x", 2, "CGTT", "TGTA"), "MNV 4-7"),
        (("x", 2, "C", "CA"), "insertion 1"),
        (("x", 2, "C", "CACA"), "insertion 2-3"),
        (("x", 2, "CGTT", "C"), "deletion 2-3"),
        (("x", 4, "TTGCATT", "TT"), "deletion 4-7"),
        (("x", 2, "C", "AAAAAAAAA"), "replacement 1>8-15"),
        (("x", 2, "CGT", "A"), "replacement 2-3>1"),
    ],
)
def test_classes_by_hand(small, variant, name):
    found = class_of(small, row(*variant), variant[3])
    assert (found and found.name) == name


def test_a_variant_and_its_other_strand_are_of_one_class(large, contigs, tmp_path):
    text = contigs["a"][:300]
    turned = {"forward": text, "reverse": other_strand(text)}
    rng = np.random.default_rng(0)
    with opened(tmp_path / "g.fa", turned) as genome:
        for _ in range(200):
            start, lost, gained = (
                int(rng.integers(*bounds)) for bounds in [(1, 280), (1, 9), (1, 9)]
            )
            ref, alt = text[start : start + lost], "".join(rng.choice(list("ACGT"), gained))
            there = len(text) - start - lost
            both = [
                class_of(genome, row("forward", start + 1, ref, alt), alt),
                class_of(
                    genome,
                    row("reverse", there + 1, other_strand(ref), other_strand(alt)),
                    other_strand(alt),
                ),
            ]
            assert both[0] == both[1]


EXAMPLES = [("C", "T"), ("CG", "TA"), ("C", "CA"), ("C", "CACA"), ("CGTT", "C"), ("CGT", "A")]


@pytest.mark.parametrize(("ref", "alt"), EXAMPLES)
def test_drawn_variants_are_of_the_class_and_of_the_genome(large, contigs, ref, alt):
    wanted = class_of(large, row("x", 2, ref, alt), alt)
    drawn = draw_variants(large, wanted, 60, 30, seed=5)
    assert len(drawn) == 60
    texts = contigs | CONTIGS
    for simulated in drawn:
        place = simulated.start, simulated.start + len(simulated.ref)
        assert texts[simulated.chrom][slice(*place)] == simulated.ref
        assert re.fullmatch("[ACGT]+", simulated.alts[0])
        assert class_of(large, simulated, simulated.alts[0]) == wanted
        assert max(len(simulated.ref), len(simulated.alts[0])) <= 30
    assert len({(simulated.chrom, simulated.start) for simulated in drawn}) > 40
    assert draw_variants(large, wanted, 60, 30, seed=5) == drawn
    assert draw_variants(large, wanted, 20, 30, seed=5) == drawn[:20]
    assert draw_variants(large, wanted, 60, 30, seed=6) != drawn


def test_all_places_of_a_change_are_drawn_alike(small):
    """ACG>T stands at two places of x: C of ACG, and G of CGT on the other strand."""
    wanted = class_of(small, row("x", 2, "C", "T"), "T")
    drawn = draw_variants(small, wanted, 2_000, 30, seed=0)
    counts = Counter((one.chrom, one.start, one.ref, one.alts[0]) for one in drawn)
    text = CONTIGS["x"]
    places = {
        ("x", at, text[at], alt)
        for at, alt in itertools.product(range(1, len(text) - 1), "ACGT")
        if (text[at - 1 : at + 2], alt) == ("ACG", "T")
        or (other_strand(text[at - 1 : at + 2]), other_strand(alt)) == ("ACG", "T")
    }
    assert set(counts) == places
    assert min(counts.values()) > 900  # of 1,000; 4.5 SDs


def test_what_the_genome_has_no_place_for_is_not_drawn(small):
    long = class_of(small, row("x", 2, "C", "C" + "A" * 40), "C" + "A" * 40)
    assert draw_variants(small, long, 3, 30, seed=0) == []
