"""Do G-grams resemble known motifs more often than sequences like them?

Whoever takes thousands of short sequences to thousands of motifs finds likenesses, so the answer
lies in controls: for every G-gram some sequences that share with it what is of no interest.

- ``bases``: its bases in random order.
- ``dinucleotides``: a random sequence with its dinucleotides.
- ``random``: G-grams of another vocabulary with its length and its number of G and C, the only
  control made of a genome's own words.

A G-gram with its k controls is a *set*. If nothing sets the G-gram apart, a match of the set is
the G-gram's own with chance 1 / (k + 1), so the number of matching G-grams is a sum of independent
0-or-1 draws whose chances are known, and its tail is exact (the Mantel-Haenszel test for matched
sets, without its normal approximation). Sets are taken to be independent; G-grams that overlap are
not quite, which the random control shares.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Int64
from scipy.stats import binom, false_discovery_control

from ...errors import InputError
from ...sequences.alphabet import reverse_complement
from ..settings import EnrichmentConfig
from ..vocabulary import GGramVocabulary
from .meme import Motif
from .shuffling import shuffle_bases, shuffle_dinucleotides
from .similarity import Similar, similar_motifs


class Compared(NamedTuple):
    """Distinct G-grams, for the comparison with motifs."""

    ids: Int64[np.ndarray, "ggrams"]
    """Their ids; of G-grams with the same bases, or each other's reverse complement, the lowest."""
    sequences: list[str]
    """Their bases, on the strand that is first in alphabetical order."""


class Enrichment(NamedTuple):
    """How many G-grams match, beside their controls."""

    sets: int
    """G-grams that have controls."""
    matching: int
    """Those that match."""
    expected: float
    """Matching controls for each control of a set: what ``matching`` would be without a
    difference."""
    p_value: float
    """Of as many matching G-grams or more."""
    p_depleted: float
    """Of as many or fewer."""

    @property
    def fold(self) -> float:
        """``matching`` over ``expected``; NaN where none is expected."""
        return self.matching / self.expected if self.expected else math.nan


class Control(NamedTuple):
    """What one kind of control tells."""

    ggrams: Int64[np.ndarray, "sets"]
    """Places, among the compared, of the G-grams that have controls."""
    matching: Bool[np.ndarray, "sets controls"]
    """Which control sequences match any motif."""
    overall: Enrichment
    """Of matching any motif."""
    motifs: dict[int, Enrichment]
    """Of matching a motif, by its number; of the motifs that anything matches."""
    q_values: dict[int, float]
    """``p_value`` of those, corrected after Benjamini and Hochberg."""


class Comparison(NamedTuple):
    """G-grams, the motifs they match, and the controls."""

    compared: Compared
    matches: Similar
    """Pairs of G-gram (place among the compared) and motif."""
    controls: dict[str, Control]


def compare_with_motifs(
    vocabulary: GGramVocabulary,
    motifs: Sequence[Motif],
    config: EnrichmentConfig,
    *,
    random: GGramVocabulary | None = None,
) -> Comparison:
    """The motifs that G-grams match, and whether their controls match as many.

    The same seed gives the same result. Time is about 1 ms for each G-gram and each of its
    controls with a thousand motifs.

    Parameters
    ----------
    random
        Random G-grams, such as ``ggrams mine --method random`` draws, for the control of that
        name; G-grams for which fewer than ``config.controls`` are left have no set in it.

    Raises
    ------
    InputError
        If a vocabulary does not know its bases, or has no G-gram of the right length.
    """
    rng = np.random.default_rng(config.seed)
    compared = _sampled(distinct(vocabulary, config.min_bp, config.max_bp), config.sample, rng)
    if not compared.sequences:
        raise InputError(
            f"no G-gram of {config.min_bp} to {config.max_bp} bases",
            fix="change --min-bp or --max-bp",
        )
    number = range(config.controls)
    controls = {
        "bases": [[shuffle_bases(s, rng) for _ in number] for s in compared.sequences],
        "dinucleotides": [
            [shuffle_dinucleotides(s, rng) for _ in number] for s in compared.sequences
        ],
    }
    if random is not None:
        others = distinct(random, config.min_bp, config.max_bp).sequences
        controls["random"] = partners(compared.sequences, others, config.controls, rng)
    max_p = config.max_e_value / len(motifs)
    size = config.controls
    matches = similar_motifs(compared.sequences, motifs, max_p)
    return Comparison(
        compared,
        matches,
        {
            name: _control(matches, sequences, size, motifs, max_p)
            for name, sequences in controls.items()
        },
    )


