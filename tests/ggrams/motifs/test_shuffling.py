from __future__ import annotations

from collections import Counter
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from dnazen.ggrams.motifs.shuffling import shuffle_bases, shuffle_dinucleotides

dna = st.text("ACGT", max_size=40)


@given(dna, st.integers(0, 99))
def test_what_shuffles_keep(sequence, seed):
    rng = np.random.default_rng(seed)
    assert sorted(shuffle_bases(sequence, rng)) == sorted(sequence)
    other = shuffle_dinucleotides(sequence, rng)
    assert Counter(pairwise(other)) == Counter(pairwise(sequence))
    assert (other[:1], other[-1:]) == (sequence[:1], sequence[-1:])
    assert len(other) == len(sequence)


@pytest.mark.parametrize("sequence", ["ACAGATCA", "AACCAACC", "ACGTACGA", "GATTACAGA"])
def test_every_sequence_with_the_same_dinucleotides_is_equally_likely(sequence):
    pairs = Counter(pairwise(sequence))
    alike = {
        "".join(other)
        for other in permutations(sequence)
        if other[0] == sequence[0] and Counter(pairwise(other)) == pairs
    }
    rng = np.random.default_rng(0)
    drawn = Counter(shuffle_dinucleotides(sequence, rng) for _ in range(400 * len(alike)))
    assert set(drawn) == alike
    assert chisquare(list(drawn.values())).pvalue > 1e-3
