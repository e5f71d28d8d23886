"""Records of runs: settings as JSON, what identifies an input, and what a run was."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from .errors import InputError


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
