"""Predictions against the model called by hand; batches, padding and formats change nothing."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import numpy as np
import pytest
import torch

import dnazen
from directories import random_directory, rewrite
from dnazen import cli
from dnazen.commands.predict import PredictCommand
from dnazen.commands.predict import run as predict_command
from dnazen.errors import ConfigError, InputError
from dnazen.inference.prediction import logits_of, predict
from dnazen.inference.settings import PredictionConfig
from dnazen.model.batches import Example
from dnazen.model.modeling import DnazenForMaskedLM, DnazenForSequenceClassification
from dnazen.sequences.alphabet import reverse_complement
from dnazen.tokens.encoding import Length, encode_examples
from sequences.test_indexed import twobit
from settings_of import settings_of

SINGLE = "single_label_classification"
MULTI = "multi_label_classification"


def save_model(folder: Path, ground, names, kind=DnazenForSequenceClassification, **more) -> Path:
    """A model with random weights whose logits differ from sequence to sequence."""
    more |= {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}
    random_directory(ground, folder, kind=kind, seed=3, initializer_range=0.3, **more)
    return folder


@pytest.fixture(scope="module")
def model(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "three"
    return save_model(folder, ground, ["a", "b", "c"], problem_type=SINGLE, max_tokens=300)


@pytest.fixture(scope="module")
def sequences():
    rng = np.random.default_rng(5)
    return ["".join(rng.choice(list("ACGT"), size)) for size in rng.integers(1, 150, 23)]


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text), delimiter="\t"))


def run(model, *files, capsys=None, **settings):
    predict_command(settings_of(PredictCommand, model=model, sequences=files, **settings))
    return rows_of(capsys.readouterr().out) if capsys else None


@pytest.fixture
def fasta(tmp_path, sequences):
    path = tmp_path / "s.fa"
    path.write_text("".join(f">r{i} rest\n{s}\n" for i, s in enumerate(sequences)))
    return path


def test_rows_are_what_the_model_says_alone(model, fasta, sequences, capsys):
    rows = run(model, fasta, capsys=capsys)
    opened = dnazen.load(model, "cpu")
    assert [row["name"] for row in rows] == [f"r{i}" for i in range(len(sequences))]
    for row, letters in zip(rows, sequences, strict=True):
        encoded = encode_examples(
            opened.tokenizer, [(letters.encode(),)], Length(300, "refuse"), [""]
        )
        ids = torch.tensor([[1, *encoded.tokens[0].tolist(), 2]])
        matcher = opened.collator.matcher
        matches = matcher.match(ids[0].numpy(), np.array([0, ids.shape[1]]))
        names = ("ggram_ids", "ggram_offsets", "cover_token", "cover_slot")
        given = {name: torch.from_numpy(x) for name, x in zip(names, matches, strict=True)}
        with torch.no_grad():
            expected = opened.classifier(ids, **given).logits.softmax(1)[0].tolist()
        assert [float(row[f"p_{name}"]) for name in "abc"] == pytest.approx(expected, abs=1e-5)
        assert row["prediction"] == "abc"[int(np.argmax(expected))]
    assert len({row["p_a"] for row in rows}) > 10  # so that a mix-up of rows would show


@pytest.mark.parametrize("tokens_per_batch", [1, 40, 300, 9000])
def test_the_numbers_do_not_depend_on_the_batch(model, fasta, capsys, tokens_per_batch):
    rows = run(model, fasta, capsys=capsys)
    other = run(model, fasta, capsys=capsys, tokens_per_batch=tokens_per_batch)
    for row, same in zip(rows, other, strict=True):
        assert row.keys() == same.keys() == {"name", "prediction", "p_a", "p_b", "p_c"}
        for name in ("p_a", "p_b", "p_c"):
            assert float(row[name]) == pytest.approx(float(same[name]), abs=1e-5)


def test_logits_come_in_order_and_none_for_nothing(model, sequences):
    opened = dnazen.load(model, "cpu")
    letters = [(s.encode(),) for s in [*sequences, "NN"]]
    tokens = encode_examples(opened.tokenizer, letters, Length(300, "refuse"), [""] * 24).tokens
    examples = [Example(ids) for ids in tokens]
    together = logits_of(opened.classifier, opened.collator, examples, tokens_per_batch=100)
    assert together[-1] is None
    for logits, example in zip(together[:-1], examples, strict=False):
        (alone,) = logits_of(opened.classifier, opened.collator, [example])
        np.testing.assert_allclose(logits, alone, atol=1e-5)


def test_the_library_gives_what_the_command_writes(model, fasta, sequences, capsys):
    rows = run(model, fasta, capsys=capsys)
    for source in (model, dnazen.load(model)):
        *predictions, nothing = predict(source, [*sequences, "NNN"])
        assert nothing is None
        for row, prediction in zip(rows, predictions, strict=True):
            assert prediction.label == row["prediction"]
            for name, probability in prediction.probabilities.items():
                assert probability == pytest.approx(float(row[f"p_{name}"]), abs=1e-5)
    with pytest.raises(ConfigError, match="too_long must be one of refuse, cut, got 'never'"):
        PredictionConfig(too_long="never")


def test_every_format_gives_the_same_numbers(model, fasta, sequences, tmp_path, capsys):
    expected = [row["p_a"] for row in run(model, fasta, capsys=capsys)]
    files = {
        "s.fq": "".join(f"@r\n{s.lower()}\n+\n{'I' * len(s)}\n" for s in sequences),
        "s.csv": "sequence,label\r\n" + "".join(f"{s},0\r\n" for s in sequences),
        "s.tsv": "id\tsequence\n" + "".join(f"x\t{s}\n" for s in sequences),
        "s.txt": "".join(f"{s.replace('T', 'U')}\n" for s in sequences),
    }
    for name, text in files.items():
        path = tmp_path / f"{name}.gz"
        path.write_bytes(gzip.compress(text.encode()))
        assert [row["p_a"] for row in run(model, path, capsys=capsys)] == expected


def test_several_files_follow_each_other(model, fasta, capsys):
    once = run(model, fasta, capsys=capsys)
    assert run(model, fasta, fasta, capsys=capsys) == once + once


def test_records_without_a_base_keep_their_row(model, tmp_path, capsys):
    path = tmp_path / "s.fa"
    path.write_text(">a\n\n>b\nACGTTA\n>c\nnnNN\n")
    predict_command(settings_of(PredictCommand, model=model, sequences=(path,)))
    out, err = capsys.readouterr()
    rows = rows_of(out)
    assert [row["name"] for row in rows] == ["a", "b", "c"]
    assert set(rows[0].values()) == {"a", "NA"}
    assert set(rows[2].values()) == {"c", "NA"}
    assert rows[1]["prediction"] in "abc"
    assert "3 predictions, 2 of them NA (no A, C, G or T), 0 from sequences cut" in err


@pytest.mark.parametrize("text", ["", ">a\n\n>b\nNN\n"])
def test_sequences_without_any_base_are_an_error(model, tmp_path, capsys, text):
    path = tmp_path / "empty"
    path.write_text(text)
    out = tmp_path / "p.tsv"
    assert cli.main(["predict", str(model), str(path), "-o", str(out)]) == 2
    assert "empty: no A, C, G or T in the input" in capsys.readouterr().err
    assert not out.exists()


def test_an_empty_file_beside_another_is_none(model, fasta, tmp_path, capsys):
    (tmp_path / "empty").write_text("")
    assert len(run(model, tmp_path / "empty", fasta, capsys=capsys)) == len(
        run(model, fasta, capsys=capsys)
    )


@pytest.mark.parametrize("link", [False, True])
def test_an_output_that_is_read_is_refused(ground, tmp_path, fasta, capsys, link):
    folder = save_model(tmp_path / "m", ground, ["a", "b"], problem_type=SINGLE)
    bed = tmp_path / "x.bed"
    bed.write_text("r0\t0\t1\n")
    for victim in (fasta, bed, folder / "ggrams.tsv", folder / "config.json"):
        before, name = victim.read_bytes(), victim
        if link:
            name = tmp_path / f"link-{victim.name}.tsv"
            name.symlink_to(victim)
        words = [folder, fasta, "--bed", bed, "-o", name]
        assert cli.main(["predict", *map(str, words)]) == 2
        assert f"is an input too ({victim}); name another output" in capsys.readouterr().err
        assert victim.read_bytes() == before


def test_the_name_of_the_output_is_its_form(model, fasta, tmp_path, capsys):
    assert cli.main(["predict", str(model), str(fasta), "-o", str(tmp_path / "p.csv.gz")]) == 0
    capsys.readouterr()
    rows = run(model, fasta, capsys=capsys)
    with gzip.open(tmp_path / "p.csv.gz", "rt", newline="") as handle:
        assert list(csv.DictReader(handle)) == rows


def test_logits_that_are_not_finite_are_no_predictions(ground, tmp_path, fasta, capsys):
    folder = save_model(tmp_path / "m", ground, ["a", "b"], problem_type=SINGLE)

    def overflow(weights):
        weights["classifier.weight"][:] = 3e38 * weights["classifier.weight"].sign()

    rewrite(folder, overflow)
    assert cli.main(["predict", str(folder), str(fasta), "-o", str(tmp_path / "p.tsv")]) == 2
    error = capsys.readouterr().err
    assert f"{folder}: {fasta}: record r" in error
    assert "what the model computes is not finite" in error
    assert not (tmp_path / "p.tsv").exists()
    with pytest.raises(InputError, match="sequence 2: what the model computes is not finite"):
        predict(folder, ["NN", "ACGTTGCATTACG"])


def test_through_the_command_line(model, fasta, tmp_path, capsys, monkeypatch):
    out = tmp_path / "new" / "p.tsv"
    assert cli.main(["predict", str(model), str(fasta), "-o", str(out)]) == 0
    assert capsys.readouterr().out == ""
    assert cli.main(["predict", str(model), str(fasta)]) == 0
    assert capsys.readouterr().out == out.read_text()

    class Stdin:
        buffer = io.BytesIO(fasta.read_bytes())

    monkeypatch.setattr("sys.stdin", Stdin())
    assert cli.main(["predict", str(model), "-", "-o", "-"]) == 0
    assert capsys.readouterr().out == out.read_text()


def test_regions_are_predicted_where_they_stand(model, sequences, tmp_path, capsys):
    genome, bed, reads = tmp_path / "g.2bit", tmp_path / "x.bed", tmp_path / "s.fa"
    letters = "".join(sequences)
    twobit({"chr1": letters}, genome)
    bed.write_text(f"chr1\t20\t90\tpeak\t0\t-\nchr1\t{len(letters) - 30}\t{len(letters) + 2}\n")
    reverse = reverse_complement(letters[20:90].encode()).decode()
    reads.write_text(f">a\n{letters[9:60]}\n>peak\n{reverse}\n>b\n{letters[-30:]}NN\n")
    words = ["predict", str(model), str(genome), "--bed", str(bed), "--regions", "chr1:10-60"]
    assert cli.main(words) == 0
    out, err = capsys.readouterr()
    assert "2 bp off the contigs read as N" in err
    rows, plain = rows_of(out), run(model, reads, capsys=capsys)
    end = len(letters)
    assert [[row[key] for key in ("name", "chrom", "start", "end", "strand")] for row in rows] == [
        ["chr1:10-60", "chr1", "9", "60", "+"],
        ["peak", "chr1", "20", "90", "-"],
        [f"chr1:{end - 29}-{end + 2}", "chr1", str(end - 30), str(end + 2), "+"],
    ]
    for row, same in zip(rows, plain, strict=True):
        assert row.keys() - same.keys() == {"chrom", "start", "end", "strand"}
        assert all(row[key] == same[key] for key in same if key != "name")
    bed.write_text("chr2\t1\t4\n")
    assert cli.main(words) == 2
    assert f"{bed}:1: no contig 'chr2' in {genome}" in capsys.readouterr().err


def test_long_records_are_predicted_tile_by_tile(model, sequences, tmp_path, capsys):
    """Each row is that of the tile's letters alone."""
    whole, tiles = tmp_path / "whole.fa", tmp_path / "tiles.fa"
    letters = "".join(sequences)[:95]
    whole.write_text(f">a\n{letters}\n>b\n{letters[:40]}\n")
    places = [(0, 40), (30, 70), (55, 95)]
    tiles.write_text("".join(f">t\n{letters[s:e]}\n" for s, e in [*places, (0, 40)]))
    words = ["predict", str(model), str(whole), "--tile-bp", "40", "--tile-overlap-bp", "10"]
    assert cli.main(words) == 0
    rows, plain = rows_of(capsys.readouterr().out), run(model, tiles, capsys=capsys)
    assert [(row["name"], row["chrom"], row["start"], row["end"]) for row in rows] == [
        *((f"a:{s + 1}-{e}", "a", str(s), str(e)) for s, e in places),
        ("b", "b", "0", "40"),
    ]
    for row, same in zip(rows, plain, strict=True):
        assert all(row[key] == same[key] for key in same if key != "name")


