"""Masked log-likelihoods against one forward pass at a time, spelt out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dnazen
from directories import random_directory
from dnazen.errors import ConfigError, InputError
from dnazen.inference.likelihood import HiddenToken, token_log_likelihoods
from dnazen.inference.opened import OpenedModel
from dnazen.model.modeling import DnazenForSequenceClassification
from plain_scorer import UNK, PlainScorer

BUDGETS = [1, 64, 8192]


@pytest.fixture(scope="module")
def genome(ground):
    return "".join(ground.genome.read_text().split("\n")[1::2])


@pytest.fixture(scope="module")
def texts(genome):
    return [genome[n : n + size] for n, size in ((0, 60), (500, 7), (900, 120), (1300, 1))] + ["N"]


@pytest.fixture(scope="module")
def folder(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm") / "model"
    random_directory(ground, folder, initializer_range=0.3)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return dnazen.load(folder, "cpu")


@pytest.fixture(scope="module")
def plain(folder):
    return PlainScorer(folder)


def ids_of(plain, text):
    return np.array([token for token, _, _ in plain.tokens(text)], dtype=np.uint16)


def alone(plain, ids):
    """The log-probability of every token, each hidden on its own; NaN for [UNK]."""
    ids = [int(token) for token in ids]
    return np.array(
        [np.nan if token == UNK else plain.log_likelihood(ids, n) for n, token in enumerate(ids)]
    )


@pytest.mark.parametrize("budget", BUDGETS)
def test_each_hidden_token_is_as_likely_as_when_it_is_asked_alone(model, plain, texts, budget):
    hidden = [
        HiddenToken(ids_of(plain, text), place)
        for text in texts
        for place in range(0, len(ids_of(plain, text)), 5)
    ]
    values = token_log_likelihoods(model, hidden, tokens_per_batch=budget)
    expected = [plain.log_likelihood(token.sequence.tolist(), token.position) for token in hidden]
    assert values == pytest.approx(expected, abs=2e-5)
    assert values.max() < 0


def test_the_likelihoods_of_all_tokens_at_a_place_sum_to_one(model, plain, texts):
    tokens = ids_of(plain, texts[0])
    hidden = []
    for token in range(model.config.vocab_size):
        changed = tokens.copy()
        changed[4] = token
        hidden.append(HiddenToken(changed, 4))
    values = token_log_likelihoods(model, hidden)
    assert np.exp(values).sum() == pytest.approx(1, abs=1e-5)


def test_nothing_gives_nothing(model):
    assert token_log_likelihoods(model, []).shape == (0,)
    assert model.log_likelihood([]) == []


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_sequence_is_as_likely_as_its_tokens_hidden_one_by_one(model, plain, genome, budget):
    sequences = [
        genome[:60],
        genome[500:507],
        "NN",
        genome[70:99] + "NnRN" + genome[99:120].lower(),
    ]
    clean = [sequences[0], sequences[1], None, genome[70:99] + "NNNN" + genome[99:120]]
    config = dnazen.LikelihoodConfig(tokens_per_batch=budget)
    likelihoods = model.log_likelihood(sequences, config)
    for letters, likelihood in zip(clean, likelihoods, strict=True):
        if letters is None:
            assert likelihood is None
            continue
        expected = alone(plain, ids_of(plain, letters))
        np.testing.assert_allclose(likelihood.by_token, expected, atol=2e-5)
        bases = len(letters) - letters.count("N")
        assert likelihood.bases == bases
        assert likelihood.total == pytest.approx(np.nansum(expected), abs=1e-3)
        assert likelihood.per_base == pytest.approx(np.nansum(expected) / bases, abs=1e-5)


@pytest.mark.parametrize("overlap", [0, 6])
def test_a_long_sequence_is_read_in_windows(model, plain, genome, overlap):
    """Each token by the window that it lies deepest in, of those that the law of windows gives."""
    letters = genome[:400]
    ids = ids_of(plain, letters)
    size = 18
    count = -(-(len(ids) - overlap) // (size - overlap))
    starts = [n * (len(ids) - size) // (count - 1) for n in range(count)]
    by_window = {start: alone(plain, ids[start : start + size]) for start in starts}

    def deepest(place):
        return max(
            (start for start in starts if start <= place < start + size),
            key=lambda start: (min(place - start, start + size - 1 - place), start),
        )

    config = dnazen.LikelihoodConfig(max_tokens=size + 2, overlap=overlap)
    (likelihood,) = model.log_likelihood([letters], config)
    edges = {starts[0], starts[-1]}
    for place, value in enumerate(likelihood.by_token):
        options = [s for s in starts if s <= place < s + size]
        start = options[0] if len(options) == 1 else deepest(place)
        if len(options) > 1 and edges & set(options):  # an end of the sequence is no edge
            assert any(abs(value - by_window[s][place - s]) < 2e-5 for s in options)
        else:
            assert value == pytest.approx(by_window[start][place - start], abs=2e-5), place


def test_functions_take_a_directory_or_an_opened_model(folder, model, genome):
    (one,) = dnazen.log_likelihood(folder, [genome[:40]])
    (other,) = dnazen.log_likelihood(model, [genome[:40]])
    np.testing.assert_allclose(one.by_token, other.by_token, atol=1e-5)


def test_a_model_without_the_head_is_refused(ground, tmp_path):
    folder = tmp_path / "model"
    random_directory(ground, folder, kind=DnazenForSequenceClassification)
    with pytest.raises(InputError, match="without a masked-LM head"):
        OpenedModel.open(folder, "cpu").masked_lm  # noqa: B018
    with pytest.raises(InputError, match="without a masked-LM head"):
        dnazen.log_likelihood(folder, ["ACGTACGT"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tokens_per_batch": 0}, "tokens_per_batch must be"),
        ({"overlap": -1}, "overlap must be"),
        ({"max_tokens": 10, "overlap": 8}, "overlap must leave a token"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        dnazen.LikelihoodConfig(**settings)


def test_models_keep_their_weights_and_mode(model, plain, texts):
    before = {name: tensor.clone() for name, tensor in model.masked_lm.state_dict().items()}
    token_log_likelihoods(model, [HiddenToken(ids_of(plain, texts[0]), 0)])
    assert not model.masked_lm.training
    after = model.masked_lm.state_dict()
    assert all(torch.equal(before[name], tensor) for name, tensor in after.items())
