"""What is tried of each setting: read, checked, and put into the settings of a fine-tuning.

Settings have dotted names, ``optimizer.learning_rate``. In a space the last part is enough where
no other setting ends in it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import ConfigError
from ..overrides import override
from ..training.settings import FinetuneConfig

Value = float | int | str | bool | None
Values = Mapping[str, Value]
"""A value for each setting that is searched, by dotted name."""

FIXED = ("run", "best_metric")
"""What all trials share: the machine, the seed, and the score that judges them."""

_ENDS = {"low", "high"}
_RATE_FACTOR = 5.0
_WEIGHT_DECAYS = (1e-3, 0.3)
_BATCH_SIZES = (16, 32, 64)
_ADAPTER_DROPOUTS = (0.0, 0.1)


class Range(NamedTuple):
    """Numbers from low to high, both included; whole numbers if both are ``int``."""

    low: float
    high: float
    log: bool = False
    """Whether a factor counts as much anywhere, so that 1 to 10 is as wide as 10 to 100."""


Domain = Range | tuple[Value, ...]
"""What is tried of a setting: a range, or some values."""
Space = Mapping[str, Domain]
"""By the dotted names of settings."""


class Automatic(NamedTuple):
    """What settings come to that are left to the model (``auto``, or by default)."""

    learning_rate: float
    layers: int
    base_channels: int


def default_space(config: FinetuneConfig, automatic: Automatic) -> Space:
    """What is tried where nothing is said; a setting that was given is left alone.

    Decided here: learning rates within a factor of five of the automatic one; all layers, half and
    a quarter of them; weight decay 0.001 to 0.3; batches of 16, 32 and 64; with and without a base
    view; both poolings. Of an adapter, whose layers are fixed, a dropout.

    Raises
    ------
    ConfigError
        If all of them were given.
    """
    rate, layers = automatic.learning_rate, automatic.layers
    space: dict[str, Domain] = {
        "optimizer.learning_rate": Range(rate / _RATE_FACTOR, rate * _RATE_FACTOR, log=True),
        "optimizer.weight_decay": Range(*_WEIGHT_DECAYS, log=True),
        "batch_size": _BATCH_SIZES,
        "pooling": ("mean", "cls"),
    }
    if config.lora.rank:
        space["lora.dropout"] = _ADAPTER_DROPOUTS
    else:
        space["layers"] = tuple(sorted({max(1, layers // 4), max(1, layers // 2), layers}))
    if config.train == "all":
        space["base_channels"] = (0, automatic.base_channels)
    plain = FinetuneConfig()
    wanted = {
        name: domain
        for name, domain in space.items()
        if value_of(config, name) == value_of(plain, name)
        and (isinstance(domain, Range) or len(domain) > 1)
    }
    if not wanted:
        raise ConfigError(
            "there is nothing to search: all that is tried by default was given; leave some of "
            f"it out ({', '.join(space)}), or say what to try in [space]"
        )
    return wanted


def resolve_space(tables: Mapping[str, Any], config: FinetuneConfig) -> Space:
    """The space that a user wrote, by full names and with every value checked.

    Raises
    ------
    ConfigError
        If a setting is unknown or the same for all trials, or what stands for it is no list and no
        range of values that it can have.
    """
    names = list(_names(config))
    space: dict[str, Domain] = {}
    for written, values in _flat(tables, names):
        name = _full_name(written, names)
        if name.split(".")[0] in FIXED:
            raise ConfigError(f"space.{name}: is the same for all trials; set it outside of space")
        if name in space:
            raise ConfigError(f"space.{name}: stands twice; expected it once")
        space[name] = _domain(values, name, config)
    return space


def with_values(config: FinetuneConfig, values: Values) -> FinetuneConfig:
    """The settings with those of a trial.

    Raises
    ------
    ConfigError
        If they do not go together.
    """
    return override(config, nested(values), "space")


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted names as tables in tables."""
    tables: dict[str, Any] = {}
    for name, value in values.items():
        *folders, last = name.split(".")
        table = tables
        for folder in folders:
            table = table.setdefault(folder, {})
        table[last] = value
    return tables


def value_of(config: Any, name: str) -> Any:
    """A setting by its dotted name."""
    for part in name.split("."):
        config = getattr(config, part)
    return config


def short(name: str) -> str:
    """The last part of a setting's name, which tells those that can be searched apart."""
    return name.split(".")[-1]


def given_values(space: Space, config: FinetuneConfig, automatic: Automatic) -> Values | None:
    """The settings as they were given, as one trial; ``None`` where the space leaves them out."""
    own = {
        "optimizer.learning_rate": automatic.learning_rate,
        "layers": automatic.layers,
        "base_channels": automatic.base_channels,
    }
    values: dict[str, Value] = {}
    for name, domain in space.items():
        value = value_of(config, name)
        if value in (None, "auto") and not _holds(domain, value):
            value = own.get(name)
        if not _holds(domain, value):
            return None
        values[name] = value
    return values


def _holds(domain: Domain, value: Any) -> bool:
    if isinstance(domain, Range):
        return type(value) in (int, float) and domain.low <= value <= domain.high
    return value in domain


def _names(settings: Any, prefix: str = "") -> Iterator[str]:
    """The dotted name of every setting."""
    for field in dataclasses.fields(settings):
        inner = getattr(settings, field.name)
        if dataclasses.is_dataclass(inner):
            yield from _names(inner, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}"


def _flat(
    tables: Mapping[str, Any], names: Sequence[str], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Settings inside tables, such as ``[space.optimizer]``, by dotted names."""
    for key, values in tables.items():
        name = f"{prefix}{key.replace('-', '_')}"
        inside = any(setting.startswith(f"{name}.") for setting in names)
        if inside and isinstance(values, Mapping):
            yield from _flat(values, names, f"{name}.")
        else:
            yield name, values


def _full_name(written: str, names: Sequence[str]) -> str:
    if written in names:
        return written
    longer = [name for name in names if name.endswith(f".{written}")]
    if len(longer) == 1:
        return longer[0]
    expected = longer or [name for name in names if name.split(".")[0] not in FIXED]
    problem = "could be several settings" if longer else "unknown setting"
    raise ConfigError(f"space.{written}: {problem}; expected one of {', '.join(sorted(expected))}")


def _domain(values: Any, name: str, config: FinetuneConfig) -> Domain:
    place = f"space.{name}"

    def typed(value: Any) -> Any:
        return value_of(with_values(config, {name: value}), name)

    if isinstance(values, list):
        choices = tuple(map(typed, values))
        if len(choices) < 2 or any(value in choices[:n] for n, value in enumerate(choices)):
            raise ConfigError(f"{place}: expected two or more different values, got {values}")
        return choices
    if not isinstance(values, Mapping) or not _ENDS <= values.keys() <= set(Range._fields):
        raise ConfigError(
            f"{place}: expected a list of values, or low and high (and log = true), got {values!r}"
        )
    low, high, log = typed(values["low"]), typed(values["high"]), values.get("log", False)
    if any(type(end) not in (int, float) for end in (low, high)):
        raise ConfigError(f"{place}: low and high must be numbers; name other values in a list")
    if not isinstance(log, bool):
        raise ConfigError(f"{place}.log: expected true or false, got {log!r}")
    if not low < high:
        raise ConfigError(f"{place}: low must be below high, got {low} and {high}")
    if log and low <= 0:
        raise ConfigError(f"{place}: low must be above 0 where log is true, got {low}")
    return Range(low, high, log)
