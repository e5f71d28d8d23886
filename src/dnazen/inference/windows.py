"""Records of any length as windows of tokens, on one strand or on both."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..model.configuration import DnazenConfig
from ..sequences.alphabet import reverse_complement
from ..sequences.inputs import InputRecord
from ..tokens.encoding import Length, Tokens, encode_examples
from ..tokens.tokenizer import CHUNK_BP, BaseTokenizer, grouped
from ..tokens.windows import TokenWindow, token_windows
from .settings import require_overlap

MAX_TOKENS = 512
"""The longest window for a model that was not fine-tuned: about 2.5 kb."""

_RECORD_COST_BP = 1000
"""What a record costs in memory beside its letters, in bases."""


class StrandTokens(NamedTuple):
    """The tokens of a record as it reads on one strand."""

    number: int
    """Of the record, from 0."""
    record: InputRecord
    reverse: bool
    """Whether these are the tokens of its reverse complement."""
    tokens: Tokens
    """None for a record without A, C, G or T."""


class WindowTokens(NamedTuple):
    """A window of a strand's tokens; a strand without tokens has one window, which is empty."""

    strand: StrandTokens
    window: TokenWindow

    @property
    def tokens(self) -> Tokens:
        """What a model reads, without special tokens."""
        return self.strand.tokens[self.window.start : self.window.end]


def tokenise_strands(
    tokenizer: BaseTokenizer, records: Iterable[InputRecord], *, both_strands: bool
) -> Iterator[StrandTokens]:
    """Tokenise records; with both strands, the reverse complement of each follows it.

    Memory is the letters and tokens of one record or of ``CHUNK_BP``, whichever is more.
    """
    unlimited = Length(sys.maxsize, "refuse")
    numbers = itertools.count()
    for chunk in grouped(records, lambda r: len(r.sequence) + _RECORD_COST_BP, CHUNK_BP):
        strands = [[record.sequence for record in chunk]]
        if both_strands:
            strands.append([reverse_complement(letters) for letters in strands[0]])
        encoded = [
            encode_examples(tokenizer, [(letters,) for letters in strand], unlimited, []).tokens
            for strand in strands
        ]
        for record, *by_strand in zip(chunk, *encoded, strict=True):
            number = next(numbers)
            for reverse, tokens in enumerate(by_strand):
                yield StrandTokens(number, record, bool(reverse), tokens)


def cut_to_windows(
    strands: Iterable[StrandTokens], size: int, overlap: int
) -> Iterator[WindowTokens]:
    """The windows of each strand, of at most ``size`` tokens (``tokens.windows.token_windows``)."""
    for strand in strands:
        if not len(strand.tokens):
            yield WindowTokens(strand, TokenWindow(0, 0, 0, 0))
        for window in token_windows(len(strand.tokens), size, overlap):
            yield WindowTokens(strand, window)


def window_size(
    config: DnazenConfig, max_tokens: int | None, overlap: int | None
) -> tuple[int, int]:
    """Tokens of a window and of an overlap, special ones not counted; ``None`` is the default.

    Raises
    ------
    ConfigError
        If windows cannot overlap so.
    """
    max_tokens = max_tokens or config.max_tokens or MAX_TOKENS
    require_overlap(overlap, max_tokens)
    size = max_tokens - 2
    return size, size // 4 if overlap is None else overlap
