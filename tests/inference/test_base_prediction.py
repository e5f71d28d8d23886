"""Classes of bases: windows, strands and places against slicing by hand; what commands write."""

from __future__ import annotations

import csv
import gzip
import itertools

import numpy as np
import pytest
import torch

import dnazen
from directories import random_directory
from dnazen import cli
from dnazen.commands.predict import PredictCommand
from dnazen.commands.predict import run as predict_command
from dnazen.errors import ConfigError
from dnazen.inference.base_prediction import BasePrediction, segments_of
from dnazen.inference.settings import PredictionConfig
from dnazen.model.bases import base_table, longest_token_bp
from dnazen.model.batches import Example
from dnazen.model.modeling import DnazenForBaseClassification
from dnazen.sequences.alphabet import reverse_complement
from dnazen.sequences.labelled import Task
from dnazen.tokens.corpus import Corpus
from dnazen.tokens.encoding import Length, encode_examples
from settings_of import settings_of

NAMES = ("none", "exon", "site")
KIND = "base_classification"


def save_model(folder, ground, **more):
    """Random weights that call all three classes, base by base."""
    tokenizer = Corpus.open(ground.corpus).tokenizer
    network, parts = random_directory(
        ground, folder, kind=DnazenForBaseClassification, seed=2, initializer_range=0.3,
        base_channels=8, longest_token_bp=longest_token_bp(tokenizer), problem_type=KIND,
        id2label=dict(enumerate(NAMES)), label2id={n: i for i, n in enumerate(NAMES)},
        background="none", **more,
    )  # fmt: skip
    network.dnazen.bases.table.copy_(base_table(parts.tokenizer, parts.config.vocab_size))
    with torch.no_grad():
        network.base_head.weight.normal_()
    network.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(ground, tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("m") / "forward", ground, max_tokens=500)


