"""The arm that benchmarks compare with does the same sums as the package."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import dnazen
from directories import random_directory
from dnazen.inference.embedding import embed
from model.test_modeling import batch_of, labels_of, random_model, sequences

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def benchmark(name):
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_naive_arm_has_our_states_loss_and_gradients():
    naive = benchmark("naive")
    ours = random_model().double()
    theirs = naive.NaiveForMaskedLM(ours.config).double().eval()
    theirs.load_state_dict(ours.state_dict())
    theirs.head.decoder.weight = theirs.dnazen.embeddings.word_embeddings.weight
    some = sequences()
    batch = batch_of(some) | {"labels": labels_of(some)}
    dense = naive.naive_batch(batch, width=23)

    states = ours.dnazen(**{k: v for k, v in batch.items() if k != "labels"}).last_hidden_state
    here = batch["attention_mask"].bool()
    narrow = theirs.dnazen(dense)[:, : here.shape[1]]
    torch.testing.assert_close(states[here], narrow[here])

    loss = ours(**batch).loss
    loss.backward()
    expected = theirs(dense)
    expected.backward()
    torch.testing.assert_close(loss, expected)
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        if gradients[name].grad is not None:
            torch.testing.assert_close(parameter.grad, gradients[name].grad, msg=name)


def test_the_naive_arm_embeds_like_ours(ground, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    genomics = benchmark("genomics")
    random_directory(ground, tmp_path / "m")
    embedder = dnazen.load(tmp_path / "m", "cpu")
    sequences = genomics.gue_sequences(genomics.BenchmarkConfig(sequences=15))
    assert sorted(map(len, sequences)) == sorted([70, 101, 300, 400, 500] * 3)
    with torch.no_grad():
        theirs = genomics.naive_embed(embedder, sequences)
    np.testing.assert_allclose(embed(embedder, sequences), theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("arm", ["bert", "e4bu", "dnazen", "dnazen-embed"])
def test_an_arm_of_the_model_takes_its_steps(monkeypatch, arm):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    model = benchmark("model")
    config = model.BenchmarkConfig(size="tiny", batch=2, ggrams=5, steps=1, threads=1)
    result = model.measured(config, arm)
    assert 0 < result["seconds"] < math.inf
    assert result["peak_gb"] > 0


def test_hidden_tokens_are_of_one_kind_each():
    hidden = benchmark("hidden")
    seen, truth = np.array([hidden.MASK, 7, 9, hidden.MASK]), np.array([7, 7, 8, 9])
    kinds = dict(zip(hidden.KINDS, hidden.kinds_of(seen, truth), strict=True))
    assert kinds["[MASK]"].tolist() == [True, False, False, True]
    assert kinds["kept"].tolist() == [False, True, False, False]
    assert kinds["random"].tolist() == [False, False, True, False]


def test_the_error_of_a_ratio_is_that_of_a_mean_where_batches_are_alike():
    hidden = benchmark("hidden")
    rng = np.random.default_rng(0)
    means = rng.normal(size=12)
    mean, error = hidden.ratio_and_error(5 * means, np.full(12, 5.0))
    np.testing.assert_allclose(mean, means.mean())
    np.testing.assert_allclose(error, means.std(ddof=1) / np.sqrt(12))
    # Of unlike ones, what many draws of such batches spread by.
    counts = rng.integers(1, 9, (4000, 200)).astype(float)
    sums = rng.normal(2.0, 1.0, counts.shape) * counts
    spread = np.std(sums.sum(1) / counts.sum(1))
    np.testing.assert_allclose(hidden.ratio_and_error(sums[0], counts[0])[1], spread, rtol=0.15)
