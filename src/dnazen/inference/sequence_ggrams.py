"""The tokens and G-grams of a sequence, with their places."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from ..sequences.alphabet import normalise
from ..sequences.inputs import letters_of
from ..tokens.encoding import Length, Tokens, encode_examples
from ..tokens.tokenizer import token_lengths, token_strings
from ..tokens.windows import token_starts
from .opened import OpenedModel, opened


class GGramOccurrence(NamedTuple):
    """A G-gram where it stands in a sequence; places are 0-based and half-open."""

    ggram_id: int
    """Of the model's vocabulary, from 1."""
    bases: str
    token_start: int
    """Index of its first token ..."""
    token_end: int
    """... and of the one after its last."""
    start: int
    """Where it begins in the sequence, in bases ..."""
    end: int
    """... and where it ends."""


class SequenceGGrams(NamedTuple):
    """A sequence as a model reads it."""

    tokens: tuple[str, ...]
    """The bases of each token; ``[UNK]`` is a run of N."""
    token_ids: Tokens
    """Without the [CLS] before and the [SEP] after them."""
    offsets: Int64[np.ndarray, "tokens+1"]
    """Where each token begins in the sequence, in bases; the last is where it all ends."""
    occurrences: tuple[GGramOccurrence, ...]
    """Overlapping and nested ones too, by start, then by length; none for E4BU alone."""

    @property
    def counts(self) -> dict[int, int]:
        """How often each G-gram occurs, by id, in the order of first occurrence."""
        return dict(Counter(occurrence.ggram_id for occurrence in self.occurrences))


def ggrams_of(model: str | Path | OpenedModel, sequence: str | bytes) -> SequenceGGrams:
    """The tokens of a sequence and all G-grams in it, with their places in tokens and in bases.

    A model with a cap, ``config.max_ggrams``, is shown the first ones of ``counts`` only.

    Raises
    ------
    InputError
        If the model cannot be opened, or the sequence holds a character that is no nucleotide.
    """
    model = opened(model)
    letters = letters_of(sequence, "the sequence")
    encoded = encode_examples(
        model.tokenizer, [(letters,)], Length(sys.maxsize, "refuse"), ["the sequence"]
    )
    token_ids = encoded.tokens[0]
    strings = token_strings(model.tokenizer)
    clean, _ = normalise(letters)
    offsets = token_starts(token_ids, clean, token_lengths(model.tokenizer))
    tokens = tuple(strings[token] for token in token_ids.tolist())
    return SequenceGGrams(tokens, token_ids, offsets, _occurrences(model, token_ids, offsets))


def _occurrences(
    model: OpenedModel, token_ids: Tokens, offsets: Int64[np.ndarray, "tokens+1"]
) -> tuple[GGramOccurrence, ...]:
    matcher, vocabulary = model.collator.matcher, model.vocabulary
    if matcher is None or vocabulary is None:
        return ()
    strings = token_strings(model.tokenizer)
    starts, ggram_ids = matcher.occurrences(token_ids, np.array([0, len(token_ids)]))
    ends = starts + matcher.lengths[ggram_ids]
    return tuple(
        GGramOccurrence(
            ggram_id=ggram_id,
            bases="".join(strings[token] for token in vocabulary.ggram(ggram_id)),
            token_start=start,
            token_end=end,
            start=int(offsets[start]),
            end=int(offsets[end]),
        )
        for ggram_id, start, end in zip(
            ggram_ids.tolist(), starts.tolist(), ends.tolist(), strict=True
        )
    )
