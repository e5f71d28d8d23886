"""Settings: how they compose, what they may hold, and recipes (TOML) as flags written down.

Settings are frozen dataclasses, which are flags, help and validation at once. A command's settings
are made of the library's: a field annotated ``Annotated[MiningConfig, FLAT]`` puts the flags of
``MiningConfig`` beside the command's own, without a prefix.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import tyro

from .errors import ConfigError, InputError
from .overrides import takes_words, words_of

FLAT = tyro.conf.arg(name="")
"""Marks a field whose own fields stand beside those of the class that holds it."""

RECIPES = Path(__file__).parent / "recipes"
"""The recipes that ship with the package."""

_Settings = TypeVar("_Settings")

MOST = 1 << 53
"""No setting that counts something is larger: a float still holds every whole number up to it."""


def settings_or_default(given: object, kind: type[_Settings]) -> _Settings:
    """What a library call was given for its settings; the default settings for None.

    Raises
    ------
    ConfigError
        If it is no object of this class.
    """
    if given is None:
        return kind()
    if not isinstance(given, kind):
        raise ConfigError(f"expected {kind.__name__}(...), got {given!r}")
    return given


def require_choices(settings: Any) -> None:
    """Raise ConfigError if a field does not hold one of the choices of its ``Literal`` type.

    The command line checks this itself; a library call relies on it.
    """
    for name, kind in get_type_hints(type(settings)).items():
        allowed = choices(kind)
        value = getattr(settings, name)
        others = tuple(inner for inner in get_args(kind) if inner in (int, float, type(None)))
        number = "a number or " if set(others) & {int, float} else ""
        if allowed and not (type(value) in others or (type(value) is int and float in others)):
            for item in value if isinstance(value, tuple) else (value,):
                if item not in allowed:
                    wanted = f"{number}one of {', '.join(allowed)}"
                    raise ConfigError(f"{name} must be {wanted}, got {item!r}")


def require_numbers(settings: Any, *, least: float, most: float = MOST, names: str) -> None:
    """Raise ConfigError unless each field named is a finite number within bounds, or None.

    A tuple of numbers must hold only such.

    Parameters
    ----------
    names
        Names of fields with blanks between.
    """
    for name in names.split():
        value = getattr(settings, name)
        for number in value if isinstance(value, tuple) else (value,):
            if number is not None and not least <= number <= most:
                bounds = f"at least {least}" if most == MOST else f"{least} to {most}"
                raise ConfigError(f"{name} must be {bounds}, got {number}")


def require_finite(settings: Any, prefix: str = "") -> None:
    """Raise ConfigError if a number anywhere in settings is not finite, or larger than ``MOST``."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        name = f"{prefix}{field.name}"
        if dataclasses.is_dataclass(value):
            require_finite(value, f"{name}.")
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, (int, float)) and not -MOST <= number <= MOST:
                raise ConfigError(f"{name} must be a number of at most {MOST}, got {number}")


def require_fractions(settings: Any, *, names: str, closed: bool = True) -> None:
    """Raise ConfigError unless each field named lies in 0 to 1, or strictly between."""
    for name in names.split():
        value = getattr(settings, name)
        if not (0 <= value <= 1 if closed else 0 < value < 1):
            where = "in 0 to 1" if closed else "strictly between 0 and 1"
            raise ConfigError(f"{name} must lie {where}, got {value}")


def recipe_flags(path: Path, settings: type) -> list[str]:
    """The flags that a recipe stands for, in the order written.

    Tables become dotted prefixes, so ``[masking]`` ``rate = 0.2`` is ``--masking.rate 0.2``; named
    tables, such as the arms of a study, become words (``overrides``).

    Raises
    ------
    InputError
        If the file is absent or not TOML.
    ConfigError
        If a key is no setting of ``settings``.
    """
    return list(_flags(path, read_recipe(path), settings, ""))


