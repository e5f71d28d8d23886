"""Masked log-likelihoods and readings against one forward pass at a time, spelt out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from directories import random_directory
from dnazen.inference.likelihood import HiddenToken, hidden_log_likelihoods, readings
from dnazen.model.batches import Collator
from dnazen.model.modeling import DnazenForSequenceClassification
from plain_scorer import PlainScorer

BUDGETS = [1, 64, 8192]


@pytest.fixture(scope="module")
def texts(ground):
    bases = "".join(ground.genome.read_text().split("\n")[1::2])
    return [bases[n : n + size] for n, size in ((0, 60), (500, 7), (900, 120), (1300, 1))] + ["N"]


@pytest.fixture(scope="module")
def masked_lm(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm") / "model"
    _, parts = random_directory(ground, folder, initializer_range=0.3)
    plain = PlainScorer(folder)
    return plain.model, Collator.of(parts), plain


def ids_of(plain, text):
    return np.array([token for token, _, _ in plain.tokens(text)], dtype=np.uint16)


@pytest.mark.parametrize("budget", BUDGETS)
def test_each_hidden_token_is_as_likely_as_when_it_is_asked_alone(masked_lm, texts, budget):
    model, collator, plain = masked_lm
    hidden = [
        HiddenToken(ids_of(plain, text), place)
        for text in texts
        for place in range(0, len(ids_of(plain, text)), 5)
    ]
    found = hidden_log_likelihoods(model, collator, hidden, budget)
    expected = [plain.log_likelihood(token.tokens.tolist(), token.position) for token in hidden]
    assert found == pytest.approx(expected, abs=2e-5)
    assert found.max() < 0


def test_the_likelihoods_of_all_tokens_at_a_place_sum_to_one(masked_lm, texts):
    model, collator, plain = masked_lm
    tokens = ids_of(plain, texts[0])
    every = []
    for token in range(model.config.vocab_size):
        changed = tokens.copy()
        changed[4] = token
        every.append(HiddenToken(changed, 4))
    found = hidden_log_likelihoods(model, collator, every)
    assert np.exp(found).sum() == pytest.approx(1, abs=1e-5)


def test_nothing_hidden_gives_nothing(masked_lm):
    model, collator, _ = masked_lm
    assert hidden_log_likelihoods(model, collator, []).shape == (0,)
    assert list(readings(model, collator, [])) == []


@pytest.mark.parametrize("budget", BUDGETS)
def test_states_are_those_of_each_sequence_alone(masked_lm, texts, budget):
    model, collator, plain = masked_lm
    tokens = [ids_of(plain, text) for text in texts]
    seen = dict(readings(model, collator, tokens, budget))
    assert sorted(seen) == list(range(len(texts)))
    for number, reading in seen.items():
        assert reading.logits is None
        expected = plain.states(tokens[number].tolist())
        np.testing.assert_allclose(reading.states, expected, atol=2e-5)


def test_a_classifier_gives_its_logits_too(ground, texts, tmp_path):
    folder = tmp_path / "model"
    kind = DnazenForSequenceClassification
    _, parts = random_directory(ground, folder, kind=kind, initializer_range=0.3, num_labels=3)
    plain = PlainScorer(folder, kind)
    tokens = [ids_of(plain, text) for text in texts]
    for number, reading in readings(plain.model, Collator.of(parts), tokens):
        ids = tokens[number].tolist()
        expected = plain.output(ids).logits[0].numpy()
        np.testing.assert_allclose(reading.logits, expected, atol=2e-5)
        np.testing.assert_allclose(reading.states, plain.states(ids), atol=2e-5)


def test_models_keep_their_weights_and_mode(masked_lm, texts):
    model, collator, plain = masked_lm
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    hidden_log_likelihoods(model, collator, [HiddenToken(ids_of(plain, texts[0]), 0)])
    assert not model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
