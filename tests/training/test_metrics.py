"""Scores against the definitions, written out over pairs and counts."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen.training.metrics import probabilities, score
from dnazen.training.settings import METRICS

SINGLE, MULTI, NUMBERS, BASES = METRICS


def auroc_by_pairs(positive, ranking):
    """The chance that a positive outranks a negative; a tie counts half."""
    pairs = [
        (p > n) + 0.5 * (p == n)
        for p, n in itertools.product(ranking[positive], ranking[~positive])
    ]
    return sum(pairs) / len(pairs)


def auprc_by_steps(positive, ranking):
    """Precision at each threshold times the recall gained there."""
    total, recall = 0.0, 0.0
    for threshold in sorted(set(ranking), reverse=True):
        called = ranking >= threshold
        now = (called & positive).sum() / positive.sum()
        total += (now - recall) * (called & positive).sum() / called.sum()
        recall = now
    return total


def mcc_by_correlation(labels, predicted, classes):
    """Gorodkin 2004: the correlation of the two indicator matrices."""
    x, y = np.eye(classes)[labels], np.eye(classes)[predicted]
    x, y = x - x.mean(0), y - y.mean(0)
    spread = math.sqrt((x * x).sum() * (y * y).sum())
    return (x * y).sum() / spread if spread else 0.0


def f1_by_counts(truth, guess):
    hits = (truth & guess).sum()
    return 2 * hits / (truth.sum() + guess.sum()) if truth.any() or guess.any() else 0.0


@st.composite
def classified(draw, classes):
    size = draw(st.integers(classes, 30))
    labels = list(range(classes)) + draw(
        st.lists(st.integers(0, classes - 1), min_size=size - classes, max_size=size - classes)
    )
    level = st.integers(-4, 4)  # few levels, so that ties happen
    logits = draw(
        st.lists(st.lists(level, min_size=classes, max_size=classes), min_size=size, max_size=size)
    )
    return np.array(labels), np.array(logits, dtype=np.float32)


@settings(max_examples=40, deadline=None)
@given(classified(2))
def test_two_classes_agree_with_the_definitions(example):
    labels, logits = example
    ranking = logits[:, 1] - logits[:, 0]
    predicted = (ranking > 0).astype(int)
    found = score(SINGLE, labels, logits)
    assert found["auroc"] == pytest.approx(auroc_by_pairs(labels == 1, ranking))
    assert found["auprc"] == pytest.approx(auprc_by_steps(labels == 1, ranking))
    assert found["accuracy"] == pytest.approx(np.mean(labels == predicted))
    assert found["mcc"] == pytest.approx(mcc_by_correlation(labels, predicted, 2), abs=1e-9)
    assert found["collapsed"] == (len(set(predicted)) == 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_several_classes_agree_with_the_definitions(seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(4), rng.integers(4, size=rng.integers(0, 20))])
    logits = rng.normal(size=(len(labels), 4))
    likely = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    predicted = logits.argmax(1)
    found = score(SINGLE, labels, logits)
    for name, one in (("auroc", auroc_by_pairs), ("auprc", auprc_by_steps)):
        by_class = [one(labels == i, likely[:, i]) for i in range(4)]
        assert found[name] == pytest.approx(np.mean(by_class))
    assert found["mcc"] == pytest.approx(mcc_by_correlation(labels, predicted, 4), abs=1e-9)
    f1 = [f1_by_counts(labels == i, predicted == i) for i in range(4)]
    assert found["f1"] == pytest.approx(np.mean(f1))


@settings(max_examples=40, deadline=None)
@given(classified(3))
def test_labels_are_scored_one_by_one(example):
    labels, logits = example
    truth = np.eye(3, dtype=int)[labels]
    found = score(MULTI, truth, logits)
    for name, one in (("auroc", auroc_by_pairs), ("auprc", auprc_by_steps)):
        by_label = [one(truth[:, i] == 1, logits[:, i]) for i in range(3)]
        assert found[name] == pytest.approx(np.mean(by_label))
    f1 = [f1_by_counts(truth[:, i] == 1, logits[:, i] > 0) for i in range(3)]
    assert found["f1"] == pytest.approx(np.mean(f1))
    assert found["accuracy"] == pytest.approx(np.mean((logits > 0) == truth))


def test_numbers_by_hand():
    truth = np.array([[1.0], [2.0], [3.0], [4.0]])
    guess = np.array([[1.0], [4.0], [9.0], [16.0]])
    found = score(NUMBERS, truth, guess)
    assert found["spearman"] == pytest.approx(1)
    assert found["mse"] == pytest.approx((0 + 4 + 36 + 144) / 4)
    assert found["pearson"] == pytest.approx(25 / math.sqrt(5 * 129))
    assert not found["collapsed"]


def test_the_mean_over_targets():
    truth = np.array([[1.0, 1.0], [2.0, 3.0], [3.0, 2.0]])
    guess = np.array([[1.0, -1.0], [2.0, -3.0], [3.0, -2.0]])
    assert score(NUMBERS, truth, guess)["pearson"] == pytest.approx(0)


def test_a_collapsed_run_is_told():
    found = score(SINGLE, np.array([0, 1, 1]), np.array([[0.1, 0.0]] * 3))
    assert found["collapsed"]
    assert found["mcc"] == 0
    assert found["auroc"] == 0.5
    assert score(MULTI, np.eye(3), np.full((3, 3), -1.0))["collapsed"]
    assert score(NUMBERS, np.array([1.0, 2.0]), np.array([[3.0], [3.0]]))["collapsed"]


def test_one_class_in_the_labels_is_not_a_collapse_and_gives_no_ranking():
    found = score(SINGLE, np.array([1, 1]), np.array([[0.0, 1.0], [0.0, 2.0]]))
    assert not found["collapsed"]
    assert found["accuracy"] == 1
    assert found["mcc"] == 0
    assert math.isnan(found["auroc"])
    assert math.isnan(found["auprc"])


def test_a_class_that_labels_lack_is_left_out_of_the_ranking_mean():
    logits = np.array([[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [3.0, 1.0, 0.0]])
    assert score(SINGLE, np.array([0, 1, 0]), logits)["auroc"] == 1


@pytest.mark.parametrize("problem", METRICS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_diverged_model_has_no_score(problem, bad):
    labels = np.array([0, 1] if problem in (SINGLE, BASES) else [[0, 1], [1, 0]])
    found = score(problem, labels, np.array([[bad, 0.0], [1.0, 0.0]]))
    assert found["collapsed"]
    assert all(math.isnan(found[name]) for name in METRICS[problem])


@pytest.mark.parametrize("problem", METRICS)
def test_no_example_has_no_score(problem):
    found = score(problem, np.zeros(0), np.zeros((0, 2)))
    assert not found["collapsed"]
    assert all(math.isnan(found[name]) for name in METRICS[problem])


@pytest.mark.parametrize("problem", METRICS)
def test_a_perfect_model_has_the_best_scores(problem):
    labels = np.array([0, 1, 0, 1]) if problem in (SINGLE, BASES) else np.eye(2)[[0, 1, 0, 1]]
    logits = np.eye(2)[[0, 1, 0, 1]] * (1 if problem == NUMBERS else 2)
    logits = logits if problem != MULTI else logits - 1
    found = score(problem, labels, logits)
    for name in METRICS[problem]:
        assert found[name] == pytest.approx(0 if name == "mse" else 1)


def test_probabilities_do_not_overflow():
    assert probabilities(SINGLE, np.array([[1e4, 0.0]])).tolist() == [[1, 0]]
    assert probabilities(MULTI, np.array([[0.0, -1e4]])).tolist() == [[0.5, 0]]
