"""How the G-grams of a vocabulary cover sequences, in numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from tokenizers import Tokenizer

from ..sequences.alphabet import normalise, windows
from ..sequences.inputs import InputRecord
from ..tokens.tokenizer import encode, token_lengths
from .matching import Matcher
from .vocabulary import GGramVocabulary


@dataclass
class Coverage:
    """What G-grams cover in some sequences; numbers add up as sequences come."""

    ggrams: int
    sequences: int = 0
    tokens: int = 0
    covered_tokens: int = 0
    """Tokens inside at least one G-gram."""
    bases: int = 0
    covered_bases: int = 0

    def __post_init__(self) -> None:
        self.distinct: Int64[np.ndarray, "most+1"] = np.zeros(1, dtype=np.int64)
        """Sequences by their number of distinct G-grams."""
        self.occurrences: Int64[np.ndarray, "ggrams+1"] = np.zeros(self.ggrams + 1, dtype=np.int64)
        """Occurrences of each G-gram, by id."""

    def add(self, matcher: Matcher, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        """Count some more sequences of upper-case ACGT."""
        tokens, offsets = encode(tokenizer, texts)
        matches = matcher.match(tokens, offsets)
        covered = np.unique(matches.cover_token)
        bases = token_lengths(tokenizer)
        self.sequences += len(texts)
        self.tokens += len(tokens)
        self.covered_tokens += len(covered)
        self.bases += int(bases[tokens].sum())
        self.covered_bases += int(bases[tokens[covered]].sum())
        distinct = np.bincount(np.diff(matches.slot_offsets), minlength=len(self.distinct))
        distinct[: len(self.distinct)] += self.distinct
        self.distinct = distinct
        ids = matcher.occurrences(tokens, offsets).ggram_id
        self.occurrences += np.bincount(ids, minlength=self.ggrams + 1)

    def summary(self, lengths: Int64[np.ndarray, "ggrams+1"]) -> dict[str, Any]:
        """The numbers as JSON values; fractions of nothing are None."""
        cumulated = np.cumsum(self.distinct)
        return {
            "sequences": self.sequences,
            "tokens": self.tokens,
            "bases": self.bases,
            "covered_tokens": _fraction(self.covered_tokens, self.tokens),
            "covered_bases": _fraction(self.covered_bases, self.bases),
            "sequences_without": _fraction(int(self.distinct[0]), self.sequences),
            "ggrams_per_sequence": {
                "mean": _fraction(
                    int(self.distinct @ np.arange(len(self.distinct))), self.sequences
                ),
                "median": int(np.searchsorted(cumulated, self.sequences / 2)),
                "most": len(self.distinct) - 1,
            },
            "ggrams_used": int(np.count_nonzero(self.occurrences)),
            "occurrences_by_length": {
                str(n): int(self.occurrences[lengths == n].sum()) for n in np.unique(lengths[1:])
            },
        }


def _fraction(part: int, whole: int) -> float | None:
    return part / whole if whole else None


_SEQUENCES_A_BATCH = 4096


def coverages(
    vocabulary: GGramVocabulary,
    tokenizer: Tokenizer,
    parts: Iterable[Iterator[InputRecord]],
    window_bp: int,
) -> Iterator[Coverage]:
    """Yield what G-grams cover in the records of each part."""
    matcher = Matcher(vocabulary)
    for records in parts:
        coverage = Coverage(len(vocabulary))
        texts = _texts(records, window_bp)
        while batch := list(islice(texts, _SEQUENCES_A_BATCH)):
            coverage.add(matcher, tokenizer, batch)
        yield coverage


def numbers_of(
    path: Path, vocabulary: GGramVocabulary, by_file: Mapping[str, Coverage]
) -> dict[str, Any]:
    """A vocabulary, and what it covers of some files, as JSON values."""
    sizes = zip(*np.unique(vocabulary.lengths, return_counts=True), strict=True)
    lengths = Matcher(vocabulary).lengths
    return {
        "vocabulary": {
            "file": str(path),
            "ggrams": len(vocabulary),
            "by_length": {str(length): int(count) for length, count in sizes},
        },
        "sequences": {file: coverage.summary(lengths) for file, coverage in by_file.items()},
    }


def _texts(records: Iterator[InputRecord], window_bp: int) -> Iterator[str]:
    for record in records:
        for _, bases in windows(normalise(record.sequence)[0], window_bp):
            yield bases.decode()
