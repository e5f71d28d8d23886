"""Records of runs: settings as JSON, what identifies an input, and what a run was."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from .errors import InputError
from .outputs import new_file


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
        return _fields(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: plain(item) for key, item in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def _fields(settings: Any) -> dict[str, Any]:
    """The fields of a dataclass by name; those of a ``FLAT`` one stand among the others."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value = plain(getattr(settings, field.name))
        if isinstance(field.type, str) and field.type.endswith("FLAT]"):
            values |= value
        else:
            values[field.name] = value
    return values


def package_version() -> str:
    """The version of the package, or ``unknown`` of a source tree that was never installed."""
    try:
        return version("dnazen")
    except PackageNotFoundError:
        return "unknown"


def run_record(
    command: str, settings: Any, inputs: Iterable[InputFile] = (), **more: Any
) -> dict[str, Any]:
    """What a run was: command, package version, settings, inputs' hashes, platform."""
    return {
        "command": command,
        "dnazen": package_version(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "argv": sys.argv[1:],
        "settings": plain(settings),
        "inputs": [plain(item) for item in inputs],
        **plain(more),
    }


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON, keys in the order given; the file is whole or absent.

    A number that is not finite, which JSON lacks, becomes null.
    """
    text = json.dumps(finite(plain(value)), indent=2, allow_nan=False)
    with new_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def finite(value: Any) -> Any:
    """JSON values with null for every number that is not finite, which JSON lacks."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


Form = Any
"""What a JSON value should be.

``str``, ``bool``, ``int``, ``float`` (finite; whole numbers too), ``COUNT``; ``[form]`` is a list;
``{"key": form}`` an object with at least these keys, where ``"key?"`` may be absent or null;
``{str: form}`` an object with any keys; ``dict`` any object.
"""

COUNT = "a count"
"""A whole number from 0 to ``MOST_COUNT``."""
MOST_COUNT = 1 << 53

_NAMES = {str: "a text", bool: "true or false", int: "a whole number", float: "a finite number"}


def read_json(path: Path, what: str, form: Form = dict) -> dict[str, Any]:
    """Read a JSON object.

    Parameters
    ----------
    what
        What the file should be, for the message: ``a corpus record``.
    form
        What must stand in it, see ``Form``.

    Raises
    ------
    InputError
        If the file is absent, is not a JSON object, or has another form: the message names the
        value.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("no such file", path=path, expected=what) from None
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits is a ValueError too
        line = getattr(error, "lineno", None)
        problem = "not valid JSON" if line or isinstance(error, UnicodeDecodeError) else str(error)
        if isinstance(error, RecursionError):
            problem = "nested too deeply"
        raise InputError(problem.split(";")[0], path=path, line=line, expected=what) from None
    if not isinstance(value, dict):
        raise InputError("not a JSON object", path=path, expected=what)
    if fault := _fault(value, form, ""):
        raise InputError(fault, path=path, fix=f"it is damaged, or not {what}")
    return value


def _fault(value: Any, form: Form, name: str) -> str:
    """What is wrong with a value: nothing, or a text that names it."""
    if isinstance(form, list):
        if not isinstance(value, list):
            return _complaint(name, value, "a list")
        return next(
            filter(None, (_fault(v, form[0], f"{name}[{n}]") for n, v in enumerate(value))), ""
        )
    if isinstance(form, dict) or form is dict:
        if not isinstance(value, dict):
            return _complaint(name, value, "an object")
        keys = form if isinstance(form, dict) else {}
        return next(filter(None, _faults_of_object(value, keys, name)), "")
    if form == COUNT:
        good = type(value) is int and 0 <= value <= MOST_COUNT
        return "" if good else _complaint(name, value, "a whole number from 0")
    good = isinstance(value, (int, float) if form is float else form)
    good = good and (form is bool or not isinstance(value, bool))
    if form in (int, float):
        good = good and math.isfinite(value)
    return "" if good else _complaint(name, value, _NAMES[form])


def _faults_of_object(value: dict[str, Any], form: dict[Any, Form], name: str) -> Iterator[str]:
    for key, inner in form.items():
        if key is str:
            yield from (_fault(item, inner, f"{name}.{key}") for key, item in value.items())
            continue
        optional = key.endswith("?")
        item = value.get(key.removesuffix("?"))
        if item is None and optional:
            continue
        path = f"{name}.{key.removesuffix('?')}".removeprefix(".")
        if key.removesuffix("?") not in value:
            yield f"has no '{path}'"
        yield _fault(item, inner, path)


def _complaint(name: str, value: Any, expected: str) -> str:
    shown = json.dumps(value)
    shown = shown if len(shown) <= 40 else f"{shown[:40]}..."
    return f"'{name.removeprefix('.')}' is {shown}, not {expected}"
