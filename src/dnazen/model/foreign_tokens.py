"""Another maker's tokenizer under our numbers: five special tokens, then the tokens of bases.

So the code that reads our models reads theirs: it knows [UNK] for a run of N, [MASK], and of every
other token the bases it stands for. ``foreign_networks`` turns the numbers back.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from transformers import PreTrainedTokenizerBase

from ..errors import InputError
from ..tokens.special import CLS, MASK, PAD, SEP, SPECIAL_TOKENS, UNK

ABSENT = -1
"""In place of the id of a token that the other side does not have."""

_PROBE = "ACGTTGCAAGCTCGATTACG"
_MOST_TOKENS = 65_536


class Encoding(NamedTuple):
    """The tokens of a word, as ``tokenizers`` gives them."""

    ids: list[int]


class ForeignTokenizer:
    """A tokenizer of ``transformers`` as a ``tokens.tokenizer.BaseTokenizer``.

    Decided here: a run of N is one token, N where the tokenizer has it, else its unknown one.

    Raises
    ------
    InputError
        If a plain sequence does not come apart into tokens that spell it, one after the other: as
        with overlapping k-mers; or more than one special token is put before or after it.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, source: Path) -> None:
        self._tokenizer, self._source = tokenizer, source
        ids_of = tokenizer.get_vocab()
        texts = sorted((text for text in ids_of if re.fullmatch("[ACGT]+", text)), key=ids_of.get)
        before, after = self._special_around(_PROBE)
        special = dict.fromkeys(range(len(SPECIAL_TOKENS)))
        special[UNK] = ids_of.get("N", tokenizer.unk_token_id)
        special[CLS], special[SEP] = before, after
        special[PAD], special[MASK] = tokenizer.pad_token_id, tokenizer.mask_token_id
        theirs = [*special.values(), *(ids_of[text] for text in texts)]
        self.theirs: Int64[np.ndarray, "vocabulary"] = np.array(
            [ABSENT if number is None else number for number in theirs], dtype=np.int64
        )
        """Their id of each of our tokens; ``ABSENT`` of special ones that they do not have."""
        if len(self.theirs) > _MOST_TOKENS:
            raise InputError(
                f"{len(texts):,} tokens of bases", path=source, expected="fewer than 65,536"
            )
        self._ours = np.full(max(ids_of.values()) + 1, ABSENT, dtype=np.int64)
        self._ours[[ids_of[text] for text in texts]] = np.arange(len(texts)) + len(SPECIAL_TOKENS)
        self._vocabulary = {text: n for n, text in enumerate((*SPECIAL_TOKENS, *texts))}
        self._lengths = np.array([0] * len(SPECIAL_TOKENS) + [len(text) for text in texts])
        self.encode_batch_fast([_PROBE])

    def get_vocab(self) -> dict[str, int]:
        """Our id of every token."""
        return self._vocabulary

    def encode_batch_fast(
        self, words: Sequence[str], *, add_special_tokens: bool = False
    ) -> list[Encoding]:
        """The tokens of each of some words of A, C, G and T, without special ones."""
        encodings = []
        for word, theirs in zip(words, self._their_ids(list(words)), strict=True):
            ids = self._ours[theirs]
            if (ids == ABSENT).any() or self._lengths[ids].sum() != len(word):
                raise InputError(
                    "its tokenizer does not spell sequences by tokens of A, C, G and T",
                    path=self._source,
                    expected="tokens that stand one after the other, such as BPE, single bases, or "
                    "k-mers that do not overlap",
                )
            encodings.append(Encoding(ids.tolist()))
        return encodings

    def _their_ids(self, words: list[str], *, special: bool = False) -> list[list[int]]:
        if not words:
            return []
        ids: list[list[int]] = self._tokenizer(words, add_special_tokens=special, verbose=False)[
            "input_ids"
        ]
        return ids

    def _special_around(self, word: str) -> tuple[int | None, int | None]:
        """Their tokens before and after a sequence."""
        (bare,), (whole,) = self._their_ids([word]), self._their_ids([word], special=True)
        for start in (0, 1):
            after = whole[start + len(bare) :]
            if whole[start : start + len(bare)] == bare and len(after) <= 1:
                return whole[0] if start else None, after[0] if after else None
        raise InputError(
            "its tokenizer puts several special tokens around a sequence",
            path=self._source,
            expected="one before and one after at most",
        )
