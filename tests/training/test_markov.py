"""The Markov model that a language model has to beat, against counts in plain dictionaries."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from dnazen.model.bases import base_table
from dnazen.model.worth import weakness
from dnazen.tokens.corpus import Corpus
from dnazen.training import markov
from dnazen.training.markov import markov_score


def sequences_of(ground) -> list[str]:
    """The sequences of a corpus as its tokenizer spells them."""
    corpus = Corpus.open(ground.corpus)
    return [corpus.tokenizer.decode(corpus[i].tolist()) for i in range(len(corpus))]


def plain_bits(train: list[str], heldout: list[str], order: int) -> float:
    """-log2 p of the held-out bases that have eight before them, counted a base at a time."""
    counts = defaultdict(Counter)
    for text in train:
        for i in range(8, len(text)):
            counts[text[i - order : i]][text[i]] += 1
    bits = []
    for text in heldout:
        for i in range(8, len(text)):
            seen = counts[text[i - order : i]]
            bits.append(-math.log2((seen[text[i]] + 0.5) / (sum(seen.values()) + 2)))
    return sum(bits) / len(bits)


def test_best_order_and_its_bits(ground, monkeypatch):
    monkeypatch.setattr(markov, "_BLOCK", 7)  # more than one
    corpus = Corpus.open(ground.corpus)
    texts = sequences_of(ground)
    heldout = np.arange(len(corpus)) % 5 == 0
    table = base_table(corpus.tokenizer, corpus.vocab_size).numpy()
    score = markov_score(corpus, heldout, table, seed=0)
    train = [text for text, held in zip(texts, heldout, strict=True) if not held]
    kept = [text for text, held in zip(texts, heldout, strict=True) if held]
    expected = [plain_bits(train, kept, order) for order in range(9)]
    assert score.order == int(np.argmin(expected))
    assert score.bits_per_bp == pytest.approx(min(expected), rel=1e-12)


def test_of_many_bases_a_part_is_counted(ground, monkeypatch):
    monkeypatch.setattr(markov, "MOST_BASES", 4_000)  # 20 of 200 windows
    corpus = Corpus.open(ground.corpus)
    texts = sequences_of(ground)
    heldout = np.arange(len(corpus)) % 5 == 0
    table = base_table(corpus.tokenizer, corpus.vocab_size).numpy()
    train = np.random.default_rng((3, 2)).permutation(np.flatnonzero(~heldout))[:20]
    kept = [texts[i] for i in np.flatnonzero(heldout)]
    expected = [plain_bits([texts[i] for i in train], kept, order) for order in range(9)]
    score = markov_score(corpus, heldout, table, seed=3)
    assert score.bits_per_bp == pytest.approx(min(expected), rel=1e-12)


@pytest.mark.parametrize(
    ("file", "scores", "says"),
    [
        (
            "metrics.json",
            {"eval_bits_per_bp": 1.95, "markov_bits_per_bp": 1.9, "markov_order": 8},
            "8 bases before (1.950 against 1.900 bits",
        ),
        ("metrics.json", {"eval_bits_per_bp": 1.8, "markov_bits_per_bp": 1.9}, None),
        ("metrics.json", {"eval_bits_per_bp": 1.8}, None),
        ("test_metrics.json", {"collapsed": True}, "predicts the same"),
        ("test_metrics.json", {"collapsed": False}, None),
    ],
)
def test_what_speaks_against_a_model(tmp_path, file, scores, says):
    (tmp_path / file).write_text(json.dumps(scores))
    words = weakness(tmp_path)
    assert words is None if says is None else says in words
