"""The shares of deep head and k-mers against a dense grid search, with the losses written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from dnazen.model.batches import Example
from dnazen.training.blend import Blend, best_blend
from dnazen.training.evaluation import Dev
from splits_of import MULTI, NUMBERS, SINGLE

ROWS = 40
LOSSES = {SINGLE: cross_entropy, MULTI: binary_cross_entropy_with_logits, NUMBERS: mse_loss}


def task(kind, seed=0):
    """Labels, and two parts that know something of them, each in a unit of its own."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(2, ROWS, 3))
    if kind == SINGLE:
        labels = rng.integers(3, size=ROWS)
        truth = np.eye(3)[labels]
    elif kind == MULTI:
        labels = truth = rng.integers(2, size=(ROWS, 3)).astype(float)
    else:
        labels = truth = rng.normal(size=(ROWS, 3))
    signs = truth if kind == NUMBERS else 2 * truth - 1
    deep, kmers = 0.4 * (signs + noise[0]), 3 * (signs + 2 * noise[1])
    return labels, deep, kmers


def loss_by_hand(kind, logits, labels):
    """The mean over rows (and labels) of each of many (..., rows, labels) logits."""
    if kind == SINGLE:
        total = np.log(np.exp(logits).sum(-1))
        return (total - logits[..., np.arange(ROWS), labels]).mean(-1)
    if kind == MULTI:
        each = np.log1p(np.exp(-np.abs(logits))) + np.maximum(logits, 0) - logits * labels
    else:
        each = (logits - labels) ** 2
    return each.mean((-1, -2))


def objective(kind, deep_share, kmer_share, labels, deep, kmers):
    """The loss on dev, and one imagined row that holds both shares to a half."""
    logits = np.multiply.outer(deep_share, deep) + np.multiply.outer(kmer_share, kmers)
    held = (deep_share - 0.5) ** 2 + (kmer_share - 0.5) ** 2
    return loss_by_hand(kind, logits, labels) + held / ROWS


def blend_of(kind, labels, deep, kmers):
    return best_blend(deep, kmers, lambda logits: LOSSES[kind](logits, torch.from_numpy(labels)))


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("seed", range(3))
def test_no_other_shares_are_better(kind, seed):
    labels, deep, kmers = task(kind, seed)
    found = blend_of(kind, labels, deep, kmers)
    axis = np.linspace(0, 10, 201)
    grid = [part.ravel() for part in np.meshgrid(axis, axis)]
    values = objective(kind, *grid, labels, deep, kmers)
    best = values.argmin()
    at_found = objective(kind, *(np.array([x]) for x in found), labels, deep, kmers)
    assert at_found[0] <= values[best] + 1e-6
    for share, near in zip(found, grid, strict=True):
        assert share == pytest.approx(near[best], abs=0.11)


def sincere(rows, seed=0):
    """Labels drawn by the probabilities that logits give, so that they are just sure enough."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(rows, 3))
    gumbel = -np.log(-np.log(rng.random((rows, 3))))
    return (logits + gumbel).argmax(1), logits


def test_beside_perfect_k_mers_a_deep_head_that_knows_nothing_has_hardly_a_share():
    labels, perfect = sincere(500)
    noise = 3 * np.random.default_rng(9).normal(size=perfect.shape)
    found = blend_of(SINGLE, labels, noise, perfect)
    assert found.deep < 0.05
    assert found.kmers == pytest.approx(1, abs=0.15)
    other = blend_of(SINGLE, labels, perfect, noise)
    assert other == pytest.approx(found[::-1], abs=1e-4)


@pytest.mark.parametrize("factor", [0.5, 1, 5])
def test_shares_make_probabilities_as_sure_as_dev_bears_out(factor):
    labels, logits = sincere(500)
    found = blend_of(SINGLE, labels, factor * logits, np.zeros_like(logits))
    assert found.deep * factor == pytest.approx(1, abs=0.15)


def test_a_part_that_is_wrong_has_no_share():
    labels, deep, _ = task(SINGLE)
    found = blend_of(SINGLE, labels, deep, -10 * np.eye(3)[labels])
    assert found.kmers == 0.0
    assert found.deep > 0.5


def test_of_a_deep_head_that_diverged_k_mers_are_left():
    labels, deep, kmers = task(SINGLE)
    deep[3, 1] = np.nan
    assert blend_of(SINGLE, labels, deep, kmers) == Blend(0.0, 1.0)


@pytest.mark.parametrize("kind", LOSSES)
def test_dev_judges_the_blend_and_tells_of_the_deep_head_alone(kind):
    labels, deep, kmers = task(kind)
    rows = [Example(np.array([5]), label=label) for label in labels.tolist()]
    metric = "pearson" if kind == NUMBERS else "mcc"
    dev = Dev(kind, (rows,), labels.tolist(), None, metric, LOSSES[kind], kmers)
    judged = dev.judge(deep)
    assert judged.blend == pytest.approx(blend_of(kind, labels, deep, kmers), abs=1e-5)
    mixed = judged.blend.deep * deep + judged.blend.kmers * kmers
    assert judged.loss == pytest.approx(loss_by_hand(kind, mixed, labels))
    alone = dev._replace(kmers=None)
    assert judged.scores == alone.judge(mixed).scores
    assert judged.deep == alone.judge(deep).scores
    assert alone.judge(deep).blend == Blend(1.0, 0.0)
    assert judged.scores[metric] != judged.deep[metric]


def test_dev_gives_no_score_where_the_deep_head_diverged():
    labels, deep, kmers = task(SINGLE)
    rows = [Example(np.array([5]), label=label) for label in labels.tolist()]
    dev = Dev(SINGLE, (rows,), labels.tolist(), None, "mcc", LOSSES[SINGLE], kmers)
    judged = dev.judge(np.full_like(deep, np.nan))
    assert np.isnan([judged.loss, judged.scores["mcc"]]).all()
    assert judged.deep["collapsed"]
