"""What sequences are made of: GC, soft-masked repeats, ambiguous letters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64, UInt16

from .settings import MOST_SEQUENCE_BP

_BLOCK = 1 << 20
_BASE, _GC, _LOWER = 1, 2, 4
_KINDS = np.zeros(256, dtype=np.uint8)
for _letters, _kind in ((b"ACGTUacgtu", _BASE), (b"GCgc", _GC)):
    _KINDS[np.frombuffer(_letters, dtype=np.uint8)] |= _kind
_KINDS[ord("a") : ord("z") + 1] |= _LOWER


class Composition(NamedTuple):
    """Fractions of a sequence."""

    gc: float
    """G and C of its A, C, G, T (U); 0 where there is none."""
    repeats: float
    """Lower-case letters of all letters: soft-masked repeats."""
    ambiguous: float
    """N and other letters that stand for no one base, of all letters."""


class Compositions(NamedTuple):
    """The fields of ``Composition``, an array each."""

    gc: Float64[np.ndarray, "sequences"]
    repeats: Float64[np.ndarray, "sequences"]
    ambiguous: Float64[np.ndarray, "sequences"]


class RunningCounts:
    """Letters counted from a contig's start on, so that a stretch is counted at once.

    Memory is 6 bytes a base.
    """

    def __init__(self, letters: bytes) -> None:
        codes = np.frombuffer(letters, dtype=np.uint8)
        self._before: UInt16[np.ndarray, "kinds letters+1"]
        self._before = np.zeros((3, len(codes) + 1), dtype=np.uint16)
        for first in range(0, len(codes), _BLOCK):
            kinds = _KINDS[codes[first : first + _BLOCK]]
            for before, kind in zip(self._before, (_BASE, _GC, _LOWER), strict=True):
                counts = np.cumsum((kinds & kind) != 0, dtype=np.uint16)
                before[first + 1 : first + 1 + len(kinds)] = counts + before[first]

    def compositions(self, starts: Int64[np.ndarray, "sequences"], size: int) -> Compositions:
        """The compositions of stretches of 1 to ``MOST_SEQUENCE_BP`` letters."""
        assert 1 <= size <= MOST_SEQUENCE_BP  # counts go round at 2^16, and their difference holds
        bases, gc, lower = self._before[:, starts + size] - self._before[:, starts]
        return Compositions(gc / np.maximum(bases, 1), lower / size, 1 - bases / size)


def composition(letters: bytes) -> Composition:
    """The composition of a sequence of at least one letter.

    Examples
    --------
    >>> composition(b"GCatNNNNNN")
    Composition(gc=0.5, repeats=0.2, ambiguous=0.6)
    """
    whole = RunningCounts(letters).compositions(np.zeros(1, dtype=np.int64), len(letters))
    return Composition(*(float(part[0]) for part in whole))
