"""Mutagenesis against the plain scorer, against ``dnazen variants``, and its files read back."""

from __future__ import annotations

import csv
import json
from collections import defaultdict

import matplotlib.image
import numpy as np
import pytest

import dnazen
from directories import random_directory, rewrite
from dnazen.cli import main
from dnazen.errors import InputError
from dnazen.model.modeling import DnazenForSequenceClassification
from dnazen.report.heatmap import draw_heatmap
from dnazen.variation.settings import ScoringConfig
from plain_scorer import PlainScorer, other_strand

W = 32


def run(*words):
    return main(["mutagenesis", *map(str, words)])


def table_of(folder):
    with (folder / "scores.tsv").open() as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


def test_a_short_sequence_is_read_whole(directory, contigs):
    text = contigs["a"][50:70]
    plain = PlainScorer(directory)
    found = dnazen.score_mutations(directory, text, ScoringConfig(window_bp=W))
    assert found.shape == (20, 4, 5)
    for place in (0, 9, 19):
        for number, base in enumerate("ACGT"):
            alt = text[:place] + base + text[place + 1 :]
            expected = [0] * 5 if base == text[place] else plain.scores(text, alt)
            np.testing.assert_allclose(found[place, number], expected, atol=5e-5)


def test_windows_of_a_long_sequence_lie_inside_it(directory, contigs):
    text = contigs["a"][:100]
    plain = PlainScorer(directory)
    found = dnazen.score_mutations(directory, text, ScoringConfig(window_bp=W))
    for place, first in ((0, 0), (3, 0), (50, 36), (54, 40), (99, 100 - W)):
        window = text[first : first + W]
        base = "A" if text[place] != "A" else "C"
        alt = window[: place - first] + base + window[place - first + 1 :]
        expected = plain.scores(window, alt)
        np.testing.assert_allclose(found[place, "ACGT".index(base)], expected, atol=5e-5)


def test_letters_that_are_no_bases_have_no_scores(directory):
    found = dnazen.score_mutations(directory, "acgRuACGT", ScoringConfig(window_bp=W))
    assert np.isnan(found).all(axis=(1, 2)).tolist() == [n == 3 for n in range(9)]
    assert found[4, 3].tolist() == [0] * 5  # U is T
    assert dnazen.score_mutations(directory, "").shape == (0, 4, 5)
    with pytest.raises(InputError, match="character '-' is no nucleotide"):
        dnazen.score_mutations(directory, "AC-GT")
    for value in (None, 3.5, ["ACGT"]):
        with pytest.raises(
            InputError, match=r"the sequence: .*expected text, bytes, or a Biopython"
        ):
            dnazen.score_mutations(directory, value)


@pytest.mark.parametrize("region", ["b:1-40", "a:300-340"])
def test_a_region_has_the_scores_of_its_variants(directory, ground, contigs, tmp_path, region):
    out = tmp_path / "out"
    assert run(directory, ground.genome, "--region", region, "-o", out, "--window-bp", W) == 0
    rows = table_of(out)
    assert len(rows) == 3 * (40 if region.startswith("b") else 41)
    asked = [(row["chrom"], int(row["pos"]), row["ref"], row["alt"]) for row in rows]
    assert all(contigs[chrom][pos - 1] == ref != alt for chrom, pos, ref, alt in asked)
    variants = dnazen.score_variants(directory, ground.genome, asked, ScoringConfig(window_bp=W))
    for row, variant in zip(rows, variants, strict=True):
        for name, score in variant.scores.items():
            assert float(row[name]) == pytest.approx(score, rel=1e-4, abs=2e-5)


def test_the_track_is_the_mean_of_three_changes(directory, ground, tmp_path):
    out = tmp_path / "out"
    assert run(directory, ground.genome, "--region", "a:71-90", "-o", out, "--window-bp", W) == 0
    means = defaultdict(float)
    for row in table_of(out):
        means[int(row["pos"])] += float(row["llr"]) / 3
    lines = (out / "llr.bedgraph").read_text().splitlines()
    assert lines[0].startswith("track type=bedGraph")
    rows = [line.split("\t") for line in lines[1:]]
    assert [row[:3] for row in rows] == [["a", str(p), str(p + 1)] for p in range(70, 90)]
    track = [float(row[3]) for row in rows]
    assert track == pytest.approx([means[p] for p in range(71, 91)], abs=1e-4)
    assert matplotlib.image.imread(out / "llr.png").shape[2] in (3, 4)
    record = json.loads((out / "run.json").read_text())
    assert record["settings"]["region"] == "a:71-90"
    assert len(record["inputs"]) == 1


