"""What can be known of test sequences: their G-gram density, and what training read of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from tokenizers import Tokenizer

from ..errors import DnazenError
from ..ggrams.leakage import build_index, covered_bases, mined_part
from ..ggrams.matching import Matcher
from ..ggrams.vocabulary import GGramVocabulary
from ..model.directory import GGRAMS_FILE
from ..records import plain, read_json
from ..sequences.alphabet import normalise
from ..sequences.reader import read_records
from ..tokens.corpus import Corpus
from ..tokens.encoding import Length, encode_examples
from .arms import Arm

STRATA = ("none", "low", "high")
OVERLAP_BP = 50
"""Shortest shared stretch that counts as leaked."""


class Shared(NamedTuple):
    """How much of a test split stands in some corpus, on either strand."""

    sequences: int
    partly: int
    """Sequences with a shared stretch of ``OVERLAP_BP`` bases or more."""
    wholly: int
    fraction: float
    """Of the bases."""


class Leakage(NamedTuple):
    """What one input of training shares with the test splits."""

    what: str
    """``pre-training`` or ``mining``."""
    source: str
    arms: list[str]
    """The arms whose input it is."""
    tasks: dict[str, Shared]
    problem: str = ""
    """Why it is not known, where it is not."""


def densities(
    vocabulary: GGramVocabulary, tokenizer: Tokenizer, sequences: Sequence[bytes]
) -> Float[np.ndarray, "sequences"]:
    """Fraction of each sequence's tokens that G-grams cover; 0 where there is no token."""
    places = [""] * len(sequences)
    length = Length(1 << 30, "refuse")
    tokens = encode_examples(tokenizer, [(s,) for s in sequences], length, places).tokens
    offsets = np.concatenate([[0], np.cumsum([len(some) for some in tokens])]).astype(np.int64)
    matches = Matcher(vocabulary).match(np.concatenate(tokens), offsets)
    owner = np.searchsorted(offsets, np.unique(matches.cover_token), side="right") - 1
    covered = np.bincount(owner, minlength=len(sequences))
    return covered / np.maximum(1, np.diff(offsets))


def strata(density: Float[np.ndarray, "sequences"]) -> Int[np.ndarray, "sequences"]:
    """The stratum of each sequence, as its place in ``STRATA``.

    Decided here: *none* has no G-gram; the others are parted at the median density of those that
    have one, which counts as low.
    """
    some = density > 0
    middle = np.median(density[some]) if some.any() else 0.0
    return some.astype(np.int64) + (some & (density > middle))


def leakages(
    arms: Sequence[Arm], tests: dict[str, Path], known: Iterable[dict[str, Any]] = ()
) -> list[dict[str, Any]]:
    """What the inputs of the arms' pre-training and G-gram mining share with test files.

    Arms with the same input share an entry, a ``Leakage`` as JSON. Only DNAZEN directories that
    'dnazen pretrain' wrote say what they were made from; of others nothing is known, and they are
    left out.

    Parameters
    ----------
    known
        Entries of earlier; what they tell is not searched again.
    """
    read_by: dict[tuple[str, str], list[str]] = {}
    for arm in arms:
        if arm.has_directory:
            for what, source in _inputs(Path(arm.source)):
                if what == "mining" or arm.kind != "random":
                    read_by.setdefault((what, source), []).append(arm.name)
    before = {(entry["what"], entry["source"]): entry for entry in known if not entry["problem"]}
    found = []
    for (what, source), names in read_by.items():
        entry = before.pop((what, source), {"arms": [], "tasks": {}})
        arms_of = list(dict.fromkeys([*entry["arms"], *names]))
        shared, problem = dict(entry["tasks"]), ""
        unknown = {task: path for task, path in tests.items() if task not in shared}
        if unknown:
            try:
                shared |= _shared(what, Path(source), unknown)
            except DnazenError as error:
                problem = str(error)
        found.append(plain(Leakage(what, source, arms_of, shared, problem)))
    return found + list(before.values())


def _inputs(directory: Path) -> Iterator[tuple[str, str]]:
    """What a model was made from: its corpus, and the vocabulary that says what was mined."""
    if (directory / "run.json").is_file():
        settings = read_json(directory / "run.json", "the record of a run").get("settings", {})
        if "corpus" in settings:
            yield "pre-training", str(settings["corpus"])
    if (directory / GGRAMS_FILE).is_file():
        yield "mining", str(directory / GGRAMS_FILE)


def _shared(what: str, source: Path, tests: dict[str, Path]) -> dict[str, Shared]:
    threads = os.cpu_count() or 1
    if what == "mining":
        corpus, keep = mined_part(source, GGramVocabulary.load(source), threads=threads)
    else:
        corpus = Corpus.open(source)
        keep = np.ones(len(corpus), dtype=np.bool_)
    sequences = {
        task: [normalise(record.sequence)[0] for record in read_records(path)]
        for task, path in tests.items()
    }
    index = build_index((s for some in sequences.values() for s in some), OVERLAP_BP)
    bases = covered_bases(index, corpus, keep, threads)
    ends = np.cumsum([len(some) for some in sequences.values()])
    shared = {}
    for (task, some), here in zip(sequences.items(), np.split(bases, ends[:-1]), strict=True):
        lengths = np.array([len(s) for s in some])
        shared[task] = Shared(
            len(some),
            int((here > 0).sum()),
            int(((here == lengths) & (lengths > 0)).sum()),
            float(here.sum() / max(1, lengths.sum())),
        )
    return shared