def test_tiles_of_pairs_are_refused(ground, tmp_path, fasta, capsys):
    model = save_model(
        tmp_path / "m", ground, ["0", "1"], problem_type=SINGLE, sequences_per_example=2
    )
    assert cli.main(["predict", str(model), str(fasta), "--tile-bp", "40"]) == 2
    assert "tile_bp: the model reads pairs" in capsys.readouterr().err


def test_pairs_do_not_reach_across_files(ground, tmp_path, capsys):
    model = save_model(
        tmp_path / "m", ground, ["0", "1"], problem_type=SINGLE, sequences_per_example=2
    )
    one, other = tmp_path / "one.fa", tmp_path / "other.fa"
    one.write_text(">p\nACGTT\n")
    other.write_text(">q\nGGATT\n")
    assert cli.main(["predict", str(model), str(one), str(other)]) == 2
    assert f"{one}: record p has no partner; expected pairs" in capsys.readouterr().err


def test_several_labels(ground, tmp_path, fasta, capsys):
    model = save_model(tmp_path / "m", ground, ["x", "y"], problem_type=MULTI)
    rows = run(model, fasta, capsys=capsys)
    for row in rows:
        chosen = [name for name in "xy" if float(row[f"p_{name}"]) > 0.5]
        assert row["prediction"] == ";".join(chosen)
    assert len({row["prediction"] for row in rows}) > 1


