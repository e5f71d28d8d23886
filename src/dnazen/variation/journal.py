"""Lines of results that outlive a killed run, so that the next one goes on from there."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import OutputError
from ..runs import begin_or_go_on, claimed

_IDENTITY = "run.json"
_LINES = "lines"


@contextmanager
def open_journal(output: Path, identity: Mapping[str, Any], *, resume: bool) -> Iterator[Journal]:
    """Yield the journal of an output, in the folder ``OUTPUT.unfinished`` beside it.

    When the block ends well the folder is removed: the output is whole.

    Parameters
    ----------
    output
        What the lines will be turned into.
    identity
        All that the lines depend on, as for ``runs.require_same``.
    resume
        Go on with the lines of an interrupted run; with none there, start anew.

    Raises
    ------
    OutputError
        If an interrupted run is there and going on was not asked for, or another run is at work.
    ConfigError
        If that run is another one.
    """
    folder = output.with_name(f"{output.name}.unfinished")
    lines = folder / _LINES
    with claimed(folder):
        if not (folder / _IDENTITY).exists():
            if resume:
                print(f"note: {folder} is not there: starting anew", file=sys.stderr)
            folder.mkdir(exist_ok=True)
            lines.write_bytes(b"")
        elif not resume:
            raise OutputError(
                f"{folder}: an interrupted run; add --resume to go on with it, or remove this "
                "folder"
            )
        begin_or_go_on(folder / _IDENTITY, identity, fix="give it the same, or remove this folder")
        try:
            yield Journal(lines)
        except KeyboardInterrupt as stop:
            stop.add_note("add --resume to go on")
            raise
        shutil.rmtree(folder)


class Journal:
    """A growing list of lines in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

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
