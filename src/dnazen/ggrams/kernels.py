"""Kernels: functions that Numba compiles on first use, kept compiled on disk where that can be."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., object])


def kernel(function: Function) -> Function:
    """Compile a function on first use; while it runs, other threads run too.

    The machine code is kept where Numba keeps it: beside the source, else in the user's cache, or
    in NUMBA_CACHE_DIR. Where none of these can be written (a container, a read-only home), each
    process compiles anew, which takes some seconds and changes no result.
    """
    try:
        return cast(Function, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError as error:
        _require_no_place(error)
        return cast(Function, numba.njit(nogil=True)(function))


def import_kernels(name: str) -> ModuleType:
    """Import another package that keeps kernels of its own, wherever they can be kept.

    Where Numba has no place for them, they go to a temporary folder, which is removed at the end.
    """
    try:
        return importlib.import_module(name)
    except RuntimeError as error:
        _require_no_place(error)
        numba.config.CACHE_DIR = _temporary_folder().name  # type: ignore[attr-defined]
        return importlib.import_module(name)


@cache
def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="dnazen-kernels-")


def _require_no_place(error: RuntimeError) -> None:
    """Raise the error anew unless it says that compiled code cannot be kept."""
    if "no locator available" not in str(error):
        raise error
