"""Outputs that are whole or absent: written under a temporary name, renamed when complete.

Temporary names are random and made anew: no link is followed, and no two runs share one. They tell
which process writes there; what a killed one left is swept by the next run to the same output.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
import shutil
import socket
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from hashlib import sha256
from pathlib import Path

from .errors import OutputError

_DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a write, which name no file."""

_TEMPORARY = re.compile(r"\..*\.(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-[0-9a-f]{8}\.partial")
_MOST_NAME_BYTES = 150
"""Of an output's name in that of its temporary file; a file system takes 255 in all."""


# -- where an output may stand


def refuse_existing(path: Path) -> None:
    """Raise unless ``path`` is absent or an empty directory.

    What killed runs left on their way to this output is removed.

    Raises
    ------
    OutputError
        If ``path`` is a file, or a directory that holds anything, or no possible name.
    """
    _require_possible(path)
    sweep(path)
    if path.is_dir():
        if any(path.iterdir()):
            raise OutputError(
                f"{path}: output directory is not empty; expected a new or empty one; "
                "name another, or remove it first"
            )
    elif path.exists():
        raise OutputError(f"{path}: exists and is not a directory; name another output")


def refuse_inputs(output: Path, inputs: Sequence[Path]) -> None:
    """Raise OutputError if a file that is to be written is one of those that are read."""
    _require_possible(output)
    if output.is_file():
        for path in inputs:
            if path.is_file() and path.samefile(output):
                raise OutputError(f"{output}: is an input too ({path}); name another output")


def sweep(path: Path) -> None:
    """Remove what processes that are dead left beside an output, on their way to it."""
    for target in {_beside(path), _real(path)}:
        prefix = _temporary_prefix(target)
        try:
            names = [name for name in os.listdir(target.parent) if name.startswith(prefix)]
        except OSError:  # no such folder, or none of ours
            continue
        for name in names:
            left = _TEMPORARY.fullmatch(name)
            if left and left["machine"] == _machine() and not is_alive(int(left["process"])):
                _remove(target.parent / name)


def is_alive(process: int) -> bool:
    """Whether a process of this machine, by its number, is at work."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


# -- files


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield an empty temporary file beside ``path`` that takes its name when the block ends well.

    An existing file of that name is replaced; a failed block leaves it as it was. A path that is
    no regular file (``/dev/stdout``, a pipe) is written in place.

    Raises
    ------
    OutputError
        If the folder cannot be written or the disk is full.
    """
    with new_files(path) as (temporary,):
        yield temporary


@contextmanager
def new_files(path: Path, *beside: Path) -> Iterator[tuple[Path, ...]]:
    """Yield temporary files for an output and for what belongs to it, such as an index.

    Of an earlier output, what belongs to it is removed before the new one takes its place: a kill
    may leave an output without what belongs to it, never beside that of another.

    Raises
    ------
    OutputError
        As ``new_file``.
    """
    with ExitStack() as stack:
        temporaries = [stack.enter_context(_temporary_file(place)) for place in (path, *beside)]
        yield tuple(temporary for temporary, _ in temporaries)
        for place in beside:
            with failures_explained(place):
                place.unlink(missing_ok=True)
        for _, take_place in temporaries:
            take_place()


