"""What may be tried of a setting, and what is refused, in one line."""

from __future__ import annotations

import pytest

from dnazen.errors import ConfigError
from dnazen.search.settings import SearchConfig, read_space
from dnazen.search.space import (
    Automatic,
    Range,
    default_space,
    given_values,
    resolve_space,
    with_values,
)
from dnazen.training.settings import FinetuneConfig, LoraConfig, OptimizerConfig

AUTOMATIC = Automatic(learning_rate=1e-3, layers=12, base_channels=64)


def test_a_space_by_short_full_and_nested_names():
    written = {
        "learning-rate": {"low": 1e-4, "high": 1, "log": True},
        "layers": [2, 4],
        "optimizer": {"weight_decay": {"low": 0, "high": 0.1}},
        "lora.dropout": [0, 0.5],
        "patience": [None, 3],
        "epochs": {"low": 2, "high": 5},
    }
    space = resolve_space(written, FinetuneConfig())
    assert space == {
        "optimizer.learning_rate": Range(1e-4, 1.0, log=True),
        "layers": (2, 4),
        "optimizer.weight_decay": Range(0.0, 0.1),
        "lora.dropout": (0.0, 0.5),
        "patience": (None, 3),
        "epochs": Range(2, 5),
    }
    numbers = [type(space[name].low) for name in ("epochs", "optimizer.weight_decay")]
    assert numbers == [int, float]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"layer": [1, 2]}, "space.layer: unknown setting; expected one of base_channels, "),
        ({"run": {"seed": [1, 2]}}, "space.run.seed: is the same for all trials"),
        ({"best_metric": ["f1", "mcc"]}, "space.best_metric: is the same for all trials"),
        (
            {"learning_rate": [1.0, 2.0], "optimizer.learning_rate": [1.0, 2.0]},
            "space.optimizer.learning_rate: stands twice",
        ),
        ({"layers": 3}, "space.layers: expected a list of values, or low and high .* got 3"),
        ({"layers": {"low": 3}}, "space.layers: expected a list of values, or low and high"),
        ({"layers": {"low": 3, "high": 4, "step": 1}}, "space.layers: expected a list of values"),
        ({"layers": [3]}, r"space.layers: expected two or more different values, got \[3\]"),
        ({"layers": []}, "space.layers: expected two or more different values"),
        ({"layers": [3, 3]}, "space.layers: expected two or more different values"),
        ({"layers": [0, 3]}, "space.layers: layers must be at least 1, got 0"),
        ({"layers": [1.5, 3]}, "space.layers: expected a whole number, got 1.5"),
        ({"pooling": ["max", "cls"]}, "space.pooling: expected one of cls, mean, got 'max'"),
        ({"pooling": {"low": "cls", "high": "mean"}}, "space.pooling: low and high must be num"),
        ({"learning_rate": {"low": "auto", "high": 1}}, "low and high must be numbers"),
        ({"learning_rate": {"low": 2, "high": 1}}, "low must be below high, got 2.0 and 1.0"),
        ({"learning_rate": {"low": -1, "high": 1}}, "learning_rate must be > 0"),
        ({"learning_rate": {"low": 1, "high": 2, "log": 1}}, "log: expected true or false, got 1"),
        ({"weight_decay": {"low": 0, "high": 1, "log": True}}, "low must be above 0 where log"),
    ],
)
def test_what_cannot_be_tried_is_refused(space, message):
    with pytest.raises(ConfigError, match=message):
        resolve_space(space, FinetuneConfig())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["layers"], "'layers': expected SETTING="),
        (["layers=[1"], "expected SETTING="),
        (["layers=[1, 2]", "layers=[3, 4]"], "'layers' stands twice"),
    ],
)
def test_words_of_another_form(words, message):
    with pytest.raises(ConfigError, match=message):
        read_space(words)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": 0}, "trials must be 1 to 10000, got 0"),
        ({"timeout_minutes": 0.0}, "timeout_minutes must be > 0, got 0"),
    ],
)
def test_settings_out_of_range(change, message):
    with pytest.raises(ConfigError, match=message):
        SearchConfig(**change)


def test_the_default_space_holds_the_settings_as_given():
    config = FinetuneConfig()
    space = default_space(config, AUTOMATIC)
    assert space["layers"] == (3, 6, 12)
    assert space["optimizer.learning_rate"] == Range(2e-4, 5e-3, log=True)
    assert given_values(space, config, AUTOMATIC) == {
        "optimizer.learning_rate": 1e-3,
        "optimizer.weight_decay": 0.01,
        "layers": 12,
        "batch_size": 32,
        "base_channels": 64,
        "pooling": "mean",
    }


def test_by_default_what_is_given_is_left_alone():
    given = FinetuneConfig(layers=2, batch_size=8, train="head")
    space = default_space(given, AUTOMATIC._replace(layers=2))
    assert set(space) == {"optimizer.learning_rate", "optimizer.weight_decay", "pooling"}
    adapter = FinetuneConfig(lora=LoraConfig(rank=4))
    assert {"lora.dropout", "base_channels"} < set(default_space(adapter, AUTOMATIC))
    assert "layers" not in default_space(adapter, AUTOMATIC)
    optimizer = OptimizerConfig(learning_rate=1.0, weight_decay=1.0)
    everything = FinetuneConfig(
        layers=2, batch_size=8, base_channels=0, pooling="cls", optimizer=optimizer
    )
    with pytest.raises(ConfigError, match=r"nothing to search: .* \[space\]"):
        default_space(everything, AUTOMATIC)


def test_a_space_without_the_settings_as_given_has_no_such_trial():
    space = {"batch_size": (8, 16)}
    assert given_values(space, FinetuneConfig(), AUTOMATIC) is None
    assert given_values(space, FinetuneConfig(batch_size=8), AUTOMATIC) == {"batch_size": 8}


def test_values_that_do_not_go_together_are_refused():
    values = {"layers": 2, "lora.rank": 4}
    with pytest.raises(ConfigError, match="an adapter is of the whole model"):
        with_values(FinetuneConfig(), values)
