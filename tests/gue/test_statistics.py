"""Statistics against scikit-learn, scipy, hand-worked numbers and simulated worlds."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score, matthews_corrcoef

from dnazen.gue.statistics import (
    Estimate,
    benjamini_hochberg,
    effect_size,
    estimate,
    holm,
    mean_estimate,
    resampled_scores,
    scores_of,
    signed_rank,
    tally,
)


@st.composite
def rows_of_classes(draw):
    classes = draw(st.integers(2, 9))
    rows = draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    few = draw(st.integers(1, classes))  # some classes may be missing
    labels, predictions = rng.integers(few, size=rows), rng.integers(classes, size=(3, rows))
    predictions[0, :] = predictions[0, 0]  # a collapsed seed
    return labels, predictions, classes


def by_sklearn(labels, predicted, metric):
    if metric == "f1":
        return f1_score(labels, predicted, average="macro", zero_division=0)
    if len(set(labels)) == 1 or len(set(predicted)) == 1:
        return 0.0
    return matthews_corrcoef(labels, predicted)


@settings(max_examples=60, deadline=None)
@given(rows_of_classes(), st.sampled_from(["mcc", "f1"]))
def test_scores_are_those_of_scikit_learn(example, metric):
    labels, predictions, classes = example
    expected = [by_sklearn(labels, row, metric) for row in predictions]
    assert scores_of(labels, predictions, classes, metric) == pytest.approx(expected, abs=1e-12)


def test_weights_count_rows_as_often_as_they_say():
    labels, predictions = np.array([0, 1, 1, 2]), np.array([[0, 1, 2, 2], [1, 1, 1, 1]])
    weights = np.array([[1, 1, 1, 1], [3, 0, 1, 0]], dtype=np.float32)
    found = tally(labels, predictions, 3, weights)
    assert found.true.tolist() == [[[1, 2, 1]], [[3, 1, 0]]]
    assert found.predicted.tolist() == [[[1, 1, 2], [0, 4, 0]], [[3, 0, 1], [0, 4, 0]]]
    assert found.right.tolist() == [[[1, 1, 1], [0, 2, 0]], [[3, 0, 0], [0, 1, 0]]]


def test_resampled_scores_are_scores_of_resampled_rows(monkeypatch):
    rng = np.random.default_rng(1)
    labels, predictions = rng.integers(3, size=50), rng.integers(3, size=(2, 50))
    models = {"a": predictions, "b": predictions[:1]}
    found = resampled_scores(labels, models, 3, "mcc", draws=7)
    assert found["a"].shape == (7, 2)
    assert (found["b"][:, 0] == found["a"][:, 0]).all()  # the same rows for every model
    picked = np.random.default_rng(0).integers(50, size=(7, 50))
    expected = [[matthews_corrcoef(labels[p], row[p]) for row in predictions] for p in picked]
    assert found["a"] == pytest.approx(np.array(expected))
    monkeypatch.setattr("dnazen.gue.statistics._ROWS_A_BLOCK", 100)  # blocks of two draws
    again = resampled_scores(labels, models, 3, "mcc", draws=7)
    assert (again["a"] == found["a"]).all()


def test_spread_of_the_bootstrap_is_that_of_accuracy_by_formula():
    rng = np.random.default_rng(2)
    labels = rng.permutation(np.repeat([0, 1], 500))
    predictions = np.where(rng.random(1000) < 0.8, labels, 1 - labels)[None]
    draws = resampled_scores(labels, {"a": predictions}, 2, "mcc", draws=2000)["a"]
    # MCC is about 2 x accuracy - 1 with balanced classes.
    accuracy = (predictions[0] == labels).mean()
    assert draws.std() == pytest.approx(2 * math.sqrt(accuracy * (1 - accuracy) / 1000), rel=0.07)


def test_estimate_by_hand():
    scores = np.array([0.1, 0.2, 0.6])  # mean 0.3, variance 0.07
    draws = np.array([[0.0, 0.2, 0.1], [0.2, 0.4, 0.1], [0.4, 0.3, 0.1]])
    # Covariances of pairs: (0, 1) = 0.01, others 0, each twice, over 6.
    found = estimate(scores, draws)
    variance = 0.07 / 3 + 0.02 / 6
    assert found.value == pytest.approx(0.3)
    assert found.standard_error == pytest.approx(math.sqrt(variance))
    assert found.df == pytest.approx(variance**2 / ((0.07 / 3) ** 2 / 2))


def test_without_noise_of_rows_it_is_students_test():
    rng = np.random.default_rng(3)
    differences = rng.normal(0.3, 1, 6)
    found = estimate(differences, np.tile(differences, (10, 1)))
    reference = stats.ttest_1samp(differences, 0)
    assert found.p_value == pytest.approx(reference.pvalue)
    assert found.interval == pytest.approx(tuple(reference.confidence_interval(0.95)))


def test_of_one_seed_the_rows_alone_are_known():
    draws = np.array([[0.1], [0.2], [0.3]])
    found = estimate(np.array([0.25]), draws)
    assert found == Estimate(0.25, pytest.approx(0.1), math.inf, testable=False)
    assert math.isnan(found.p_value)
    assert found.interval == pytest.approx((0.25 - 0.196, 0.25 + 0.196), abs=1e-4)


def test_nothing_differs():
    found = estimate(np.zeros(3), np.zeros((5, 3)))
    assert (found.interval, found.p_value) == ((0.0, 0.0), 1.0)
    assert math.isnan(Estimate(0.1, 0.0, math.inf).p_value)


SEEDS, ROWS = 5, 300


def world(rng, spread_of_seeds, labels, ease, mean=1.0):
    """Predictions of seeds of which some are better, on rows of which some are easier."""
    seeds = rng.normal(0, spread_of_seeds, (SEEDS, 1))
    right = mean + ease + seeds + rng.normal(0, 0.5, (SEEDS, len(labels))) > 0
    return np.where(right, labels, 1 - labels)


@pytest.mark.slow
@pytest.mark.parametrize("spread_of_seeds", [0, 0.4])
def test_intervals_hold_the_truth_and_p_values_are_even_where_nothing_differs(spread_of_seeds):
    rng = np.random.default_rng(4)
    # P(right) = P(normal of variance 1 + 0.5² + spread² > -1); MCC = 2 P(right) - 1.
    truth = 2 * stats.norm.cdf(1 / math.sqrt(1.25 + spread_of_seeds**2)) - 1
    held, p_values = [], []
    for _ in range(200):
        labels, ease = rng.integers(2, size=ROWS), rng.normal(size=ROWS)
        models = {model: world(rng, spread_of_seeds, labels, ease) for model in "ab"}
        draws = resampled_scores(labels, models, 2, "mcc", draws=200)
        a, b = (scores_of(labels, models[model], 2, "mcc") for model in "ab")
        low, high = estimate(a, draws["a"]).interval
        held.append(low <= truth <= high)
        p_values.append(estimate(a - b, draws["a"] - draws["b"]).p_value)
    assert 0.90 <= np.mean(held) <= 0.99  # 0.95 within three standard errors
    assert stats.kstest(p_values, "uniform").pvalue > 0.001
    assert np.mean(np.array(p_values) < 0.05) <= 0.1


def test_a_real_difference_is_seen():
    rng = np.random.default_rng(5)
    labels, ease = rng.integers(2, size=ROWS), rng.normal(size=ROWS)
    models = {"a": world(rng, 0.05, labels, ease, 1.5), "b": world(rng, 0.05, labels, ease, 1.0)}
    draws = resampled_scores(labels, models, 2, "mcc", draws=200)
    a, b = (scores_of(labels, models[model], 2, "mcc") for model in "ab")
    assert estimate(a - b, draws["a"] - draws["b"]).p_value < 1e-4


def test_mean_of_estimates_by_hand():
    parts = [Estimate(0.2, 0.03, 4.0), Estimate(0.6, 0.04, math.inf)]
    found = mean_estimate(parts)
    assert found.value == pytest.approx(0.4)
    assert found.standard_error == pytest.approx(0.025)  # a 3-4-5 triangle, halved
    assert found.df == pytest.approx(0.025**4 / (0.015**4 / 4))
    weighted = mean_estimate(parts, [3, 1])
    assert weighted.value == pytest.approx(0.3)
    assert weighted.standard_error == pytest.approx(math.hypot(0.0225, 0.01))
    assert mean_estimate(parts[1:]) == parts[1]


def test_effect_size():
    assert effect_size(np.array([1.0, 2.0, 3.0])) == 2.0
    assert math.isnan(effect_size(np.array([1.0])))
    assert math.isnan(effect_size(np.array([1.0, 1.0])))


def signed_rank_by_enumeration(differences):
    """The exact two-sided p-value: all ways to sign the ranks."""
    ranks = stats.rankdata(np.abs(differences))
    seen = abs((ranks * np.sign(differences)).sum())
    ways = [abs(np.dot(ranks, s)) for s in itertools.product([-1, 1], repeat=len(ranks))]
    return np.mean(np.array(ways) >= seen - 1e-9)


@pytest.mark.parametrize(
    "differences", [[0.3], [1.0, -2.0], [0.5, 0.7, -0.1, 0.9, 1.3, -0.2, 0.35, 0.8, 2.0]]
)
def test_signed_rank_by_enumeration(differences):
    assert signed_rank(differences).p_value == pytest.approx(
        signed_rank_by_enumeration(differences)
    )


def test_signed_rank_effect_and_zeros():
    assert signed_rank([1.0, 2.0, -3.0, 0.0]).effect_size == 0.0
    assert signed_rank([1.0, 2.0]).effect_size == 1.0
    assert signed_rank([1.0, -2.0, 3.0, 0.0]) == signed_rank([1.0, -2.0, 3.0])
    assert all(map(math.isnan, signed_rank([0.0, 0.0])))
    assert all(map(math.isnan, signed_rank([])))


def test_signed_rank_of_tied_ranks_and_many_tasks():
    assert 0 < signed_rank([0.1, 0.1, -0.1, 0.2]).p_value <= 1
    rng = np.random.default_rng(6)
    many = rng.normal(0.2, 1, 28)
    assert signed_rank(many).p_value == pytest.approx(stats.wilcoxon(many).pvalue)


def test_corrections_by_hand():
    p_values = [0.01, 0.04, 0.03, 0.005]
    assert holm(p_values) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert benjamini_hochberg(p_values) == pytest.approx([0.02, 0.04, 0.04, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == benjamini_hochberg([]) == []


@pytest.mark.parametrize("correct", [holm, benjamini_hochberg])
def test_corrections_leave_out_what_is_not_defined(correct):
    found = correct([0.01, math.nan, 0.04])
    assert math.isnan(found[1])
    assert [found[0], found[2]] == pytest.approx(correct([0.01, 0.04]))
    assert math.isnan(correct([math.nan])[0])
