"""The sequences that are mined, and how they are dealt out in shards."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int64

from ...workers.cluster import by_name


class MinedSequences(NamedTuple):
    """Sequences ``tokens[offsets[s]:offsets[s + 1]]``, of which those with ``keep`` are mined.

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
        """Cut between sequences, at about even numbers of tokens, into at most ``count``."""
        marks = np.linspace(self.offsets[0], self.offsets[-1], count + 1)[1:-1]
        cuts = np.unique([0, *np.searchsorted(self.offsets, marks), len(self.keep)])
        return [Shard(int(a), int(b)) for a, b in itertools.pairwise(cuts)]

    def shard(self, shard: Shard) -> MinedSequences:
        """The sequences of a shard."""
        first, end = shard
        return MinedSequences(self.tokens, self.offsets[first : end + 1], self.keep[first:end])

    def __reduce__(
        self,
    ) -> tuple[Callable[..., MinedSequences], tuple[Callable[[], np.ndarray], ...]]:
        """Arrays by name where they have one."""
        return _mapped_anew, tuple(by_name(array) for array in self)


class Shard(NamedTuple):
    """Consecutive sequences, by number."""

    first: int
    end: int


def _mapped_anew(*arrays: Callable[[], np.ndarray]) -> MinedSequences:
    return MinedSequences(*(array() for array in arrays))