@contextmanager
def _temporary_file(path: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """An empty file, and what gives it its name."""
    _require_possible(path)
    if path.is_dir():
        raise OutputError(f"{path}: is a directory; expected a file name")
    if path.exists() and not path.is_file():
        with failures_explained(path):
            yield path, lambda: None
        return
    sweep(path)
    target = _beside(path)
    temporary = target.with_name(_temporary_name(target))
    with failures_explained(path, temporary):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
            yield temporary, lambda: os.replace(temporary, target)
        finally:
            _remove(temporary)


# -- directories


@contextmanager
def new_directory(
    path: Path, replaceable: Callable[[Path], bool] = lambda _: False
) -> Iterator[Path]:
    """Yield a temporary directory beside ``path`` that takes its name when the block ends well.

    All files get the permissions that the umask gives.

    Parameters
    ----------
    replaceable
        Tells of a directory that holds something whether it may be replaced, such as an earlier
        output. The old one stands until the new one is whole.

    Raises
    ------
    OutputError
        If ``path`` exists and is not an empty or replaceable directory, or cannot be written, or
        the disk is full.
    """
    _require_possible(path)
    target = _real(path)  # '.' has no name, and a link to an empty folder cannot be replaced
    _finish_exchange(target)
    sweep(path)
    if not (path.is_dir() and replaceable(path)):
        refuse_existing(path)
    temporary = target.with_name(_temporary_name(target))
    with failures_explained(path, temporary):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            yield temporary
            open_to_umask(temporary)
            if target.is_dir() and any(target.iterdir()) and replaceable(target):
                _exchange(temporary, target)
            else:
                os.replace(temporary, target)
        finally:
            _remove(temporary)


def open_to_umask(directory: Path) -> None:
    """Give the files of a new directory the permissions that the umask gives.

    Writers of weights make them readable by their owner alone.
    """
    allowed = directory.stat().st_mode & 0o666
    for folder, _, files in os.walk(directory):
        for name in files:
            file = Path(folder, name)
            if file.is_file() and not file.is_symlink():
                file.chmod(stat.S_IMODE(file.stat().st_mode) | allowed)


# -- what the machine says


@contextmanager
def failures_explained(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Turn what the machine says of an output into the user's error; let all else pass.

    Raises
    ------
    OutputError
        If the disk is full, or an error names the output, a folder above it, or what is in
        ``temporary``.
    """
    try:
        yield
    except OSError as error:
        if error.filename is None:
            ours = error.errno in _DISK_IS_FULL
        else:
            touched = Path(os.fsdecode(error.filename))
            ours = touched in (path, *path.parents, *_real(path).parents) or (
                temporary is not None and temporary in (touched, *touched.parents)
            )
        if not ours:
            raise
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}); free some space or choose another place"
        ) from error


def _require_possible(path: Path) -> None:
    """Raise OutputError if no file can have this name."""
    try:
        path.stat()
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise OutputError(
                f"{path}: is a link that leads to itself; name another output, or remove it"
            ) from None
        if error.errno == errno.ENAMETOOLONG:
            raise OutputError(f"{path}: the name is too long; name another output") from None
    except ValueError:
        raise OutputError(f"{path}: holds a NUL character; name another output") from None


def _real(path: Path) -> Path:
    """The path without links."""
    return Path(os.path.realpath(path))


def _beside(path: Path) -> Path:
    """The path in its folder's real place; the name may be a link, which is not followed."""
    return _real(path.parent) / path.name


def _temporary_prefix(target: Path) -> str:
    name = os.fsdecode(os.fsencode(target.name)[:_MOST_NAME_BYTES])
    return f".{name}."


def _temporary_name(target: Path) -> str:
    token = secrets.token_hex(4)
    return f"{_temporary_prefix(target)}{_machine()}-{os.getpid()}-{token}.partial"


@cache
def _machine() -> str:
    """Where process numbers mean the same: this machine since it started, or this container."""
    try:
        place = Path("/proc/sys/kernel/random/boot_id").read_text() + os.readlink(
            "/proc/self/ns/pid"
        )
    except OSError:
        place = socket.gethostname()
    return sha256(place.encode()).hexdigest()[:8]


def _remove(path: Path) -> None:
    """Remove a temporary file or directory, whatever is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _exchange(one: Path, other: Path) -> None:
    """Let two directories change places, in one step where the system can."""
    try:
        exchanged = ctypes.CDLL(None).renameat2(
            _CURRENT_FOLDER, os.fsencode(one), _CURRENT_FOLDER, os.fsencode(other), _EXCHANGE
        )
    except (OSError, AttributeError):  # no Linux
        exchanged = -1
    if exchanged != 0:
        os.replace(other, _aside(other))
        os.replace(one, other)
        _finish_exchange(other)


def _finish_exchange(target: Path) -> None:
    """Remove a directory that was replaced or, if a kill came between, put it back."""
    aside = _aside(target)
    if aside.is_dir():
        if target.exists():
            _remove(aside)
        else:
            os.replace(aside, target)


def _aside(target: Path) -> Path:
    return target.with_name(f"{_temporary_prefix(target)}replaced")


_CURRENT_FOLDER = -100
"""AT_FDCWD of Linux's renameat2."""
_EXCHANGE = 2
"""RENAME_EXCHANGE of it."""
