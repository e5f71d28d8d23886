"""Examples as tokens on both strands; what is cut off one is cut off the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..sequences.alphabet import normalise, reverse_complement
from .encoding import EncodedExamples, Length, Tokens, encode_examples
from .special import SEP
from .tokenizer import BaseTokenizer, token_lengths
from .windows import token_starts


def encode_strands(
    tokenizer: BaseTokenizer,
    examples: Sequence[tuple[bytes, ...]],
    length: Length,
    places: Sequence[str],
    *,
    both: bool,
) -> tuple[EncodedExamples, ...]:
    """``encode_examples``, and with ``both`` a second time of the reverse complements.

    The sequences of a pair keep their order. Decided here: of an example that is cut, the other
    strand is that of the bases that were kept, cut again if it has more tokens.

    Raises
    ------
    InputError
        If an example is too long on either strand and may not be cut.
    """
    encoded = encode_examples(tokenizer, examples, length, places)
    if not both:
        return (encoded,)
    kept = list(examples)
    if encoded.cut:
        most = length.max_tokens - 2
        kept = [
            _kept(tokenizer, example, tokens) if len(tokens) >= most - 1 else example
            for example, tokens in zip(examples, encoded.tokens, strict=True)
        ]
    turned = [tuple(map(reverse_complement, example)) for example in kept]
    return encoded, encode_examples(tokenizer, turned, length, places)


def _kept(
    tokenizer: BaseTokenizer, example: tuple[bytes, ...], tokens: Tokens
) -> tuple[bytes, ...]:
    """The letters of an example that its tokens hold."""
    lengths = token_lengths(tokenizer)
    parts = np.split(tokens, np.flatnonzero(tokens == SEP)) if len(example) == 2 else [tokens]
    cleaned = [normalise(letters)[0] for letters in example]
    return tuple(
        clean[: int(token_starts(part[part != SEP], clean, lengths)[-1])]
        for clean, part in zip(cleaned, parts, strict=True)
    )