def distinct(vocabulary: GGramVocabulary, min_bp: int, max_bp: int) -> Compared:
    """The G-grams of ``min_bp`` to ``max_bp`` bases that differ on both strands, by id.

    Raises
    ------
    InputError
        If the vocabulary does not know its bases.
    """
    if len(vocabulary) and not vocabulary.bases:
        raise InputError(
            "the G-gram vocabulary does not know its bases",
            expected="one that 'dnazen ggrams mine' wrote",
        )
    first: dict[str, int] = {}
    for number, bases in enumerate(vocabulary.bases, 1):
        if min_bp <= len(bases) <= max_bp:
            other = reverse_complement(bases.encode()).decode()
            first.setdefault(min(bases, other), number)
    return Compared(np.array(list(first.values()), dtype=np.int64), list(first))


def partners(
    sequences: Sequence[str], others: Sequence[str], size: int, rng: np.random.Generator
) -> list[list[str]]:
    """For each sequence ``size`` of the others that have its length and its number of G and C.

    None of ``sequences`` is drawn, and nothing is drawn twice, so that sets are independent. Where
    too few are left, a sequence gets none; chance decides which sequences draw first.
    """
    own = set(sequences)
    alike: dict[tuple[int, int], list[str]] = defaultdict(list)
    for i in rng.permutation(len(others)):
        if others[i] not in own:
            alike[_composition(others[i])].append(others[i])
    drawn: list[list[str]] = [[] for _ in sequences]
    for i in rng.permutation(len(sequences)):
        left = alike[_composition(sequences[i])]
        if len(left) >= size:
            drawn[i] = [left.pop() for _ in range(size)]
    return drawn


def enrichment(
    ggrams: Bool[np.ndarray, "sets"], controls: Int[np.ndarray, "sets"], size: int
) -> Enrichment:
    """Test whether G-grams match more often than their controls, and less often.

    Parameters
    ----------
    ggrams
        Which G-grams match.
    controls
        How many of each one's ``size`` controls match.
    """
    matching = int(ggrams.sum())
    lower, upper = _tails(np.bincount(ggrams + controls, minlength=size + 2), matching)
    return Enrichment(len(ggrams), matching, float(controls.sum()) / size, upper, lower)


def _tails(sets: Int[np.ndarray, "members+1"], observed: int) -> tuple[float, float]:
    """P(X <= observed) and P(X >= observed) of a sum of independent draws of 0 or 1.

    ``sets[m]`` of them are 1 with chance m / members.
    """
    members = len(sets) - 1
    chances = np.ones(1)
    for m, count in enumerate(sets.tolist()):
        chances = np.convolve(chances, binom.pmf(np.arange(count + 1), count, m / members))
    return min(1.0, float(chances[: observed + 1].sum())), min(1.0, float(chances[observed:].sum()))


def _sampled(compared: Compared, size: int | None, rng: np.random.Generator) -> Compared:
    if size is None or size >= len(compared.ids):
        return compared
    chosen = np.sort(rng.choice(len(compared.ids), size, replace=False))
    return Compared(compared.ids[chosen], [compared.sequences[i] for i in chosen])


def _composition(sequence: str) -> tuple[int, int]:
    return len(sequence), sequence.count("G") + sequence.count("C")


def _control(
    matches: Similar,
    sequences: list[list[str]],
    size: int,
    motifs: Sequence[Motif],
    max_p: float,
) -> Control:
    """Compare the control sequences of each G-gram, and test all motifs together and each."""
    ggrams = np.flatnonzero([bool(drawn) for drawn in sequences])
    control_matches = similar_motifs([s for drawn in sequences for s in drawn], motifs, max_p)
    set_of = np.full(len(sequences), -1, dtype=np.int64)
    set_of[ggrams] = np.arange(len(ggrams))
    ours, theirs = set_of[matches.sequence], control_matches.sequence // size

    def test(own: Int64[np.ndarray, "pairs"], other: Int64[np.ndarray, "others"]) -> Enrichment:
        matching = np.zeros(len(ggrams), dtype=bool)
        matching[own[own >= 0]] = True
        return enrichment(matching, np.bincount(other, minlength=len(ggrams)), size)

    matching = np.zeros(len(ggrams) * size, dtype=bool)
    matching[control_matches.sequence] = True
    tested = np.union1d(matches.motif[ours >= 0], control_matches.motif).tolist()
    by_motif = {
        m: test(ours[matches.motif == m], theirs[control_matches.motif == m]) for m in tested
    }
    p_values = [result.p_value for result in by_motif.values()]
    q_values = false_discovery_control(p_values).tolist() if p_values else []
    return Control(
        ggrams,
        matching.reshape(-1, size),
        test(ours, np.flatnonzero(matching) // size),
        by_motif,
        dict(zip(by_motif, q_values, strict=True)),
    )
