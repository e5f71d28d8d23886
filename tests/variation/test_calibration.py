"""Percentiles against simulated variants scored one by one by the plain scorer, and their file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pysam
import pytest
from scipy.stats import percentileofscore

import dnazen
from directories import random_directory
from dnazen.cli import main
from dnazen.errors import ConfigError, InputError, OutputError
from dnazen.sequences.indexed import IndexedGenome
from dnazen.variation.calibration import percentile
from dnazen.variation.rows import window_start
from dnazen.variation.settings import CalibrationConfig, ScoringConfig
from dnazen.variation.simulation import class_of, draw_variants
from dnazen.variation.vcf import VcfRow
from plain_scorer import PlainScorer

W, N = 64, 12
CONFIG = ScoringConfig(window_bp=W)


@pytest.fixture(scope="module")
def genome(contigs, tmp_path_factory):
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    path.write_text("".join(f">{name}\n{text}\n" for name, text in contigs.items()))
    return path


@pytest.fixture(scope="module")
def variants(contigs):
    a = contigs["a"]
    other = {"A": "C", "C": "G", "G": "T", "T": "A"}
    return [
        ("a", 300, a[299], other[a[299]]),
        ("a", 400, a[399:404], a[399]),
        ("a", 500, a[499], a[499] + "ACGTTA"),
        ("a", 400, a[399:404], a[399]),
        ("a", 1, a[0], other[a[0]]),  # N is beside it
        ("a", 600, a[599], "<DEL>"),
    ]


def write(path: Path, variants) -> Path:
    lines = ["##fileformat=VCFv4.3", "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    lines += [f"{chrom}\t{pos}\t.\t{ref}\t{alt}\t.\t.\t." for chrom, pos, ref, alt in variants]
    path.write_text("\n".join(lines) + "\n")
    return path


def percentiles_of(directory, genome, variants, **settings):
    found = dnazen.score_variants(
        directory, genome, variants, CONFIG, CalibrationConfig(**settings)
    )
    return [variant.scores.get("percentile") for variant in found]


def test_percentiles_are_those_of_variants_scored_one_by_one(directory, genome, variants, contigs):
    plain = PlainScorer(directory)

    def plainly(chrom, start, ref, alt):
        first = window_start(start, start + len(ref), W)
        text = "N" * W + contigs[chrom] + "N" * W
        window = text[W + first : 2 * W + first]
        at = start - first
        return plain.corrected(window, window[:at] + alt + window[at + len(ref) :])

    found = percentiles_of(directory, genome, variants, calibrate=N)
    assert np.isnan(found[4])
    assert found[5] is None
    assert found[1] == found[3]
    with IndexedGenome(genome) as opened:
        for number, (chrom, pos, ref, alt) in enumerate(variants[:3]):
            wanted = class_of(opened, VcfRow("", chrom, pos - 1, ref, (alt,), ()), alt)
            simulated = [
                plainly(one.chrom, one.start, one.ref, one.alts[0])
                for one in draw_variants(opened, wanted, N, W // 2, seed=0)
            ]
            score = plainly(chrom, pos - 1, ref, alt)
            assert min(abs(np.array(simulated) - score)) > 1e-4  # no rounding decides
            assert found[number] == pytest.approx(percentileofscore(simulated, score, "mean"))


@pytest.mark.parametrize("score", [-9.0, 1.0, 2.0, 2.5, 9.0])
def test_the_percentile_is_that_of_scipy(score):
    simulated = np.array([1.0, 2.0, 2.0, 3.0])
    assert percentile(score, simulated) == percentileofscore(simulated, score, "mean")
    assert np.isnan(percentile(score, np.array([])))


def test_simulated_variants_have_even_percentiles(directory, genome):
    """Those of one draw among those of another: the mean is 50 to within 4 standard errors."""
    with IndexedGenome(genome) as opened:
        row = VcfRow("", "a", 99, "N", ("N",), ())
        wanted = class_of(opened, row._replace(ref="A", alts=("ACGTA",)), "ACGTA")
        drawn = draw_variants(opened, wanted, 60, W // 2, seed=9)
    tuples = [(one.chrom, one.start + 1, one.ref, one.alts[0]) for one in drawn]
    found = percentiles_of(directory, genome, tuples, calibrate=60)
    assert abs(np.mean(found) - 50) < 4 * 29 * np.sqrt(2 / 60)


def test_the_file_is_read_again_and_grows(directory, genome, variants, tmp_path, monkeypatch):
    file = tmp_path / "made.json"
    first = percentiles_of(directory, genome, variants[:1], calibrate=N, calibration=file)
    [name] = json.loads(file.read_text())["classes"]
    whole = percentiles_of(directory, genome, variants, calibration=file)
    record = json.loads(file.read_text())
    assert whole[0] == first[0]
    assert name in record["classes"]
    assert len(record["classes"]) == 3
    assert all(
        len(scores["llr_corrected"]) == N
        and scores["llr_corrected"] == sorted(scores["llr_corrected"])
        for scores in record["classes"].values()
    )
    np.testing.assert_array_equal(  # None becomes NaN
        np.array(whole, dtype=float),
        np.array(percentiles_of(directory, genome, variants, calibrate=N), dtype=float),
    )

    def unwanted(*_):
        raise AssertionError("all classes are there")

    monkeypatch.setattr("dnazen.variation.calibration.draw_variants", unwanted)
    again = percentiles_of(directory, genome, variants, calibrate=N, calibration=file)
    np.testing.assert_array_equal(np.array(again, dtype=float), np.array(whole, dtype=float))


def test_a_file_of_something_else_is_refused(directory, ground, genome, variants, tmp_path):
    file = tmp_path / "made.json"
    model = dnazen.load(directory)
    config = CalibrationConfig(calibrate=N, calibration=file)
    list(model.score_variants(genome, variants[:1], CONFIG, config))
    random_directory(ground, tmp_path / "other", initializer_range=0.2)
    other_genome = tmp_path / "other.fa"
    other_genome.write_text(genome.read_text() + ">more\nACGTACGT\n")
    fix = "give it the same, or name another --calibration"
    for message, given in {
        "another calibrate: 12, now 13": (model, genome, CONFIG, {"calibrate": 13}),
        "another calibration_seed: 0, now 1": (model, genome, CONFIG, {"calibration_seed": 1}),
        "another window_bp: 64, now 32": (model, genome, ScoringConfig(window_bp=32), {}),
        "another strands: forward, now average": (
            model, genome, ScoringConfig(window_bp=W, strands="average"), {}
        ),
        "another genome: ": (model, other_genome, CONFIG, {}),
        "another model [a-z]+\\.[a-z]+: ": (
            dnazen.load(tmp_path / "other"), genome, CONFIG, {}
        ),
    }.items():  # fmt: skip
        asked, reference, scoring, settings = given
        calibration = CalibrationConfig(calibration=file, **settings)
        with pytest.raises(ConfigError, match=f"made.json: was begun with ({message}).*{fix}"):
            list(asked.score_variants(reference, variants, scoring, calibration))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "made.json:1: not valid JSON; expected what 'dnazen variants --calibrate' keeps"),
        ("{}", "made.json: has no 'identity'; it is damaged, or not what"),
        ('{"identity": {"format": 1, "calibrate": 9}}', "has no 'identity.calibration_seed'"),
    ],
)
def test_a_damaged_file(directory, genome, variants, tmp_path, text, message):
    file = tmp_path / "made.json"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        percentiles_of(directory, genome, variants, calibration=file)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({"llr_corrected": [1, None]}, r"llr_corrected\[1\]' is null, not a finite number"),
        ({"llr": [1]}, "has no 'classes.SNV ACG>T.llr_corrected'"),
    ],
)
def test_a_file_with_damaged_scores(directory, genome, variants, tmp_path, scores, message):
    file = tmp_path / "made.json"
    percentiles_of(directory, genome, [], calibrate=N, calibration=file)
    record = json.loads(file.read_text()) | {"classes": {"SNV ACG>T": scores}}
    file.write_text(json.dumps(record))
    with pytest.raises(InputError, match=message):
        percentiles_of(directory, genome, variants, calibration=file)


def test_a_file_that_is_not_there(directory, genome, variants, tmp_path):
    with pytest.raises(ConfigError, match=r"x\.json: no such file; add --calibrate N to make it"):
        percentiles_of(directory, genome, variants, calibration=tmp_path / "x.json")


def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    directory, genome, variants, tmp_path, monkeypatch
):
    monkeypatch.setattr("dnazen.variation.variants.score_rows", None)  # is not called
    with pytest.raises(OutputError, match="is a directory; expected a file name"):
        percentiles_of(directory, genome, variants, calibrate=N, calibration=tmp_path)


@pytest.mark.parametrize("number", [-1, 9, 100_001])
def test_numbers_of_variants(number):
    with pytest.raises(ConfigError, match=r"calibrate must be .*10"):
        CalibrationConfig(calibrate=number)


def test_the_command_writes_them_to_vcf_and_table(directory, genome, variants, tmp_path, capsys):
    source = write(tmp_path / "in.vcf", variants)

    def run(output, *flags):
        words = ["variants", directory, genome, source, "-o", output, "--window-bp", W, *flags]
        return main(list(map(str, words)))

    expected = np.array(percentiles_of(directory, genome, variants, calibrate=N), dtype=float)
    out = tmp_path / "out.vcf"
    assert run(out, "--calibrate", N) == 0
    with pysam.VariantFile(str(out)) as file:
        assert "0 to 100, of llr_corrected" in file.header.info["DNAZEN_PERCENTILE"].description
        values = [record.info.get("DNAZEN_PERCENTILE", (None,))[0] for record in file]
    np.testing.assert_allclose(np.array(values, dtype=float), expected, rtol=1e-5)
    kept = tmp_path / "out.vcf.calibration.json"
    assert run(tmp_path / "out.tsv", "--calibration", kept) == 0
    with (tmp_path / "out.tsv").open() as table:
        cells = [line["percentile"] for line in csv.DictReader(table, delimiter="\t")]
    as_numbers = [float("nan") if cell == "NA" else float(cell) for cell in cells]
    np.testing.assert_allclose(as_numbers, expected, rtol=1e-5)
    assert not (tmp_path / "out.tsv.calibration.json").exists()

    capsys.readouterr()
    assert run(out, "--calibration", out) == 2
    assert f"--calibration {out} is the output too" in capsys.readouterr().err
    assert run("-", "--calibrate", N) == 0
    assert "DNAZEN_PERCENTILE=" in capsys.readouterr().out