def test_numbers(ground, tmp_path, fasta, capsys):
    one = save_model(tmp_path / "one", ground, ["y"], problem_type="regression")
    rows = run(one, fasta, capsys=capsys)
    assert rows[0].keys() == {"name", "prediction"}
    assert len({float(row["prediction"]) for row in rows}) > 10
    two = save_model(tmp_path / "two", ground, ["y", "z"], problem_type="regression")
    assert all(row["prediction"].count(";") == 1 for row in run(two, fasta, capsys=capsys))


def test_pairs(ground, tmp_path, capsys):
    model = save_model(
        tmp_path / "m", ground, ["0", "1"], problem_type=SINGLE, sequences_per_example=2
    )
    table, reads = tmp_path / "pairs.csv", tmp_path / "pairs.fa"
    table.write_text("name,sequence_1,sequence_2\np,ACGTT,GGATT\nq,GGATT,ACGTT\n")
    reads.write_text(">p\nACGTT\n>p2\nGGATT\n>q\nGGATT\n>q2\nACGTT\n")
    rows = run(model, table, capsys=capsys)
    assert [row["name"] for row in rows] == ["p", "q"]
    assert rows[0]["p_0"] != rows[1]["p_0"]
    assert run(model, reads, capsys=capsys) == rows
    reads.write_text(">p\nACGTT\n")
    assert cli.main(["predict", str(model), str(reads)]) == 2
    assert "pairs.fa: record p has no partner; expected pairs" in capsys.readouterr().err


