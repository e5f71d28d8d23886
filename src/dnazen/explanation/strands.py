"""What the output of each strand owes to its parts, and the mean of both on the tokens of one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from ..tokens.encoding import Tokens
from .attribution import Attribution, Removal, on_bases


class Interval(NamedTuple):
    """Where a G-gram occurs, in bases of its sequence, 0-based and half-open."""

    start: int
    end: int


class GGramEffect(NamedTuple):
    """One distinct G-gram of a sequence, and what the output owes to it."""

    ggram_id: int
    bases: str
    intervals: tuple[Interval, ...]
    """Every occurrence, left to right."""
    attribution: float
    """By integrated gradients."""
    removal: float
    """The output less that without it."""
    strand: str = "+"
    """``-`` of one that stands on the other strand, where the model reads both."""

    def turned(self, length: int) -> GGramEffect:
        """The same as seen from the other strand of a sequence of so many bases."""
        places = tuple(Interval(length - end, length - start) for start, end in self.intervals)
        return self._replace(intervals=places[::-1], strand="-" if self.strand == "+" else "+")


class Strand(NamedTuple):
    """One strand of a sequence as the model reads it."""

    tokens: Tokens
    starts: Int64[np.ndarray, "tokens+1"]
    """Where each token begins, in bases of this strand; the last is the length."""
    sequence: str


class StrandReading(NamedTuple):
    """What the output owes to the parts of a strand."""

    strand: Strand
    attribution: Attribution
    from_ggrams: Float64[np.ndarray, "tokens"]
    """The G-grams' attributions, shared among the tokens they cover."""
    occlusion: Float64[np.ndarray, "tokens"] | None
    removal: Removal
    ggrams: tuple[GGramEffect, ...]


def mean_of_strands(forward: StrandReading, reverse: StrandReading) -> StrandReading:
    """The mean of both, on the tokens of the forward one; sums stay.

    G-grams of the other strand stand behind those of this one, with places in this one.
    """
    strand, length = forward.strand, len(forward.strand.sequence)
    ahead, behind = forward.attribution, reverse.attribution

    def mean(
        one: Float64[np.ndarray, "tokens"], other: Float64[np.ndarray, "other"]
    ) -> Float64[np.ndarray, "tokens"]:
        read = on_bases(other, reverse.strand.starts)[::-1]
        of_bases = np.append(np.zeros(length - len(read)), read)  # the first may have been cut off
        sums = np.append(0.0, np.cumsum(of_bases))[strand.starts]
        halved: Float64[np.ndarray, "tokens"] = (one + np.diff(sums)) / 2
        return halved

    attribution = Attribution(
        mean(ahead.tokens, behind.tokens),
        np.concatenate([ahead.ggrams, behind.ggrams]) / 2,
        mean(ahead.bases, behind.bases),
        (ahead.output + behind.output) / 2,
        (ahead.baseline + behind.baseline) / 2,
    )
    removal = Removal(
        np.concatenate([forward.removal.by_slot, reverse.removal.by_slot]) / 2,
        (forward.removal.together + reverse.removal.together) / 2,
    )
    hidden = None
    if forward.occlusion is not None and reverse.occlusion is not None:
        hidden = mean(forward.occlusion, reverse.occlusion)
    effects = (
        *map(_halved, forward.ggrams),
        *(_halved(effect.turned(length)) for effect in reverse.ggrams),
    )
    from_ggrams = mean(forward.from_ggrams, reverse.from_ggrams)
    return StrandReading(strand, attribution, from_ggrams, hidden, removal, effects)


def _halved(effect: GGramEffect) -> GGramEffect:
    return effect._replace(attribution=effect.attribution / 2, removal=effect.removal / 2)
