"""Reading a run: what was written into a made-up one is what comes out."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from sklearn.metrics import f1_score, matthews_corrcoef

from benchmark_runs import OTHER_RATE, MadeUpRun
from dnazen.errors import InputError
from dnazen.gue.provenance import learning_rates
from dnazen.gue.results import Run, cells_of, common_seeds
from dnazen.report.document import Table

ARMS = {"ours": "dnazen", "twin": "e4bu"}


@pytest.fixture
def made(tmp_path) -> MadeUpRun:
    made = MadeUpRun(tmp_path / "run", ARMS, ["mouse/2", "EMP/H3"], seeds=(0, 1, 10))
    made.task("EMP/H3", 60, said="partial train: 5 of 9 rows")
    made.task("mouse/2", 50)
    for model in ARMS:
        for seed in (10, 0, 1):
            made.cell(model, "EMP/H3", seed)
    made.cell("ours", "mouse/2", 0, collapsed=True)
    return made


def test_predictions_of_all_seeds_come_out_in_their_order(made):
    run = Run(made.path)
    assert list(run.tasks) == ["EMP/H3", "mouse/2"]
    results = run.tasks["EMP/H3"]
    assert results.data_state == "partial train: 5 of 9 rows"
    assert results.labels.tolist() == made.labels["EMP/H3"].tolist()
    assert list(results.models) == ["ours", "twin"]
    for model, finished in results.models.items():
        assert finished.seeds == (0, 1, 10)
        for row, seed in zip(finished.predictions, finished.seeds, strict=True):
            assert row.tolist() == made.predictions[model, "EMP/H3", seed].tolist()
    expected = [
        matthews_corrcoef(results.labels, made.predictions["twin", "EMP/H3", seed])
        for seed in (0, 1, 10)
    ]
    assert results.scores("twin") == pytest.approx(expected)
    assert not results.models["ours"].collapsed.any()
    assert run.tasks["mouse/2"].models["ours"].collapsed.tolist() == [True]
    assert [(t.task.name, model, record["seed"]) for t, model, record, _ in cells_of(run)] == [
        *(("EMP/H3", model, seed) for model in ARMS for seed in (0, 1, 10)),
        ("mouse/2", "ours", 0),
    ]


def test_strata_part_the_rows_with_ggrams_at_their_median(made):
    results = Run(made.path).tasks["EMP/H3"]
    density = made.density["EMP/H3"]
    middle = np.median(density[density > 0])
    expected = [0 if d == 0 else 2 if d > middle else 1 for d in density]
    assert results.strata.tolist() == expected
    assert results.ggrams_of == "ours"


def test_covid_is_scored_by_macro_f1(tmp_path):
    made = MadeUpRun(tmp_path, {"a": "cnn"}, ["virus"], seeds=(0,))
    made.task("virus/covid", 90, density=False)
    made.cell("a", "virus/covid", 0, accuracy=0.5)
    results = Run(tmp_path).tasks["virus/covid"]
    predicted = made.predictions["a", "virus/covid", 0]
    assert results.strata is None
    assert results.scores("a") == pytest.approx(
        [f1_score(results.labels, predicted, average="macro")]
    )


def test_cells_of_other_learning_rates_do_not_count(made):
    made.cell("ours", "EMP/H3", 2, rate=OTHER_RATE)
    assert Run(made.path).tasks["EMP/H3"].models["ours"].seeds == (0, 1, 10)


def test_cells_that_found_their_own_rate_stand_in_a_folder_of_that_name(made):
    cells = made.path / "cells/ours/EMP/H3"
    (cells / "lr-5e-05").rename(cells / "lr-auto")
    choices = json.loads((made.path / "choices.json").read_text())
    choices["ours"]["EMP/H3"] = {"learning_rate": "auto", "dev_mcc": {"auto": 0.5}}
    made.write("choices.json", choices)
    assert Run(made.path).tasks["EMP/H3"].models["ours"].seeds == (0, 1, 10)
    (table,) = (b for b in learning_rates(Run(made.path)).blocks if isinstance(b, Table))
    assert table.rows[0][:2] == ["EMP/H3", "auto (50.00)"]


def test_what_is_to_come_is_told_apart_from_what_was_begun(made):
    folder = made.path / "cells/twin/mouse/2/lr-5e-05"
    folder.mkdir(parents=True)
    (folder / "seed-1.failed.log").write_text("killed")
    run = Run(made.path)
    assert run.expected == 12
    assert [(c.model, c.task, c.seed, c.begun) for c in run.missing] == [
        ("ours", "mouse/2", 1, False),
        ("ours", "mouse/2", 10, False),
        ("twin", "mouse/2", 0, False),
        ("twin", "mouse/2", 1, True),
        ("twin", "mouse/2", 10, False),
    ]


def test_models_of_an_earlier_invocation_stay(made):
    record = json.loads((made.path / "run.json").read_text())
    record["arms"] = record["arms"][:1]
    made.write("run.json", record)
    run = Run(made.path)
    assert run.models == ["ours", "twin"]
    assert list(run.tasks["EMP/H3"].models) == ["ours", "twin"]
    assert {cell.model for cell in run.missing} == {"ours"}


def test_common_seeds(made):
    finished = Run(made.path).tasks["EMP/H3"].models["ours"]
    assert common_seeds(finished) == (0, 1, 10)
    assert common_seeds(finished, finished._replace(seeds=(10, 1, 5))) == (1, 10)


def test_a_run_before_its_first_cell_has_no_task(tmp_path):
    run = Run(MadeUpRun(tmp_path, ARMS, ["EMP/H3"]).path)
    assert (run.tasks, len(run.missing)) == ({}, 6)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"no run\.json; expected a directory that 'dnazen gue"):
        Run(tmp_path)
    (tmp_path / "run.json").write_text('{"command": "pretrain", "settings": {}}')
    with pytest.raises(InputError, match="has no 'argv'"):
        Run(tmp_path)


def test_damage_is_told(made):
    folder = made.path / "cells/ours/EMP/H3/lr-5e-05/seed-1"
    table = folder / "test_predictions.tsv"
    whole = table.read_text()
    for text, message in (
        (whole.replace("prediction", "guess"), "damaged predictions; expected columns label"),
        (whole + "61\t0\t7\n", "damaged predictions; .* of 0, 1; remove the cell"),
        (
            whole[: len(whole) // 2].rsplit("\n", 1)[0] + "\n",
            "seed-1/.*predictions give",
        ),
    ):
        table.write_text(text)
        assert_left_out(made.path, message)
    table.unlink()
    assert_left_out(made.path, r"test_predictions\.tsv: no such file; remove the cell")


def assert_left_out(path, message):
    """Seed 1 of ours on EMP/H3 is named, and all others are there."""
    run = Run(path)
    assert run.tasks["EMP/H3"].models["ours"].seeds == (0, 10)
    assert run.tasks["EMP/H3"].models["twin"].seeds
    [damage] = run.damaged
    assert re.search(message, damage)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": "1"}, "'seed' is \"1\", not a whole number"),
        ({"seed": 0}, "is of seed 0; expected seed-1"),
        ({"test": {"mcc": "0.5", "collapsed": False}}, "'test.mcc' is"),
        ({"test": {"mcc": float("nan"), "collapsed": False}}, "'test.mcc' is NaN"),
        ({"test": {"mcc": 0.5}}, "has no 'test.collapsed'"),
        ({"test": None}, "'test' is null, not an object"),
        ({"cost": {}}, "has no 'cost.seconds'"),
        ({"label_names": "01"}, "'label_names' is"),
        ({"learning_rate": "5e-5"}, "'learning_rate' is"),
        ({"dev": {"mcc": []}}, "'dev.mcc' is"),
        ({"rows": {"train": -1}}, "'rows.train' is -1"),
    ],
)
def test_a_damaged_record_is_named_and_the_rest_is_there(made, change, message):
    path = made.path / "cells/ours/EMP/H3/lr-5e-05/seed-1/cell.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert_left_out(made.path, re.escape(message))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\x00", '{"seed": ' + "9" * 5000 + "}"])
def test_a_record_that_is_no_json_is_named_and_the_rest_is_there(made, text):
    path = made.path / "cells/ours/EMP/H3/lr-5e-05/seed-1/cell.json"
    path.write_text(text)
    assert_left_out(made.path, "seed-1/cell.json")


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("run.json", {"arms": [{"name": "../x", "kind": "kmer", "source": ""}]}),
        ("run.json", {"settings": {"tasks": "EMP", "seeds": [0]}}),
        ("run.json", {"settings": {"tasks": ["EMP"], "seeds": ["0"]}}),
        ("choices.json", {"ours": {"EMP/H3": {"learning_rate": "x"}}}),
        ("choices.json", {"ours": {"EMP/H3": {"learning_rate": "5e-05/../../x"}}}),
        ("choices.json", {"ours": {"EMP/H3": {"learning_rate": 1e-4}}}),
        ("choices.json", {"../..": {"EMP/H3": {"learning_rate": "0.0001"}}}),
        ("choices.json", {"ours": []}),
    ],
)
def test_a_damaged_record_of_the_run_is_an_error(made, file, value):
    path = made.path / file
    path.write_text(json.dumps(json.loads(path.read_text()) | value))
    with pytest.raises(InputError):
        Run(made.path)


@pytest.mark.parametrize("value", [[], {}, {"inputs": [{}]}, {"inputs": [{"what": 1}]}])
def test_a_damaged_leakage_is_named(made, value):
    made.write("leakage.json", value)
    run = Run(made.path)
    assert run.leakage == []
    assert "leakage.json" in run.damaged[0]


def test_a_damaged_task_is_named_and_the_others_are_there(made):
    made.write("tasks/EMP/H3/task.json", {"said": 1})
    run = Run(made.path)
    assert "EMP/H3" not in run.tasks
    assert run.tasks
    assert "EMP/H3/task.json" in run.damaged[0]


def test_a_score_that_its_predictions_do_not_give_is_told(made):
    path = made.path / "cells/ours/EMP/H3/lr-5e-05/seed-1/cell.json"
    record = json.loads(path.read_text())
    record["test"]["mcc"] = 0.99
    path.write_text(json.dumps(record))
    assert_left_out(made.path, r"tells mcc 0\.990000, its predictions give")
    record["test"]["mcc"] = None  # a diverged model: nothing to hold against
    path.write_text(json.dumps(record))
    assert Run(made.path).tasks["EMP/H3"].models["ours"].seeds == (0, 1, 10)


def test_densities_of_other_rows_are_told(made):
    made.write("tasks/EMP/H3/density.json", {"ggrams_of": "ours", "density": [0.5]})
    run = Run(made.path)
    assert run.tasks["EMP/H3"].strata is None
    assert "1 densities of 60 test rows" in run.damaged[0]
