"""Named tables of settings, such as the arms of a study: read, checked, laid over other settings.

In a recipe they are tables of the settings that they change::

    [arms.gated.model]
    fusion = "gated"

On the command line each is a word, ``NAME`` or ``NAME={JSON}``: ``gated={"model": {"fusion":
"gated"}}``. Recipes are handed to the command line in that form.
"""

from __future__ import annotations

import dataclasses
import json
import re
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from tyro.constructors import PrimitiveConstructorSpec

from .errors import ConfigError

T = TypeVar("T")

_NAME = re.compile(r"[\w-](?:[\w.-]{0,98}[\w-])?")
_KINDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "text",
}


def require_name(name: str, place: str) -> None:
    """Raise ConfigError unless a name can be that of a folder on any system."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{place}: {name!r} cannot be a name; expected at most 100 letters, digits and -_."
        )


def named_tables(words: Sequence[str], place: str) -> dict[str, dict[str, Any]]:
    """Read tables from the words of a command line.

    Raises
    ------
    ConfigError
        If a word is of another form, or two have one name.

    Examples
    --------
    >>> named_tables(["dnazen", 'e4bu={"ggrams": "none"}'], "arms")
    {'dnazen': {}, 'e4bu': {'ggrams': 'none'}}
    """
    tables: dict[str, dict[str, Any]] = {}
    for word in words:
        name, equals, text = word.partition("=")
        try:
            table = json.loads(text) if equals else {}
        except (ValueError, RecursionError):
            table = None
        if not isinstance(table, dict) or not name:
            raise ConfigError(f"{place}: {word!r}: expected NAME or NAME={{JSON}}")
        if name in tables:
            raise ConfigError(f"{place}: two are called {name!r}; expected different names")
        tables[name] = table
    return tables


def words_of(tables: Mapping[str, Any]) -> list[str]:
    """Tables as words that ``named_tables`` reads."""
    return [f"{name}={json.dumps(table, default=str)}" for name, table in tables.items()]


def from_words(
    read: Callable[[list[str]], T], spell: Callable[[T], list[str]], metavar: str
) -> PrimitiveConstructorSpec[T]:
    """Annotates a field that the command line, and a recipe's tables, give as words."""
    return PrimitiveConstructorSpec(
        nargs="*",
        metavar=metavar,
        instance_from_str=read,
        is_instance=lambda _: True,
        str_from_instance=spell,
    )


def takes_words(kind: Any) -> bool:
    """Whether the type of a field is annotated by ``from_words``."""
    return get_origin(kind) is Annotated and any(
        isinstance(mark, PrimitiveConstructorSpec) for mark in get_args(kind)[1:]
    )


def override(settings: T, table: Mapping[str, Any], place: str) -> T:
    """Settings with those changed that a table names; a table in it is of settings within.

    Parameters
    ----------
    place
        The table's name, for messages: ``arms.gated``.

    Raises
    ------
    ConfigError
        If a setting is unknown, of another type, or refused by the settings themselves; the message
        begins with its dotted name.
    """
    kinds = get_type_hints(type(settings), include_extras=True)
    changes: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in kinds:
            raise ConfigError(
                f"{place}.{key}: unknown setting; expected one of {', '.join(sorted(kinds))}"
            )
        inner = getattr(settings, name)
        if dataclasses.is_dataclass(inner) and not isinstance(inner, type):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{place}.{name}: is a table, not one value")
            changes[name] = override(inner, value, f"{place}.{name}")
        else:
            changes[name] = _typed(value, kinds[name], f"{place}.{name}")
    return _replaced(settings, changes, place)


def _replaced(settings: T, changes: dict[str, Any], place: str) -> T:
    """The settings with changes; what they refuse is named by the change that alone is refused."""
    try:
        return dataclasses.replace(settings, **changes)  # type: ignore[type-var]
    except ConfigError as error:
        if len(changes) > 1:
            for name, value in changes.items():
                _replaced(settings, {name: value}, place)
        where = f"{place}.{next(iter(changes))}" if len(changes) == 1 else place
        raise ConfigError(f"{where}: {error}") from None


def _typed(value: Any, kind: Any, place: str) -> Any:
    """A value of TOML or JSON as the type of a setting."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _typed(value, inner[0], place)
    if origin in (Union, types.UnionType):
        kinds = [one for one in inner if one is not types.NoneType]
        if value is None and len(kinds) < len(inner):
            return None
        fitting = [one for one in kinds if _fits(value, one)]
        return _typed(value, (fitting or kinds)[0], place)
    if not _fits(value, kind):
        choices = ", ".join(map(str, inner))
        expected = f"one of {choices}" if origin is Literal else _KINDS.get(kind, "a list")
        raise ConfigError(f"{place}: expected {expected}, got {value!r}")
    if origin is tuple:
        return tuple(_typed(item, inner[0], f"{place}[{n}]") for n, item in enumerate(value))
    return kind(value) if kind in (float, Path) else value


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a type; a whole number is a number, a path is text."""
    if get_origin(kind) is Literal:
        return any(value == one and type(value) is type(one) for one in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, (list, tuple))
    return type(value) in {float: (float, int), Path: (str,)}.get(kind, (kind,))
