"""Settings: dataclass <-> JSON, recipes (TOML) as flags written down, and the run record."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import sys
import tomllib
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

from .errors import ConfigError, InputError


class InputFile(NamedTuple):
    """What identifies an input: path as given, size in bytes, SHA-256 in hexadecimal."""

    path: str
    size: int
    sha256: str


def hash_file(path: str | Path) -> InputFile:
    """Identify a file, read in 1 MiB blocks."""
    digest = hashlib.sha256()
    size = 0
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
            size += len(block)
    return InputFile(str(path), size, digest.hexdigest())


def plain(value: Any) -> Any:
    """A value as JSON types: dataclasses and named tuples to objects, paths to strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: plain(item) for key, item in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def run_record(
    command: str, settings: Any, inputs: Iterable[InputFile] = (), **more: Any
) -> dict[str, Any]:
    """What a run was: command, package version, settings, inputs' hashes, platform."""
    try:
        package = version("dnazen")
    except PackageNotFoundError:  # run from a source tree that was never installed
        package = "unknown"
    return {
        "command": command,
        "dnazen": package,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "argv": sys.argv[1:],
        "settings": plain(settings),
        "inputs": [plain(item) for item in inputs],
        **plain(more),
    }


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, keys in the order given."""
    path.write_text(json.dumps(plain(value), indent=2) + "\n", encoding="utf-8")


def read_json(path: Path, what: str) -> dict[str, Any]:
    """Read a JSON object.

    Parameters
    ----------
    what
        What the file should be, for the message: ``a corpus record``.

    Raises
    ------
    InputError
        If the file is absent, or is not a JSON object.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("no such file", path=path, expected=what) from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        raise InputError("not valid JSON", path=path, line=line, expected=what) from None
    if not isinstance(value, dict):
        raise InputError("not a JSON object", path=path, expected=what)
    return value


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
