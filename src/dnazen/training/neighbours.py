"""The baseline beside a model that classifies bases: a regression on the bases around each.

Decided here: a logistic regression on ``model.neighbours``' features. Dev chooses the strength of
its ridge penalty. Of a model that reads both strands it reads both, and says their mean. Nothing in
it is random.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix

from ..model.bases import UNKNOWN
from ..model.neighbours import (
    FEATURES,
    REACH,
    WORD,
    WORD_STARTS,
    NeighbourView,
    neighbour_features,
)
from ..model.settings import Strands
from ..sequences.alphabet import normalise, reverse_complement
from ..sequences.base_labels import NO_CLASS
from ..sequences.splits import Split, Splits
from .kmers import logistic_by_class
from .losses import class_weights
from .metrics import Scores, score
from .rows import label_rows, labels_to_learn
from .selection import is_defined, rank
from .settings import FinetuneConfig

STRENGTHS = (0.001, 0.01, 0.1, 1.0)
"""Inverse strengths of the ridge penalty that dev chooses from."""
MOST_BASES = 20_000
"""Of train and each class, that it is fitted on; of more, so many are drawn evenly, and each counts
for those that were not."""

_CODES = np.full(256, UNKNOWN, dtype=np.int64)
_CODES[np.frombuffer(b"ACGT", dtype=np.uint8)] = range(4)


class NeighbourFit(NamedTuple):
    """A fitted regression."""

    strength: float
    """The one of ``STRENGTHS`` that dev chose."""
    weight: Float[np.ndarray, "labels features"]
    bias: Float[np.ndarray, "labels"]
    dev: Float[np.ndarray, "rows labels"]
    test: Float[np.ndarray, "rows labels"]
    """Logits of the labelled bases."""
    dev_scores: Scores
    test_scores: Scores
    rows: int
    """Bases of train that it was fitted on."""

    @property
    def name(self) -> str:
        """What it is called beside the model."""
        return "neighbouring bases"

    def put_into(self, view: NeighbourView, share: float = 1.0) -> None:
        """Let a view say ``share`` times what the regression says."""
        view.hold(torch.from_numpy(share * self.weight), torch.from_numpy(share * self.bias))

    def sentence(self) -> str:
        """What it is, in words."""
        return (
            f"The baseline is a ridge regression on the bases up to {REACH} before and behind a "
            f"base and the {WORD}-mers that begin {-WORD_STARTS[0]} before it to {WORD_STARTS[-1]} "
            f"behind it, of strength {self.strength:g}, which dev chose, fitted on {self.rows:,} "
            "bases of train."
        )


class NeighbourPlan(NamedTuple):
    """What the bases around say of a task before a model is trained on it."""

    baseline: NeighbourFit
    strands: Strands
    """Which the model is to read: the strand as it is, unless the settings say otherwise."""
    blended: NeighbourFit | None
    """The regression that the model is to hold; none with ``kmers`` 0."""


def plan_neighbours(splits: Splits, config: FinetuneConfig) -> NeighbourPlan:
    """Fit the regression on train, with the strength that dev chooses, and score test.

    Raises
    ------
    ConfigError
        If the settings are none for classes of bases.
    """
    strands: Strands = "average" if config.strands == "average" else "forward"
    fit = fit_neighbours(splits, config, strands)
    return NeighbourPlan(fit, strands, fit if config.kmers else None)


def fit_neighbours(splits: Splits, config: FinetuneConfig, strands: Strands) -> NeighbourFit:
    """The regression on these strands.

    Raises
    ------
    ConfigError
        If ``best_metric`` is none that chooses here.
    """
    kind, metric = splits.task.problem_type, config.metric(splits.task.problem_type)
    chooser = metric if is_defined(metric, splits.dev.labels) else None
    turns = (False,) if strands == "forward" else (False, True)
    classes = label_rows(splits.train.labels)
    drawn, weights = _drawn(classes, len(splits.task.label_names), class_weights(splits, config))
    of_train = _matrix(np.concatenate([_drawn_features(splits.train, drawn, t) for t in turns]))
    truth = np.concatenate([classes[drawn]] * len(turns))
    best, best_rank = None, -np.inf
    for strength in STRENGTHS:
        weight, bias = logistic_by_class(of_train, truth, strength, weights)
        dev = _logits(splits.dev, turns, weight, bias)
        scores = score(kind, label_rows(splits.dev.labels), dev)
        worth = rank(chooser, scores[metric], 0.0)
        if best is None or worth > best_rank:
            best, best_rank = (strength, weight, bias, dev, scores), worth
    assert best is not None
    strength, weight, bias, dev, scores = best
    test = _logits(splits.test, turns, weight, bias)
    of_test = score(kind, label_rows(splits.test.labels), test)
    return NeighbourFit(strength, weight, bias, dev, test, scores, of_test, len(drawn))


def _drawn(
    classes: Int[np.ndarray, "rows"],
    number: int,
    weights: Float[np.ndarray, "classes"] | None,
) -> tuple[Int[np.ndarray, "drawn"], Float[np.ndarray, "classes"]]:
    """At most ``MOST_BASES`` of each class, evenly, and how much each of a class counts."""
    rows, counts = [], np.ones(number)
    for name in range(number):
        members = np.flatnonzero(classes == name)
        rows.append(members[:: max(1, -(-len(members) // MOST_BASES))])
        if len(members):
            counts[name] = len(members) / len(rows[-1])
    drawn = np.sort(np.concatenate(rows))
    every = counts if weights is None else counts * weights
    return drawn, every * len(drawn) / every[classes[drawn]].sum()


def _features(split: Split, turned: bool) -> Iterator[Int[np.ndarray, "labelled per_base"]]:
    """The features of the labelled bases of each row, or those on the other strand.

    Whichever it is, they come in the order of the labels.
    """
    for row, label in zip(split.table.rows, labels_to_learn(split), strict=True):
        letters = reverse_complement(row.sequences[0]) if turned else row.sequences[0]
        clean = re.sub(b"N+", b"N", normalise(letters)[0])  # one [UNK], as a model reads them
        codes = _CODES[np.frombuffer(clean, dtype=np.uint8)]
        features = neighbour_features(torch.from_numpy(codes)[None])[0].numpy()[codes != UNKNOWN]
        yield (features[::-1] if turned else features)[np.asarray(label) != NO_CLASS]


def _drawn_features(
    split: Split, drawn: Int[np.ndarray, "drawn"], turned: bool
) -> Int[np.ndarray, "drawn per_base"]:
    """The features of some of the labelled bases, by their rising numbers."""
    parts, first = [], 0
    for features in _features(split, turned):
        inside = slice(*np.searchsorted(drawn, (first, first + len(features))).tolist())
        parts.append(features[drawn[inside] - first])
        first += len(features)
    return np.concatenate(parts)


def _matrix(features: Int[np.ndarray, "rows per_base"]) -> csr_matrix:
    present = features < FEATURES
    ends = np.concatenate([[0], np.cumsum(present.sum(axis=1))])
    ones = np.ones(int(ends[-1]))
    return csr_matrix((ones, features[present], ends), shape=(len(features), FEATURES))


def _logits(
    split: Split,
    turns: Sequence[bool],
    weight: Float[np.ndarray, "labels features"],
    bias: Float[np.ndarray, "labels"],
) -> Float[np.ndarray, "rows labels"]:
    """What the regression says of each labelled base, the mean over the strands."""
    table = np.concatenate([weight.T, np.zeros((1, len(weight)))])
    by_strand = zip(*(_features(split, turned) for turned in turns), strict=True)
    means = [
        np.mean([table[features].sum(axis=1) for features in of_row], axis=0)
        for of_row in by_strand
    ]
    none = np.zeros((0, len(weight)))  # a split may have no row
    return np.asarray(np.concatenate([none, *means]) + bias, dtype=np.float32)
