"""What the user can fix, said in one line; anything else is our bug and keeps its traceback."""

from __future__ import annotations

from pathlib import Path


class DnazenError(Exception):
    """An error the user can fix; the command line prints it as one line and exits with 2."""


class ConfigError(DnazenError):
    """A setting is out of range, unknown, or contradicts another."""


class InputError(DnazenError):
    """An input file does not hold what was expected.

    Parameters
    ----------
    problem
        What is wrong.
    path
        The file, or ``-`` for standard input.
    line
        1-based line (or row) number, when the problem has one.
    expected
        What should have stood there.
    fix
        What to do about it.
    """

    def __init__(
        self,
        problem: str,
        *,
        path: str | Path | None = None,
        line: int | None = None,
        expected: str = "",
        fix: str = "",
    ) -> None:
        place = "" if path is None else f"{path}:{line}: " if line is not None else f"{path}: "
        message = place + problem
        if expected:
            message += f"; expected {expected}"
        if fix:
            message += f"; {fix}"
        super().__init__(message)


class OutputError(DnazenError):
    """An output cannot be written where it was asked for."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came; unwinds the work at hand as Ctrl-C does (``workers.signals``)."""
