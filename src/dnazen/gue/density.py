"""The G-gram density of test sequences, and the strata that it makes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from tokenizers import Tokenizer

from ..ggrams.matching import Matcher
from ..ggrams.vocabulary import GGramVocabulary
from ..tokens.encoding import Length, encode_examples

STRATA = ("none", "low", "high")


def densities(
    vocabulary: GGramVocabulary, tokenizer: Tokenizer, sequences: Sequence[bytes]
) -> Float[np.ndarray, "sequences"]:
    """Fraction of each sequence's tokens that G-grams cover; 0 where there is no token."""
    places = [""] * len(sequences)
    length = Length(1 << 30, "refuse")
    tokens = encode_examples(tokenizer, [(s,) for s in sequences], length, places).tokens
    offsets = np.concatenate([[0], np.cumsum([len(ids) for ids in tokens])]).astype(np.int64)
    matches = Matcher(vocabulary).match(np.concatenate(tokens), offsets)
    owner = np.searchsorted(offsets, np.unique(matches.cover_token), side="right") - 1
    covered = np.bincount(owner, minlength=len(sequences))
    return covered / np.maximum(1, np.diff(offsets))


def strata(density: Float[np.ndarray, "sequences"]) -> Int[np.ndarray, "sequences"]:
    """The stratum of each sequence, as its place in ``STRATA``.

    Decided here: *none* has no G-gram; the others are parted at the median density of those that
    have one, which counts as low.
    """
    covered = density > 0
    middle = np.median(density[covered]) if covered.any() else 0.0
    return covered.astype(np.int64) + (covered & (density > middle))
