"""From the letters of an example, one sequence or a pair, to the tokens that a model reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt16

from ..errors import InputError
from ..sequences.alphabet import Counts, normalise, stretches
from .settings import TooLong
from .special import SEP, UNK
from .tokenizer import BaseTokenizer, encode

Tokens = UInt16[np.ndarray, "tokens"]

TILE_BP = 10_000
"""A longer run of bases is tokenised in pieces: the cost of BPE explodes on very long words."""


class Length(NamedTuple):
    """How long an example may be, and what happens to a longer one."""

    max_tokens: int
    """[CLS], [SEP] and, in a pair, the [SEP] between included."""
    too_long: TooLong
    """Raise, or cut from the end; of a pair the longer sequence first."""


class EncodedExamples(NamedTuple):
    """Examples as tokens, and what was done to them."""

    tokens: list[Tokens]
    """Without the outer [CLS] and [SEP]; empty where a sequence holds no A, C, G or T."""
    counts: Counts
    """What normalisation met."""
    cut: int
    """Examples that lost tokens."""


def encode_examples(
    tokenizer: BaseTokenizer,
    examples: Sequence[tuple[bytes, ...]],
    length: Length,
    places: Sequence[str],
) -> EncodedExamples:
    """Tokenise examples of nucleotide letters, on all cores; a pair is joined by [SEP].

    Decided here: a stretch of N or other ambiguous letters is one [UNK], so tokens and G-grams
    do not cross it; the two sequences of a pair share the token type.

    Parameters
    ----------
    places
        Where each example stands, such as ``file:line``, for the message.

    Raises
    ------
    InputError
        If an example is too long and may not be cut.
    """
    counts = Counts()
    words_of: list[list[list[bytes]]] = []  # of each sequence of each example
    for sequences in examples:
        words_of.append([])
        for letters in sequences:
            clean, changes = normalise(letters)
            counts = counts.plus(changes)
            words_of[-1].append(list(_words(clean)))

    bases = [
        word.decode()
        for example in words_of
        for words in example
        for word in words
        if _is_bases(word)
    ]
    flat, offsets = encode(tokenizer, bases)
    encoded = iter(np.split(flat, offsets[1:-1]))
    unknown = np.array([UNK], dtype=np.uint16)
    tokens: list[Tokens] = []
    cut = 0
    for number, example in enumerate(words_of):
        parts = [
            np.concatenate(
                [next(encoded) if _is_bases(word) else unknown for word in words] or [unknown]
            )
            for words in example
        ]
        if not all(any(map(_is_bases, words)) for words in example):
            tokens.append(unknown[:0])
            continue
        total = sum(map(len, parts)) + len(parts) + 1
        if total > length.max_tokens:
            if length.too_long == "refuse":
                raise InputError(
                    f"{places[number]}: {total} tokens",
                    expected=f"at most {length.max_tokens}",
                    fix="raise --max-tokens (memory grows with its square), or set --too-long cut",
                )
            parts = cut_to(parts, length.max_tokens - len(parts) - 1)
            cut += 1
        tokens.append(_joined(parts))
    return EncodedExamples(tokens, counts, cut)


def cut_to(parts: Sequence[Tokens], total: int) -> list[Tokens]:
    """Cut ends off one sequence or two until ``total`` tokens are left, the longer one first.

    Where both are cut and one must be longer in the end, it is the one that was: of two equal ones
    the second. This is what the tokenizers library does too (``longest_first``).
    """
    lengths = [len(part) for part in parts]
    if len(parts) == 2:
        half = (total + (lengths[0] > lengths[1])) // 2
        first = min(lengths[0], max(half, total - lengths[1]))
        return [parts[0][:first], parts[1][: total - first]]
    return [parts[0][:total]]


def _words(clean: bytes) -> Iterator[bytes]:
    """What is tokenised on its own: runs of N, and of ACGT in pieces of ``TILE_BP``."""
    for stretch in stretches(clean):
        if _is_bases(stretch):
            yield from (stretch[i : i + TILE_BP] for i in range(0, len(stretch), TILE_BP))
        else:
            yield stretch


def _is_bases(word: bytes) -> bool:
    return not word.startswith(b"N")


def _joined(parts: Sequence[Tokens]) -> Tokens:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([parts[0], np.array([SEP], dtype=np.uint16), parts[1]])
