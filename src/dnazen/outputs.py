"""Outputs that are whole or absent: written under a temporary name, renamed when complete."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError

_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a write, which name no file."""


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
    if path.is_dir():
        raise OutputError(f"{path}: is a directory; expected a file name")
    if path.exists() and not path.is_file():
        with _failures_explained(path, path):
            yield path
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with _failures_explained(path, temporary):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            os.replace(temporary, path)
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
    path = path.resolve()  # '.' has no name, and a link to an empty folder cannot be replaced
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with _failures_explained(path, temporary):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir()
            yield temporary
            if path.is_dir():
                path.rmdir()
            os.replace(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def growing_directory(path: Path, record: str, command: str) -> Iterator[None]:
    """Make a directory that runs add to, or enter it, and keep other runs out meanwhile.

    Parameters
    ----------
    record
        The file that tells such a directory; the run writes it.
    command
        What writes such directories, for the message.

    Raises
    ------
    OutputError
        If it holds something else, or another run is at work in it.
    """
    if path.is_dir() and any(path.iterdir()) and not (path / record).is_file():
        raise OutputError(f"{path}: is no run of '{command}'; name a new directory")
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path}: exists and is not a directory; name another output")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be made ({error.strerror})") from error
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise OutputError(f"{path}: another run is at work here; wait for its end") from None
    else:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _failures_explained(path: Path, temporary: Path) -> Iterator[None]:
    """Turn what the machine says of an output into the user's error; let all else pass."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            ours = error.errno in _DISK_IS_FULL
        else:
            touched = Path(os.fsdecode(error.filename))
            ours = touched in (path, *path.parents) or temporary in (touched, *touched.parents)
        if not ours:
            raise
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); free some space or choose another place"
        ) from error
