"""Pages of the site that are made of the code: a page a command, with all its settings.

MkDocs calls ``on_config`` and ``on_files``. What stands in a page is what ``dnazen COMMAND --help``
tells: the docstring of the command's settings, and of each setting its flag, default and meaning.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from tyro.conf import Positional

from dnazen.cli import COMMANDS, command
from dnazen.overrides import takes_words
from dnazen.settings import FLAT, dataclass_in

FOLDER = "reference/commands"
_SOURCE = griffe.load("dnazen", search_paths=[str(Path(__file__).parents[1] / "src")])
_UNSET = (dataclasses.MISSING, None, "", ())


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the commands in the navigation, where it says Commands."""
    pages = [{f"dnazen {name}": _path(name)} for name in COMMANDS]
    for section in config.nav or []:
        for entry in next(iter(section.values())):
            if isinstance(entry, dict) and "Commands" in entry:
                entry["Commands"] = ["commands.md", *pages]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for name in COMMANDS:
        files.append(File.generated(config, _path(name), content=page(name)))
    return files


def page(name: str) -> str:
    """The page of a command."""
    settings = command(name).settings
    sections = "\n\n".join(_sections(settings, ""))
    return f"# dnazen {name}\n\n{_doc(settings)}\n\n{sections}\n"


def _path(name: str) -> str:
    return f"{FOLDER}/{name.replace(' ', '-')}.md"


def _doc(settings: type, field: str | None = None) -> str:
    """The docstring of a settings class, or of a field of it."""
    found = _SOURCE[settings.__module__.removeprefix("dnazen.")][settings.__name__]
    found = found if field is None else found.members[field]
    text = "" if found.docstring is None else found.docstring.value
    return text.replace("<", "&lt;").replace("*", "\\*")


def _sections(settings: type, prefix: str) -> Iterator[str]:
    """The settings that stand beside each other, and a section for each group of others."""
    entries, groups = [], []
    for field, kind, marks in _fields(settings):
        inner = (
            None if takes_words(Annotated[kind, *marks] if marks else kind) else dataclass_in(kind)
        )
        flag = f"{prefix}{field.name.replace('_', '-')}"
        if inner is None:
            entries.append(_entry(settings, field, kind, marks, flag))
        elif FLAT in marks:
            beside, *others = _sections(inner, prefix)
            entries.append(beside)
            groups += others
        else:
            own, *others = _sections(inner, f"{flag}.")
            groups += [f"## {flag}\n\n{_doc(settings, field.name)}\n\n{own}", *others]
    yield "\n\n".join(entries)
    yield from groups


def _fields(settings: type) -> Iterator[tuple[dataclasses.Field[Any], Any, tuple[Any, ...]]]:
    """Fields with type and marks."""
    hints = get_type_hints(settings, include_extras=True)
    for field in dataclasses.fields(settings):
        kind, *marks = (
            get_args(hints[field.name])
            if get_origin(hints[field.name]) is Annotated
            else [hints[field.name]]
        )
        yield field, kind, tuple(marks)


def _entry(
    settings: type,
    field: dataclasses.Field[Any],
    kind: Any,
    marks: tuple[Any, ...],
    flag: str,
) -> str:
    """A setting as an entry of a definition list."""
    default = field.default
    if field.default_factory is not dataclasses.MISSING:
        default = field.default_factory()
    names = [name for mark in marks for name in getattr(mark, "aliases", None) or ()]
    flags = ", ".join(f"`{name}`" for name in [*names, f"--{flag}"])
    if Positional in marks:
        metavar = next(filter(None, (getattr(mark, "metavar", None) for mark in marks)), None)
        flags = f"`{metavar or field.name.upper()}`"
    needed = default is dataclasses.MISSING
    rest = "required" if needed else f"default `{_spelt(default)}`"
    rest = "" if not needed and default in _UNSET else f" · {rest}"
    values = "" if kind is bool else f" {_values(kind)}"
    doc = _doc(settings, field.name).replace("\n", "\n    ")
    return f"{flags}{values}{rest}\n:   {doc or '.'}"


def _spelt(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _values(kind: Any) -> str:
    """What a setting takes."""
    if get_origin(kind) is Annotated:
        return _values(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_values(one) for one in get_args(kind) if one is not type(None))
    if get_origin(kind) is tuple:
        return f"{_values(get_args(kind)[0])} ..."
    return {int: "NUMBER", float: "NUMBER", str: "TEXT", Path: "PATH"}.get(kind, "TEXT")
