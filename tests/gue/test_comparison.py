"""Scores and comparisons of made-up runs, against scikit-learn and numbers worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import matthews_corrcoef

from benchmark_runs import MadeUpRun
from dnazen.gue.comparison import (
    Analysis,
    ModelScore,
    Stratum,
    TaskDifference,
    analyse,
    overall_difference,
    pooled,
)
from dnazen.gue.results import Run
from dnazen.gue.statistics import Estimate

ARMS = {"ours": "dnazen", "twin": "e4bu", "late": "random"}
TASKS = ("EMP/H3", "EMP/H4", "mouse/2")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> MadeUpRun:
    made = MadeUpRun(tmp_path_factory.mktemp("made") / "run", ARMS, TASKS)
    for task in TASKS:
        made.task(task, 240)
        for seed in (0, 1, 2):
            made.cell("ours", task, seed, 0.9)
            made.cell("twin", task, seed, 0.8, collapsed=(task, seed) == ("EMP/H4", 1))
    made.cell("late", "EMP/H3", 2, 0.7)
    return made


@pytest.fixture(scope="module")
def analysis(made) -> Analysis:
    return analyse(Run(made.path), "twin", draws=200)


def mcc(made, model, task, seed, rows=slice(None)):
    labels, predicted = made.labels[task], made.predictions[model, task, seed]
    if len(set(predicted)) == 1:
        return 0.0
    return matthews_corrcoef(labels[rows], predicted[rows])


def test_means_and_spreads_are_those_of_the_seeds(made, analysis):
    for task in TASKS:
        for model in ("ours", "twin"):
            each = [mcc(made, model, task, seed) for seed in (0, 1, 2)]
            found = analysis.scores[task][model]
            assert found.estimate.value == pytest.approx(np.mean(each))
            assert found.sd == pytest.approx(np.std(each, ddof=1))
            low, high = found.estimate.interval
            assert low < np.mean(each) < high
    late = analysis.scores["EMP/H3"]["late"]
    assert late.estimate.value == pytest.approx(mcc(made, "late", "EMP/H3", 2))
    assert math.isnan(late.sd)


def test_collapsed_seeds_count_and_are_told(made, analysis):
    found = analysis.scores["EMP/H4"]["twin"]
    others = [mcc(made, "twin", "EMP/H4", seed) for seed in (0, 2)]
    assert found.collapsed.tolist() == [False, True, False]
    assert found.estimate.value == pytest.approx(sum(others) / 3)
    assert found.mean_without_collapsed == pytest.approx(np.mean(others))
    nothing = ModelScore(found.estimate, found.by_seed, np.ones(3, dtype=bool))
    assert math.isnan(nothing.mean_without_collapsed)


def test_models_are_compared_on_the_seeds_that_both_have(made, analysis):
    late = analysis.differences["late"]
    assert list(late) == ["EMP/H3"]
    assert late["EMP/H3"].seeds == (2,)
    expected = mcc(made, "late", "EMP/H3", 2) - mcc(made, "twin", "EMP/H3", 2)
    assert late["EMP/H3"].estimate.value == pytest.approx(expected)
    ours = analysis.differences["ours"]["mouse/2"]
    each = [mcc(made, "ours", "mouse/2", s) - mcc(made, "twin", "mouse/2", s) for s in (0, 1, 2)]
    assert ours.estimate.value == pytest.approx(np.mean(each))
    assert ours.effect_size == pytest.approx(np.mean(each) / np.std(each, ddof=1))
    assert "twin" not in analysis.differences


def test_p_values_are_corrected_for_the_tasks(analysis):
    ours = list(analysis.differences["ours"].values())
    tested = [d for d in ours if len(d.seeds) > 1 and not d.collapsed]
    assert tested
    assert all(math.isnan(d.holm) for d in ours if d not in tested)
    p_values = [d.estimate.p_value for d in tested]
    smallest = int(np.argmin(p_values))
    assert tested[smallest].holm == pytest.approx(min(1, len(tested) * p_values[smallest]))
    expected = stats.false_discovery_control(p_values)
    assert [d.false_discovery for d in tested] == pytest.approx(expected)


def test_nobody_wins_where_a_cell_collapsed_or_one_seed_is_all(tmp_path):
    made = MadeUpRun(tmp_path, {"a": "dnazen", "b": "e4bu"}, ["mouse"])
    for task in ("mouse/0", "mouse/1", "mouse/2", "mouse/3"):
        made.task(task, 400)
        for seed in (0, 1, 2):
            if task != "mouse/3" or seed == 0:
                made.cell("a", task, seed, 0.95)
            down = (task, seed) == ("mouse/1", 2) or task == "mouse/2"
            made.cell("b", task, seed, 0.7, collapsed=down)
    analysis = analyse(Run(made.path), "b", draws=200)
    difference = analysis.differences["a"]
    assert [d.collapsed for d in difference.values()] == [0, 1, 3, 0]
    assert difference["mouse/0"].holm == pytest.approx(difference["mouse/0"].estimate.p_value)
    assert difference["mouse/0"].holm < 0.05
    for task in ("mouse/1", "mouse/2", "mouse/3"):  # collapsed, collapsed, of one seed
        assert difference[task].estimate.value > 0.2
        assert math.isnan(difference[task].estimate.p_value)
        assert math.isnan(difference[task].holm)
        for stratum in analysis.strata[task].values():
            assert math.isnan(stratum.differences["a"].p_value)
    overall = overall_difference(difference.values())
    assert (overall.tasks, overall.wins, overall.losses, overall.collapsed) == (4, 2, 0, 2)
    assert (overall.sure_wins, overall.sure_losses) == (1, 0)
    value = difference["mouse/0"].estimate.value
    assert overall.test.p_value == pytest.approx(stats.wilcoxon([value]).pvalue)
    # the other way round nobody loses either
    other = overall_difference(analyse(Run(made.path), "a", draws=200).differences["b"].values())
    assert (other.wins, other.losses, other.collapsed, other.sure_losses) == (0, 2, 2, 1)


def test_strata_are_scored_on_their_rows(made, analysis):
    for name, stratum in analysis.strata["EMP/H3"].items():
        density = made.density["EMP/H3"]
        middle = np.median(density[density > 0])
        rows = {
            "none": density == 0,
            "low": (density > 0) & (density <= middle),
            "high": density > middle,
        }[name]
        assert stratum.rows == rows.sum()
        each = {
            model: np.array([mcc(made, model, "EMP/H3", seed, rows) for seed in (0, 1, 2)])
            for model in ("ours", "twin")
        }
        assert stratum.scores["ours"].value == pytest.approx(each["ours"].mean())
        expected = (each["ours"] - each["twin"]).mean()
        assert stratum.differences["ours"].value == pytest.approx(expected)
    assert list(analysis.strata["EMP/H3"]) == ["none", "low", "high"]


def test_small_strata_have_no_score(tmp_path):
    made = MadeUpRun(tmp_path, {"a": "dnazen"}, ["EMP/H3"], seeds=(0,))
    made.task("EMP/H3", 60)  # 20 rows or so a stratum
    made.cell("a", "EMP/H3", 0)
    alone = analyse(Run(tmp_path), "a", draws=100)
    assert alone.strata["EMP/H3"] == {}
    assert (alone.models, alone.differences) == (["a"], {})


def test_shared_tasks_are_those_of_all(analysis):
    assert analysis.models == ["ours", "twin", "late"]
    assert analysis.shared_tasks == ["EMP/H3"]
    mean = analysis.mean("ours", ["EMP/H3", "mouse/2"])
    each = [analysis.scores[task]["ours"].estimate.value for task in ("EMP/H3", "mouse/2")]
    assert mean.value == pytest.approx(np.mean(each))


def difference(value, corrected=1.0) -> TaskDifference:
    return TaskDifference(Estimate(value, 0.01, 4.0), math.nan, (0,), corrected, corrected)


def test_wins_ties_and_losses_by_hand():
    found = overall_difference(
        [
            difference(0.02, 0.01),
            difference(0.0004, 0.03),
            difference(-0.0004),
            difference(-0.01, 0.049),
            difference(0.03, 0.06),
        ]
    )
    assert (found.tasks, found.wins, found.ties, found.losses) == (5, 2, 2, 1)
    assert (found.sure_wins, found.sure_losses) == (2, 1)
    assert found.mean.value == pytest.approx(0.008)
    assert found.test.p_value == pytest.approx(
        stats.wilcoxon([0.02, 0.0004, -0.0004, -0.01, 0.03]).pvalue
    )


def test_strata_of_tasks_are_weighted_by_rows():
    def stratum(rows, value):
        return Stratum(rows, {"a": Estimate(value, 0.1, math.inf)}, {})

    strata = {"x": {"none": stratum(300, 0.5)}, "y": {"none": stratum(100, 0.9)}, "z": {}}
    found = pooled(strata, "none", "a", difference=False)
    assert found is not None
    mean, tasks, rows = found
    assert (tasks, rows) == (2, 400)
    assert mean.value == pytest.approx(0.6)
    assert mean.standard_error == pytest.approx(math.hypot(0.075, 0.025))
    assert pooled(strata, "none", "a", difference=True) is None
    assert pooled(strata, "high", "a", difference=False) is None
