"""``dnazen gue run`` on a tiny GUE: what it writes, keeps, chooses, skips and refuses."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from directories import random_directory
from dnazen import cli
from dnazen.gue.grid import CHOICES_FILE, LEAKAGE_FILE, RUN_FILE, run_grid
from dnazen.gue.settings import BenchmarkConfig, TaskSettings, parse_models
from dnazen.gue.tasks import TASKS
from dnazen.records import write_json
from dnazen.runs import claimed
from tiny_gue import make_gue, write_rows


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_gue(tmp_path_factory.mktemp("gue"))


@pytest.fixture(scope="module")
def ours(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "ours"
    random_directory(ground, folder, hidden_size=32, intermediate_size=32)
    return folder


def flags(data, output, models, *more):
    words = ["gue", "run", "--data", str(data), "-o", str(output), "--jobs", "0", "--device", "cpu"]
    return [*words, "--models", *models, *more]


def read(path):
    return json.loads(path.read_text())


def cells_of(output):
    return sorted(str(p.parent.relative_to(output / "cells")) for p in output.rglob("cell.json"))


def table_of(text):
    return list(csv.DictReader(text.splitlines(), delimiter="\t"))


@pytest.fixture(scope="module")
def done(data, ours, tmp_path_factory):
    """A finished run of two tasks, three models and two seeds, and what it printed."""
    output = tmp_path_factory.mktemp("runs") / "done"
    models = [f"ours: dnazen {ours}", "conv: cnn", "words: kmer"]
    words = flags(data, output, models, "--tasks", "mouse", "prom/prom_core_tata", "splice")
    words += ["--seeds", "3", "1", "--epochs", "1", "--precision", "float32"]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert cli.main(words) == 0, err.getvalue()
    return output, words, out.getvalue(), err.getvalue()


def test_a_run_has_its_layout(done):
    output, _, _, _ = done
    assert {path.name for path in output.iterdir()} == {
        "run.json", "choices.json", "leakage.json", "tasks", "cells",
    }  # fmt: skip
    tasks = ("mouse/3", "prom/prom_core_tata")
    for task in tasks:
        assert {path.name for path in (output / "tasks" / task).iterdir()} == {
            "train.csv", "dev.csv", "test.csv", "task.json", "density.json",
        }  # fmt: skip
        densities = read(output / "tasks" / task / "density.json")
        assert densities["ggrams_of"] == "ours"
        assert len(densities["density"]) == 20
        assert 0 < max(densities["density"]) <= 1
    assert cells_of(output) == sorted(
        f"{model}/{task}/lr-auto/seed-{seed}"
        for model in ("ours", "conv", "words")
        for task in tasks
        for seed in (1, 3)
    )
    assert read(output / RUN_FILE)["settings"]["seeds"] == [3, 1]
    assert [model["name"] for model in read(output / RUN_FILE)["arms"]] == ["ours", "conv", "words"]


def test_missing_tasks_are_skipped_aloud(done):
    output, _, _, err = done
    skipped = read(output / RUN_FILE)["skipped"]
    assert skipped == {
        "mouse/0": "absent", "mouse/1": "absent", "mouse/2": "absent", "mouse/4": "absent",
        "splice/reconstructed": "no train",
    }  # fmt: skip
    assert "SKIPPED: mouse/0: absent\n" in err
    assert "SKIPPED: splice/reconstructed: no train (set train_from_dev" in err


def test_the_table_is_that_of_the_cells(done):
    output, _, out, _ = done
    rows = table_of(out)
    assert [(row["task"], row["model"]) for row in rows] == [
        (task, model)
        for task in ("mouse/3", "prom/prom_core_tata")
        for model in ("ours", "conv", "words")
    ]
    for row in rows:
        folder = output / "cells" / row["model"] / row["task"] / "lr-auto"
        cells = [read(folder / f"seed-{seed}" / "cell.json") for seed in (1, 3)]
        scores = [cell["test"]["mcc"] for cell in cells]
        assert float(row["mean"]) == pytest.approx(sum(scores) / 2, abs=1e-4)
        assert float(row["sd"]) == pytest.approx(statistics.stdev(scores), abs=1e-4)
        assert row["seeds"] == "2"
        assert int(row["collapsed"]) == sum(cell["test"]["collapsed"] for cell in cells)


def test_finished_cells_are_kept_and_more_are_added(done, data, tmp_path, capsys):
    output, words, _, _ = done
    shutil.copytree(output, tmp_path / "run")
    words = [str(tmp_path / "run") if word == str(output) else word for word in words]
    gone = tmp_path / "run/cells/words/mouse/3/lr-auto/seed-1"
    shutil.rmtree(gone)
    times = {p: p.stat().st_mtime_ns for p in (tmp_path / "run").rglob("cell.json")}
    assert cli.main(words) == 0
    assert {p: p.stat().st_mtime_ns for p in times} == times
    assert set((tmp_path / "run").rglob("cell.json")) - set(times) == {gone / "cell.json"}
    assert "6/6 words on mouse/3, seed 1: test mcc" in capsys.readouterr().err
    # another model, another seed; what is there stays in the table
    words = flags(data, tmp_path / "run", ["more: kmer"], "--tasks", "mouse/3", "--seeds", "7")
    assert cli.main([*words, "--epochs", "1", "--precision", "float32"]) == 0
    rows = table_of(capsys.readouterr().out)
    assert [row["model"] for row in rows[:4]] == ["ours", "conv", "words", "more"]
    assert rows[3]["sd"] == "NA"
    assert len(rows) == 7


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--epochs", "2"], "was begun with another settings.epochs: 1, now 2"),
        (["--max-train-rows", "9"], "was begun with another max_train_rows: None, now 9"),
        (["--models", "words: kmer", "ours: e4bu {ours}"], "was begun with another kind: dnazen"),
    ],
)
def test_changed_settings_are_refused_by_name(done, ours, changed, message, capsys):
    _, words, _, _ = done
    assert cli.main([*words, *(word.format(ours=ours) for word in changed)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error
    assert "name another output" in error


def test_a_changed_model_is_refused(done, ours, tmp_path, capsys):
    _, words, _, _ = done
    shutil.copytree(ours, tmp_path / "copy")
    words = [word.replace(str(ours), str(tmp_path / "copy")) for word in words]
    assert cli.main(words) == 0  # the same model elsewhere
    config = read(tmp_path / "copy" / "config.json")
    write_json(tmp_path / "copy" / "config.json", config | {"max_ggrams": 1})
    assert cli.main(words) == 2
    assert "was begun with another model: " in capsys.readouterr().err


def test_the_learning_rate_is_chosen_by_dev_alone(data, ours, tmp_path, capsys, monkeypatch):
    """A stand-in for fine-tuning: dev and test disagree on which rate is best."""
    dev = {1e-5: 0.2, 1e-4: 0.6, 1e-3: 0.6, 1e-2: float("nan")}

    def run_cell(cell):
        rate = cell.config.optimizer.learning_rate
        value = None if np.isnan(dev[rate]) else dev[rate]
        cell.output.mkdir(parents=True)
        record = {
            "settings": cell.identity, "dev": {"mcc": value}, "cost": {"seconds": 0.0},
            "test": {"mcc": 0.9 - 0.5 * (rate == 1e-4), "collapsed": False},
        }  # fmt: skip
        write_json(cell.output / "cell.json", record)

    monkeypatch.setattr("dnazen.gue.dispatch.run_cell", run_cell)
    words = flags(data, tmp_path / "run", [f"ours: e4bu {ours}"], "--tasks", "mouse/3")
    words += ["--seeds", "0", "1", "--learning-rates", "1e-5", "1e-4", "1e-3", "1e-2"]
    assert cli.main(words) == 0
    choice = read(tmp_path / "run" / CHOICES_FILE)["ours"]["mouse/3"]
    assert choice == {
        "learning_rate": "0.0001",  # the first of equals
        "dev_mcc": {"1e-05": 0.2, "0.0001": 0.6, "0.001": 0.6, "0.01": None},
    }
    assert cells_of(tmp_path / "run") == [
        f"ours/mouse/3/{place}"
        for place in (
            "lr-0.0001/seed-0", "lr-0.0001/seed-1", "lr-0.001/seed-0", "lr-0.01/seed-0",
            "lr-1e-05/seed-0",
        )
    ]  # fmt: skip
    [row] = table_of(capsys.readouterr().out)
    assert (row["seeds"], row["mean"]) == ("2", "0.4000")


def test_a_failed_seed_leaves_the_others(data, tmp_path, capsys):
    models = ["conv: cnn", "words: kmer"]
    words = flags(data, tmp_path / "run", models, "--tasks", "mouse/3", "--seeds", "0", "1")
    broken = tmp_path / "run/cells/words/mouse/3/lr-auto/seed-0"
    broken.mkdir(parents=True)
    (broken / "foreign.txt").touch()
    write_json(tmp_path / "run" / RUN_FILE, {})
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert "1 cells failed, the first as" in err
    assert "seed-0.failed.log tells; run the same command again" in err
    assert {row["model"]: row["seeds"] for row in table_of(out)} == {"conv": "2", "words": "1"}
    shutil.rmtree(broken)
    assert cli.main(words) == 0
    assert not list((tmp_path / "run").rglob("*.failed.log"))


def test_tasks_without_train_can_train_on_dev(data, tmp_path, capsys):
    words = flags(data, tmp_path / "run", ["words: kmer"], "--tasks", "splice", "--seeds", "0")
    assert cli.main(words) == 2
    assert "none of the tasks is here" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert cli.main([*words, "--train-from-dev", "0.5"]) == 0
    [cell] = (tmp_path / "run").rglob("cell.json")
    said = read(cell)["data_state"]
    assert said.startswith("not the official splits")
    assert "rows of dev, the other" in said


def test_leakage_is_told_of_models_that_say_what_they_read(ground, ours, data, tmp_path):
    shutil.copytree(ours, tmp_path / "model")
    write_json(tmp_path / "model/run.json", {"settings": {"corpus": str(ground.corpus)}})
    copy = tmp_path / "gue"
    shutil.copytree(data, copy)
    text = ground.genome.read_text().splitlines()[1]
    write_rows(copy / "mouse/3/test.csv", [(text[20:80], 0), ("ACGTT" * 20, 1)])
    models = (f"a: dnazen {tmp_path / 'model'}", "k: kmer")
    config = BenchmarkConfig(
        data=copy, tasks=("mouse/3",), seeds=(0,), common=TaskSettings(epochs=1), jobs=0,
        device="cpu",
    )  # fmt: skip
    assert run_grid(config, parse_models(models), tmp_path / "run") == []
    told = {entry["what"]: entry for entry in read(tmp_path / "run" / LEAKAGE_FILE)["inputs"]}
    assert told["pre-training"]["tasks"]["mouse/3"] == {
        "sequences": 2, "partly": 1, "wholly": 1, "fraction": 60 / 160,
    }  # fmt: skip
    assert told["mining"]["tasks"] == {}
    assert "does not say what it was mined from" in told["mining"]["problem"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--models", "x"], "'x' is no model; expected 'NAME: KIND SOURCE'"),
        (["--models", "a: dnazen {tmp}"], "no such model; expected a folder with model.safetens"),
        (["--tasks", "EMP/H9"], "'EMP/H9' is no task of GUE"),
        (["--density-of", "b"], "density_of: 'b' is no model with G-grams of this run"),
        (["--data", "{tmp}/gone"], "gone: no such data directory"),
        (["-o", "{tmp}"], "is no run of"),
        (["-o", "{tmp}/file"], "file"),
    ],
)
def test_what_cannot_be_is_told(data, tmp_path, words, message, capsys):
    (tmp_path / "file").touch()
    base = flags(data, tmp_path / "run", ["k: kmer"], "--tasks", "mouse/3")
    assert cli.main([*base, *(word.format(tmp=tmp_path) for word in words)]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert message in error
    assert error.startswith("dnazen: error: ")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_killed_run_goes_on(data, ours, tmp_path):
    words = flags(data, tmp_path / "run", [f"ours: dnazen {ours}", "words: kmer"])
    words += ["--tasks", "mouse/3", "--seeds", "0", "1", "--epochs", "3", "--jobs", "2"]
    script = "import sys; from dnazen import cli; sys.exit(cli.main(sys.argv[1:]))"
    child = subprocess.Popen([sys.executable, "-c", script, *words], start_new_session=True)
    while not cells_of(tmp_path / "run") and child.poll() is None:
        time.sleep(0.02)
    child.send_signal(signal.SIGKILL)
    child.wait()
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("cell.json")}
    assert 0 < len(before) < 4
    assert cli.main(words) == 0
    assert len(cells_of(tmp_path / "run")) == 4
    assert all(path.read_bytes() == text for path, text in before.items())
    assert not [p for p in (tmp_path / "run").rglob("*") if ".partial" in p.name]


def test_two_runs_in_one_directory_do_not_meet(data, tmp_path, capsys):
    write = tmp_path / "run"
    with claimed(write):
        assert cli.main(flags(data, write, ["k: kmer"], "--tasks", "mouse/3")) == 2
    assert "another run is at work here" in capsys.readouterr().err


def test_all_tasks_are_the_default():
    names = BenchmarkConfig(data=Path("x")).tasks
    assert [t for name in names for t in TASKS if t.startswith(name)] == list(TASKS)
