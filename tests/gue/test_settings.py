"""The settings of a grid, and the plans they make."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnazen.errors import ConfigError
from dnazen.gue.grid import GueRunConfig
from dnazen.gue.models import BenchmarkModel
from dnazen.gue.settings import BenchmarkConfig, named_settings, plan_tasks, rates_of
from dnazen.settings import recipe_flags


def grid(**more):
    return BenchmarkConfig(data=Path("gue"), **more)


def test_a_task_has_its_own_settings():
    plans = {plan.task.name: plan for plan in plan_tasks(grid())}
    assert len(plans) == 28
    assert (plans["EMP/H3"].epochs, plans["virus/covid"].epochs) == (3, 8)
    assert plans["prom/prom_core_tata"].epochs == 10
    assert plans["tf/0"].learning_rates == (5e-5,)
    assert {plan.batch_size for plan in plans.values()} == {32}


def test_settings_of_the_grid_and_of_tasks_win():
    plans = plan_tasks(
        grid(
            tasks=("mouse/3", "EMP"),
            epochs=7,
            learning_rates=(1e-4, 3e-4),
            task_settings=(
                "EMP: epochs=2 learning_rates=1e-3 max_train_rows=50 max_dev_rows=9",
                "EMP/H4: epochs=1 batch_size=8 warmup_steps=0",
                "tf: epochs=99",
            ),
        )
    )
    told = {p.task.name: p[1:] for p in plans}
    assert list(told)[:2] == ["mouse/3", "EMP/H3"]
    assert len(told) == 11
    assert told["mouse/3"] == ((1e-4, 3e-4), 7, 32, 50, None, None)
    assert told["EMP/H3"] == ((1e-3,), 2, 32, 50, 50, 9)
    assert told["EMP/H4"] == ((1e-3,), 1, 8, 0, 50, 9)


def test_baselines_try_one_rate():
    [plan] = plan_tasks(grid(tasks=("tf/0",), learning_rates=(1e-4, 3e-4)))
    assert rates_of(BenchmarkModel("a", "dnazen", "x"), plan) == (1e-4, 3e-4)
    assert rates_of(BenchmarkModel("c", "cnn", ""), plan) == (1e-4,)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": ()}, "seeds must be one or more different numbers"),
        ({"seeds": (1, 1)}, "seeds must be one or more different numbers"),
        ({"jobs": -1}, "jobs must be >= 0, got -1"),
        ({"train_from_dev": 1.0}, "train_from_dev must lie in 0 <= x < 1, got 1.0"),
        ({"tasks": ("EMP/H5",)}, "'EMP/H5' is no task of GUE"),
        ({"learning_rates": (0.0,)}, "EMP/H3: epochs, batch_size, learning_rates, max_train"),
        ({"warmup_steps": -1}, "warmup_steps >= 0"),
        ({"task_settings": ("EMP: epochs=0",)}, "EMP/H3: epochs, .* must be > 0"),
        ({"task_settings": ("EMP: epoch=1",)}, "unknown setting 'epoch'; expected epochs, batch"),
        ({"task_settings": ("EMP: epochs=x",)}, "epochs cannot be 'x'"),
        ({"task_settings": ("EMP: epochs",)}, "expected 'NAME: key=value key=value ...'"),
        ({"task_settings": ("nix: epochs=1",)}, "'nix' is no task of GUE"),
    ],
)
def test_what_cannot_be_is_told(settings, message):
    with pytest.raises(ConfigError, match=message):
        grid(**settings)


def test_named_settings_may_be_none():
    assert named_settings(" a : ") == ("a", {})
    with pytest.raises(ConfigError, match="expected 'NAME: key=value"):
        named_settings(": x=1")


def test_a_recipe_is_flags_written_down(tmp_path):
    recipe = tmp_path / "gue.toml"
    recipe.write_text(
        'data = "gue"\nmodels = ["a: cnn", "b: dnazen runs/x"]\ntasks = ["EMP"]\n'
        'seeds = [0, 1]\noutput = "out"\ntask-settings = ["EMP: epochs=2"]\n'
    )
    flags = recipe_flags(recipe, GueRunConfig)
    assert flags[:5] == ["--data", "gue", "--models", "a: cnn", "b: dnazen runs/x"]
