"""What the inputs of pre-training and G-gram mining share with the test sequences."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DnazenError
from ..ggrams.leakage import mined_part, shared_with
from ..ggrams.vocabulary import GGRAMS_FILE, GGramVocabulary
from ..records import plain, read_json
from ..tokens.corpus import Corpus
from .settings import BenchmarkModel

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
    """The models whose input it is."""
    tasks: dict[str, Shared]
    problem: str = ""
    """Why it is not known, where it is not."""


def leakages(
    models: Sequence[BenchmarkModel], tests: dict[str, Path], earlier: Iterable[dict[str, Any]] = ()
) -> list[dict[str, Any]]:
    """What the inputs of the models' pre-training and G-gram mining share with test files.

    Models with the same input share an entry, a ``Leakage`` as JSON. Only DNAZEN directories that
    'dnazen pretrain' wrote say what they were made from; of others nothing is known, and they are
    left out.

    Parameters
    ----------
    known
        Entries of earlier; what they tell is not searched again.
    """
    read_by: dict[tuple[str, str], list[str]] = {}
    for model in models:
        if model.has_directory:
            for what, source in _inputs(Path(model.source)):
                if what == "mining" or model.kind != "random":
                    read_by.setdefault((what, source), []).append(model.name)
    before = {(entry["what"], entry["source"]): entry for entry in earlier if not entry["problem"]}
    entries = []
    for (what, source), names in read_by.items():
        entry = before.pop((what, source), {"arms": [], "tasks": {}})
        models_of = list(dict.fromkeys([*entry["arms"], *names]))
        shared, problem = dict(entry["tasks"]), ""
        unknown = {task: path for task, path in tests.items() if task not in shared}
        if unknown:
            try:
                shared |= _shared(what, Path(source), unknown)
            except DnazenError as error:
                problem = str(error)
        entries.append(plain(Leakage(what, source, models_of, shared, problem)))
    return entries + list(before.values())


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
    shared = {}
    files = shared_with(corpus, keep, list(tests.values()), OVERLAP_BP, threads)
    for task, file in zip(tests, files, strict=True):
        sequences, partly, wholly, bases, mined = file.numbers
        shared[task] = Shared(sequences, partly, wholly, mined / bases)
    return shared
