"""The page of a fine-tuned model: its numbers are those of the results, and it fetches nothing."""

from __future__ import annotations

import numpy as np
import pytest

from dnazen.training.page import _calibration_error, finetune_page
from report.test_document import read
from splits_of import MULTI, NUMBERS, SINGLE
from training.test_results import ROWS, logits_with, results_of

RECORD = {
    "argv": ["finetune", "--data", "a b"],
    "inputs": [{"path": "some.csv", "size": 1234, "sha256": "0123456789abcdef" * 4}],
    "cut": {"train": 3, "dev": 0, "test": 0},
    "dnazen": "9.9.9",
}


@pytest.fixture
def page_of(few_draws):
    def page(results):
        shared = {"train_dev": 0, "train_test": 2, "dev_test": 0}
        results.splits.duplicates.update(shared)
        return finetune_page(results, RECORD)

    return page


def test_scores_of_all_stand_side_by_side(page_of):
    results = results_of(logits_with(4), logits_with(6), cnn=logits_with(16))
    page = read(page_of(results))
    assert page.fetched == []
    cells = page.cells
    at = cells.index("accuracy")
    assert cells[at + 1 : at + 4] == [f"{1 - n / ROWS:.3f}" for n in (4, 6, 16)]
    for name in ("this model", "k-mers", "CNN", "deep head alone"):
        assert name in cells
    assert "9.9.9" in cells
    assert "1,234" in cells


def test_rows_of_test_that_train_has_are_told_with_the_score_on_the_others(page_of):
    text = page_of(results_of(logits_with(4), logits_with(6)))
    assert "Sequences that stand in two splits, on either strand: 2 of train and test" in text
    assert "Train has every row of test" in text
    assert "cut to the longest length: 3 in train" in text


def test_a_model_that_loses_is_told_on_the_page_too(page_of):
    text = page_of(results_of(logits_with(40), logits_with(2)))
    assert "k-mers do better than this model. Try: " in text


@pytest.mark.parametrize("kind", [SINGLE, MULTI, NUMBERS, "diverged"])
def test_every_kind_of_task_has_a_page(page_of, kind):
    rng = np.random.default_rng(0)
    if kind == MULTI:
        labels = rng.integers(2, size=(ROWS, 2)).astype(float).tolist()
        results = results_of(
            rng.normal(size=(ROWS, 2)), np.zeros((ROWS, 2)), kind=MULTI, labels=labels
        )
    elif kind == NUMBERS:
        labels = [[float(x)] for x in rng.normal(size=ROWS)]
        results = results_of(np.array(labels) + 1, np.array(labels), kind=NUMBERS, labels=labels)
    elif kind == "diverged":
        results = results_of(np.full((ROWS, 2), np.nan), logits_with(6))
    else:
        results = results_of(logits_with(4), logits_with(6))
    page = read(page_of(results))
    assert page.fetched == []
    assert page.tags.count("svg") == {MULTI: 5, NUMBERS: 2, "diverged": 1}.get(kind, 4)


def test_the_calibration_error_by_hand():
    """Ten bins of ten rows: in each, how far what is said is from what is."""
    chance = np.repeat(np.arange(10) / 10 + 0.05, 10)
    positive = np.concatenate([np.arange(10) < n for n in (0, 0, 3, 3, 4, 5, 7, 7, 9, 10)])
    gaps = [0.05, 0.15, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05, 0.05]
    assert _calibration_error(positive, chance) == pytest.approx(np.mean(gaps))
