"""Losses for uneven classes against PyTorch's and scikit-learn's, and formulas written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

from dnazen.errors import ConfigError
from dnazen.training.losses import class_weights, loss_of
from dnazen.training.settings import FinetuneConfig
from splits_of import MULTI, NUMBERS, SINGLE, splits_of

CLASSES = [0] * 12 + [1] * 5 + [2] * 3
FLAGS = [[float(n < 3), float(n % 2)] for n in range(20)]


def loss(kind, **settings):
    labels = {SINGLE: CLASSES, MULTI: FLAGS, NUMBERS: [[0.5]]}[kind]
    rows = [("ACGT", label) for label in labels]
    names = {SINGLE: "abc", MULTI: "ab", NUMBERS: "y"}[kind]
    splits = splits_of(rows, rows, rows, kind, names)
    return loss_of(splits, FinetuneConfig(**settings))


def batch(kind, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(9, {SINGLE: 3, MULTI: 2, NUMBERS: 1}[kind], generator=generator)
    if kind == SINGLE:
        return logits, torch.tensor([0, 0, 1, 2, 2, 1, 0, 0, 1])
    if kind == MULTI:
        return logits, torch.randint(0, 2, (9, 2), generator=generator).float()
    return logits, torch.randn(9, 1, generator=generator)


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [(SINGLE, cross_entropy), (MULTI, binary_cross_entropy_with_logits), (NUMBERS, mse_loss)],
)
def test_unasked_it_is_the_plain_loss(kind, theirs):
    logits, labels = batch(kind)
    torch.testing.assert_close(loss(kind)(logits, labels), theirs(logits, labels))


def test_balanced_classes_weigh_as_in_scikit_learn():
    logits, labels = batch(SINGLE)
    weights = compute_class_weight("balanced", classes=np.arange(3), y=np.array(CLASSES))
    expected = cross_entropy(logits, labels, weight=torch.tensor(weights).float())
    torch.testing.assert_close(loss(SINGLE, class_weights="balanced")(logits, labels), expected)


def test_both_sides_of_a_balanced_label_weigh_the_same():
    """Of 20 rows 3 have the first label and 10 the second."""
    logits, labels = batch(MULTI)
    expected = binary_cross_entropy_with_logits(
        logits, labels, pos_weight=torch.tensor([17 / 3, 1.0])
    )
    torch.testing.assert_close(loss(MULTI, class_weights="balanced")(logits, labels), expected)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("weights", ["none", "balanced"])
@pytest.mark.parametrize("kind", [SINGLE, MULTI])
def test_rows_that_are_sure_weigh_less(kind, weights, gamma):
    """Each term times (1 - p)^gamma, p the probability of the truth."""
    logits, labels = batch(kind)
    found = loss(kind, class_weights=weights, focal_gamma=gamma)(logits, labels)
    if kind == SINGLE:
        chance = logits.softmax(1)[torch.arange(9), labels]
        each = torch.tensor([20 / 36, 20 / 15, 20 / 9])[labels]
        each = each if weights == "balanced" else torch.ones(9)
        expected = (-chance.log() * (1 - chance) ** gamma * each).sum() / each.sum()
    else:
        chance = torch.where(labels == 1, logits.sigmoid(), (-logits).sigmoid())
        positive = torch.tensor([17 / 3, 1.0]) if weights == "balanced" else torch.ones(2)
        each = torch.where(labels == 1, positive, torch.ones(2))
        expected = (-chance.log() * (1 - chance) ** gamma * each).mean()
    torch.testing.assert_close(found, expected)


def test_a_class_that_train_lacks_has_a_weight_all_the_same():
    rows = [("ACGT", label) for label in (0, 0, 1)]
    splits = splits_of(rows, rows, rows, SINGLE, "abc")
    weights = class_weights(splits, FinetuneConfig(class_weights="balanced"))
    assert weights.tolist() == pytest.approx([0.5, 1.0, 1.0])


@pytest.mark.parametrize("settings", [{"class_weights": "balanced"}, {"focal_gamma": 1.0}])
def test_numbers_have_no_classes_to_weigh(settings):
    with pytest.raises(ConfigError, match=r"for classes and labels, not for numbers"):
        loss(NUMBERS, **settings)
