"""The k-mer regression: the baseline beside every score, and what the k-mer view is made of.

Decided here: counts of 1- to k-mers, weighted by inverse document frequency and scaled to unit
length (scikit-learn's TF-IDF), through a ridge regression, logistic for classes and labels. Dev
chooses the strength of the penalty, and whether a k-mer and its reverse complement are one.
Nothing in it is random.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from scipy.sparse import csr_matrix, vstack
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from torch import Tensor

from ..model.bases import NONE, UNKNOWN
from ..model.kmers import KmerCounts, KmerView
from ..model.losses import classification_loss
from ..model.settings import Strands
from ..sequences.alphabet import normalise
from ..sequences.labelled import Row
from ..sequences.settings import ProblemType
from ..sequences.splits import Split, Splits
from .losses import class_weights
from .metrics import Scores, score
from .scale import Scale
from .selection import is_defined, rank
from .settings import BASELINE_KMERS, FinetuneConfig

STRENGTHS = (0.1, 1.0, 10.0, 100.0)
"""Inverse strengths of the ridge penalty that dev chooses from."""
MOST_BASES = 20_000_000
"""Of train, together; of more, rows are drawn: the regression is held in memory."""

SURE = 4.0
"""Standard errors by which k-mers of one strand must be better, so that one strand is read."""

_ITERATIONS = 100
_CHUNK_FEATURES = 4_000_000  # of sequences x features, counted together
_CODES = np.full(256, UNKNOWN, dtype=np.int64)
_CODES[np.frombuffer(b"ACGT", dtype=np.uint8)] = range(4)

Logits = Float[np.ndarray, "rows labels"]


class KmerFit(NamedTuple):
    """A fitted regression."""

    longest: int
    strands: Strands
    """``average`` where a k-mer and its reverse complement are one."""
    strength: float
    """The one of ``STRENGTHS`` that dev chose."""
    weight_of: Float[np.ndarray, "features"]
    """Inverse document frequencies."""
    weight: Float[np.ndarray, "labels features"]
    bias: Float[np.ndarray, "labels"]
    dev: Logits
    """In regression, in the unit of ``Scale``, as the weights are."""
    test: Logits
    """In regression, in the data's own unit."""
    dev_scores: Scores
    test_scores: Scores
    rows: int
    """Of train, that it was fitted on."""

    @property
    def parameters(self) -> int:
        """Fitted numbers."""
        return self.weight.size + self.bias.size

    @property
    def name(self) -> str:
        """What it is called beside the model."""
        return "k-mers"

    def sentence(self) -> str:
        """What it is, in words."""
        strands = (
            "both strands as one" if self.strands == "average" else "the strand as it is given"
        )
        return (
            f"The k-mer baseline is a ridge regression on 1- to {self.longest}-mers, {strands}, of "
            f"strength {self.strength:g}, fitted on {self.rows:,} rows of train; dev chose "
            "strand and strength."
        )

    def put_into(self, view: KmerView, share: float = 1.0) -> None:
        """Let a view say ``share`` times what the regression says."""
        view.weight_of.copy_(torch.from_numpy(self.weight_of))
        with torch.no_grad():
            view.output.weight.copy_(torch.from_numpy(share * self.weight))
            view.output.bias.copy_(torch.from_numpy(share * self.bias))


class KmerPlan(NamedTuple):
    """What k-mers say of a task before a model is trained on it."""

    baseline: KmerFit
    """The better on dev of the regressions with both strands as one (the first of equals) and
    with the strand as it is given."""
    strands: Strands
    """Which the model is to read."""
    blended: KmerFit | None
    """The regression that the model is to hold, of these strands."""


def plan_kmers(splits: Splits, config: FinetuneConfig) -> KmerPlan:
    """Fit the regressions on train, with all that is chosen chosen on dev.

    Raises
    ------
    ConfigError
        If ``best_metric`` is no score of these labels.
    """
    metric = config.metric(splits.task.problem_type)
    longest = config.kmers or BASELINE_KMERS
    weights = class_weights(splits, config)
    average, forward = (
        _fit(splits, metric, longest, kind, weights) for kind in get_args(Strands)[::-1]
    )
    better = _worth(forward, splits, metric) > _worth(average, splits, metric)
    strands = config.strands
    if strands == "auto":
        strands = "forward" if _depends_on_strand(average, forward, splits) else "average"
    of_strands = average if strands == "average" else forward
    return KmerPlan(forward if better else average, strands, of_strands if config.kmers else None)


