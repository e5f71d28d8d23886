"""Settings as a whole: no number out of this world gets past them, in the library or on a flag."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin, get_type_hints

import pytest

from dnazen.cli import COMMANDS, command
from dnazen.errors import ConfigError
from dnazen.settings import paths_in, require_finite

BOUNDED_BY_MODEL = {("EmbeddingConfig", "overlap")}


def parts(kind: object) -> list[object]:
    """The types that a field may hold."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    inner = [part for part in get_args(kind) if part is not ...]
    return (
        [kind] if not inner or get_origin(kind) is Literal else [p for i in inner for p in parts(i)]
    )


def classes(settings: type) -> set[type]:
    """A dataclass and those inside it."""
    kinds = [part for kind in get_type_hints(settings).values() for part in parts(kind)]
    inner = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
    return {settings}.union(*map(classes, inner))


SETTINGS = sorted(
    set().union(*(classes(command(name).settings) for name in COMMANDS)), key=lambda k: k.__name__
)


def example(settings: type, **values: object) -> object:
    """Settings with something for all that has no default."""
    hints = get_type_hints(settings)
    for setting in dataclasses.fields(settings):
        if setting.default is setting.default_factory is dataclasses.MISSING:
            kind = hints[setting.name]
            (first, *_) = parts(kind)
            if get_origin(first) is Literal:
                some = get_args(first)[-1]
            else:
                some = example(first) if dataclasses.is_dataclass(first) else first("x")
            values.setdefault(setting.name, (some, some) if get_origin(kind) is tuple else some)
    return settings(**values)


def numbers(settings: type):
    for name, kind in get_type_hints(settings).items():
        for part in parts(kind):
            if part in (int, float):
                origins = {get_origin(k) for k in (kind, *get_args(kind))}
                yield name, part, next((o for o in (tuple, dict) if o in origins), None)


CASES = [(kind, *number) for kind in SETTINGS for number in numbers(kind)]


@pytest.mark.parametrize(
    ("settings", "name", "kind", "holder"),
    [
        pytest.param(*case, id=f"{case[0].__name__}.{case[1]}")
        for case in CASES
        if (case[0].__name__, case[1]) not in BOUNDED_BY_MODEL
    ],
)
def test_every_number_is_bounded(settings, name, kind, holder):
    example(settings)
    held = {None: lambda x: x, tuple: lambda x: (x,), dict: lambda x: {"x": x}}[holder]
    absurd = [10**30, -(10**30)]
    if kind is float:
        absurd = [float("nan"), float("inf"), float("-inf")]
    for value in absurd:
        with pytest.raises(ConfigError, match=name.removeprefix("heldout_")):
            example(settings, **{name: held(value)})


@dataclass(frozen=True)
class Inner:
    rates: tuple[float, ...] = (0.1,)


@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    steps: int = 1
    fast: bool = True
    name: str = "x"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -(10**17), 1e300])
def test_the_command_line_refuses_such_numbers_in_any_depth(number):
    require_finite(Outer())
    for settings, name in (
        (Outer(steps=number), "steps"),
        (Outer(inner=Inner(rates=(1.0, number))), r"inner\.rates"),
    ):
        with pytest.raises(ConfigError, match=f"^{name} must be a number of at most .*, got "):
            require_finite(settings)


def test_paths_are_found_in_any_depth():
    assert [*paths_in((Path("a"), Inner(rates=(Path("b"),)), "c"))] == [Path("a"), Path("b")]
