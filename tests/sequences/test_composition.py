"""Compositions against counting by hand."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnazen.sequences import composition as module
from dnazen.sequences.composition import RunningCounts, composition
from dnazen.sequences.settings import MOST_SEQUENCE_BP


@given(st.text("ACGTUacgtuNnRySw", min_size=1, max_size=40))
def test_fractions_are_those_of_counting(text):
    upper = text.upper()
    bases = sum(upper.count(base) for base in "ACGTU")
    gc, repeats, ambiguous = composition(text.encode())
    assert gc == pytest.approx((upper.count("G") + upper.count("C")) / bases if bases else 0)
    assert repeats == pytest.approx(sum(map(str.islower, text)) / len(text))
    assert ambiguous == pytest.approx(1 - bases / len(text))


def test_stretches_are_each_as_if_alone(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 70_000)
    rng = np.random.default_rng(0)
    letters = bytes(rng.choice(list(b"ACGTacgtNn"), 200_000).tolist())  # counts go round thrice
    counts = RunningCounts(letters)
    for size in (1, 300, MOST_SEQUENCE_BP):
        starts = rng.integers(len(letters) - size + 1, size=20)
        found = np.stack(counts.compositions(starts, size), axis=1)
        for start, own in zip(starts.tolist(), found.tolist(), strict=True):
            text = letters[start : start + size].decode()
            upper = text.upper()
            bases = sum(map(upper.count, "ACGT"))
            assert own == pytest.approx(
                [
                    sum(map(upper.count, "GC")) / max(1, bases),
                    sum(map(str.islower, text)) / size,
                    1 - bases / size,
                ]
            )


def test_doctests():
    assert doctest.testmod(module).failed == 0
