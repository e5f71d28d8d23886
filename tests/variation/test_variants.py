"""Alleles on their genome against windows cut out of plain strings by hand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import dnazen
from dnazen.errors import InputError
from dnazen.sequences.indexed import IndexedGenome
from dnazen.variation.rows import row_problem, score_rows, window_start
from dnazen.variation.settings import ReferenceConfig, ScoringConfig
from dnazen.variation.variants import survey
from dnazen.variation.vcf import VcfRow
from plain_scorer import PlainScorer

W = 64
CONFIG = ScoringConfig(window_bp=W)


@pytest.fixture(scope="module")
def contigs(contigs):
    return contigs | {"holes": contigs["a"][:40] + "NNNNRN" + contigs["a"][46:90].lower()}


@pytest.fixture(scope="module")
def genome(contigs, tmp_path_factory):
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    path.write_text("".join(f">{name}\n{text}\n" for name, text in contigs.items()))
    with IndexedGenome(path) as opened:
        yield opened


def row(chrom, pos, ref, *alts):
    return VcfRow(f"line of {chrom}:{pos}", chrom, pos - 1, ref, alts, ())


def by_hand(contigs, chrom, pos, ref, alt):
    """The two windows of an allele, written down apart from the code."""
    text = re.sub("[^ACGT]", "N", contigs[chrom].upper())
    padded = "N" * 200 + text + "N" * 200
    middle = (pos - 1 + pos - 1 + len(ref)) // 2
    first = round((middle - W // 2) / (W // 8) + 1e-9) * (W // 8)  # halves go up
    window = padded[200 + first : 200 + first + W]
    offset = pos - 1 - first
    assert 0 < offset < W - len(ref)
    return window, window[:offset] + alt.upper() + window[offset + len(ref) :]


def cases(contigs):
    """(chrom, 1-based pos, ref, alt) of each kind, at both ends of a contig and beside holes."""
    a, last = contigs["a"], len(contigs["a"])
    holes = contigs["holes"].upper()
    other = {"A": "C", "C": "G", "G": "T", "T": "A"}
    return [
        ("a", 1, a[0], other[a[0]]),
        ("a", 1, a[:3], a[0]),
        ("a", last, a[-1], other[a[-1]]),
        ("a", last, a[-1], a[-1] + "ACG"),
        ("a", 300, a[299], other[a[299]].lower()),
        ("a", 301, a[300:303].lower(), "".join(other[base] for base in a[300:303])),
        ("b", 77, contigs["b"][76], contigs["b"][76] + "TTTTT"),
        ("b", 90, contigs["b"][89:97], contigs["b"][89]),
        ("b", 90, contigs["b"][89:97], "GGCC"),
        ("holes", 40, holes[39], other[holes[39]]),
        ("holes", 60, holes[59:61], other[holes[59]]),
    ]


def test_scores_are_those_of_windows_cut_by_hand(directory, contigs, genome):
    plain, model = PlainScorer(directory), dnazen.load(directory)
    variants = cases(contigs)
    scored = score_rows(model, genome, [row(*case) for case in variants], CONFIG)
    for case, [allele] in zip(variants, scored, strict=True):
        assert allele.skipped == ""
        expected = plain.scores(*by_hand(contigs, *case))
        np.testing.assert_allclose(allele.scores, expected, atol=5e-5, err_msg=str(case))


def test_alleles_that_cannot_be_scored_say_why_and_the_others_are_scored(
    directory, contigs, genome
):
    a = contigs["a"]
    base, holes = a[99], contigs["holes"].upper()
    other = "C" if base == "A" else "A"
    rows = [
        row("a", 100, base, "<DEL>", other, "*", f"{base}[b:5[", "R"),
        row("a", 100, base),
        row("a", 100, other, base),
        row("nowhere", 1, "A", "C"),
        row("a", 0, "N", "A"),
        row("a", len(a), a[-1] + "A", "T"),
        row("a", len(a) + 5, "A", "T"),
        row("holes", 41, "N", "A"),
        row("holes", 40, holes[39:41], holes[39]),
        row("a", 100, a[99 : 99 + W // 2 + 1], a[99]),
        row("a", 100, base, base + "A" * (W // 2)),
        row("a", 100, base, base),
        row("a", 100, base.lower(), base),
        row("a", 100, ".", "<*>"),
        row("a", 100, "-", other),
        row("a", 100, base, ".", "", other, "A/C"),
        row("a", 0, ".", "<DUP>"),
    ]
    scored = score_rows(dnazen.load(directory), genome, rows, CONFIG)
    assert [[allele.skipped for allele in alleles] for alleles in scored] == [
        ["symbolic", "", "overlapping_deletion", "breakend", "ambiguous"],
        [],
        ["ref_mismatch"],
        ["unknown_contig"],
        ["off_contig"],
        ["off_contig"],
        ["off_contig"],
        ["ambiguous"],
        ["ambiguous"],
        ["too_long"],
        ["too_long"],
        [""],
        [""],
        ["missing"],
        ["malformed"],
        ["missing", "missing", "", "malformed"],
        ["missing"],
    ]
    assert [a.scores is None for a in scored[0]] == [True, False, True, True, True]
    for alleles in scored[11:13]:  # the allele is the reference
        np.testing.assert_array_equal(alleles[0].scores, 0)
    assert row_problem(rows[0], genome) == ""


@pytest.mark.parametrize("window_bp", [16, 20, 64, 99, 512])
def test_a_change_lies_near_the_middle_of_its_window(window_bp):
    for start in range(-5, 700, 7):
        for length in (1, 2, window_bp // 2):
            middle = start + length / 2 - window_start(start, start + length, window_bp)
            assert abs(middle - window_bp / 2) <= window_bp / 16 + 1.5


def test_survey_tells_what_a_file_is(tmp_path, contigs, genome):
    header = "##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    wrong = "C" if contigs["a"][9] != "C" else "G"

    def file(*rows, alt="T"):
        path = tmp_path / "in.vcf"
        lines = (f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t.\n" for chrom, pos, ref in rows)
        path.write_text(header + "".join(lines))
        return path

    def numbers(path, max_ref_mismatch=0.01, **settings):
        config = ReferenceConfig(max_ref_mismatch=max_ref_mismatch)
        summary = survey(path, genome, config, **settings)
        return summary.rows, summary.compared, summary.mismatches, dict(summary.skipped)

    a, b = (contigs[name][0] for name in "ab")
    good = [("a", 1, a), ("a", 1, a), ("b", 1, b)]
    same = {"a": "a", "b": "b"}
    assert survey(file(), genome) == (0, {}, 0, 0, True, 0, {})
    assert survey(file(*good), genome) == (3, same, 3, 0, True, 1, {})
    assert survey(file(*good[::-1]), genome) == (3, same, 3, 0, True, 1, {})
    assert list(survey(file(*good[::-1]), genome).contigs) == ["b", "a"]
    assert not survey(file(*good, good[0]), genome).in_order
    assert not survey(file(("a", 2, contigs["a"][1]), good[0]), genome).in_order

    # What has nothing to score is neither right nor wrong about the genome.
    nowhere = [("a", 0, "N"), ("a", len(contigs["a"]) + 1, "N"), ("b", 10**17, "A"), ("a", 5, ".")]
    skipped = {"off_contig": 3, "missing": 1}
    assert numbers(file(*nowhere), max_ref_mismatch=0) == (4, 0, 0, skipped)
    assert survey(file(*nowhere), genome).end == 10**17
    wrong_row = ("a", 10, wrong)
    for alt in ("<DUP>", "*", "<*>,*"):
        count = {"ref_mismatch": 2 if "," in alt else 1}
        assert numbers(file(wrong_row, alt=alt), max_ref_mismatch=0) == (1, 0, 0, count)
    assert numbers(file(wrong_row, alt="."), max_ref_mismatch=0) == (1, 0, 0, {})
    long = ("a", 1, contigs["a"][:40])
    assert numbers(file(long), window_bp=64) == (1, 1, 0, {"too_long": 1})

    some = file(*good, wrong_row, *nowhere)
    assert numbers(some, max_ref_mismatch=0.25) == (8, 4, 1, {"ref_mismatch": 1} | skipped)
    message = (
        rf"in\.vcf: REF of 1 of 4 rows disagrees with the genome, first a:10 {wrong}, .*in\.vcf:6; "
        r"expected at most a fraction of 0\.24; give the genome"
    )
    with pytest.raises(InputError, match=message):
        survey(some, genome, ReferenceConfig(max_ref_mismatch=0.24))

    foreign = file(*good, ("chra", 1, "A"), ("x", 1, "A"))
    message = (
        r"in\.vcf:6: no contig 'chra', 'x' in .*; expected one of its 3: a, b, holes; "
        "this genome writes 'a' for 'chra'"
    )
    with pytest.raises(InputError, match=message):
        survey(foreign, genome)
    kept = survey(foreign, genome, ReferenceConfig(skip_unknown_contigs=True))
    contigs_of = same | {"chra": "chra", "x": "x"}
    assert kept == (5, contigs_of, 3, 0, True, 1, {"unknown_contig": 2})

    by_rule = ReferenceConfig(
        skip_unknown_contigs=True, contig_names=Path("chr"), max_ref_mismatch=1
    )
    kept = survey(foreign, genome, by_rule)
    assert (kept.contigs["chra"], kept.contigs["x"]) == ("a", "x")
    assert kept.skipped == {"unknown_contig": 1} | ({} if a == "A" else {"ref_mismatch": 1})


def test_the_library_takes_variants_as_tuples_and_as_a_file(directory, contigs, genome, tmp_path):
    variants = [*cases(contigs), ("nowhere", 7, "A", "C"), ("a", 5, contigs["a"][4], "<DEL>")]
    scored_variants = list(dnazen.score_variants(directory, genome.path, variants, CONFIG))
    assert [variant[:4] for variant in scored_variants] == variants
    assert [variant.skipped for variant in scored_variants[-2:]] == ["unknown_contig", "symbolic"]
    assert scored_variants[-1].scores == {}
    model = dnazen.load(directory)
    scored = score_rows(model, genome, [row(*case) for case in variants], CONFIG)
    for variant, [allele] in zip(scored_variants[:-2], scored[:-2], strict=True):
        assert list(variant.scores) == [
            "llr", "llr_corrected", "distance", "ggrams_lost", "ggrams_gained"
        ]  # fmt: skip
        np.testing.assert_allclose(list(variant.scores.values()), allele.scores, atol=1e-5)

    path = tmp_path / "in.vcf"
    lines = ["##fileformat=VCFv4.3", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    lines += [f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t." for chrom, pos, ref, alt in variants]
    path.write_text("\n".join(lines) + "\n")
    assert list(model.score_variants(genome, path, CONFIG)) == scored_variants


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        (
            ("1", 3.5, "A", "C"),
            r"variant 2: \('1', 3\.5, 'A', 'C'\); expected \(chrom, pos, ref, alt",
        ),
        (("1", float("nan"), "A", "C"), "variant 2: .*pos a whole number"),
        (("1", 3, "A"), "variant 2: "),
        (None, "variant 2: None; expected"),
        (("1", 3, None, "C"), "variant 2, ref: None; expected text, bytes, or a Biopython"),
        (("1", 3, "A", 7), "variant 2, alt: 7; expected text"),
    ],
)
def test_tuples_that_are_no_variants(directory, genome, variant, message):
    with pytest.raises(InputError, match=message):
        list(dnazen.score_variants(directory, genome.path, [("1", 3, "A", "C"), variant], CONFIG))
