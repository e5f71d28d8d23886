"""Outputs that are whole or absent: written under a temporary name, renamed when complete."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError


def refuse_existing(path: Path) -> None:
    """Raise unless ``path`` is absent or an empty directory.

    Raises
    ------
    OutputError
        If ``path`` is a file, or a directory that holds anything.
    """
    if path.is_dir():
        if any(path.iterdir()):
            raise OutputError(
                f"{path}: output directory is not empty; expected a new or empty one; "
                "name another, or remove it first"
            )
    elif path.exists():
        raise OutputError(f"{path}: exists and is not a directory; name another output")


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its name when the block ends well.

    An existing file of that name is replaced; a failed block leaves it as it was. A path that is
    no regular file (``/dev/stdout``, a pipe) is written in place.

    Raises
    ------
    OutputError
        If the folder cannot be written or the disk is full.
    """
    if path.exists() and not path.is_file():
        if path.is_dir():
            raise OutputError(f"{path}: is a directory; expected a file name")
        yield path
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise _explained(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Yield a temporary directory beside ``path`` that takes its name when the block ends well.

    Raises
    ------
    OutputError
        If ``path`` exists and is not an empty directory, or cannot be written, or the disk is
        full.
    """
    refuse_existing(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        yield temporary
        if path.is_dir():
            path.rmdir()
        os.replace(temporary, path)
    except OSError as error:
        raise _explained(path, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _explained(path: Path, error: OSError) -> OutputError | OSError:
    """The error as the user's, when it speaks of the output; the error itself otherwise."""
    elsewhere = (
        error.filename is not None and Path(str(error.filename)).name.startswith(".") is False
    )
    if elsewhere and not str(error.filename).startswith(str(path.parent)):
        return error
    return OutputError(
        f"{path}: cannot be written ({error.strerror or error}); "
        "free some space or choose another place"
    )
