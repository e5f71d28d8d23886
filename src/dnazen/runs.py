"""Whether a run is the same as one before, and whether it is alone: for every output that grows.

A run that can be interrupted and gone on with does three things, in this order::

    with claimed(directory):                                # no other run works there
        begin_or_go_on(directory / "identity.json", {      # it is the same run as before
            "settings": settings_that_the_result_depends_on,
            "inputs": [file.sha256 for file in inputs],
        })
        ...                                                 # work, and go on with what is there

What identifies a run is all that its result depends on, under names that its user knows: settings
(dataclasses may be given), hashes of inputs and models; not the output's name, the number of
workers or how often something is logged. Where the names are written in a larger record, read that
record, and compare with ``require_same``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from .errors import ConfigError, OutputError
from .outputs import failures_explained, is_alive, sweep
from .records import plain, read_json, write_json

_MOST_CHARACTERS = 100
"""Of a value in a message."""

_ABSENT = object()


FIX = "give it the same, name another output, or remove it"
"""What the user can do about another run."""


def begin_or_go_on(
    path: Path, identity: Mapping[str, Any], *, ignore_new: bool = False, fix: str = FIX
) -> bool:
    """Write down what identifies a run or, where that was done before, require the same.

    Parameters
    ----------
    path
        The file for it. Its folder is made.
    identity, ignore_new, fix
        As for ``require_same``.

    Returns
    -------
    Whether a run began there before.

    Raises
    ------
    ConfigError
        If that was another run.
    """
    if path.exists():
        before = read_json(path, "what identifies a run")
        require_same(path.parent, before, identity, ignore_new=ignore_new, fix=fix)
        return True
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, identity)
    return False


def require_same(
    place: Path,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    *,
    ignore_new: bool = False,
    fix: str = FIX,
) -> None:
    """Raise ConfigError, naming the first thing that differs, unless two runs are the same.

    Parameters
    ----------
    place
        Where the earlier run stands, for the message.
    before, now
        What identifies both. Values may be nested (``run.seed``) and are compared as JSON has them.
    ignore_new
        Let pass what only ``now`` has: settings that were added to dnazen since had their defaults.
    fix
        What the user can do.

    Examples
    --------
    >>> require_same(Path("out"), {"seed": 1}, {"seed": 2}, fix="remove it")
    Traceback (most recent call last):
    dnazen.errors.ConfigError: out: was begun with another seed: 1, now 2; remove it
    """
    flat_before, flat_now = _flat(plain(before)), _flat(plain(now))
    for name in dict.fromkeys([*flat_now, *flat_before]):
        was, is_now = flat_before.get(name, _ABSENT), flat_now.get(name, _ABSENT)
        if was is _ABSENT and ignore_new:
            continue
        if was != is_now:
            raise ConfigError(
                f"{place}: was begun with another {name}: {_shown(was)}, now {_shown(is_now)}; "
                f"{fix}"
            )


@contextmanager
def claimed(output: Path) -> Iterator[None]:
    """Keep every other run away from an output, a file or a directory, while this one works on it.

    The claim ends with the block, or with the process however it ends. It stands in the file
    ``.NAME.lock`` beside the output.

    Raises
    ------
    OutputError
        If another run is at work there, or the folder cannot be written.
    """
    real = Path(os.path.realpath(output))
    path = real.with_name(f".{real.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if real.is_dir() and not os.access(path.parent, os.W_OK):  # a mounted folder
            path = real / ".lock"
        lock = _lock(path)
    except OSError as error:
        raise OutputError(
            f"{output}: cannot be written ({error.strerror}); choose another place"
        ) from None
    if lock is None:
        raise OutputError(f"{output}: another run is at work here; wait for its end")
    _HELD.add(path)
    try:
        yield
    finally:
        _HELD.discard(path)
        lock.path.unlink(missing_ok=True)
        os.close(lock.descriptor)


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
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path}: exists and is not a directory; name another output")
    with claimed(path):
        sweep(path / record)
        if path.is_dir() and any(path.iterdir()) and not (path / record).is_file():
            raise OutputError(f"{path}: is no run of '{command}'; name a new directory")
        with failures_explained(path):
            path.mkdir(parents=True, exist_ok=True)
        yield


_HELD: set[Path] = set()
"""Locks of this process, which the system would give it again."""


class _Lock(NamedTuple):
    """An open file that no other process can lock while it is open."""

    path: Path
    descriptor: int


def _lock(path: Path) -> _Lock | None:
    """Lock a file; None where another process has it."""
    while path not in _HELD:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            # A record lock: forked workers that outlive this process do not keep it.
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            return None
        except OSError:  # a file system without locks
            os.close(descriptor)
            path.unlink(missing_ok=True)
            return _lock_by_name(path.with_name(f"{path.name}ed"))
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return _Lock(path, descriptor)
        os.close(descriptor)  # whoever had it has removed it meanwhile: again
    return None


def _lock_by_name(path: Path) -> _Lock | None:
    """The same by a file's existence, where the file system has no locks.

    A file that a dead process of this machine left is taken over.
    """
    owner = f"{socket.gethostname()} {os.getpid()}"
    for _ in range(2):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            host, _, number = path.read_text().partition(" ")
            if host != socket.gethostname() or not number.isdigit() or is_alive(int(number)):
                return None
            path.unlink(missing_ok=True)
        else:
            os.write(descriptor, owner.encode())
            return _Lock(path, descriptor)
    return None


def _flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested values by dotted names."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "not set"
    text = str(value)
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}..."
