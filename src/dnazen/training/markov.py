"""The bits a base of a Markov model of the corpus: what a language model has to beat.

Decided here. A model that guesses hidden tokens no better than the eight bases before them tell has
learnt nothing of sequences that a table of counts does not hold.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int8

from ..tokens.corpus import Corpus

HIGHEST_ORDER = 8
MOST_BASES = 50_000_000
"""Bases of training sequences that are counted; of more, sequences drawn at random."""

_PRIOR = 0.5
"""Added to each count (Krichevsky and Trofimov, 1981)."""
_BLOCK = 4096  # sequences at a time


class MarkovScore(NamedTuple):
    """The best Markov model on the held-out sequences."""

    order: int
    """Bases that it looks back, at most ``HIGHEST_ORDER``."""
    bits_per_bp: float
    """On held-out bases that have ``HIGHEST_ORDER`` others before them."""


def markov_score(
    corpus: Corpus,
    heldout: Bool[np.ndarray, "sequences"],
    table: Int8[np.ndarray, "vocabulary longest"],
    seed: int,
) -> MarkovScore:
    """Count the training sequences, and score the held-out ones at each order.

    Parameters
    ----------
    table
        Codes 0 to 3 of the bases of each token, negative behind them
        (``model.bases.token_base_table``).
    """
    train = np.random.default_rng((seed, 2)).permutation(np.flatnonzero(~heldout))
    most = max(1, MOST_BASES // corpus.settings["window_bp"])
    known = _counts(corpus, np.sort(train[:most]), table)
    asked = _counts(corpus, np.flatnonzero(heldout), table)
    return min(
        (MarkovScore(order, _bits(known, asked, order)) for order in range(HIGHEST_ORDER + 1)),
        key=lambda score: score.bits_per_bp,
    )


def _bits(known: Int[np.ndarray, "words"], asked: Int[np.ndarray, "words"], order: int) -> float:
    """Mean bits of the last bases of ``asked``'s words, after the ``order`` bases before them."""
    counts = known.reshape(-1, 4**order, 4).sum(0) + _PRIOR
    bits = -np.log2(counts / counts.sum(1, keepdims=True))
    return float((asked.reshape(-1, 4**order, 4).sum(0) * bits).sum() / max(1, asked.sum()))


def _counts(
    corpus: Corpus,
    sequences: Int[np.ndarray, "n"],
    table: Int8[np.ndarray, "vocabulary longest"],
) -> Int[np.ndarray, "words"]:
    """How often each word of ``HIGHEST_ORDER`` + 1 bases stands in the sequences."""
    longest = HIGHEST_ORDER + 1
    counts = np.zeros(4**longest, dtype=np.int64)
    for first in range(0, len(sequences), _BLOCK):
        parts = [table[corpus[int(number)]] for number in sequences[first : first + _BLOCK]]
        codes = [part[part >= 0].astype(np.int64) for part in parts]
        flat = np.concatenate(codes)
        if len(flat) < longest:
            continue
        words = np.zeros(len(flat) - HIGHEST_ORDER, dtype=np.int64)
        for place in range(longest):
            words = 4 * words + flat[place : place + len(words)]
        lengths = np.array([len(code) for code in codes])
        behind = np.arange(len(flat)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        words = words[behind[HIGHEST_ORDER:] >= HIGHEST_ORDER]  # none spans two sequences
        counts += np.bincount(words, minlength=len(counts))
    return counts
