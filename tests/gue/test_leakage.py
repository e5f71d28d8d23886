"""What training shares with test sequences, by brute force on tiny strings."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from directories import random_directory
from dnazen.commands.ggrams_mine import GGramsMineCommand
from dnazen.commands.ggrams_mine import run as mine
from dnazen.gue.leakage import OVERLAP_BP, leakages
from dnazen.gue.settings import BenchmarkModel
from dnazen.sequences.alphabet import reverse_complement
from dnazen.tokens.corpus import Corpus
from settings_of import settings_of
from tiny_gue import write_rows


@pytest.fixture
def directory(ground, tmp_path):
    """A model directory that says what it was made from."""
    random_directory(ground, tmp_path / "model", hidden_size=32, intermediate_size=32)
    excluded = tmp_path / "excluded.csv"
    text = ground.genome.read_text().splitlines()[1]
    write_rows(excluded, [(text[600:700], 0)])
    mined = tmp_path / "mined.tsv"
    mine(
        settings_of(
            GGramsMineCommand, corpus=ground.corpus, output=mined, exclude=(excluded,), min_count=2
        )
    )
    shutil.copy(mined, tmp_path / "model" / "ggrams.tsv")
    record = {"settings": {"corpus": str(ground.corpus)}}
    (tmp_path / "model" / "run.json").write_text(json.dumps(record))
    return tmp_path / "model"


def shared_with(windows, sequence):
    """Bases of a sequence in stretches of 50 or more that stand in any window, by brute force."""
    covered = np.zeros(len(sequence), dtype=bool)
    strands = {s for w in windows for s in (w, reverse_complement(w))}
    for start in range(len(sequence) - OVERLAP_BP + 1):
        if any(sequence[start : start + OVERLAP_BP] in strand for strand in strands):
            covered[start : start + OVERLAP_BP] = True
    return int(covered.sum())


def test_leakage_by_brute_force_on_both_strands(ground, directory, tmp_path):
    corpus = Corpus.open(ground.corpus)
    strings = corpus.tokenizer
    windows = [
        strings.decode(corpus[i].tolist()).replace(" ", "").encode() for i in range(len(corpus))
    ]
    text = "".join(ground.genome.read_text().splitlines()[1:2])
    rng = np.random.default_rng(0)
    random = "".join(rng.choice(list("ACGT"), 100))
    rows = [
        text[210:290],  # inside a window of 200
        reverse_complement(text[400:500].encode()).decode(),  # the other strand
        random,
        random[:30] + text[1000:1060] + random[30:],
        text[570:670],  # over the border of two windows
        text[610:690],  # left out of mining
        text[20:60],  # too short to count
    ]
    test = tmp_path / "test.csv"
    write_rows(test, [(row, 0) for row in rows])
    expected = [shared_with(windows, row.encode()) for row in rows]
    assert expected[2] == expected[6] == 0
    assert all(expected[i] for i in (0, 1, 3))
    models = [
        BenchmarkModel("a", "dnazen", str(directory)),
        BenchmarkModel("b", "e4bu", str(directory)),
        BenchmarkModel("k", "kmer", ""),
    ]
    pretraining, mining = leakages(models, {"mouse/3": test})
    assert (pretraining["what"], pretraining["source"]) == ("pre-training", str(ground.corpus))
    assert pretraining["arms"] == ["a", "b"]
    assert pretraining["problem"] == ""
    lengths = [len(row) for row in rows]
    assert pretraining["tasks"]["mouse/3"] == {
        "sequences": 7,
        "partly": sum(e > 0 for e in expected),
        "wholly": sum(e == n for e, n in zip(expected, lengths, strict=True)),
        "fraction": pytest.approx(sum(expected) / sum(lengths)),
    }
    assert mining["what"] == "mining"
    kept = [w for w in windows if not shared_with([text[600:700].encode()], w)]
    assert len(kept) < len(windows)
    without = [shared_with(kept, row.encode()) for row in rows]
    assert mining["tasks"]["mouse/3"]["fraction"] == pytest.approx(sum(without) / sum(lengths))
    assert mining["tasks"]["mouse/3"]["partly"] == sum(e > 0 for e in without)


def test_what_is_known_is_not_searched_again(ground, directory, tmp_path, monkeypatch):
    test = tmp_path / "test.csv"
    write_rows(test, [(ground.genome.read_text().splitlines()[1][:100], 0)])
    model = BenchmarkModel("a", "dnazen", str(directory))
    known = leakages([model], {"mouse/3": test})
    monkeypatch.setattr("dnazen.gue.leakage.shared_with", None)
    again = leakages([BenchmarkModel("r", "random", str(directory))], {"mouse/3": test}, known)
    assert {(e["what"], *e["arms"]) for e in again} == {("pre-training", "a"), ("mining", "a", "r")}
    assert [e["tasks"] for e in known] == [e["tasks"] for e in sorted(
        again, key=lambda e: e["what"], reverse=True
    )]  # fmt: skip


def test_an_input_that_is_gone_is_told(ground, directory, tmp_path):
    (directory / "run.json").write_text(
        json.dumps({"settings": {"corpus": str(tmp_path / "gone")}})
    )
    (directory / "ggrams.tsv").unlink()
    write_rows(tmp_path / "test.csv", [("ACGT" * 20, 0)])
    [entry] = leakages(
        [BenchmarkModel("a", "dnazen", str(directory))], {"mouse/3": tmp_path / "test.csv"}
    )
    assert entry["tasks"] == {}
    assert "gone" in entry["problem"]