def _depends_on_strand(average: KmerFit, forward: KmerFit, splits: Splits) -> bool:
    """Whether labels depend on the strand: k-mers say far less of them with both strands as one.

    Decided here: on dev the loss must be higher by more than ``SURE`` standard errors, and what is
    learnt beyond the labels' own frequencies (in regression, their mean) less than half as much.
    Less is no reason: to read both strands doubles the data, and a model may gain where k-mers
    lose (docs/experiments.md, 5).
    """
    kind, labels = splits.task.problem_type, splits.dev.labels
    train = splits.train.labels
    if kind == "regression":
        scale = Scale.of(train)
        labels, train = scale.scaled(labels), scale.scaled(train)
    known = torch.tensor(np.array(labels))
    of_nothing = _constant_logits(np.array(train), len(splits.task.label_names), kind)
    chance = _losses(np.tile(of_nothing, (len(labels), 1)), known, kind)
    of_average, of_forward = (_losses(fit.dev, known, kind) for fit in (average, forward))
    gain = of_average - of_forward
    sure = gain.mean() > SURE * gain.std() / np.sqrt(len(gain))
    learnt = chance.mean() - of_forward.mean(), chance.mean() - of_average.mean()
    return bool(sure and learnt[1] < 0.5 * learnt[0])


def _constant_logits(
    labels: np.ndarray[Any, Any], number: int, kind: ProblemType
) -> Float[np.ndarray, "labels"]:
    """What is best said of every row alike."""
    if kind == "regression":
        return np.asarray(labels.mean(axis=0), dtype=np.float64)
    if kind == "multi_label_classification":
        odds = (labels.sum(axis=0) + 0.5) / (len(labels) - labels.sum(axis=0) + 0.5)
        return np.asarray(np.log(odds), dtype=np.float64)
    return np.asarray(np.log(np.bincount(labels, minlength=number) + 0.5), dtype=np.float64)


def _losses(logits: Logits, labels: Tensor, kind: ProblemType) -> Float64[np.ndarray, "rows"]:
    """The loss of each row."""
    exact = torch.from_numpy(np.asarray(logits, dtype=np.float64))
    rows = [
        classification_loss(row[None], label[None], kind)
        for row, label in zip(exact, labels, strict=True)
    ]
    return torch.stack(rows).numpy()


def bases_of_row(row: Row) -> Int[np.ndarray, "bases"]:
    """The codes of a row's bases, 0 to 3, or ``UNKNOWN``; which also parts the two of a pair."""
    cleaned = b"N".join(normalise(sequence)[0] for sequence in row.sequences)
    codes: Int[np.ndarray, "bases"] = _CODES[np.frombuffer(cleaned, dtype=np.uint8)]
    return codes


def _fit(
    splits: Splits,
    metric: str,
    longest: int,
    strands: Strands,
    weights: Float[np.ndarray, "classes"] | None,
) -> KmerFit:
    problem_type = splits.task.problem_type
    scale = Scale.of(splits.train.labels) if problem_type == "regression" else None
    train = _drawn(splits.train)
    counts = KmerCounts(longest, canonical=strands == "average")
    counted = [_counted(counts, split) for split in (train, splits.dev, splits.test)]
    present = np.asarray((counted[0] > 0).sum(axis=0)).ravel()
    weight_of = np.log((1 + counted[0].shape[0]) / (1 + present)) + 1
    features, dev, test = (_unit(matrix.multiply(weight_of[None]).tocsr()) for matrix in counted)
    labels = train.labels if scale is None else scale.scaled(train.labels)
    best: KmerFit | None = None
    for strength in STRENGTHS:
        weight, bias = _regression(
            problem_type,
            features,
            np.array(labels),
            strength,
            len(splits.task.label_names),
            weights,
        )
        logits = [np.asarray(matrix @ weight.T) + bias for matrix in (dev, test)]
        values = logits if scale is None else [scale.unscaled(x) for x in logits]
        fit = KmerFit(
            longest,
            strands,
            strength,
            weight_of.astype(np.float32),
            weight.astype(np.float32),
            bias.astype(np.float32),
            logits[0],
            values[1],
            score(problem_type, np.array(splits.dev.labels), values[0]),
            score(problem_type, np.array(splits.test.labels), values[1]),
            len(train.labels),
        )
        if best is None or _worth(fit, splits, metric) > _worth(best, splits, metric):
            best = fit
    assert best is not None
    return best


