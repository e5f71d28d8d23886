"""The driver on functions whose best point is known, without any training."""

from __future__ import annotations

import builtins
import math
import statistics

import pytest

from dnazen.errors import ConfigError, InputError
from dnazen.search.search import importances, require_optuna, search
from dnazen.search.space import Range
from dnazen.search.trials import (
    Outcome,
    Trial,
    best_trial,
    read_trials,
    trial_rows,
    write_trials,
)

SPACE = {
    "optimizer.learning_rate": Range(1e-5, 1.0, log=True),
    "layers": (1, 2, 4, 8),
    "pooling": ("mean", "cls"),
}


def height(values):
    """Its best is 0, at a learning rate of 0.01, 4 layers and the mean."""
    distance = abs(math.log10(values["optimizer.learning_rate"]) + 2)
    return -distance - abs(values["layers"] - 4) / 4 - (values["pooling"] == "cls") / 100


def objective(values, report):
    score = height(values)
    for epoch in (1, 2, 3):
        if report(epoch, score):
            return Outcome("pruned", score, epoch)
    return Outcome("complete", score, 3)


def run(objective=objective, space=SPACE, done=(), **more):
    settings = {
        "trials": 30, "seed": 3, "first": None, "higher_is_better": True, "prune": False, **more
    }  # fmt: skip
    return list(search(space, objective, done, **settings))


def untimed(trials):
    return [trial._replace(seconds=0.0) for trial in trials]


@pytest.fixture(scope="module")
def found():
    return run()


def test_the_best_point_is_found(found):
    best = best_trial(found, higher_is_better=True)
    assert [trial.number for trial in found] == list(range(1, 31))
    assert best.score == max(trial.score for trial in found) > -0.25
    assert best.values["layers"] == 4
    assert 0.005 < best.values["optimizer.learning_rate"] < 0.02
    assert len({tuple(trial.values.values()) for trial in found}) == 30


def test_the_lowest_is_looked_for_where_lower_is_better():
    def depth(values, report):
        return Outcome("complete", -height(values))

    trials = run(depth, higher_is_better=False)
    best = best_trial(trials, higher_is_better=False)
    assert best.score == min(trial.score for trial in trials) < 0.25


def test_the_rate_matters_most_and_pooling_hardly(found):
    shares = importances(SPACE, found, higher_is_better=True)
    assert list(shares) == ["optimizer.learning_rate", "layers", "pooling"]
    assert shares["optimizer.learning_rate"] > 3 * shares["pooling"]
    assert sum(shares.values()) == pytest.approx(1)
    assert importances(SPACE, found[:7], higher_is_better=True) == {}


def test_a_seed_gives_the_same_trials_and_another_others(found):
    assert untimed(run(trials=12)) == untimed(found[:12])
    assert run(trials=1, seed=4)[0].values != found[0].values


@pytest.mark.parametrize("prune", [False, True])
def test_going_on_equals_not_stopping(tmp_path, prune):
    whole = run(trials=16, prune=prune)
    write_trials(tmp_path / "trials.json", whole[:9])
    before = read_trials(tmp_path / "trials.json")
    assert before == whole[:9]
    after = run(done=before, trials=16, prune=prune)
    assert untimed(after) == untimed(whole[9:])
    assert run(done=whole, trials=16) == []


def test_the_settings_as_given_come_first():
    first = {"optimizer.learning_rate": 0.5, "layers": 1, "pooling": "cls"}
    trials = run(first=first, trials=3)
    assert trials[0].values == first
    assert first not in [trial.values for trial in trials[1:]]


def test_a_trial_is_stopped_below_the_median_of_those_before_it():
    trials = run(prune=True)
    pruned = [trial for trial in trials if trial.outcome.end == "pruned"]
    assert pruned
    for trial in trials:
        before = [t.score for t in trials[: trial.number - 1] if t.score is not None]
        is_bad = len(before) >= 5 and trial.outcome.score < statistics.median(before)
        assert (trial.outcome.end == "pruned") == is_bad
        assert len(trial.epoch_scores) == (2 if is_bad else 3)
    assert all(trial.score is None for trial in pruned)


def test_a_small_space_is_searched_through_and_then_ends():
    space = {"layers": (2, 4), "pooling": ("mean", "cls")}

    def flat(values, report):
        return Outcome("complete", float(values["layers"]))

    trials = run(flat, space, trials=50)
    assert len(trials) == 4
    assert best_trial(trials, higher_is_better=True).values["layers"] == 4


def test_trials_that_failed_collapsed_or_diverged_are_counted_and_do_not_win():
    ends = [
        Outcome("failed", None, problem="no memory"),
        Outcome("collapsed", 99.0),
        Outcome("diverged", None),
    ]

    def unlucky(values, report):
        report(1, math.nan)
        return next(outcomes, Outcome("complete", height(values)))

    outcomes = iter(ends)
    trials = run(unlucky, trials=15, prune=True)
    assert [trial.outcome for trial in trials[:3]] == ends
    assert best_trial(trials[:3], higher_is_better=True) is None
    assert best_trial(trials, higher_is_better=True).number > 3
    assert not any(trial.epoch_scores for trial in trials)


def test_the_first_of_equals_is_the_best():
    trials = [Trial(n, {}, Outcome("complete", 0.5), (), 0.0) for n in (1, 2)]
    assert best_trial(trials, higher_is_better=True).number == 1
    assert best_trial(trials, higher_is_better=False).number == 1


def test_the_table_of_trials():
    outcome = Outcome("failed", None, problem="no memory")
    trials = [
        Trial(1, {"layers": None}, Outcome("complete", 0.25, 2.0), ((1, 0.1), (2, 0.25)), 1.5),
        Trial(2, {"layers": 3}, outcome, (), 0.0),
    ]
    assert list(trial_rows(trials, ["layers"])) == [
        ["trial", "end", "score", "best_epoch", "epochs_run", "seconds", "layers", "problem"],
        ["1", "complete", "0.25", "2", "2", "1.5", "None", ""],
        ["2", "failed", "NA", "NA", "0", "0.0", "3", "no memory"],
    ]


def test_a_damaged_file_of_trials_is_refused(tmp_path, found):
    path = tmp_path / "trials.json"
    write_trials(path, found[:2])
    path.write_text(path.read_text().replace('"complete"', '"won"', 1))
    with pytest.raises(InputError, match="no end of a trial: 'won'"):
        read_trials(path)
    path.write_text('{"trials": [{}]}')
    with pytest.raises(InputError, match=r"has no 'trials\[0\].values'"):
        read_trials(path)


def test_without_optuna_one_line_says_how_to_get_it(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "optuna":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'dnazen\[optuna\]'"):
        require_optuna()
