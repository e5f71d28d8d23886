"""Densities by brute force on tiny strings."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from conftest import vocabulary_of
from dnazen.gue.density import STRATA, densities, strata
from dnazen.tokens.corpus import Corpus
from dnazen.tokens.tokenizer import encode


def test_density_is_the_share_of_covered_tokens(ground):
    tokenizer = Corpus.open(ground.corpus).tokenizer
    text = ground.genome.read_text().splitlines()[1]
    sequences = [text[i : i + 60].encode() for i in range(0, 1200, 60)]
    sequences += [b"", b"NNNN", sequences[0].lower()]
    tokens, offsets = encode(tokenizer, [s.decode() for s in sequences[:20]])
    grams = [tuple(tokens[3:5].tolist()), tuple(tokens[40:43].tolist())]
    expected = []
    for start, end in itertools.pairwise(offsets):
        some, covered = tokens[start:end].tolist(), set()
        for i in range(len(some)):
            for gram in grams:
                if tuple(some[i : i + len(gram)]) == gram:
                    covered |= set(range(i, i + len(gram)))
        expected.append(len(covered) / len(some))
    assert max(expected) > 0
    found = densities(vocabulary_of(grams, tokenizer), tokenizer, sequences)
    np.testing.assert_allclose(found, [*expected, 0, 0, expected[0]])


@pytest.mark.parametrize(
    ("density", "expected"),
    [
        ([0.0, 0.1, 0.3, 0.2, 0.0, 0.5], ["none", "low", "high", "low", "none", "high"]),
        ([0.2, 0.2, 0.2], ["low", "low", "low"]),
        ([0.0, 0.0], ["none", "none"]),
        ([0.0, 0.4], ["none", "low"]),
        ([], []),
    ],
)
def test_strata_part_at_the_median_of_those_with_ggrams(density, expected):
    assert [STRATA[i] for i in strata(np.array(density))] == expected
