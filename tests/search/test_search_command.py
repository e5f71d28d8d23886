"""``dnazen search`` from its data to the recipe that ``dnazen finetune`` takes."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest

from directories import random_directory
from dnazen import cli
from dnazen.commands.finetune import FinetuneCommand
from dnazen.commands.search import SearchCommand
from dnazen.commands.search import run as search
from dnazen.errors import ConfigError, DnazenError, OutputError
from dnazen.records import hash_file
from dnazen.search import objective
from dnazen.search.recipe import finetune_recipe
from dnazen.sequences.settings import LabelConfig, SplitConfig
from dnazen.settings import read_recipe, recipe_flags
from dnazen.training.settings import FinetuneConfig, OptimizerConfig, RunConfig
from settings_of import settings_of

FLOAT32 = RunConfig(precision="float32")
RATES = {"low": 1e-3, "high": 1e-2, "log": True}
SPACE = {"learning_rate": RATES, "layers": [1, 2], "base_channels": [0, 4]}
GARBAGE = "this is no table\x00\n"


@pytest.fixture(scope="module")
def model(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "model"
    random_directory(ground, folder, seed=1, hidden_size=32, intermediate_size=32)
    return folder


def write_task(folder, label_of=lambda gc: int(gc > 0.5), column="label"):
    """Sequences of low and high GC; a test split that nobody can read."""
    rng = np.random.default_rng(5)
    folder.mkdir()
    for split, count in {"train": 48, "dev": 24}.items():
        lines = []
        for number in range(count):
            gc = (0.3, 0.7)[number % 2]
            p = [0.5 - gc / 2, gc / 2, gc / 2, 0.5 - gc / 2]
            lines.append(f"{''.join(rng.choice(list('ACGT'), 30, p=p))},{label_of(gc)}")
        (folder / f"{split}.csv").write_text("\n".join([f"sequence,{column}", *lines]) + "\n")
    (folder / "test.csv").write_text(GARBAGE)
    return folder


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return write_task(tmp_path_factory.mktemp("task") / "gc")


def settings(task, model, output, **more):
    base = {"trials": 3, "epochs": 2, "kmers": 2, "space": SPACE, "run": FLOAT32}
    return settings_of(SearchCommand, data=task, model=model, output=output, **base | more)


@pytest.fixture(scope="module")
def done(task, model, tmp_path_factory):
    """A finished search."""
    output = tmp_path_factory.mktemp("runs") / "done"
    search(settings(task, model, output))
    return output


def trials_of(output):
    """The trials, how long they took left out."""
    rows = json.loads((output / "trials.json").read_text())["trials"]
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def test_what_is_written_and_that_test_is_not_read(done, task, model):
    names = {path.name for path in done.iterdir()}
    assert names == {"best.toml", "report.html", "run.json", "trials.json", "trials.tsv"}
    record = json.loads((done / "run.json").read_text())
    files = [task / "train.csv", task / "dev.csv", model / "model.safetensors"]
    assert record["inputs"] == [hash_file(file)._asdict() for file in files]
    assert record["command"] == "search"
    with (done / "trials.tsv").open(newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert [row["trial"] for row in rows] == ["1", "2", "3"]
    assert {row["end"] for row in rows} <= {"complete", "collapsed"}
    assert "complete" in {row["end"] for row in rows}


def test_the_page_tells_of_every_trial(done):
    page = (done / "report.html").read_text()
    for text in ("Test was not read", "best.toml", "learning_rate", "Which settings matter"):
        assert text in page
    assert page.count("<svg") == 2
    assert "http-equiv" in page
    assert "<script" not in page


def test_finetune_takes_the_best_and_finds_the_same_score(done, task, model, tmp_path):
    data = tmp_path / "task"
    shutil.copytree(task, data)
    shutil.copy(task / "dev.csv", data / "test.csv")
    words = [str(done / "best.toml"), "--data", str(data), "--model", str(model)]
    assert cli.main(["finetune", *words, "-o", str(tmp_path / "out")]) == 0
    scores = json.loads((tmp_path / "out" / "test_metrics.json").read_text())
    complete = [trial for trial in trials_of(done) if trial["end"] == "complete"]
    best = max(complete, key=lambda trial: trial["score"])
    assert scores["dev_mcc"] == best["score"]
    assert scores["best_epoch"] == best["best_epoch"]
    used = json.loads((tmp_path / "out" / "run.json").read_text())["settings"]
    assert used["layers"] == best["values"]["layers"]
    assert used["optimizer"]["learning_rate"] == best["values"]["optimizer.learning_rate"]
    assert (used["epochs"], used["kmers"], used["run"]["precision"]) == (2, 2, "float32")


def test_more_trials_go_on_where_the_search_ended(done, task, model, tmp_path, capsys):
    output = tmp_path / "out"
    search(settings(task, model, output, trials=1))
    assert trials_of(output) == trials_of(done)[:1]
    search(settings(task, model, output, resume=True))
    assert trials_of(output) == trials_of(done)
    assert "going on after 1 trials" in capsys.readouterr().err
    assert (output / "best.toml").read_text() == (done / "best.toml").read_text()


def test_an_interrupted_search_loses_the_running_trial_alone(
    done, task, model, tmp_path, monkeypatch
):
    output, real, calls = tmp_path / "out", objective.fit_on_dev, []

    def interrupted(*arguments, **more):
        calls.append(arguments)
        if len(calls) == 2:
            (arguments[3] / "checkpoints").mkdir(parents=True)
            raise KeyboardInterrupt
        return real(*arguments, **more)

    monkeypatch.setattr(objective, "fit_on_dev", interrupted)
    with pytest.raises(KeyboardInterrupt) as stop:
        search(settings(task, model, output))
    assert stop.value.__notes__ == [f"'dnazen search ... -o {output} --resume' goes on with it"]
    assert trials_of(output) == trials_of(done)[:1]
    assert {path.name for path in output.iterdir()} == {"run.json", "trials.json"}
    with pytest.raises(OutputError, match="not empty"):
        search(settings(task, model, output))
    search(settings(task, model, output, resume=True))
    assert trials_of(output) == trials_of(done)


def test_another_search_is_not_gone_on_with(done, task, model):
    with pytest.raises(ConfigError, match=r"another space\.layers"):
        search(settings(task, model, done, resume=True, space={**SPACE, "layers": [1, 2, 3]}))
    with pytest.raises(ConfigError, match=r"another run\.seed: 0, now 1"):
        search(settings(task, model, done, resume=True, run=RunConfig(seed=1)))


def test_a_trial_that_fails_or_diverges_is_said_and_the_search_goes_on(
    task, model, tmp_path, capsys
):
    space = {"layers": [2, 99], "learning_rate": [3e-3, 1000.0]}
    search(settings(task, model, tmp_path / "out", space=space, trials=10))
    trials = trials_of(tmp_path / "out")
    ends = {tuple(trial["values"].values()): trial["end"] for trial in trials}
    assert ends.pop((2, 3e-3)) == "complete"
    assert ends.pop((2, 1000.0)) in ("collapsed", "diverged")
    assert set(ends.values()) == {"failed"}
    said = capsys.readouterr().err
    assert "failed (layers must be 1 to 2, those of the model, got 99)" in said
    assert "all that could be tried was tried" in said
    recipe = read_recipe(tmp_path / "out" / "best.toml")
    assert (recipe["layers"], recipe["optimizer"]) == (2, {"learning_rate": 3e-3})


def test_an_error_of_ours_is_a_trial_that_failed(task, model, tmp_path, monkeypatch, capsys):
    def broken(*_, **__):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(objective, "fit_on_dev", broken)
    with pytest.raises(DnazenError, match="no trial came to its end: ZeroDivisionError: a bug"):
        search(settings(task, model, tmp_path / "out", trials=2))
    assert "Traceback" in capsys.readouterr().err
    assert len(trials_of(tmp_path / "out")) == 2


def test_a_full_disk_ends_the_search(task, model, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OutputError("no space")

    monkeypatch.setattr(objective, "fit_on_dev", full)
    with pytest.raises(OutputError, match="no space"):
        search(settings(task, model, tmp_path / "out"))
    assert not (tmp_path / "out" / "trials.json").exists()


def test_finetune_too_fits_the_best_with_the_same_data_and_settings(
    task, model, tmp_path, monkeypatch
):
    fitted = []
    monkeypatch.setattr("dnazen.commands.finetune.run", fitted.append)
    output, splits = tmp_path / "out", SplitConfig(seed=3)
    search(settings(task, model, output, trials=1, finetune=True, splits=splits))
    (command,) = fitted
    values = trials_of(output)[0]["values"]
    assert (command.data, command.model) == (task, model)
    assert (command.output, command.resume) == (output / "finetuned", False)
    assert (command.splits, command.finetuning.run) == (splits, FLOAT32)
    assert command.finetuning.layers == values["layers"]
    assert command.finetuning.optimizer.learning_rate == values["optimizer.learning_rate"]


def test_numbers_are_judged_by_the_lowest_error(model, tmp_path):
    data = write_task(tmp_path / "task", label_of=lambda gc: 100 * gc)
    more = {"labels": LabelConfig(problem_type="regression"), "best_metric": "mse"}
    search(settings(data, model, tmp_path / "out", **more))
    scores = [trial["score"] for trial in trials_of(tmp_path / "out")]
    recipe = read_recipe(tmp_path / "out" / "best.toml")
    best = trials_of(tmp_path / "out")[int(np.argmin(scores))]
    assert recipe["layers"] == best["values"]["layers"]
    assert recipe["labels"] == {"problem_type": "regression"}


def test_dev_of_one_class_cannot_judge(task, model, tmp_path):
    data = tmp_path / "task"
    shutil.copytree(task, data)
    (data / "dev.csv").write_text("sequence,label\nACGTACGT,1\nACGGT,1\n")
    with pytest.raises(ConfigError, match="all labels of dev are the same, so mcc cannot tell"):
        search(settings(data, model, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_time_that_is_over_begins_no_trial(task, model, tmp_path, capsys):
    search(settings(task, model, tmp_path / "out", timeout_minutes=1e-9))
    assert len(trials_of(tmp_path / "out")) == 1
    assert "minutes are over" in capsys.readouterr().err
    assert (tmp_path / "out" / "best.toml").exists()


def test_a_space_in_a_recipe_and_on_the_command_line(task, model, tmp_path, capsys):
    recipe = tmp_path / "space.toml"
    recipe.write_text("trials = 1\n[space]\nlayers = [1, 99]\n[space.optimizer]\nnone = 1\n")
    words = ["--data", str(task), "--model", str(model), "-o", str(tmp_path / "out")]
    assert cli.main(["search", str(recipe), *words]) == 2
    assert "space.optimizer.none: unknown setting" in capsys.readouterr().err
    assert cli.main(["search", *words, "--space", 'layers={"low": 2, "high": 1}']) == 2
    assert "space.layers: low must be below high, got 2 and 1" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_recipe_holds_what_was_given_and_what_was_tried(tmp_path):
    given = FinetuneConfig(
        epochs=4, patience=None, run=RunConfig(seed=7), optimizer=OptimizerConfig(adam_beta1=0.8)
    )
    values = {"optimizer.learning_rate": 2e-5, "layers": None, "pooling": "mean"}
    labels = LabelConfig(problem_type="regression", columns=("a b", "c"))
    path = tmp_path / "best.toml"
    path.write_text(finetune_recipe(given, values, labels, SplitConfig()))
    assert read_recipe(path) == {
        "epochs": 4,
        "patience": "None",
        "layers": "None",
        "pooling": "mean",
        "run": {"seed": 7},
        "optimizer": {"adam_beta1": 0.8, "learning_rate": 2e-5},
        "labels": {"problem_type": "regression", "columns": ["a b", "c"]},
    }
    flags = recipe_flags(path, FinetuneCommand)
    assert flags[flags.index("--optimizer.learning-rate") + 1] == "2e-05"
