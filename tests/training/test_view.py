"""K-mers put into a trained model: it says what deep head and regression say, in dev's shares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from directories import random_directory
from dnazen.training.blend import best_blend
from dnazen.training.finetune import fit
from dnazen.training.kmers import plan_kmers
from dnazen.training.learner import dnazen_learner
from dnazen.training.losses import loss_of
from dnazen.training.metrics import score
from dnazen.training.settings import FinetuneConfig, OptimizerConfig, RunConfig
from splits_of import MULTI, NUMBERS, SINGLE, splits_of


@pytest.fixture(scope="module")
def directory(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "model"
    random_directory(ground, folder, seed=1, hidden_size=16, intermediate_size=16)
    return folder


def splits_for(kind):
    """Labels by the counts of G and C, with mistakes in a fifth of them."""
    rng = np.random.default_rng(0)

    def row():
        text = "".join(rng.choice(list("ACGT"), 30))
        counts = [text.count("G"), text.count("C")]
        wrong = rng.random() < 0.2
        if kind == NUMBERS:
            return text, [100 + 7.0 * counts[0], float(counts[1]) + 3 * wrong]
        if kind == MULTI:
            return text, [float(counts[0] > 7), float((counts[1] > 7) ^ wrong)]
        return text, int((sum(counts) > 15) ^ wrong)

    return splits_of(*([row() for _ in range(n)] for n in (48, 24, 16)), kind, ("a", "b"))


@pytest.mark.parametrize("kind", [SINGLE, MULTI, NUMBERS])
@pytest.mark.parametrize("strands", ["average", "forward"])
def test_the_model_says_the_blend_of_its_parts(directory, tmp_path, kind, strands):
    """Trained for one epoch with k-mers and without, the deep head is the same."""
    splits = splits_for(kind)
    config = FinetuneConfig(
        kmers=3,
        base_channels=4,
        strands=strands,
        epochs=1,
        batch_size=8,
        optimizer=OptimizerConfig(learning_rate=3e-3),
        run=RunConfig(precision="float32", device="cpu"),
    )
    kmers = plan_kmers(splits, config).blended
    learner = dnazen_learner(directory, splits, config, strands)
    folders = (tmp_path / name for name in ("deep", "both"))
    deep, both = (
        fit(learner, splits, config, folder, kmers=some, resumable=False)
        for folder, some in zip(folders, (None, kmers), strict=True)
    )
    assert deep.blend == (1.0, 0.0)
    mean, spread = 0.0, 1.0
    if kind == NUMBERS:
        labels = np.array(splits.train.labels)
        mean, spread = labels.mean(0), labels.std(0)
    parts = [(part - mean) / spread for part in (deep.logits, kmers.test)]
    expected = both.blend.of(*parts) * spread + mean
    assert both.blend.kmers > 0
    np.testing.assert_allclose(both.logits, expected, rtol=1e-4, atol=1e-4)
    # Scores are those of what it says, and of the deep head those of the head alone.
    truth = np.array(splits.test.labels)
    assert both.test == pytest.approx(score(kind, truth, expected), abs=1e-3)
    assert both.deep == pytest.approx(score(kind, truth, deep.logits), abs=1e-3)


def test_the_shares_are_those_that_dev_asks_for(directory, tmp_path):
    splits = splits_for(SINGLE)
    splits = splits._replace(test=splits.dev)  # so that what is said of dev is told
    config = FinetuneConfig(
        kmers=3,
        base_channels=0,
        strands="forward",
        epochs=1,
        optimizer=OptimizerConfig(learning_rate=3e-3),
        run=RunConfig(precision="float32", device="cpu"),
    )
    kmers = plan_kmers(splits, config).blended
    learner = dnazen_learner(directory, splits, config)
    deep, both = (
        fit(learner, splits, config, tmp_path / str(n), kmers=some, resumable=False)
        for n, some in enumerate((None, kmers))
    )
    labels, loss = np.array(splits.dev.labels), loss_of(splits, config)
    expected = best_blend(
        deep.logits, kmers.dev, lambda logits: loss(logits, torch.from_numpy(labels))
    )
    assert both.blend == pytest.approx(expected, abs=1e-3)
    assert both.dev["mcc"] == pytest.approx(both.test["mcc"])
