"""``dnazen ggrams show``: what a vocabulary is, and its first G-grams."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from jaxtyping import Int64

from ..errors import ConfigError
from .vocabulary import GGramVocabulary


@dataclass(frozen=True, kw_only=True)
class ShowConfig:
    """Print a vocabulary's G-grams as a table."""

    vocabulary: tyro.conf.Positional[Path]
    """G-gram vocabulary."""
    top: int = 20
    """G-grams to print, at most."""
    by: Literal["count", "pmi", "bases"] = "count"
    """What to order by, greatest first: the count, the PMI, or the number of bases."""
    containing: str = ""
    """Only G-grams with these bases in them."""
    provenance: bool = False
    """Print what the vocabulary was made from, as JSON, and no table."""

    def __post_init__(self) -> None:
        if self.top < 1:
            raise ConfigError(f"top must be at least 1, got {self.top}")


def show_command(config: ShowConfig) -> None:
    """Print the chosen G-grams: id, count, PMI, tokens, bases."""
    vocabulary = GGramVocabulary.load(config.vocabulary)
    if config.provenance:
        print(json.dumps(vocabulary.provenance, indent=2))
        return
    bases = vocabulary.bases or ("",) * len(vocabulary)
    print("id\tcount\tpmi\ttokens\tbases")
    shown = 0
    for row in ranked(vocabulary, config.by).tolist():
        if shown == config.top:
            break
        if config.containing.upper() in bases[row]:
            tokens = " ".join(map(str, vocabulary.ggram(row + 1)))
            count, pmi = vocabulary.counts[row], vocabulary.pmi[row]
            print(f"{row + 1}\t{count}\t{pmi:.4f}\t{tokens}\t{bases[row]}")
            shown += 1


def ranked(
    vocabulary: GGramVocabulary, by: Literal["count", "pmi", "bases"]
) -> Int64[np.ndarray, "ggrams"]:
    """Places (id - 1) of the G-grams, greatest first; ties by id, unknown values last."""
    if by == "count":
        values = vocabulary.counts.astype(np.float64)
    elif by == "pmi":
        values = vocabulary.pmi.astype(np.float64)
    else:
        values = np.array([len(b) for b in vocabulary.bases] or [0] * len(vocabulary), np.float64)
    return np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")