def test_the_reverse_strand_is_read_where_it_is_asked_for(directory, ground, contigs, tmp_path):
    out = tmp_path / "out"
    assert run(directory, ground.genome, "--region", "a:81-84(-)", "-o", out, "--window-bp", W) == 0
    plain = PlainScorer(directory)
    first, text = 64, contigs["a"]  # 16 before the place, to the next multiple of 4
    window = text[first : first + W]
    for row in table_of(out)[:3]:
        alt = text[first:80] + row["alt"] + text[81 : first + W]
        expected = plain.llr(other_strand(window), other_strand(alt))
        assert (row["pos"], row["ref"]) == ("81", text[80])
        assert float(row["llr"]) == pytest.approx(expected, abs=5e-4)


def test_a_head_gives_its_change_for_each_label(ground, contigs, tmp_path):
    folder, out = tmp_path / "model", tmp_path / "out"
    names = {0: "a", 1: "b", 2: "c"}
    random_directory(
        ground,
        folder,
        kind=DnazenForSequenceClassification,
        initializer_range=0.3,
        id2label=names,
    )
    text = contigs["a"][:24]
    assert run(folder, text, "-o", out) == 0
    files = {f"delta_{name}.{kind}" for name in "abc" for kind in ("png", "bedgraph")}
    assert {path.name for path in out.iterdir()} == {"run.json", "scores.tsv"} | files

    def chance(letters):
        [prediction] = dnazen.predict(folder, [letters])
        return prediction.probabilities["b"]

    row = table_of(out)[17]
    place = int(row["pos"]) - 1
    before, after = chance(text), chance(text[:place] + row["alt"] + text[place + 1 :])
    expected = np.log(after / (1 - after)) - np.log(before / (1 - before))
    assert row["chrom"] == "sequence"
    assert float(row["delta_b"]) == pytest.approx(expected, abs=1e-4)


def test_what_cannot_be_mutated(directory, ground, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    out = tmp_path / "out"
    for words, message in [
        ((ground.genome,), "holds 2 sequences; expected one, or --region CHROM"),
        ((ground.genome, "--region", "c:1-5"), "--region c:1-5: no contig 'c'"),
        ((ground.genome, "--region", "c"), "'c' is no region and no contig"),
        ((ground.genome, "--region", "a:1-99999999"), "lies off its contig; expected 1 to"),
        (("ACGT", "--region", "a:1-2"), "--region goes with a file"),
        (("ACGT", "--contig-names", "chr"), "--region goes with a file"),
        ((ground.genome, "--region", "chra:1-5"), "no contig 'chra'"),
        (("ACGT" * 5001,), "20,004 bases; expected 1 to 20,000; choose a part"),
        (("absent.fa",), "absent.fa: no such file"),
        (("ACGT", "--window-bp", "3"), "window_bp must be 16 to 100000, got 3"),
        (("ACGT", "--tokens-per-batch", "0"), "tokens_per_batch must be at least 1"),
    ]:
        assert run(directory, *words, "-o", out) == 2
        assert message in capsys.readouterr().err
        assert not out.exists()
    assert run(directory, "ACGT", "-o", tmp_path / "full") == 2
    assert "output directory is not empty" in capsys.readouterr().err
    assert run(directory, "NNN", "-o", out) == 0  # nothing to change, and said so
    assert "0 changes" in capsys.readouterr().err


@pytest.mark.parametrize("bases", [1, 100, 101, 4000])
def test_heat_maps_show_every_value_once(bases):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(bases, 4))
    values[0] = np.nan
    figure = draw_heatmap(("N" + "ACGT" * 1000)[:bases], values, 7, "a title")
    images = [image for axis in figure.axes[:-1] for image in axis.images]
    shown = np.concatenate([image.get_array().T.filled(np.nan) for image in images])
    np.testing.assert_array_equal(shown, values)
    assert len(images) == max(1, min(25, -(-bases // 100)))


def test_the_contig_of_a_region_may_have_another_name(directory, ground, tmp_path, capsys):
    words = [directory, ground.genome, "--window-bp", W]
    assert run(*words, "--region", "a:71-74", "-o", tmp_path / "own") == 0
    names = ["--contig-names", "chr"]
    assert run(*words, "--region", "chra:71-74", *names, "-o", tmp_path / "other") == 0
    assert "calls chra a (--contig-names)" in capsys.readouterr().err
    other = [
        row | {"chrom": row["chrom"].removeprefix("chr")} for row in table_of(tmp_path / "other")
    ]
    assert table_of(tmp_path / "own") == other


def test_a_file_whose_name_is_no_text(directory, ground, tmp_path, capsys):
    path = tmp_path / "x\udcff.fa"
    assert run(directory, str(path), "-o", tmp_path / "out") == 2
    assert "no such file" in capsys.readouterr().err


def test_weights_that_give_no_numbers(ground, tmp_path, capsys):
    folder = tmp_path / "model"
    random_directory(ground, folder)
    rewrite(folder, lambda weights: weights["head.decoder.bias"].fill_(float("nan")))
    assert run(folder, "ACGTACGT", "-o", tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()
