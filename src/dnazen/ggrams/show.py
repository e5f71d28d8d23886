"""``dnazen ggrams show``: what a vocabulary is, and its first G-grams."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Int64

from .vocabulary import GGramVocabulary


def ranked(
    vocabulary: GGramVocabulary, by: Literal["count", "pmi", "bases"]
) -> Int64[np.ndarray, "ggrams"]:
    """Places (id - 1) of the G-grams, greatest first; ties by id, unknown values last."""
    if by == "count":
        values = vocabulary.counts.astype(np.float64)
    elif by == "pmi":
        values = vocabulary.pmi.astype(np.float64)
    else:
        values = np.array([len(b) for b in vocabulary.bases] or [0] * len(vocabulary), np.float64)
    return np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")
