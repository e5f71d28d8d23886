"""Lines of results that outlive a killed run, so that the next one goes on from there."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ConfigError, OutputError
from ..records import plain, read_json, write_json

_IDENTITY = "run.json"
_LINES = "lines"


class Journal:
    """A growing list of lines in the folder ``OUTPUT.unfinished``, beside the output it is for.

    Parameters
    ----------
    output
        What the lines will be turned into.
    identity
        All that the lines depend on, by name, as JSON can hold it. It is written down, and must
        be the same in the run that goes on.
    resume
        Go on with the lines of an interrupted run; with none there, start anew.

    Raises
    ------
    OutputError
        If an interrupted run is there and going on was not asked for.
    ConfigError
        If that run is another one.
    """

    def __init__(self, output: Path, identity: Mapping[str, Any], *, resume: bool) -> None:
        self.folder = output.with_name(f"{output.name}.unfinished")
        self._path = self.folder / _LINES
        if (self.folder / _IDENTITY).exists():
            if not resume:
                raise OutputError(
                    f"{self.folder}: an interrupted run; add --resume to go on with it, or "
                    "remove this folder"
                )
            _require_same(self.folder, plain(identity))
            return
        if resume:
            print(f"note: {self.folder} is not there: starting anew", file=sys.stderr)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._path.write_bytes(b"")
        write_json(self.folder / f".{_IDENTITY}", identity)
        os.replace(self.folder / f".{_IDENTITY}", self.folder / _IDENTITY)

    def __iter__(self) -> Iterator[str]:
        with self._path.open(encoding="utf-8", newline="\n") as handle:
            for line in handle:
                yield line.removesuffix("\n")

    def keep(self, block: int) -> int:
        """Drop what lies behind the last whole block of so many lines; the lines that are left."""
        kept = kept_bytes = size = 0
        with self._path.open("rb+") as handle:
            for number, line in enumerate(handle, 1):
                size += len(line)
                if number % block == 0 and line.endswith(b"\n"):
                    kept, kept_bytes = number, size
            handle.truncate(kept_bytes)
        return kept

    def append(self, lines: Iterable[str]) -> None:
        """Add lines; they are on the disk when this returns."""
        with self._path.open("ab") as handle:
            handle.write("".join(f"{line}\n" for line in lines).encode())
            handle.flush()
            os.fsync(handle.fileno())

    def remove(self) -> None:
        """Take the folder away: the output is whole."""
        shutil.rmtree(self.folder)


def _require_same(folder: Path, identity: dict[str, Any]) -> None:
    before = read_json(folder / _IDENTITY, "the settings of an interrupted run")
    for name in identity.keys() | before.keys():
        if identity.get(name) != before.get(name):
            raise ConfigError(
                f"{folder}: an interrupted run with another {name}: {before.get(name)}, now "
                f"{identity.get(name)}; give it the same, or remove this folder"
            )
