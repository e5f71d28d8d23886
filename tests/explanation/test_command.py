"""``dnazen explain`` end to end: tables, tracks on the genome, the page, what is refused."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
from collections import defaultdict

import numpy as np
import pysam
import pytest
from memelite.io import write_meme
from sklearn.metrics import roc_auc_score

import dnazen
from directories import classifier_with_views, rewrite
from dnazen import cli
from dnazen.commands.explain import ExplainCommand
from dnazen.errors import ConfigError
from dnazen.explanation.attribution import on_bases
from dnazen.sequences.alphabet import reverse_complement
from ggrams.motifs.test_meme import sharp
from inference.test_prediction import SINGLE, save_model
from report.test_document import read
from test_benchmarks import benchmark


@pytest.fixture(scope="module")
def model(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "two"
    return save_model(folder, ground, ["no/a", "yes"], problem_type=SINGLE, max_tokens=300)


@pytest.fixture(scope="module")
def bases(ground):
    return ground.genome.read_text().split("\n")[1]


def table(path):
    return list(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))


def columns(path):
    return [line.split("\t") for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def out(model, bases, tmp_path_factory):
    """Four records of one file, explained with the target given, motifs and all."""
    folder = tmp_path_factory.mktemp("explain")
    fasta, meme = folder / "s.fa", folder / "m.meme"
    fasta.write_text(
        f">one\n{bases[:150]}\n>none\nNNN\n>two\n{bases[150:200]}NNNN{bases[200:330]}\n"
        f">one\n{bases[10:130]}\n"
    )
    write_meme(str(meme), {"planted <b>": sharp(bases[30:40]).matrix.T})
    words = ["explain", str(model), str(fasta), "-o", str(folder / "out"), "--target", "yes"]
    assert cli.main([*words, "--motifs", str(meme), "--draw", "2", "--steps", "32"]) == 0
    return folder / "out"


@pytest.fixture(scope="module")
def expected(model, bases):
    sequences = [bases[:150], "NNN", f"{bases[150:200]}NNNN{bases[200:330]}", bases[10:130]]
    return dnazen.explain(model, sequences, dnazen.ExplanationConfig(target="yes", steps=32))


def test_a_row_for_each_record(out, expected):
    rows = table(out / "sequences.tsv")
    assert [row["record"] for row in rows] == ["0", "1", "2", "3"]
    assert [row["name"] for row in rows] == ["one", "none", "two", "one"]
    assert {rows[1][name] for name in ("output", "gap", "target", "prediction")} == {"NA"}
    for row, some in zip(rows, expected, strict=True):
        if some is None:
            continue
        found = some.attribution
        assert row["target"] == "yes"
        assert int(row["bases"]) == len(some.sequence)
        assert float(row["output"]) == pytest.approx(found.output, abs=1e-4)
        change = sum(float(row[name]) for name in ("from_tokens", "from_ggrams", "gap"))
        assert change == pytest.approx(float(row["output"]) - float(row["baseline"]), abs=1e-4)
        without = found.output - some.removal.together
        assert float(row["without_ggrams"]) == pytest.approx(without, abs=1e-4)
        assert float(row["agreement"]) == pytest.approx(some.agreement, abs=1e-3)


def test_rows_of_tokens_and_ggrams(out, expected):
    tokens = [row for row in table(out / "tokens.tsv") if row["record"] == "2"]
    some = expected[2]
    assert [row["token"] for row in tokens] == some.texts
    assert [(int(row["start"]), int(row["end"])) for row in tokens] == some.spans
    for name, values in (("attribution", some.by_token), ("occlusion", some.occlusion)):
        np.testing.assert_allclose([float(row[name]) for row in tokens], values, atol=1e-5)
    ggrams = [row for row in table(out / "ggrams.tsv") if row["record"] == "2"]
    assert [int(row["ggram_id"]) for row in ggrams] == [g.ggram_id for g in some.ggrams]
    for row, effect in zip(ggrams, some.ggrams, strict=True):
        assert row["places"] == ",".join(f"{a}-{b}" for a, b in effect.intervals)
        assert float(row["removal"]) == pytest.approx(effect.removal, abs=1e-5)


def test_the_summary_over_the_set(out, expected):
    removals = defaultdict(list)
    for some in filter(None, expected):
        for effect in some.ggrams:
            removals[str(effect.ggram_id)].append(effect.removal)
    rows = table(out / "ggram_summary.tsv")
    assert {row["ggram_id"] for row in rows} == set(removals)
    assert any(row["sequences"] != "1" for row in rows)
    for row in rows:
        some = removals[row["ggram_id"]]
        assert int(row["sequences"]) == len(some)
        assert float(row["mean_removal"]) == pytest.approx(np.mean(some), abs=1e-5)
        if len(some) == 1:
            assert row["sd_removal"] == "NA"
        else:
            assert float(row["sd_removal"]) == pytest.approx(np.std(some, ddof=1), abs=1e-5)
    totals = [abs(float(row["total_removal"])) for row in rows]
    assert totals == sorted(totals, reverse=True)


@pytest.fixture(scope="module")
def both_strands(ground, bases, tmp_path_factory):
    """Two records, explained by a model with k-mers and bases that reads both strands."""
    folder = tmp_path_factory.mktemp("both")
    names = {"id2label": {0: "no", 1: "yes"}, "label2id": {"no": 0, "yes": 1}}
    model = classifier_with_views(
        ground, folder / "m", strands="average", problem_type=SINGLE, **names
    )
    (folder / "s.fa").write_text(f">one\n{bases[:150]}\n>two\n{bases[60:260]}\n")
    words = ["explain", str(model), str(folder / "s.fa"), "-o", str(folder / "out")]
    assert cli.main([*words, "--target", "yes", "--steps", "16", "--draw", "1"]) == 0
    config = dnazen.ExplanationConfig(target="yes", steps=16)
    return folder / "out", dnazen.explain(model, [bases[:150], bases[60:260]], config)


def test_what_bases_say_has_a_column(both_strands):
    out, explained = both_strands
    parts = ("from_tokens", "from_ggrams", "from_bases", "gap")
    for row, some in zip(table(out / "sequences.tsv"), explained, strict=True):
        assert float(row["from_bases"]) == pytest.approx(some.attribution.bases.sum(), rel=1e-4)
        change = float(row["output"]) - float(row["baseline"])
        assert sum(float(row[name]) for name in parts) == pytest.approx(change, abs=1e-4)
    for number, some in enumerate(explained):
        tokens = [row for row in table(out / "tokens.tsv") if row["record"] == str(number)]
        shares = [[float(row[f"from_{x}"]) for row in tokens] for x in ("token", "ggrams", "bases")]
        np.testing.assert_allclose(shares[2], some.attribution.bases, atol=1e-5)
        totals = [float(row["attribution"]) for row in tokens]
        np.testing.assert_allclose(np.sum(shares, axis=0), totals, atol=1e-4)


def test_ggrams_of_the_other_strand_are_told_and_lie_where_they_are(both_strands, bases):
    out, explained = both_strands
    rows = table(out / "ggrams.tsv")
    assert [row["strand"] for row in rows] == [g.strand for some in explained for g in some.ggrams]
    assert {row["strand"] for row in rows} == {"+", "-"}
    whole = {"one": bases[:150], "two": bases[60:260]}
    lines = columns(out / "ggrams.bed")[1:]
    assert {line[5] for line in lines} == {"+", "-"}
    for chrom, start, end, name, _, strand, *_ in lines:
        letters = whole[chrom][int(start) : int(end)]
        if strand == "-":
            letters = reverse_complement(letters.encode()).decode()
        assert letters == name


def test_the_summary_counts_a_sequence_once_whatever_its_strands(both_strands):
    out, explained = both_strands
    holders, removals = defaultdict(set), defaultdict(float)
    for number, some in enumerate(explained):
        for effect in some.ggrams:
            holders[str(effect.ggram_id)].add(number)
            removals[str(effect.ggram_id)] += effect.removal
    rows = table(out / "ggram_summary.tsv")
    for row in rows:
        total = removals[row["ggram_id"]]
        assert float(row["total_removal"]) == pytest.approx(total, abs=1e-5)
        assert int(row["sequences"]) == len(holders[row["ggram_id"]])
        assert float(row["mean_removal"]) == pytest.approx(total / int(row["sequences"]), abs=1e-5)


def test_tracks_hold_each_base_once(out, expected):
    rows = [row for row in columns(out / "attribution.yes.bedgraph") if row[0] == "two"]
    bases = np.full(len(expected[2].sequence), np.nan)
    for _, start, end, value in rows:
        assert np.isnan(bases[int(start) : int(end)]).all()
        bases[int(start) : int(end)] = float(value)
    known = np.array([base != "N" for base in expected[2].sequence])
    np.testing.assert_allclose(bases[known], expected[2].by_base[known], atol=1e-5)
    assert np.isnan(bases[~known]).all()


def test_motif_hits(out, bases):
    hits = columns(out / "motifs.bed")
    places = {(row[0], int(row[1]), row[5]) for row in hits}
    assert {("one", 30, "+"), ("one", 20, "+")} <= places
    assert {row[3] for row in hits} == {"planted <b>"}


def test_the_page_draws_what_was_asked_for(out):
    text = (out / "index.html").read_text()
    page = read(text)
    assert page.fetched == []
    assert text.count("<h3>") == 2
    assert text.count('<svg class="sequence"') == 2
    assert sum(cell == "tokens" for cell in page.cells) == 2 + 2 + 2  # lines, and tables
    assert "planted &lt;b&gt;" in text
    numbers = json.loads((out / "summary.json").read_text())
    assert (numbers["records"], numbers["without_a_base"], numbers["cut"]) == (4, 1, 0)
    assert len(numbers["inputs"]) == 2


def test_regions_are_told_on_the_forward_strand(model, ground, bases, tmp_path):
    """The reverse strand of a region is explained as its letters are, and lies where they do."""
    bed, out = tmp_path / "r.bed", tmp_path / "out"
    bed.write_text("a\t0\t10\na\t100\t220\tback\t0\t-\n")
    words = ["explain", str(model), str(ground.genome), "--bed", str(bed), "-o", str(out)]
    assert cli.main([*words, "--target", "yes", "--no-occlusion"]) == 0
    assert not list(out.glob("occlusion*"))
    turned = reverse_complement(bases[100:220].encode()).decode()
    config = dnazen.ExplanationConfig(target="yes", occlusion=False)
    (some,) = dnazen.explain(model, [turned], config)
    rows = columns(out / "attribution.yes.bedgraph")[-len(some.spans) :]
    assert [int(row[1]) for row in rows] == sorted(int(row[1]) for row in rows)
    found = np.zeros(220)
    for chrom, start, end, value in rows:
        assert chrom == "a"
        found[int(start) : int(end)] = float(value)
    np.testing.assert_allclose(found[100:][::-1], some.by_base, atol=1e-5)
    with pysam.FastaFile(str(ground.genome)) as genome:
        for chrom, start, end, name, _, strand, *_ in columns(out / "ggrams.bed")[1:]:
            letters = genome.fetch(chrom, int(start), int(end))
            if int(start) >= 100:
                assert strand == "-"
                assert reverse_complement(letters.encode()).decode() == name
    assert any(int(row[1]) >= 100 for row in columns(out / "ggrams.bed")[1:])


def test_tiles_of_a_long_record_have_tracks_where_they_lie(model, ground, bases, tmp_path):
    out, fasta = tmp_path / "out", tmp_path / "s.fa"
    fasta.write_text(f">long\n{bases[:150]}\n")
    words = ["explain", str(model), str(fasta), "-o", str(out), "--tile-bp", "60"]
    assert cli.main([*words, "--target", "yes", "--no-occlusion"]) == 0
    config = dnazen.ExplanationConfig(target="yes", occlusion=False)
    starts = [0, 60, 90]
    tiles = dnazen.explain(model, [bases[s : s + 60] for s in starts], config)
    expected = [
        ("long", start + left, start + right, value / (right - left))
        for start, some in zip(starts, tiles, strict=True)
        for (left, right), value in zip(some.spans, some.by_token, strict=True)
    ]
    found = columns(out / "attribution.yes.bedgraph")
    assert [(c, int(s), int(e)) for c, s, e, _ in found] == [row[:3] for row in expected]
    values = [float(row[3]) for row in found]
    np.testing.assert_allclose(values, [row[3] for row in expected], atol=1e-5)


def test_bases_off_a_contig_are_counted_and_left_out_of_tracks(
    model, ground, bases, tmp_path, capsys
):
    size, out = len(bases), tmp_path / "out"
    words = ["explain", str(model), str(ground.genome), "--regions", f"a:{size - 39}-{size + 10}"]
    assert cli.main([*words, "-o", str(out), "--target", "yes", "--steps", "2"]) == 0
    assert "10 bp off the contigs read as N" in capsys.readouterr().err
    assert max(int(row[2]) for row in columns(out / "attribution.yes.bedgraph")) == size
    assert json.loads((out / "summary.json").read_text())["padded_bp"] == 10


def test_predicted_targets_have_a_track_each(model, bases, tmp_path):
    fasta, out = tmp_path / "s.fa", tmp_path / "out"
    fasta.write_text("".join(f">{i}\n{bases[i : i + 60]}\n" for i in range(0, 720, 60)))
    assert cli.main(["explain", str(model), str(fasta), "-o", str(out), "--steps", "4"]) == 0
    targets = {row["name"]: row["target"] for row in table(out / "sequences.tsv")}
    assert set(targets.values()) == {"no/a", "yes"}
    for target, file in (
        ("no/a", "attribution.no%2Fa.bedgraph"),
        ("yes", "attribution.yes.bedgraph"),
    ):
        assert {row[0] for row in columns(out / file)} == {
            n for n, t in targets.items() if t == target
        }


@pytest.mark.parametrize("labels", [["+", "*"], ["α", "β"], ["a b", "a_b"], ["..", "."]])
def test_labels_that_differ_in_signs_alone_have_a_track_each(ground, bases, tmp_path, labels):
    model = save_model(tmp_path / "m", ground, labels, problem_type=SINGLE, max_tokens=300)
    fasta, tracks = tmp_path / "s.fa", []
    fasta.write_text(f">a\n{bases[:60]}\n")
    for label in labels:
        out = tmp_path / f"out{len(tracks)}"
        words = ["explain", str(model), str(fasta), "-o", str(out), "--steps", "2"]
        assert cli.main([*words, "--no-occlusion", "--target", label]) == 0
        tracks += [path.name for path in out.glob("*.bedgraph")]
    assert len(set(tracks)) == 2


def test_a_gap_is_told(model, bases, tmp_path, capsys):
    fasta = tmp_path / "s.fa"
    fasta.write_text(f">a\n{bases[:150]}\n")
    words = ["explain", str(model), str(fasta)]
    assert cli.main([*words, "-o", str(tmp_path / "rough"), "--steps", "1"]) == 0
    told = capsys.readouterr()
    assert told.out == ""
    assert "in 1 records the attributions miss more than 1% of the output's change" in told.err
    assert cli.main([*words, "-o", str(tmp_path / "fine"), "--steps", "200"]) == 0
    assert "raise --steps" not in capsys.readouterr().err


def test_no_record_at_all_is_an_error(model, tmp_path, capsys):
    (tmp_path / "empty.fa").write_text("")
    out = tmp_path / "out"
    assert cli.main(["explain", str(model), str(tmp_path / "empty.fa"), "-o", str(out)]) == 2
    assert "empty.fa: no A, C, G or T in the input" in capsys.readouterr().err
    assert not out.exists()


def test_what_is_refused_leaves_nothing(model, bases, tmp_path, capsys):
    fasta, out = tmp_path / "s.fa", tmp_path / "out"
    fasta.write_text(f">ok\n{bases[:40]}\n>long\n{bases[:2000]}\n")
    words = ["explain", str(model), str(fasta), "-o", str(out)]
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert re.search(r"s\.fa: record long: \d+ tokens; expected at most 300", error)
    assert not out.exists()
    assert cli.main([*words, "--too-long", "cut", "--no-occlusion"]) == 0
    assert "1 cut" in capsys.readouterr().err
    assert cli.main(words) == 2
    assert "is not empty" in capsys.readouterr().err
    assert cli.main([*words, "--target", "maybe"]) == 2
    assert "target maybe is no label of the model" in capsys.readouterr().err
    assert cli.main([*words, "--motifs", str(fasta)]) == 2
    assert "no line 'MEME version'" in capsys.readouterr().err


def test_the_benchmark_scores_planted_bases(out, expected, tmp_path):
    planted = tmp_path / "task.bed"
    lines = ("test/two 40 52", "test/two 100 112", "test/one 3 9", "dev/one 8 9", "dev/one 1 2")
    planted.write_text("".join("\t".join(line.split()) + "\tM\t1000\t+\n" for line in lines))
    module = benchmark("attribution")
    (some,) = module.sequences(module.AttributionConfig(explained=out, planted=planted))
    truth = np.isin(np.arange(184), [*range(40, 52), *range(100, 112)])
    np.testing.assert_array_equal(some.planted, truth)
    two = expected[2]
    for method, values in (
        ("integrated gradients", two.by_base),
        ("integrated gradients, tokens only", on_bases(two.attribution.tokens, two.starts)),
        ("occlusion", on_bases(two.occlusion, two.starts)),
    ):
        np.testing.assert_allclose(some.values[method], values, atol=1e-5)
    removals = sum(two.removal.by_slot)
    assert sum(some.values["removal of G-grams"]) == pytest.approx(removals, abs=1e-4)
    (area,) = module.scores_of(roc_auc_score, [some], "occlusion")
    higher = some.values["occlusion"][truth][:, None] - some.values["occlusion"][~truth]
    assert area == pytest.approx((np.sign(higher) / 2 + 0.5).mean())


def test_settings_out_of_range(tmp_path):
    bad_settings = [{"draw": -1}, {"draw": 10**9}]
    bad_settings += [{"max_p": value} for value in (0, 2, float("nan"), float("inf"))]
    for bad in bad_settings:
        with pytest.raises(ConfigError, match=next(iter(bad))):
            ExplainCommand(model=tmp_path, sequences=(tmp_path,), output=tmp_path, **bad)


def test_ggrams_are_a_bed_file_of_nine_columns_and_three_more(out, expected):
    header, *rows = (out / "ggrams.bed").read_text().splitlines()
    assert header.startswith("#chrom\tchromStart\tchromEnd\tname\tscore\tstrand\tthickStart")
    removals = [
        (g.removal, g.attribution)
        for e in filter(None, expected)
        for g in e.ggrams
        for _ in g.intervals
    ]
    assert len(rows) == len(removals)
    for row, (removal, attribution) in zip(rows, removals, strict=True):
        _, start, end, _, score, strand, thick_start, thick_end, colour, *more = row.split("\t")
        assert (thick_start, thick_end) == (start, end)
        assert 0 <= int(score) <= 1000
        assert strand in "+-"
        red, green, blue = map(int, colour.split(","))
        assert max(red, green, blue) <= 255
        assert (red > blue) == (removal > 0)
        assert [float(x) for x in more[:2]] == pytest.approx([removal, attribution], abs=1e-5)
        assert more[2] == "yes"


def test_a_pipe_is_read_once(model, bases, tmp_path):
    """A pipe is empty when it has been read, and has no hash."""
    read_end, write_end = os.pipe()
    os.write(write_end, f">piped\n{bases[:60]}\n".encode())
    os.close(write_end)
    words = ["explain", str(model), f"/dev/fd/{read_end}", "-o", str(tmp_path / "out")]
    assert cli.main([*words, "--steps", "2", "--draw", "0"]) == 0
    os.close(read_end)
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["inputs"] == []
    assert [row["name"] for row in table(tmp_path / "out" / "sequences.tsv")] == ["piped"]


def test_weights_that_give_no_numbers(model, bases, tmp_path, capsys):
    folder = shutil.copytree(model, tmp_path / "model")
    rewrite(folder, lambda weights: weights["classifier.bias"].fill_(float("nan")))
    assert (
        cli.main(
            ["explain", str(folder), str(fasta_of(tmp_path, bases)), "-o", str(tmp_path / "out")]
        )
        == 2
    )
    assert capsys.readouterr().err.startswith("dnazen: error: ")


def fasta_of(folder, bases):
    path = folder / "s.fa"
    path.write_text(f">one\n{bases[:60]}\n")
    return path
