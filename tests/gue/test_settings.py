"""The settings of a benchmark, the tasks they plan, and the models they name."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

import pytest
import tyro

from dnazen.commands.gue_run import GueRunCommand
from dnazen.errors import ConfigError
from dnazen.gue.settings import (
    BenchmarkConfig,
    BenchmarkModel,
    ReportConfig,
    TaskSettings,
    parse_models,
    plan_tasks,
    rate_folder,
    rates_of,
    spelt_rate,
)
from dnazen.settings import recipe_flags
from dnazen.training.settings import FinetuneConfig


def grid(**more):
    return BenchmarkConfig(data=Path("gue"), **more)


def test_all_tasks_are_fine_tuned_as_by_the_command():
    plans = plan_tasks(grid())
    command, benchmark = FinetuneConfig(), grid()
    assert len(plans) == 28
    assert {plan[1:] for plan in plans} == {(("auto",), "auto", 32, 0.06, None, None)}
    assert (command.epochs, command.batch_size) == ("auto", 32)
    assert (command.optimizer.learning_rate, command.optimizer.warmup_steps) == ("auto", 0.06)
    for name in ("pooling", "kmers", "base_channels", "strands", "patience"):
        assert getattr(benchmark, name) == getattr(command, name)


def test_settings_of_the_benchmark_and_of_tasks_win():
    plans = plan_tasks(
        grid(
            tasks=("mouse/3", "EMP"),
            common=TaskSettings(epochs=7, learning_rates=(1e-4, 3e-4)),
            task_settings={
                "EMP": TaskSettings(
                    epochs=2, learning_rates=(1e-3,), max_train_rows=50, max_dev_rows=9
                ),
                "EMP/H4": TaskSettings(epochs=1, batch_size=8, warmup_steps=0),
                "tf": TaskSettings(epochs=99),
            },
        )
    )
    settings = {p.task.name: p[1:] for p in plans}
    assert list(settings)[:2] == ["mouse/3", "EMP/H3"]
    assert len(settings) == 11
    assert settings["mouse/3"] == ((1e-4, 3e-4), 7, 32, 0.06, None, None)
    assert settings["EMP/H3"] == ((1e-3,), 2, 32, 0.06, 50, 9)
    assert settings["EMP/H4"] == ((1e-3,), 1, 8, 0, 50, 9)


def test_baselines_try_one_rate():
    [plan] = plan_tasks(grid(tasks=("tf/0",), common=TaskSettings(learning_rates=(1e-4, 3e-4))))
    assert rates_of(BenchmarkModel("a", "dnazen", "x"), plan) == (1e-4, 3e-4)
    assert rates_of(BenchmarkModel("c", "cnn", ""), plan) == (1e-4,)


def test_rates_name_folders():
    assert [rate_folder(rate) for rate in (3e-05, 1.0, "auto")] == ["lr-3e-05", "lr-1", "lr-auto"]
    assert rate_folder(spelt_rate(3e-05)) == rate_folder(3e-05)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": ()}, "seeds must be one or more different numbers"),
        ({"seeds": (1, 1)}, "seeds must be one or more different numbers"),
        ({"seeds": (-1,)}, "seeds must lie in 0 to 4294967295"),
        ({"seeds": (1 << 32,)}, "seeds must lie in 0 to"),
        ({"jobs": -1}, "jobs must be 0 to 4096, got -1"),
        ({"jobs": 10**9}, "jobs must be 0 to 4096"),
        ({"patience": 0}, "patience must be at least 1, got 0"),
        ({"max_tokens": 0}, "max_tokens must be at least 3, got 0"),
        ({"kmers": 9}, "kmers must be 0 to 8, got 9"),
        ({"base_channels": -1}, "base_channels must be 0 to 4096, got -1"),
        ({"strands": "reverse"}, "strands must be one of auto, average, forward, got 'reverse'"),
        ({"train_from_dev": 1.0}, "train_from_dev must be below 1"),
        ({"train_from_dev": math.nan}, "train_from_dev must lie in 0 to 1, got nan"),
        ({"precision": "float64"}, "precision must be one of auto, bf16, float32"),
        ({"pooling": "median"}, "pooling must be one of cls, mean"),
        ({"tasks": ("EMP/H5",)}, "'EMP/H5' is no task of GUE"),
        ({"task_settings": {"nix": TaskSettings()}}, "'nix' is no task of GUE"),
    ],
)
def test_a_benchmark_that_cannot_be_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        grid(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"epochs": -1}, "epochs must be at least 1, got -1"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"batch_size": 10**20}, "batch_size must be at least 1"),
        ({"max_train_rows": 0}, "max_train_rows must be at least 1, got 0"),
        ({"max_dev_rows": 0}, "max_dev_rows must be at least 1, got 0"),
        ({"warmup_steps": -1}, "warmup_steps must be at least 0, got -1"),
        ({"learning_rates": ()}, "learning_rates must be one or more"),
        ({"learning_rates": (0.0,)}, "learning_rates must be one or more in 0 < x"),
        ({"learning_rates": (math.nan,)}, "learning_rates must be one or more in 0 < x"),
        ({"learning_rates": (math.inf,)}, "learning_rates must be one or more in 0 < x"),
        ({"learning_rates": (1e-3, 1e-3)}, "learning_rates must differ"),
    ],
)
def test_zero_is_no_way_to_say_not_set(settings, message):
    with pytest.raises(ConfigError, match=message):
        TaskSettings(**settings)


def test_resamples_of_a_report_are_bounded():
    for draws in (0, 99, 10**9):
        with pytest.raises(ConfigError, match="draws must be 100 to 1000000"):
            ReportConfig(draws=draws)


def test_a_recipe_is_flags_written_down(tmp_path):
    recipe = tmp_path / "gue.toml"
    recipe.write_text(
        'data = "gue"\ntasks = ["EMP"]\nseeds = [0, 1]\noutput = "out"\n'
        '[task-settings.EMP]\nepochs = 2\n[task-settings."EMP/H4"]\nlearning-rates = [1e-4, 1]\n'
        '[models.a]\nkind = "cnn"\n[models.b]\nkind = "dnazen"\nsource = "runs/x y"\n'
    )
    flags = recipe_flags(recipe, GueRunCommand)
    command = tyro.cli(GueRunCommand, args=flags)
    assert command.models == (BenchmarkModel("a", "cnn"), BenchmarkModel("b", "dnazen", "runs/x y"))
    assert command.benchmark.seeds == (0, 1)
    assert command.benchmark.common == TaskSettings()
    assert command.benchmark.task_settings == {
        "EMP": TaskSettings(epochs=2),
        "EMP/H4": TaskSettings(learning_rates=(1e-4, 1.0)),
    }


def test_the_command_line_has_short_forms():
    line = """--data gue -o out --epochs 3 --models 'a: cnn' 'b: dnazen runs/x y'
        --task-settings 'EMP={"epochs": 2}'"""
    command = tyro.cli(GueRunCommand, args=shlex.split(line))
    assert command.models == (BenchmarkModel("a", "cnn"), BenchmarkModel("b", "dnazen", "runs/x y"))
    assert command.benchmark.common.epochs == 3
    assert command.benchmark.task_settings == {"EMP": TaskSettings(epochs=2)}


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("EMP={epochs: 2}", "expected NAME or NAME={JSON}"),
        ('EMP={"epochs": 0}', "task_settings.EMP.epochs: epochs must be at least 1"),
        ('EMP={"epochs": "2"}', "task_settings.EMP.epochs: expected a whole number, got '2'"),
        ('EMP={"epochs": true}', "task_settings.EMP.epochs: expected a whole number"),
        ('EMP={"epoch": 2}', "task_settings.EMP.epoch: unknown setting"),
        ('EMP={"learning_rates": 1e-4}', "task_settings.EMP.learning_rates: expected a list"),
        ("EMP=3", "expected NAME or NAME={JSON}"),
    ],
)
def test_settings_of_tasks_that_cannot_be_are_named(word, message):
    words = ["--data", "gue", "-o", "out", "--models", "a: cnn", "--task-settings", word]
    with pytest.raises(ConfigError) as error:
        tyro.cli(GueRunCommand, args=words)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("ours: dnazen runs/a b", BenchmarkModel("ours", "dnazen", "runs/a b")),
        (" x-1.2_y :  hf  org/name ", BenchmarkModel("x-1.2_y", "hf", "org/name")),
        ("cnn: cnn", BenchmarkModel("cnn", "cnn", "")),
        ("base:kmer", BenchmarkModel("base", "kmer", "")),
        ('b={"kind": "hf", "source": "o: n"}', BenchmarkModel("b", "hf", "o: n")),
    ],
)
def test_models_are_named_with_kind_and_source(text, model):
    assert parse_models([text]) == (model,)


@pytest.mark.parametrize(
    "text",
    [
        *("runs/a", "a: runs/a", "a: dnazen", "a: dnazen  ", "a: cnn x", "a/b: cnn", ": cnn"),
        *("..: cnn", "a:", "", "../x: kmer", 'a={"kind": "nix"}', 'a={"kind": "cnn", "x": 1}'),
        *('a={"kind": ["cnn"]}', "a={}", "a\nb: cnn", f"{'a' * 101}: cnn"),
    ],
)
def test_models_that_cannot_be_are_refused(text):
    with pytest.raises(ConfigError, match="models"):
        parse_models([text])


def test_names_are_different():
    with pytest.raises(ConfigError, match="two are called 'a'"):
        parse_models(["a: cnn", "b: cnn", "a: kmer"])
    with pytest.raises(ConfigError, match="models: none given"):
        tyro.cli(GueRunCommand, args=["--data", "gue", "-o", "out", "--models"])
