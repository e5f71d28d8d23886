"""The order of epochs: any defined score before any undefined one, then the lower loss."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnazen.training.selection import is_defined, rank

scores = st.floats(-1, 1, allow_subnormal=False).map(lambda x: round(x, 9))
losses = st.floats(0, 1e6).map(lambda x: round(x, 6)) | st.just(math.inf)


@given(scores, scores, losses, losses)
def test_a_defined_score_decides(one, other, loss, other_loss):
    assert (rank("mcc", one, loss) > rank("mcc", other, other_loss)) == (one > other)
    assert rank("mcc", one, loss) > rank("mcc", math.nan, other_loss)


@given(losses, losses)
def test_without_one_the_lower_loss_does(one, other):
    for metric, score in (("mcc", math.nan), (None, math.nan), (None, 0.7)):
        assert (rank(metric, score, one) > rank(metric, score, other)) == (one < other)
        assert rank(metric, score, one) >= rank(metric, score, math.nan)


def test_a_lower_error_is_better():
    assert rank("mse", 1e12, 0.0) < rank("mse", 2.0, 9.0) < rank("mse", 1.0, 9.0)
    assert rank("mse", math.inf, 0.0) > rank("mse", math.nan, 0.0)


@pytest.mark.parametrize(
    ("metric", "labels", "defined"),
    [
        ("mcc", [1, 1, 1], False),
        ("mcc", [0, 1, 1], True),
        ("auroc", [0], False),
        ("accuracy", [1, 1, 1], True),
        ("f1", [1, 1], True),
        ("pearson", [2.5, 2.5], False),
        ("spearman", [[1.0, 2.0], [1.0, 2.0]], False),
        ("spearman", [[1.0, 2.0], [1.0, 3.0]], True),
        ("mse", [2.5, 2.5], True),
        ("auprc", [[0, 1], [0, 1]], False),
    ],
)
def test_a_score_of_equal_labels_chooses_nothing(metric, labels, defined):
    assert is_defined(metric, labels) == defined
