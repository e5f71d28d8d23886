"""Intervals of scores against the textbook's, and of differences row by row."""

from __future__ import annotations

import numpy as np
import pytest

from dnazen.training.intervals import Interval, intervals
from splits_of import NUMBERS, SINGLE


def logits_right(labels, right):
    """Logits of two classes that are right on some rows, and wrong on the others."""
    said = np.where(right, labels, 1 - labels)
    return np.eye(2)[said] * 4 - 2


@pytest.mark.parametrize(("rows", "share"), [(100, 0.8), (1000, 0.6)])
def test_the_interval_of_an_accuracy_is_the_textbook_s(rows, share):
    labels = np.arange(rows) % 2
    right = np.arange(rows) % 10 < 10 * share
    [(low, high)], gains = intervals(SINGLE, "accuracy", labels, [logits_right(labels, right)])
    spread = np.sqrt(share * (1 - share) / rows)
    assert (low, high) == pytest.approx((share - 1.96 * spread, share + 1.96 * spread), abs=0.015)
    assert gains == []


def test_a_difference_is_taken_on_the_same_rows():
    """Two models that are right on like rows differ less than their intervals say."""
    labels = np.arange(200) % 2
    right = np.arange(200) % 10 < 7
    better = right | (np.arange(200) % 10 == 7)
    models = [logits_right(labels, x) for x in (better, right, better)]
    scores, (gain, none) = intervals(SINGLE, "accuracy", labels, models)
    assert scores[0].low < scores[1].high  # they overlap ...
    assert 0 < gain.low < 0.1 < gain.high < 0.2  # ... and yet the first is better
    assert none == Interval(0.0, 0.0)


def test_the_same_rows_give_the_same_interval():
    labels = np.arange(60) % 2
    models = [np.random.default_rng(0).normal(size=(60, 2))]
    one, same = (intervals(SINGLE, "mcc", labels, models) for _ in range(2))
    assert one == same


def test_the_interval_of_a_correlation_contains_it():
    rng = np.random.default_rng(0)
    labels = rng.normal(size=(80, 1))
    predicted = labels + rng.normal(size=(80, 1))
    [(low, high)], _ = intervals(NUMBERS, "pearson", labels, [predicted])
    assert low < np.corrcoef(labels[:, 0], predicted[:, 0])[0, 1] < high


def test_draws_in_which_a_score_is_not_defined_are_left_out():
    labels = np.array([1, *[0] * 19])  # in a third of the draws there is no 1
    [(low, high)], _ = intervals(SINGLE, "auroc", labels, [logits_right(labels, labels >= 0)])
    assert (low, high) == (1.0, 1.0)


def test_a_score_that_is_never_defined_has_none():
    labels = np.arange(10) % 2
    scores, gains = intervals(SINGLE, "mcc", labels, [np.full((10, 2), np.nan), np.eye(2)[labels]])
    assert np.isnan([*scores[0], *gains[0]]).all()
    assert np.isfinite(scores[1]).all()


def test_of_many_rows_fewer_draws_are_made(monkeypatch):
    from dnazen.training import intervals as module

    drawn = []
    counted = lambda *a: drawn.append(1) or {"mcc": 0.0}  # noqa: E731
    monkeypatch.setattr(module, "counted_scores", counted)
    for rows, expected in ((10, 500), (100_000, 100), (1_000_000, 50)):
        drawn.clear()
        intervals(SINGLE, "mcc", np.zeros(rows, dtype=int), [np.zeros((rows, 2))])
        assert len(drawn) == expected
