"""The two alleles of a change as tokens, and where these differ.

One base can re-tokenise its neighbours, so alleles are compared where their tokens differ.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from ..tokens.encoding import Length, Tokens, encode_examples
from ..tokens.special import UNK
from ..tokens.tokenizer import BaseTokenizer, token_lengths

_UNLIMITED = Length(sys.maxsize, "refuse")


class AllelePair(NamedTuple):
    """A sequence with one allele and with another, between the same flanks."""

    ref: bytes
    """Nucleotide letters, at least one of them A, C, G or T."""
    alt: bytes


class TokenisedSequence(NamedTuple):
    """The tokens of a sequence, and where they end."""

    tokens: Tokens
    ends: Int64[np.ndarray, "tokens"]
    """Bases up to the end of each token; a run of N is one [UNK]."""

    @property
    def starts(self) -> Int64[np.ndarray, "tokens"]:
        """Bases before each token."""
        return np.concatenate(([0], self.ends[:-1]))


class DifferingTokens(NamedTuple):
    """Indices of the tokens in which two alleles are compared."""

    ref: range
    alt: range


def tokenise(
    tokenizer: BaseTokenizer, sequences: Iterable[bytes]
) -> dict[bytes, TokenisedSequence]:
    """Each of some sequences with its tokens."""
    letters = list(sequences)
    encoded = encode_examples(
        tokenizer, [(text,) for text in letters], _UNLIMITED, [""] * len(letters)
    )
    lengths = token_lengths(tokenizer)
    tokenised = {}
    for text, tokens in zip(letters, encoded.tokens, strict=True):
        bases = lengths[tokens]
        bases[tokens == UNK] = [len(run) for run in re.findall(rb"[^ACGTUacgtu]+", text)]
        tokenised[text] = TokenisedSequence(tokens, np.cumsum(bases))
    return tokenised


def differing_tokens(
    pair: AllelePair, ref: TokenisedSequence, alt: TokenisedSequence
) -> DifferingTokens:
    """The tokens in which two alleles are compared.

    Decided here: all but the leading and the trailing tokens that the two have in common and that
    lie in the ends that the change does not touch (``untouched_ends``). So both cover the same
    bases of either flank, whatever the change did to the tokens, and neither is empty.

    Examples
    --------
    >>> sequence = lambda tokens, ends: TokenisedSequence(np.array(tokens), np.array(ends))
    >>> differing_tokens(
    ...     AllelePair(b"ACGTACCC", b"ACGTTCCC"),
    ...     sequence([7, 8, 9, 7], [2, 4, 6, 8]),
    ...     sequence([7, 5, 6, 6, 9, 7], [2, 3, 4, 5, 6, 8]),
    ... )
    DifferingTokens(ref=range(1, 3), alt=range(1, 5))
    """
    before, after = untouched_ends(pair)
    leading = _in_common(
        ref.tokens[: np.searchsorted(ref.ends, before, "right")],
        alt.tokens[: np.searchsorted(alt.ends, before, "right")],
    )
    trailing = _in_common(
        ref.tokens[np.searchsorted(ref.starts, len(pair.ref) - after) :][::-1],
        alt.tokens[np.searchsorted(alt.starts, len(pair.alt) - after) :][::-1],
    )
    return DifferingTokens(
        range(leading, len(ref.tokens) - trailing), range(leading, len(alt.tokens) - trailing)
    )


def untouched_ends(pair: AllelePair) -> tuple[int, int]:
    """Bases at the left and at the right end of both alleles that the change does not touch.

    Decided here: an insertion or deletion touches the base before and the base after it, and all
    of a repeat that it could as well stand elsewhere in. So every spelling of a change, and its
    reverse complement, touches the same bases. The two must differ.

    Examples
    --------
    >>> untouched_ends(AllelePair(b"GGACC", b"GGTCC"))  # a substitution
    (2, 2)
    >>> untouched_ends(AllelePair(b"GGCC", b"GGTCC"))  # an insertion
    (1, 1)
    >>> untouched_ends(AllelePair(b"GGTTTCC", b"GGTTCC"))  # a deletion of any of three T
    (1, 1)
    """
    size = min(len(pair.ref), len(pair.alt))
    left = _in_common(*(np.frombuffer(allele[:size], dtype=np.uint8) for allele in pair))
    right = _in_common(
        *(np.frombuffer(allele[len(allele) - size :], dtype=np.uint8)[::-1] for allele in pair)
    )
    if left + right < size:
        return left, right
    return max(0, size - right - 1), max(0, size - left - 1)


def _in_common(one: np.ndarray, other: np.ndarray) -> int:
    """Leading items that two arrays have in common."""
    size = min(len(one), len(other))
    different = one[:size] != other[:size]
    return int(different.argmax()) if different.any() else size
