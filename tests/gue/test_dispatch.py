"""Cells in processes of their own: the same results, and one that dies stops no other."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time

import pytest

from directories import random_directory
from dnazen.errors import ConfigError
from dnazen.gue.cell import Cell
from dnazen.gue.data import check, prepare
from dnazen.gue.dispatch import is_done, log_of, run_cells, run_here
from dnazen.gue.settings import BenchmarkModel
from dnazen.gue.tasks import TASKS
from dnazen.training.settings import FinetuneConfig, OptimizerConfig, RunConfig
from tiny_gue import make_gue


@pytest.fixture(scope="module")
def folder(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dispatch")
    prepare(check(make_gue(folder / "gue"), TASKS["mouse/3"]), folder / "tasks")
    random_directory(ground, folder / "ours", hidden_size=32, intermediate_size=32)
    return folder


def cell_of(folder, output, kind="dnazen", name=None, **more):
    settings = FinetuneConfig(
        epochs=1,
        optimizer=OptimizerConfig(learning_rate=1e-3, warmup_steps=1),
        run=RunConfig(precision="float32", device="cpu"),
        **more,
    )
    source = str(folder / "ours") if kind in ("dnazen", "e4bu") else ""
    model = BenchmarkModel(name or kind, kind, source)
    return Cell(model, "mouse/3", folder / "tasks", output / model.name, settings)


def files(directory):
    return {path.name for path in directory.iterdir()}


def test_processes_here_and_apart_give_the_same(folder, tmp_path, capsys):
    for place, jobs in (("here", 0), ("apart", 2)):
        cells = [cell_of(folder, tmp_path / place, kind) for kind in ("kmer", "e4bu", "dnazen")]
        assert run_cells(cells, jobs=jobs) == []
    for kind in ("kmer", "e4bu", "dnazen"):
        one, other = tmp_path / "here" / kind, tmp_path / "apart" / kind
        table = "test_predictions.tsv"
        assert (one / table).read_bytes() == (other / table).read_bytes()
        assert files(other) == files(one) | {"log.txt"}
    assert "fine-tuning on 48 train" in (tmp_path / "apart" / "e4bu" / "log.txt").read_text()
    err = capsys.readouterr().err
    assert "3/3 dnazen on mouse/3, seed 0: test mcc " in err
    assert run_cells([cell_of(folder, tmp_path / "apart", "kmer")], jobs=2) == []
    assert capsys.readouterr().err == ""  # what is done is not run again


@pytest.mark.parametrize("jobs", [0, 1])
def test_a_failed_cell_stops_no_other_and_is_tried_again(folder, tmp_path, capsys, jobs):
    bad = cell_of(folder, tmp_path, "e4bu", max_tokens=5)
    good = cell_of(folder, tmp_path, "kmer")
    assert run_cells([bad, good], jobs=jobs) == [log_of(bad)] == [tmp_path / "e4bu.failed.log"]
    assert files(tmp_path) == {"kmer", "e4bu.failed.log"}
    assert "Traceback" in log_of(bad).read_text()
    err = capsys.readouterr().err
    assert "e4bu on mouse/3, seed 0: FAILED: InputError: " in err
    assert "expected at most 5" in err
    assert run_cells([cell_of(folder, tmp_path, "e4bu"), good], jobs=jobs) == []
    assert files(tmp_path) == {"kmer", "e4bu"}


def test_a_process_that_is_killed_stops_no_other(folder, tmp_path, capsys):
    bad, good = cell_of(folder, tmp_path, "dnazen"), cell_of(folder, tmp_path, "kmer")

    def kill_the_first():
        while not (children := multiprocessing.active_children()) or not log_of(bad).exists():
            time.sleep(0.01)
        os.kill(children[0].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_the_first)
    killer.start()
    assert run_cells([bad, good], jobs=1) == [log_of(bad)]
    killer.join()
    assert "FAILED: killed by signal 9; out of memory? see" in capsys.readouterr().err
    assert is_done(good)
    assert not is_done(bad)


def test_other_settings_are_refused_by_name(folder, tmp_path):
    cell = cell_of(folder, tmp_path, "kmer")
    assert run_here(cell) is None
    path = tmp_path / "kmer" / "cell.json"
    record = json.loads(path.read_text())
    record["settings"]["settings"]["optimizer"]["warmup_steps"] = 7
    path.write_text(json.dumps(record))
    expected = r"kmer/cell\.json: .* another settings\.optimizer\.warmup_steps: 7, now 1"
    with pytest.raises(ConfigError, match=expected):
        run_cells([cell], jobs=0)
    # a setting that there was not yet
    record["settings"]["settings"]["optimizer"] = {"learning_rate": 1e-3}
    path.write_text(json.dumps(record))
    assert is_done(cell)


@pytest.mark.slow
def test_cells_run_on_ray(folder, tmp_path):
    pytest.importorskip("ray")
    cells = [cell_of(folder, tmp_path, "dnazen", max_tokens=5), cell_of(folder, tmp_path, "e4bu")]
    assert run_cells(cells, jobs=1, ray="local") == [log_of(cells[0])]
    assert files(tmp_path) == {"e4bu", "dnazen.failed.log"}
    here = cell_of(folder, tmp_path, "e4bu", name="here")
    assert run_here(here) is None
    table = "test_predictions.tsv"
    assert (tmp_path / "e4bu" / table).read_bytes() == (tmp_path / "here" / table).read_bytes()
