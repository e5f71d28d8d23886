"""Recipes: settings written down as TOML, which stand before the flags."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args, get_type_hints

from .errors import ConfigError, InputError


def recipe_flags(path: Path, settings: type) -> list[str]:
    """The flags that a recipe stands for, in the order written.

    Tables become dotted prefixes, so ``[masking]`` ``rate = 0.2`` is ``--masking.rate 0.2``.

    Raises
    ------
    InputError
        If the file is absent or not TOML.
    ConfigError
        If a key is no setting of ``settings``.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("no such recipe", path=path, expected="a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"not valid TOML ({error})", path=path) from None
    return list(_flags(path, table, settings, ""))


def _flags(path: Path, table: Mapping[str, Any], settings: type, prefix: str) -> Iterable[str]:
    kinds = get_type_hints(settings)
    known = {f.name for f in dataclasses.fields(settings)}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name not in known:
            raise ConfigError(
                f"{path}: unknown setting '{prefix}{key}'; expected one of "
                f"{', '.join(sorted(known))}"
            )
        flag = (prefix + name).replace("_", "-")
        inner = [t for t in (kinds[name], *get_args(kinds[name])) if dataclasses.is_dataclass(t)]
        if isinstance(value, Mapping) != bool(inner):
            kind, other = ("a table", "one value") if inner else ("one value", "a table")
            raise ConfigError(f"{path}: '{prefix}{key}' is {kind}, not {other}")
        if isinstance(value, Mapping):
            assert isinstance(inner[0], type)
            yield from _flags(path, value, inner[0], f"{prefix}{name}.")
        elif isinstance(value, bool):
            head, _, last = flag.rpartition(".")
            negated = f"{head}.no-{last}" if head else f"no-{last}"
            yield f"--{flag if value else negated}"
        elif isinstance(value, list):
            yield from (f"--{flag}", *map(str, value))
        else:
            yield from (f"--{flag}", str(value))