def _worth(fit: KmerFit, splits: Splits, metric: str) -> float:
    """By dev; of fits that it cannot tell apart all are worth the same."""
    defined = is_defined(metric, splits.dev.labels)
    return rank(metric if defined else None, fit.dev_scores[metric], 0.0)


def _drawn(split: Split) -> Split:
    """All rows, or so many of them, drawn evenly, that they are within ``MOST_BASES``."""
    rows = split.table.rows
    total = sum(len(sequence) for row in rows for sequence in row.sequences)
    step = max(1, -(-total // MOST_BASES))
    return Split(split.table._replace(rows=rows[::step]), split.labels[::step])


def _counted(counts: KmerCounts, split: Split) -> csr_matrix:
    """The counts of all rows; rows of like length are counted together."""
    codes = [bases_of_row(row) for row in split.table.rows]
    order = sorted(range(len(codes)), key=lambda number: len(codes[number]))
    size = max(1, _CHUNK_FEATURES // counts.features)
    parts = [csr_matrix((0, counts.features))]  # of no row, where test is left out
    for first in range(0, len(order), size):
        members = [codes[number] for number in order[first : first + size]]
        box = np.full((len(members), max(1, *map(len, members))), NONE, dtype=np.int64)
        for line, bases in zip(box, members, strict=True):
            line[: len(bases)] = bases
        parts.append(csr_matrix(counts(torch.from_numpy(box)).numpy()))
    matrix = vstack(parts, format="csr")
    back = np.empty(len(order), dtype=np.int64)
    back[order] = np.arange(len(order))
    return matrix[back]


def _unit(matrix: csr_matrix) -> csr_matrix:
    """Rows at length 1; 0 stays 0."""
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    matrix.data = matrix.data / np.repeat(np.where(norms > 0, norms, 1.0), np.diff(matrix.indptr))
    return matrix


def _regression(
    problem_type: ProblemType,
    features: csr_matrix,
    labels: np.ndarray[Any, Any],
    strength: float,
    number: int,
    weights: Float[np.ndarray, "classes"] | None,
) -> tuple[Float[np.ndarray, "labels features"], Float[np.ndarray, "labels"]]:
    """Weights and biases of each class, label or target."""
    if problem_type == "regression":
        ridge = Ridge(alpha=1 / strength, random_state=0).fit(features, labels)
        return np.atleast_2d(ridge.coef_), np.atleast_1d(ridge.intercept_)
    each = np.ones(number) if weights is None else weights
    if problem_type == "multi_label_classification":
        columns = [
            _logistic(features, column, strength, {0: 1.0, 1: weight})
            for column, weight in zip(labels.T, each.tolist(), strict=True)
        ]
        return np.concatenate([w for w, _ in columns]), np.concatenate([b for _, b in columns])
    return logistic_by_class(features, labels, strength, each)


def logistic_by_class(
    features: csr_matrix,
    labels: np.ndarray[Any, Any],
    strength: float,
    weights: Float[np.ndarray, "classes"],
) -> tuple[Float[np.ndarray, "classes features"], Float[np.ndarray, "classes"]]:
    """A line of weights and a bias a class; a class without a row in so many has the odds of that.

    Parameters
    ----------
    weights
        How much a row of each class counts.
    """
    number = len(weights)
    present = np.unique(labels)
    weight = np.zeros((number, features.shape[1]))
    bias = np.full(number, -np.log(2.0 * len(labels) + 1))
    by_class = {int(name): float(weights[name]) for name in present}
    fitted, at = _logistic(features, labels, strength, by_class)
    if len(present) == 1:
        bias[present] = 0.0
    elif len(present) == 2:
        weight[present] = np.concatenate([-fitted, fitted]) / 2
        bias[present] = np.concatenate([-at, at]) / 2
    else:
        weight[present], bias[present] = fitted, at
    return weight, bias


def _logistic(
    features: csr_matrix,
    labels: np.ndarray[Any, Any],
    strength: float,
    weights: dict[int, float],
) -> tuple[Float[np.ndarray, "outputs features"], Float[np.ndarray, "outputs"]]:
    """Of two classes the log-odds of the second; a label that never changes has odds of rows."""
    if (labels == labels[0]).all():
        odds = np.log(2.0 * len(labels) + 1)
        return np.zeros((1, features.shape[1])), np.array([odds if labels[0] else -odds])
    model = LogisticRegression(
        C=strength, solver="newton-cg", max_iter=_ITERATIONS, class_weight=weights
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(features, labels)
    return model.coef_, model.intercept_
