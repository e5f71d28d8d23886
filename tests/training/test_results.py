"""What is said of a fine-tuned model beside its baselines, from results made by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dnazen.records import write_json
from dnazen.training.blend import Blend
from dnazen.training.finetune import Fitted
from dnazen.training.kmers import plan_kmers
from dnazen.training.metrics import score
from dnazen.training.rates import RateChoice
from dnazen.training.results import MODEL, Results
from dnazen.training.settings import FinetuneConfig, OptimizerConfig
from splits_of import NUMBERS, SINGLE, splits_of

ROWS = 60
LABELS = [number % 2 for number in range(ROWS)]


def logits_with(mistakes, *, last=False):
    """Of two classes, wrong on so many of the first rows, or of the last ones."""
    said = np.array(LABELS)
    wrong = slice(-mistakes, None) if last else slice(mistakes)
    said[wrong] = 1 - said[wrong]
    return np.eye(2)[said] * 2.0


def fitted_with(logits, kind=SINGLE, labels=LABELS):
    scores = score(kind, np.array(labels), logits)
    rate = RateChoice(2e-4, {1e-4: 0.5, 2e-4: 0.25})
    history = [{"step": 1, "eval_mcc": 0.5}]
    found = scores, Blend(0.75, 0.5), rate, 1, 2.0, 3.0, history
    return Fitted(None, scores, scores, logits, *found, list(logits))


def results_of(model, baseline, *, cnn=None, train=None, kind=SINGLE, labels=LABELS, **settings):
    """Results of logits of test; the regression is one of no matter, that says what it is told."""
    rows = [("ACGT"[n % 4] * 3, label) for n, label in enumerate(labels)]
    splits = splits_of(rows if train is None else train, rows, rows, kind, "01"[: len(model[0])])
    config = FinetuneConfig(**{"kmers": 1, **settings})
    plan = plan_kmers(splits, config)
    said = {"test": baseline, "test_scores": score(kind, np.array(labels), baseline)}
    plan = plan._replace(baseline=plan.baseline._replace(**said))
    small = None if cnn is None else fitted_with(cnn, kind, labels)
    return Results(splits, config, fitted_with(model, kind, labels), plan, small)


def test_a_model_that_loses_is_told_so_and_one_that_wins_is_not():
    loser, winner = (results_of(logits_with(n), logits_with(6)) for n in (12, 3))
    assert (loser.loses, winner.loses) == (True, False)
    assert "WARNING: k-mers do better; try: " in loser.verdict()
    assert "WARNING" not in winner.verdict()
    assert not results_of(logits_with(6), logits_with(6)).loses


def test_the_verdict_names_the_scores_of_all_and_the_interval():
    results = results_of(logits_with(4), logits_with(6), cnn=logits_with(16))
    low, high = results.intervals[MODEL]
    mcc = results.fitted.test["mcc"]
    assert low < mcc < high
    # Mistakes are half of each class: MCC is 1 - 2 mistakes / rows.
    assert results.verdict() == (
        f"mcc on test: k-mers {1 - 12 / 60:.3f}, CNN {1 - 32 / 60:.3f}, "
        f"this model {mcc:.3f} [{low:.3f}, {high:.3f}]"
    )


def test_the_best_baseline_is_the_one_that_is_named():
    cnn_wins = results_of(logits_with(10), logits_with(6), cnn=logits_with(2))
    assert cnn_wins.best_baseline == "CNN"
    assert "WARNING: CNN do better" in cnn_wins.verdict()


def test_the_table_has_a_line_a_score_and_a_column_a_model():
    results = results_of(logits_with(4), logits_with(6), cnn=logits_with(16))
    header, *lines = results.table()
    assert header == ["score", "model", "k-mers", "CNN"]
    assert [line[0] for line in lines] == [
        "mcc", "f1", "accuracy", "auroc", "auprc", "collapsed",
    ]  # fmt: skip
    by_name = {name: values for name, *values in lines}
    assert [float(x) for x in by_name["accuracy"]] == pytest.approx(
        [56 / 60, 54 / 60, 44 / 60], rel=1e-5
    )
    assert by_name["collapsed"] == ["0", "0", "0"]
    assert next(results_of(logits_with(4), logits_with(6)).table()) == header[:3]


def test_numbers_are_json_and_hold_all_that_was_found(tmp_path):
    results = results_of(logits_with(4), logits_with(6), cnn=logits_with(16))
    write_json(tmp_path / "n.json", results.numbers())
    found = json.loads((tmp_path / "n.json").read_text())
    assert found["mcc"] == pytest.approx(1 - 8 / 60)
    assert (found["metric"], found["rows"], found["best_epoch"]) == ("mcc", ROWS, 2.0)
    assert found["dev_mcc"] == found["deep_head"]["mcc"] == found["mcc"]
    assert found["blend"] == {"deep": 0.75, "kmers": 0.5}
    assert (found["learning_rate"], found["restarts"]) == (2e-4, 1)
    assert found["tried_learning_rates"] == {"0.0001": 0.5, "0.0002": 0.25}
    assert found["strands"] in ("average", "forward")
    baseline = found["baselines"]["k-mers"]
    assert baseline["mcc"] == pytest.approx(0.8)
    for interval, value in (
        (found["interval"], found["mcc"]),
        (baseline["interval"], baseline["mcc"]),
        (baseline["gain_interval"], found["mcc"] - baseline["mcc"]),
    ):
        assert interval[0] <= value <= interval[1]
    assert set(found["baselines"]) == {"k-mers", "CNN"}


def test_scores_that_are_not_defined_are_null(tmp_path):
    results = results_of(np.full((ROWS, 2), np.nan), logits_with(6))
    write_json(tmp_path / "n.json", results.numbers())
    found = json.loads((tmp_path / "n.json").read_text())
    assert (found["mcc"], found["interval"]) == (None, [None, None])
    assert "its numbers are not finite; look at the range of the labels" in results.verdict()


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"kmers": 0}, "leave --kmers at its default"),
        ({"from_random_weights": True}, "start from a pre-trained model"),
        ({"base_channels": 0}, "leave --base-channels at its default"),
        (
            {"optimizer": OptimizerConfig(learning_rate=1e-3)},
            "leave --optimizer.learning-rate at auto",
        ),
    ],
)
def test_the_advice_is_what_was_not_done(settings, advice):
    assert advice in results_of(logits_with(40), logits_with(0), **settings).verdict()
    assert advice not in results_of(logits_with(40), logits_with(0)).verdict()


def test_where_all_was_done_the_advice_is_a_larger_model():
    assert "try: a larger model, or more rows of train" in (
        results_of(logits_with(40), logits_with(0)).verdict()
    )


@pytest.mark.parametrize("kind", ["classes", "numbers"])
def test_a_difference_within_chance_is_told(kind):
    """Of an error, less is better: a loss beyond chance is one whose interval lies above 0."""
    chance = "the difference is within chance"
    if kind == "classes":
        near, far = (results_of(logits_with(n), logits_with(6, last=True)) for n in (8, 40))
    else:
        rng = np.random.default_rng(0)
        targets = [[float(x)] for x in rng.normal(size=ROWS)]
        noise = rng.normal(size=(ROWS, 1))
        near, far = (
            results_of(
                np.array(targets) + size * noise,
                np.array(targets) + noise[::-1],
                kind=NUMBERS,
                labels=targets,
                best_metric="mse",
            )
            for size in (1.02, 3)
        )
    assert near.loses
    assert far.loses
    assert chance in near.verdict()
    assert chance not in far.verdict()


# -- collapses, each with its cause


def collapsed(baseline, **more):
    return results_of(np.tile([1.0, 0.0], (ROWS, 1)), baseline, **more)


def test_of_uneven_classes_the_cause_is_the_classes():
    train = [("ACG", int(n % 30 == 0)) for n in range(90)]
    verdict = collapsed(logits_with(6), train=train).verdict()
    assert "WARNING: COLLAPSED: it predicts the same for every example of test; " in verdict
    assert "train has 87 rows of one class and 3 of another: try --class-weights" in verdict


def test_where_k_mers_find_nothing_either_there_is_nothing_to_find():
    verdict = collapsed(np.tile([0.0, 1.0], (ROWS, 1))).verdict()
    assert "so do k-mers: with 60 rows of train, nothing was found" in verdict


def test_where_k_mers_find_something_the_training_failed():
    settings = {"optimizer": OptimizerConfig(learning_rate=1.0)}
    verdict = collapsed(logits_with(6), **settings).verdict()
    assert "k-mers do not, so the training failed: try: leave --optimizer.learning-rate" in verdict


def test_a_flag_that_is_advised_is_one_that_there_is():
    from dataclasses import fields

    names = {field.name for field in fields(FinetuneConfig)}
    assert {"class_weights", "kmers", "base_channels"} <= names
