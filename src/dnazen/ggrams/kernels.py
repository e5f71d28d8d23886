"""Kernels: functions that Numba compiles on first use, and what they may be given.

A kernel does not look where it reads and writes: whatever comes from outside is checked before.
"""

from __future__ import annotations

import contextlib
import importlib
import pickle
import tempfile
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import Any, TypeVar, cast

import numba
import numpy as np
from jaxtyping import Int, UInt16

from ..errors import InputError
from ..tokens.special import MAX_VOCAB_SIZE

Function = TypeVar("Function", bound=Callable[..., object])


def kernel(function: Function) -> Function:
    """Compile a function on first use; while it runs, other threads run too.

    The machine code is kept where Numba keeps it: beside the source, else in the user's cache, or
    in NUMBA_CACHE_DIR. Where none of these can be written (a container, a read-only home), each
    process compiles anew, which takes some seconds and changes no result.
    """
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError as error:
        _require_no_place(error)
        return cast(Function, numba.njit(nogil=True)(function))
    if hasattr(compiled, "_cache"):  # NUMBA_DISABLE_JIT leaves the function as it is
        compiled._cache = _ForgivingCache(compiled._cache)
    return cast(Function, compiled)


class _ForgivingCache:
    """A cache of Numba's that may be damaged, or have no room, without harm."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def load_overload(self, *arguments: Any) -> Any:
        """The machine code kept for a signature; None where there is none that can be read."""
        try:
            return self._cache.load_overload(*arguments)
        except Exception:  # of a file cut short: whatever pickle meets first
            return None

    def save_overload(self, *arguments: Any) -> None:
        """Keep machine code, unless there is no room or the index of what is kept is damaged."""
        with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError):
            self._cache.save_overload(*arguments)


def require_sequences(
    tokens: Int[np.ndarray, "tokens"], offsets: Int[np.ndarray, "sequences+1"]
) -> None:
    """Raise unless the offsets mark sequences within the tokens. Time O(sequences).

    Raises
    ------
    InputError
        If they run backwards, or past an end of the tokens.
    """
    if len(offsets) == 0 or offsets[0] < 0 or offsets[-1] > len(tokens) or _run_back(offsets):
        raise InputError(
            "offsets of sequences run backwards, or past the tokens",
            expected=f"ascending numbers from 0 to {len(tokens)}",
        )


def require_tokens(tokens: Int[np.ndarray, "tokens"]) -> UInt16[np.ndarray, "tokens"]:
    """Token ids as two bytes each; those that are so already are given back as they are.

    Raises
    ------
    InputError
        If an id is less than 0 or more than 65,535.
    """
    if tokens.dtype == np.uint16:
        return tokens
    if len(tokens) and not 0 <= tokens.min() <= tokens.max() < MAX_VOCAB_SIZE:
        raise InputError(
            f"token ids {tokens.min()} to {tokens.max()}", expected=f"0 to {MAX_VOCAB_SIZE - 1}"
        )
    return tokens.astype(np.uint16)


def _run_back(offsets: Int[np.ndarray, "sequences+1"]) -> bool:
    return bool((offsets[1:] < offsets[:-1]).any())


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