def read_recipe(path: Path) -> dict[str, Any]:
    """The tables of a recipe: of a file, or else of the package's recipe of that name.

    Raises
    ------
    InputError
        If the file is absent or not TOML.
    """
    found = path
    if path.parent in (Path(), Path("recipes")) and not path.exists():
        found = RECIPES / path.name
    try:
        return tomllib.loads(found.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        names = ", ".join(sorted(file.name for file in RECIPES.glob("*.toml")))
        raise InputError(
            "no such recipe", path=path, expected=f"a TOML file, or one that ships: {names}"
        ) from None
    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        problem = "nested too deeply" if deep else str(error).partition(";")[0]
        raise InputError(f"not valid TOML ({problem})", path=path) from None


def recipe_of(settings: Mapping[str, Any]) -> str:
    """Settings, as JSON has them, as a recipe; what is not set (None, empty) is left out.

    Examples
    --------
    >>> print(recipe_of({"epochs": 3, "patience": None, "optimizer": {"learning_rate": 1e-3}}))
    epochs = 3
    [optimizer]
    learning_rate = 0.001
    """
    return "\n".join(_toml(settings, ""))


def _toml(settings: Mapping[str, Any], prefix: str) -> Iterator[str]:
    tables = {key: value for key, value in settings.items() if isinstance(value, Mapping)}
    for key, value in settings.items():
        if value not in (None, "", []) and key not in tables:
            yield f"{_key(key)} = {json.dumps(value, ensure_ascii=False)}"
    for key, value in tables.items():
        yield f"[{prefix}{_key(key)}]"
        yield from _toml(value, f"{prefix}{_key(key)}.")


def _key(name: str) -> str:
    """A name as a key of TOML."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def fields_by_name(settings: type) -> dict[str, Any]:
    """The type of each setting by its name; those of ``FLAT`` fields stand among the others."""
    kinds: dict[str, Any] = {}
    hints = get_type_hints(settings, include_extras=True)
    for field in dataclasses.fields(settings):
        kind = hints[field.name]
        if _is_flat(kind):
            kinds |= fields_by_name(get_args(kind)[0])
        else:
            kinds[field.name] = kind
    return kinds


def paths_in(settings: Any) -> Iterator[Path]:
    """Every path that settings hold, in whatever depth."""
    if dataclasses.is_dataclass(settings):
        for field in dataclasses.fields(settings):
            yield from paths_in(getattr(settings, field.name))
    elif isinstance(settings, tuple):
        for item in settings:
            yield from paths_in(item)
    elif isinstance(settings, Path):
        yield settings


def _flags(path: Path, table: Mapping[str, Any], settings: type, prefix: str) -> Iterable[str]:
    kinds = fields_by_name(settings)
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in kinds:
            raise ConfigError(
                f"{path}: unknown setting '{prefix}{key}'; expected one of "
                f"{', '.join(sorted(kinds))}"
            )
        flag = (prefix + name).replace("_", "-")
        if takes_words(kinds[name]):
            tables = isinstance(value, Mapping)
            yield from (f"--{flag}", *(words_of(value) if tables else map(str, value)))
            continue
        inner = dataclass_in(kinds[name])
        if isinstance(value, Mapping) != (inner is not None):
            kind, other = ("a table", "one value") if inner else ("one value", "a table")
            raise ConfigError(f"{path}: '{prefix}{key}' is {kind}, not {other}")
        if isinstance(value, Mapping):
            assert inner is not None
            yield from _flags(path, value, inner, f"{prefix}{name}.")
        elif isinstance(value, bool):
            head, _, last = flag.rpartition(".")
            negated = f"{head}.no-{last}" if head else f"no-{last}"
            yield f"--{flag if value else negated}"
        else:
            values = value if isinstance(value, list) else [value]
            yield from (f"--{flag}", *(_spelt(path, prefix + key, item) for item in values))


def _spelt(path: Path, name: str, value: Any) -> str:
    """A value of a recipe as a word of the command line."""
    try:
        word = str(value)
    except ValueError:  # a hexadecimal number of thousands of digits
        raise ConfigError(f"{path}: '{name}' is a number of too many digits") from None
    if "\0" in word:
        raise ConfigError(f"{path}: '{name}' holds a NUL character")
    return word


def _is_flat(kind: Any) -> bool:
    return get_origin(kind) is Annotated and any(mark is FLAT for mark in get_args(kind)[1:])


def dataclass_in(kind: Any) -> type | None:
    """The dataclass that a field holds, itself or as one of several kinds."""
    for inner in (kind, *get_args(kind)):
        if dataclasses.is_dataclass(inner) and isinstance(inner, type):
            return inner
    return None


def choices(kind: Any) -> tuple[str, ...]:
    """What a ``Literal`` type, or an optional one, may hold."""
    for inner in (kind, *get_args(kind)):
        if get_origin(inner) is Literal:
            return tuple(map(str, get_args(inner)))
    return ()
