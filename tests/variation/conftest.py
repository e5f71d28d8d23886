"""A model, and changes of every kind, for the tests of scores."""

from __future__ import annotations

import numpy as np
import pytest

from directories import random_directory


@pytest.fixture(scope="session")
def directory(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm") / "model"
    random_directory(ground, folder, initializer_range=0.3)
    return folder


@pytest.fixture(scope="session")
def contigs(ground):
    """The first two contigs of the genome."""
    lines = ground.genome.read_text().split("\n")
    return dict(zip(["a", "b"], lines[1:4:2], strict=True))


@pytest.fixture(scope="session")
def allele_pairs(ground):
    """(ref, alt) windows of each kind of change, at the ends of the window too."""
    bases = "".join(ground.genome.read_text().split("\n")[1::2])
    rng = np.random.default_rng(0)
    pairs = []
    for number, (lost, put) in enumerate(
        [(1, "A"), (1, "C"), (1, "G"), (1, "T"), (3, "TTT"), (1, "ACGTACGTA"), (6, "A"), (0, "G"),
         (5, ""), (4, "CCCCCC"), (1, "N")]
    ):  # fmt: skip
        window = bases[700 * number : 700 * number + 60]
        place = [0, 60 - lost, *rng.integers(1, 60 - lost, 1)][number % 3]
        pairs.append((window, window[:place] + put + window[place + lost :]))
    padded = "NNNNN" + bases[:30]
    pairs.append((padded, padded[:5] + "GG" + padded[6:]))
    return [(ref, alt) for ref, alt in pairs if ref != alt]