def test_long_records_are_refused_or_cut_aloud(model, tmp_path, capsys):
    path, out = tmp_path / "s.fa", tmp_path / "p.tsv"
    path.write_text(f">short\nACGT\n>long\n{'ACGGT' * 400}\n")
    words = ["predict", str(model), str(path), "-o", str(out)]
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert f"{path}: record long: " in error
    assert "tokens; expected at most 300; raise --max-tokens" in error
    assert not out.exists()
    assert cli.main([*words, "--too-long", "cut"]) == 0
    assert "1 from sequences cut to 300 tokens" in capsys.readouterr().err
    assert cli.main([*words, "--max-tokens", "3000"]) == 0
    assert "0 from sequences cut to 3000 tokens" in capsys.readouterr().err


def test_what_cannot_predict_is_refused(ground, model, fasta, tmp_path, capsys):
    plain = save_model(tmp_path / "plain", ground, ["0", "1"], kind=DnazenForMaskedLM)
    assert cli.main(["predict", str(plain), str(fasta)]) == 2
    assert capsys.readouterr().err.endswith(
        f"{plain}: a model without a classifier; expected a fine-tuned model; fine-tune it with "
        "'dnazen finetune'\n"
    )
    with pytest.raises(ConfigError, match="no sequences given"):
        run(model)
    assert cli.main(["predict", str(tmp_path / "none"), str(fasta)]) == 2
    assert "no such model directory" in capsys.readouterr().err
    protein, out = tmp_path / "p.fa", tmp_path / "p.tsv"
    protein.write_text(">ok\nACGT\n>p\nMEEPQSDPSV\n")
    assert cli.main(["predict", str(model), str(protein), "-o", str(out)]) == 2
    assert f"{protein}:4: character 'E' is no nucleotide" in capsys.readouterr().err
    assert not out.exists()


def test_settings_out_of_range():
    for bad, message in (
        ({"tokens_per_batch": 0}, "tokens_per_batch must be at least 1, got 0"),
        ({"max_tokens": 3}, "max_tokens must be 5 to 1048576, got 3"),
    ):
        settings = {"model": Path("m"), "sequences": (Path("s"),), **bad}
        with pytest.raises(ConfigError, match=message):
            settings_of(PredictCommand, **settings)


def test_a_released_classifier_predicts(released, fasta, capsys):
    rows = run(released / "classifier", fasta, capsys=capsys)
    assert {"p_LABEL_0", "p_LABEL_1", "p_LABEL_2"} <= rows[0].keys()
    assert sum(float(rows[0][f"p_LABEL_{i}"]) for i in range(3)) == pytest.approx(1)
