"""``dnazen ggrams compare``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import tyro

from ..settings import require_numbers


@dataclass(frozen=True, kw_only=True)
class GGramsCompareCommand:
    """Compare two vocabularies of one tokenizer."""

    first: tyro.conf.Positional[Path]
    """A G-gram vocabulary."""
    second: tyro.conf.Positional[Path]
    """Another."""
    top: int = 10
    """The most frequent G-grams of each that the other lacks, to list."""

    def __post_init__(self) -> None:
        require_numbers(self, names="top", least=0)


def run(settings: GGramsCompareCommand) -> None:
    """Print the comparison as JSON."""
    from ..ggrams.compare import compare
    from ..ggrams.vocabulary import GGramVocabulary

    first = GGramVocabulary.load(settings.first)
    second = GGramVocabulary.load(settings.second)
    second.require_tokenizer(first.tokenizer_sha256, settings.second)
    print(json.dumps(compare(first, second, settings.top), indent=2))
