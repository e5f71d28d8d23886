"""Which epoch the trainer prefers, told by its rank of logits made by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from torch.nn.functional import cross_entropy

from dnazen.model.batches import Example
from dnazen.training.evaluation import Dev, FinetuneTrainer
from splits_of import SINGLE
from training.test_blend import task


def ranks_of(dev, *epochs):
    """What the trainer makes of the deep head's logits of dev at the ends of epochs."""
    handler = SimpleNamespace(on_evaluate=lambda *_: None)
    ranks = []
    for logits in epochs:
        trainer = SimpleNamespace(
            dev=dev,
            dev_logits=lambda logits=logits: logits,
            log=lambda _: None,
            args=None,
            state=None,
            control=None,
            callback_handler=handler,
        )
        ranks.append(FinetuneTrainer.evaluate(trainer)["eval_rank"])
    return ranks


def dev_of(labels, kmers, metric="mcc"):
    rows = [Example(np.array([5]), label=label) for label in labels.tolist()]
    return Dev(SINGLE, (rows,), labels.tolist(), None, metric, cross_entropy, kmers)


def test_the_epoch_of_the_better_blend_is_preferred():
    labels, deep, kmers = task(SINGLE)
    noise = np.random.default_rng(5).normal(size=deep.shape)
    for some in (kmers, None):
        poor, better = ranks_of(dev_of(labels, some), noise, deep)
        assert better > poor


def test_where_the_score_cannot_choose_the_loss_does():
    labels, deep, _ = task(SINGLE)
    good, better = ranks_of(dev_of(labels, None, metric=None), deep, 2 * deep)
    losses = [dev_of(labels, None).judge(k * deep).loss for k in (1, 2)]
    assert (better > good) == (losses[1] < losses[0])
    assert good < 0


def test_an_epoch_that_diverged_is_not_preferred_to_one_that_did_not():
    """K-mers alone may score better than a blend; but weights that are no numbers make no model."""
    for seed in range(20):
        labels, deep, kmers = task(SINGLE, seed)
        noise = np.random.default_rng(seed + 99).normal(size=deep.shape)
        finite, diverged = ranks_of(dev_of(labels, kmers), noise, np.full_like(deep, np.nan))
        assert finite > diverged
