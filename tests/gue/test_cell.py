"""One cell: what it writes, what it depends on, and what it costs."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from directories import random_directory
from dnazen.errors import InputError
from dnazen.gue.cell import Cell, run_cell
from dnazen.gue.data import check, prepare
from dnazen.gue.settings import BenchmarkModel
from dnazen.gue.tasks import TASKS
from dnazen.training.metrics import score
from dnazen.training.settings import FinetuneConfig, OptimizerConfig, RunConfig
from tiny_gue import make_gue


@pytest.fixture(scope="module")
def folder(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cells")
    data = make_gue(folder / "gue")
    prepare(check(data, TASKS["mouse/3"]), folder / "tasks" / "mouse/3")
    random_directory(ground, folder / "ours", hidden_size=32, intermediate_size=32)
    return folder


def cell_of(folder, model, output, seed=0, **more):
    settings = FinetuneConfig(
        best_metric="mcc",
        **{
            "epochs": 2,
            "batch_size": 16,
            "kmers": 4,
            "base_channels": 4,
            "strands": "forward",
            "optimizer": OptimizerConfig(learning_rate=1e-2, warmup_steps=1),
            "run": RunConfig(seed=seed, precision="float32"),
            **more,
        },
    )
    return Cell(model, "mouse/3", folder / "tasks" / "mouse/3", output, settings, "0123")


def model_of(folder, kind):
    return BenchmarkModel(
        f"the-{kind}", kind, "" if kind in ("cnn", "kmer") else str(folder / "ours")
    )


def read(path):
    return json.loads(path.read_text())


def predictions(directory):
    with (directory / "test_predictions.tsv").open(newline="") as handle:
        return list(csv.DictReader(handle, delimiter="\t"))


@pytest.mark.parametrize("kind", ["dnazen", "random", "cnn", "kmer"])
def test_a_cell_is_whole(folder, kind, tmp_path):
    out = tmp_path / "cell"
    run_cell(cell_of(folder, model_of(folder, kind), out))
    files = {path.name for path in out.iterdir()}
    history = set() if kind == "kmer" else {"history.json"}
    assert files == {"cell.json", "test_predictions.tsv"} | history
    record, rows = read(out / "cell.json"), predictions(out)
    truth = [
        line.split(",")[1] for line in (folder / "gue/mouse/3/test.csv").read_text().split()[1:]
    ]
    assert [row["label"] for row in rows] == truth
    logits = np.log([[float(row["p_0"]), float(row["p_1"])] for row in rows])
    expected = score("single_label_classification", np.array(truth, dtype=int), logits)
    assert record["test"] == pytest.approx(expected)
    assert (record["arm"], record["task"], record["seed"]) == (f"the-{kind}", "mouse/3", 0)
    assert record["data_state"] == "not the official splits: 48 train, 24 dev, 20 test rows"
    assert record["rows"] == {"train": 48, "dev": 24, "test": 20}
    assert set(record["dev"]) >= {"mcc", "f1", "auroc"}
    cost = record["cost"]
    assert cost["parameters"] > 100
    assert cost["flops_per_sequence"] > 100
    assert 50e6 < cost["peak_memory_bytes"] < 20e9
    assert cost["seconds"] > 0
    epochs = 0 if kind == "kmer" else read(out / "history.json")["log"][-1]["epoch"]
    assert cost["training_flops"] == pytest.approx(3 * epochs * 48 * cost["flops_per_sequence"])
    if kind != "cnn":  # which ends when dev does not get better
        assert epochs == (0 if kind == "kmer" else 2)
    if kind == "kmer":
        assert (record["strands"] in ("average", "forward"), record["learning_rate"]) == (True, 0.0)
    else:
        assert record["learning_rate"] == (1e-3 if kind == "cnn" else 1e-2)
        assert (record["strands"], record["restarts"]) == ("forward", 0)
        assert set(record["blend"]) == {"deep", "kmers"}
        assert set(record["deep"]) == set(record["test"])


def test_of_both_strands_a_cell_costs_twice_as_much(folder, tmp_path):
    cost = {}
    for strands in ("forward", "average"):
        run_cell(cell_of(folder, model_of(folder, "e4bu"), tmp_path / strands, strands=strands))
        cost[strands] = read(tmp_path / strands / "cell.json")["cost"]
    one, both = (cost[strands]["flops_per_sequence"] for strands in ("forward", "average"))
    assert both == pytest.approx(2 * one, rel=1e-2)  # but for the number of k-mers
    assert cost["average"]["training_flops"] == pytest.approx(3 * 2 * 48 * both)


def test_a_rate_that_is_found_is_written_down(folder, tmp_path):
    cell = cell_of(folder, model_of(folder, "e4bu"), tmp_path / "cell", optimizer=OptimizerConfig())
    run_cell(cell)
    record = read(tmp_path / "cell/cell.json")
    assert record["settings"]["settings"]["optimizer"]["learning_rate"] == "auto"
    assert record["learning_rate"] == pytest.approx(1e-3 / 3 ** record["restarts"])


@pytest.mark.parametrize("kind", ["dnazen", "cnn"])
def test_settings_of_the_model_are_part_of_what_it_is(folder, tmp_path, kind):
    cell = cell_of(folder, model_of(folder, kind), tmp_path)
    both = cell._replace(model=replace(cell.model, strands="average"))
    assert both.identity != cell.identity


def test_the_dev_scores_are_those_of_the_best_epoch(folder, tmp_path):
    run_cell(cell_of(folder, model_of(folder, "dnazen"), tmp_path / "cell", epochs=4))
    record, log = read(tmp_path / "cell/cell.json"), read(tmp_path / "cell/history.json")["log"]
    dev = [entry["eval_mcc"] for entry in log if "eval_mcc" in entry]
    assert len(dev) == 4
    assert record["dev"]["mcc"] == max(dev)
    assert record["best_epoch"] == 1 + dev.index(max(dev))


def test_patience_ends_a_cell(folder, tmp_path):
    still = OptimizerConfig(learning_rate=1e-9, warmup_steps=0)
    run_cell(
        cell_of(
            folder,
            model_of(folder, "e4bu"),
            tmp_path / "cell",
            epochs=9,
            patience=2,
            optimizer=still,
        )
    )
    log = read(tmp_path / "cell/history.json")["log"]
    assert sum("eval_mcc" in entry for entry in log) == 3  # the first, and two no better
    cost = read(tmp_path / "cell/cell.json")["cost"]
    assert cost["training_flops"] == pytest.approx(3 * 3 * 48 * cost["flops_per_sequence"])


@pytest.mark.parametrize("kind", ["dnazen", "cnn"])
def test_the_same_seed_gives_the_same_and_another_another(folder, kind, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run_cell(cell_of(folder, model_of(folder, kind), tmp_path / name, seed=seed))
    one, same, other = (
        (tmp_path / name / "test_predictions.tsv").read_bytes() for name in ("a", "b", "c")
    )
    assert one == same
    assert one != other


def test_the_flops_of_the_cnn_are_those_by_hand(folder, tmp_path):
    run_cell(cell_of(folder, model_of(folder, "cnn"), tmp_path / "cell", epochs=1))
    by_hand = 2 * 40 * (4 * 64 * 11 + 64 * 64 * 7) + 2 * 64 * 2
    assert read(tmp_path / "cell/cell.json")["cost"]["flops_per_sequence"] == by_hand


def test_a_cell_that_fails_leaves_nothing(folder, tmp_path):
    cell = cell_of(folder, model_of(folder, "dnazen"), tmp_path / "cell", max_tokens=5)
    with pytest.raises(InputError, match="expected at most 5"):
        run_cell(cell)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed(folder, tmp_path):
    (tmp_path / ".cell.4194999.partial" / "checkpoints").mkdir(parents=True)
    (tmp_path / ".cell-2.4194999.partial").mkdir()
    run_cell(cell_of(folder, model_of(folder, "kmer"), tmp_path / "cell"))
    assert {path.name for path in tmp_path.iterdir()} == {"cell", ".cell-2.4194999.partial"}


def test_the_identity_tells_what_the_result_depends_on(folder, tmp_path):
    cell = cell_of(folder, model_of(folder, "dnazen"), tmp_path)
    told = cell.identity
    assert told["model"] == "0123"
    assert told["settings"]["run"]["seed"] == 0
    assert told["rows"] == {"train": 48, "dev": 24, "test": 20}
    elsewhere = cell.output / "elsewhere"
    moved = cell._replace(
        model=replace(cell.model, name="other", source="/elsewhere"),
        output=elsewhere,
    )
    assert moved.identity == told
    for change in (
        cell._replace(model_sha256="4567"),
        cell._replace(model=replace(cell.model, kind="e4bu")),
        cell._replace(config=replace(cell.config, epochs=7)),
        cell._replace(config=replace(cell.config, run=RunConfig(seed=1, precision="float32"))),
    ):
        assert change.identity != told
    named = cell._replace(model=BenchmarkModel("h", "hf", "org/name"), model_sha256=None)
    assert named.identity["model"] == "org/name"
