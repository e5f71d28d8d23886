"""The baseline beside a model that classifies bases: a regression on the bases around each.

Decided here: a logistic regression on which base stands at each place up to ``_REACH`` before and
behind, and which ``_WORD``-mer begins at each place nearer by. Dev chooses the strength of its
ridge penalty. Nothing in it is random.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.sparse import csr_matrix

from ..model.settings import Strands
from ..sequences.alphabet import normalise
from ..sequences.base_labels import NO_CLASS
from ..sequences.splits import Split, Splits
from .kmers import logistic_by_class
from .losses import class_weights
from .metrics import Scores, score
from .rows import label_rows
from .selection import is_defined, rank
from .settings import FinetuneConfig

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Inverse strengths of the ridge penalty that dev chooses from."""
MOST_BASES = 20_000
"""Of train and each class, that it is fitted on; of more, so many are drawn evenly, and each counts
for those that were not. And of dev, that choose."""

_REACH = 15
_WORD = 4
_WORD_STARTS = range(-8, 6)
_COLUMNS = 4 * (2 * _REACH + 1) + 4**_WORD * len(_WORD_STARTS)
_CODES = np.full(256, 4, dtype=np.int64)  # 4: no base
_CODES[np.frombuffer(b"ACGT", dtype=np.uint8)] = range(4)
_CHUNK_ROWS = 200_000


class NeighbourFit(NamedTuple):
    """A fitted regression."""

    strength: float
    """The one of ``STRENGTHS`` that dev chose."""
    test: Float[np.ndarray, "rows labels"]
    """Logits of the labelled bases of test."""
    dev_scores: Scores
    """Of the bases of dev that chose."""
    test_scores: Scores
    rows: int
    """Bases of train that it was fitted on."""

    @property
    def name(self) -> str:
        """What it is called beside the model."""
        return "neighbouring bases"

    def sentence(self) -> str:
        """What it is, in words."""
        return (
            f"The baseline is a ridge regression on the bases up to {_REACH} before and behind a "
            f"base and the {_WORD}-mers that begin at most {-_WORD_STARTS[0]} before it, of "
            f"strength {self.strength:g}, which dev chose, fitted on {self.rows:,} bases of train."
        )


class NeighbourPlan(NamedTuple):
    """What the bases around say of a task before a model is trained on it."""

    baseline: NeighbourFit
    strands: Strands
    """Which the model is to read: the strand as it is, unless the settings say otherwise."""
    blended: None = None
    """Nothing of it is put into the model."""


def plan_neighbours(splits: Splits, config: FinetuneConfig) -> NeighbourPlan:
    """Fit the regression, and say on which strands the model is to be trained.

    Raises
    ------
    ConfigError
        If the settings are none for classes of bases.
    """
    strands: Strands = "average" if config.strands == "average" else "forward"
    return NeighbourPlan(fit_neighbours(splits, config), strands)


def fit_neighbours(splits: Splits, config: FinetuneConfig) -> NeighbourFit:
    """Fit the regression on train, with the strength that dev chooses, and score test.

    Raises
    ------
    ConfigError
        If ``best_metric`` is none that chooses here.
    """
    kind = splits.task.problem_type
    metric = config.metric(kind)
    classes = label_rows(splits.train.labels)
    drawn, weights = _drawn(classes, len(splits.task.label_names), class_weights(splits, config))
    every_nth = slice(None, None, -(-len(label_rows(splits.dev.labels)) // MOST_BASES))
    dev_classes = label_rows(splits.dev.labels)[every_nth]
    chooser = metric if is_defined(metric, splits.dev.labels) else None
    of_train = _features(_contexts(splits.train)[drawn])
    of_dev = _features(_contexts(splits.dev)[every_nth])
    best, best_rank = None, -np.inf
    for strength in STRENGTHS:
        weight, bias = logistic_by_class(of_train, classes[drawn], strength, weights)
        scores = score(kind, dev_classes, of_dev @ weight.T + bias)
        worth = rank(chooser, scores[metric], 0.0)
        if best is None or worth > best_rank:
            best, best_rank = (strength, weight, bias, scores), worth
    assert best is not None
    strength, weight, bias, dev_scores = best
    contexts = _contexts(splits.test)
    parts = [
        _features(contexts[start : start + _CHUNK_ROWS]) @ weight.T + bias
        for start in range(0, len(contexts), _CHUNK_ROWS)
    ]
    test = np.concatenate(parts).astype(np.float32)
    return NeighbourFit(
        strength,
        test,
        dev_scores,
        score(kind, label_rows(splits.test.labels), test),
        len(drawn),
    )


def _drawn(
    classes: Int[np.ndarray, "rows"],
    number: int,
    weights: Float[np.ndarray, "classes"] | None,
) -> tuple[Int[np.ndarray, "drawn"], Float[np.ndarray, "classes"]]:
    """At most ``MOST_BASES`` of each class, evenly, and how much each of a class counts."""
    rows, counts = [], np.ones(number)
    for name in range(number):
        members = np.flatnonzero(classes == name)
        step = max(1, -(-len(members) // MOST_BASES))
        rows.append(members[::step])
        if len(members):
            counts[name] = len(members) / len(rows[-1])
    drawn = np.sort(np.concatenate(rows))
    every = counts if weights is None else counts * weights
    return drawn, every * len(drawn) / every[classes[drawn]].sum()


def _contexts(split: Split) -> Int[np.ndarray, "rows places"]:
    """The codes around each labelled base, 0 to 3, or 4 where no base is."""
    reach = max(_REACH, _WORD_STARTS[-1] + _WORD)
    edge = np.full(reach, 4, dtype=np.int64)
    parts = []
    for row, label in zip(split.table.rows, split.labels, strict=True):
        clean, _ = normalise(row.sequences[0])
        codes = _CODES[np.frombuffer(clean, dtype=np.uint8)]
        padded = np.concatenate([edge, codes, edge]).astype(np.int8)
        around = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
        parts.append(around[np.asarray(label) != NO_CLASS])
    return np.concatenate(parts)


def _features(contexts: Int[np.ndarray, "rows places"]) -> csr_matrix:
    """One-hot bases, and one-hot words; nothing where no base is."""
    middle = contexts.shape[1] // 2
    columns, present = [], list[Bool[np.ndarray, "rows"]]()
    for place in range(-_REACH, _REACH + 1):
        codes = contexts[:, middle + place].astype(np.int64)
        columns.append(4 * (place + _REACH) + codes)
        present.append(np.asarray(codes < 4))
    first = 4 * (2 * _REACH + 1)
    for start in _WORD_STARTS:
        word = contexts[:, middle + start : middle + start + _WORD].astype(np.int64)
        columns.append(first + word @ (4 ** np.arange(_WORD)))
        present.append(np.asarray(word.max(axis=1) < 4))
        first += 4**_WORD
    there = np.stack(present, axis=1)
    ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    where = np.stack(columns, axis=1)[there]
    return csr_matrix((np.ones(len(where)), where, ends), shape=(len(contexts), _COLUMNS))
