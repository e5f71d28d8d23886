"""The sequences that are mined, how they are shared out, and arrays kept on disk."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int64

from ..workers.cluster import by_name


class Spans(NamedTuple):
    """Sequences ``tokens[offsets[s]:offsets[s + 1]]``, those that ``keep`` says.

    Pickled, mapped arrays are their files' names, so that another machine maps them anew.
    """

    tokens: Int[np.ndarray, "tokens"]
    offsets: Int64[np.ndarray, "sequences+1"]
    keep: Bool[np.ndarray, "sequences"]

    @property
    def lengths(self) -> Int64[np.ndarray, "kept"]:
        """Tokens of each sequence that is kept."""
        lengths: Int64[np.ndarray, "kept"] = np.diff(self.offsets)[self.keep]
        return lengths

    def shards(self, count: int) -> list[Shard]:
        """Cut between sequences, at about even shares of the tokens, into at most ``count``."""
        shares = np.linspace(self.offsets[0], self.offsets[-1], count + 1)[1:-1]
        cuts = np.unique([0, *np.searchsorted(self.offsets, shares), len(self.keep)])
        return [Shard(int(a), int(b)) for a, b in itertools.pairwise(cuts)]

    def shard(self, shard: Shard) -> Spans:
        """The sequences of a shard."""
        first, end = shard
        return Spans(self.tokens, self.offsets[first : end + 1], self.keep[first:end])

    def __reduce__(self) -> tuple[Callable[..., Spans], tuple[Callable[[], np.ndarray], ...]]:
        """Arrays by name where they have one."""
        return _again, tuple(by_name(array) for array in self)


class Shard(NamedTuple):
    """Consecutive sequences, by number."""

    first: int
    end: int


def _again(*arrays: Callable[[], np.ndarray]) -> Spans:
    return Spans(*(array() for array in arrays))


class Spilled:
    """An array that grows in a file without a name, and takes no memory of its own.

    The file lies in Python's folder for temporary files (``TMPDIR``).
    """

    def __init__(self, kind: Any) -> None:
        self._kind = np.dtype(kind)
        self._length = 0

    def __enter__(self) -> Spilled:
        self._file = tempfile.TemporaryFile()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, piece: Int[np.ndarray, "n"]) -> None:
        """Put some more items after those before."""
        self._file.write(np.ascontiguousarray(piece, dtype=self._kind).data)
        self._length += len(piece)

    def mapped(self) -> np.ndarray:
        """All items, as pages of the file, which live on when it is closed."""
        self._file.flush()
        if not self._length:
            return np.zeros(0, dtype=self._kind)
        return np.memmap(self._file, dtype=self._kind, mode="r", shape=(self._length,))