@pytest.fixture(scope="module")
def averaging(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("m") / "average"
    return save_model(folder, ground, max_tokens=500, strands="average")


@pytest.fixture(scope="module")
def sequences():
    rng = np.random.default_rng(5)
    texts = ["".join(rng.choice(list("ACGT"), size)) for size in (1, 40, 90, 200)]
    return [*texts, "acguNNNNRacgtt", "NNACG"]


def raw_logits(opened, letters):
    """Of the A, C, G and T of one sequence, by the network called by hand."""
    tokens = encode_examples(opened.tokenizer, [(letters,)], Length(999, "refuse"), [""]).tokens
    with torch.no_grad():
        return opened.base_classifier(**opened.collator([Example(tokens[0])])).logits.numpy()


@pytest.mark.parametrize("kind", ["model", "averaging"])
def test_predictions_are_what_the_network_says_alone(kind, sequences, request):
    opened = dnazen.load(request.getfixturevalue(kind), "cpu")
    predictions = opened.predict([*sequences, "NN"])
    assert predictions[-1] is None
    for letters, prediction in zip(sequences, predictions, strict=False):
        expected = raw_logits(opened, letters.encode())
        if kind == "averaging":
            turned = raw_logits(opened, reverse_complement(letters.encode()))
            expected = (expected + turned[::-1]) / 2
        known = [n for n, letter in enumerate(letters) if letter in "ACGTacgtu"]
        np.testing.assert_allclose(prediction.logits[known], expected, atol=1e-4)
        assert np.isnan(np.delete(prediction.logits, known, axis=0)).all()
        assert len(prediction) == len(letters)
        likely = torch.from_numpy(expected).double().softmax(1).numpy()
        for number, name in enumerate(NAMES):
            found = prediction.probabilities[name][known]
            np.testing.assert_allclose(found, likely[:, number], atol=1e-4)
        spelt = prediction.label.split(";")
        assert [spelt[n] for n in known] == [NAMES[n] for n in expected.argmax(1)]
        assert {spelt[n] for n in range(len(letters)) if n not in known} <= {"."}


def test_both_strands_say_the_same_where_they_are_averaged(averaging, sequences):
    opened = dnazen.load(averaging, "cpu")
    forward = opened.predict(sequences)
    turned = opened.predict([reverse_complement(s.encode()) for s in sequences])
    for one, other in zip(forward, turned, strict=True):
        np.testing.assert_allclose(one.logits, other.logits[::-1], atol=1e-4)


@pytest.mark.parametrize("tokens_per_batch", [1, 60, 9000])
def test_the_numbers_do_not_depend_on_the_batch(model, sequences, tokens_per_batch):
    opened = dnazen.load(model, "cpu")
    config = PredictionConfig(tokens_per_batch=tokens_per_batch)
    pairs = zip(opened.predict(sequences), opened.predict(sequences, config), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one.logits, other.logits, atol=1e-4)


def test_a_long_record_is_read_in_windows_whose_middles_count(model, sequences):
    opened = dnazen.load(model, "cpu")
    letters = sequences[3] + "NNN" + sequences[2]
    (found,) = opened.predict([letters], PredictionConfig(max_tokens=22))
    tokens = encode_examples(
        opened.tokenizer, [(letters.encode(),)], Length(999, "refuse"), [""]
    ).tokens[0]
    strings = [opened.tokenizer.id_to_token(int(t)) for t in tokens]
    size, overlap = 20, 5
    count = -(-(len(tokens) - overlap) // (size - overlap))
    starts = [n * (len(tokens) - size) // (count - 1) for n in range(count)]
    known = np.array([letter != "N" for letter in letters])
    owner = np.repeat(
        np.arange(len(tokens)),
        [0 if t == 0 else len(s) for t, s in zip(tokens, strings, strict=True)],
    )
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        with torch.no_grad():
            batch = opened.collator([Example(tokens[start : start + size])])
            rows = opened.base_classifier(**batch).logits.numpy()
        inside = owner[(owner >= start) & (owner < start + size)]
        first = 0 if start == 0 else (start + starts[starts.index(start) - 1] + size) // 2
        last = len(tokens) if following is None else (following + start + size) // 2
        mine = (owner >= first) & (owner < last)
        core = rows[(inside >= first) & (inside < last)]
        np.testing.assert_allclose(found.logits[known][mine], core, atol=1e-4)


def test_segments_are_runs_of_a_class():
    rng = np.random.default_rng(1)
    task = Task(KIND, NAMES, "none")
    for _ in range(50):
        logits = np.repeat(rng.normal(size=(8, 3)), rng.integers(1, 5, 8), axis=0)
        logits[rng.random(len(logits)) < 0.1] = np.nan
        prediction = BasePrediction(task, logits)
        expected, start = [], 0
        names = ["." if np.isnan(x[0]) else NAMES[int(x.argmax())] for x in logits]
        for name, run in itertools.groupby(names):
            end = start + len(list(run))
            if name in ("exon", "site"):
                chances = np.exp(logits[start:end]) / np.exp(logits[start:end]).sum(1)[:, None]
                expected.append((start, end, name, chances[:, NAMES.index(name)].mean()))
            start = end
        found = prediction.segments
        assert [x[:3] for x in found] == [x[:3] for x in expected]
        assert [x[3] for x in found] == pytest.approx([x[3] for x in expected])
    nothing = np.zeros((0, 3))
    assert segments_of(task, np.zeros(0, dtype=np.int16), nothing) == []


@pytest.fixture
def genome(tmp_path):
    rng = np.random.default_rng(8)
    path = tmp_path / "g.fa"
    bases = "".join(rng.choice(list("ACGT"), 400))
    path.write_text(f">I\n{bases[:150]}NN{bases[152:300]}\n>II\n{bases[300:]}\n")
    return path


def run(model, genome, tmp_path, **more):
    """The lines of BED, and the rows of the table of bases."""
    bed, track = tmp_path / "calls.bed", tmp_path / "bases.tsv.gz"
    predict_command(
        settings_of(
            PredictCommand,
            model=model,
            sequences=(genome,),
            output=bed,
            per_base=track,
            **more,
        )
    )
    with gzip.open(track, "rt", newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    return [line.split("\t") for line in bed.read_text().splitlines()], rows


def test_places_are_those_of_the_genome_on_both_strands(model, genome, tmp_path):
    opened = dnazen.load(model, "cpu")
    text = genome.read_text().split()[1].encode()
    (tmp_path / "r.bed").write_text("I\t100\t260\tr1\t0\t+\nI\t100\t260\tr2\t0\t-\n")
    lines, rows = run(model, genome, tmp_path, bed=tmp_path / "r.bed")
    forward, reverse = text[100:260], reverse_complement(text[100:260])
    expected = []
    for letters, strand in ((forward, "+"), (reverse, "-")):
        (prediction,) = opened.predict([letters])
        segments = prediction.segments if strand == "+" else prediction.segments[::-1]
        for start, end, name, chance in segments:
            left, right = (start, end) if strand == "+" else (160 - end, 160 - start)
            score = str(round(1000 * chance))
            expected.append(["I", str(100 + left), str(100 + right), name, score, strand])
    assert lines == expected
    assert len(rows) == 2 * (160 - 2)  # N has none
    places = [int(row["start"]) for row in rows]
    assert places == [n for n in range(100, 260) if n not in (150, 151)] * 2
    (prediction,) = opened.predict([reverse])
    for row in rows[158:]:
        letter = 260 - 1 - int(row["start"])
        assert int(row["end"]) == int(row["start"]) + 1
        chances = prediction.chances[letter]
        assert [float(row[f"p_{n}"]) for n in NAMES] == pytest.approx(chances, abs=1e-5)
        assert row["prediction"] == NAMES[int(chances.argmax())]


def test_a_record_of_a_file_is_a_contig_of_its_own(model, genome, tmp_path):
    lines, rows = run(model, genome, tmp_path)
    assert {line[0] for line in lines} == {row["chrom"] for row in rows} == {"I", "II"}
    by_tile, _ = run(model, genome, tmp_path, tile_bp=100)
    assert all(int(line[1]) // 100 == (int(line[2]) - 1) // 100 for line in by_tile)
    assert {line[0] for line in by_tile} == {"I", "II"}
    long, _ = run(model, genome, tmp_path, min_segment_bp=3)
    assert long == [line for line in lines if int(line[2]) - int(line[1]) >= 3] != lines


def test_what_reads_both_strands_has_none(averaging, genome, tmp_path):
    lines, _ = run(averaging, genome, tmp_path)
    assert {line[5] for line in lines} == {"."}


def test_a_track_holds_one_class(model, genome, tmp_path, capsys):
    arguments = ["predict", str(model), str(genome), "-o", str(tmp_path / "c.bed"), "--per-base"]
    track = tmp_path / "t.bedgraph"
    assert cli.main([*arguments, str(track), "--per-base-class", "site"]) == 0
    _, rows = run(model, genome, tmp_path)
    lines = [line.split("\t") for line in track.read_text().splitlines()]
    assert lines == [[r["chrom"], r["start"], r["end"], r["p_site"]] for r in rows]
    capsys.readouterr()
    for more, message in (
        ([], "bedGraph holds one class; expected one of none, exon, site"),
        (["--per-base-class", "x"], "expected a class of the model (none, exon, site)"),
        (["--tile-bp", "50", "--tile-overlap-bp", "9"], "bases in two tiles would be called twice"),
    ):
        assert cli.main([*arguments, str(tmp_path / "u.bedgraph"), *more]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "u.bedgraph").exists()


def test_settings_that_are_refused(model, tmp_path):
    for more, message in (
        ({"per_base_class": "x"}, "per_base_class is for a bedGraph; give per_base too"),
        ({"per_base": tmp_path / "x", "output": tmp_path / "x"}, "is the output too"),
        ({"min_segment_bp": 0}, "min_segment_bp must be at least 1"),
        ({"per_base": tmp_path / "x.parquet"}, "tables are not written as .parquet"),
    ):
        with pytest.raises(ConfigError, match=message):
            settings_of(PredictCommand, model=model, sequences=(), **more)


@pytest.mark.parametrize("command", ["explain", "variants", "mutagenesis"])
def test_what_reads_whole_sequences_refuses_it_in_a_line(command, model, genome, tmp_path, capsys):
    (tmp_path / "v.vcf").write_text(
        "##fileformat=VCFv4.2\n##contig=<ID=I>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    )
    more = {
        "explain": [str(genome), "-o", str(tmp_path / "e")],
        "variants": [str(genome), str(tmp_path / "v.vcf"), "-o", str(tmp_path / "o.vcf")],
        "mutagenesis": [str(genome), "--region", "I:1-99", "-o", str(tmp_path / "u")],
    }
    assert cli.main([command, str(model), *more[command]]) == 2
    assert "a model that classifies bases; expected one that predicts" in capsys.readouterr().err


def test_it_is_embedded_and_copied_but_not_released(model, genome, tmp_path, capsys):
    assert cli.main(["embed", str(model), str(genome), "-o", str(tmp_path / "e.npy")]) == 0
    assert np.isfinite(np.load(tmp_path / "e.npy")).all()
    assert cli.main(["convert", str(model), "-o", str(tmp_path / "c")]) == 0
    stored = [(folder / "model.safetensors").read_bytes() for folder in (model, tmp_path / "c")]
    assert stored[0] == stored[1]
    released = ["convert", str(model), "-o", str(tmp_path / "r"), "--to", "released"]
    assert cli.main(released) == 2
    assert "the released format has no classes of bases" in capsys.readouterr().err
