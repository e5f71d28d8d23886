"""Scores of predictions, as fractions of 1; scikit-learn and scipy do the sums.

Names: ``mcc`` (Matthews correlation), ``f1`` (macro), ``accuracy``, ``auroc`` and ``auprc`` for
classes and labels; ``pearson``, ``spearman`` and ``mse`` for numbers; and ``collapsed``. Of bases
that have classes each is an example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    matthews_corrcoef,
    roc_auc_score,
)

from ..inference.labels import probabilities
from ..sequences.settings import ProblemType
from .settings import METRICS

Scores = dict[str, float]
"""Scores by name; ``collapsed`` is a bool, NaN stands for what is not defined."""

_CONSTANT = 1e-12  # spread relative to size, below which a correlation is rounding noise


def score(
    problem_type: ProblemType,
    labels: Int[np.ndarray, "examples"] | Float[np.ndarray, "examples labels"],
    logits: Float[np.ndarray, "examples labels"],
) -> Scores:
    """Score logits against labels.

    A score that the data do not define is NaN, never a warning: AUROC and AUPRC where the labels
    are all of one class, a correlation where either side is constant, everything where a logit is
    not finite (a diverged model) or there is no example. MCC is 0, as in scikit-learn, where
    labels or predictions are all of one class.

    Parameters
    ----------
    labels
        Class numbers (single-label); 0 or 1 per label (multi-label); targets (regression).
    logits
        One per class or label; in regression the predictions themselves.

    Returns
    -------
    The scores in ``METRICS`` of the problem type. Single-label: F1 is the mean over the classes
    in labels or predictions; AUROC and AUPRC are those of class 1 if there are two classes, else
    the mean of each class against the rest, over the classes that have both sides. Multi-label:
    each score is the mean over labels, where it is defined. Regression: the mean over targets.

    ``collapsed`` tells that a model always predicts the same though the labels differ: one class,
    one set of labels, or one number.
    """
    labels = np.asarray(labels)
    logits = np.asarray(logits, dtype=np.float64)
    if not len(logits) or not np.isfinite(logits).all():
        nan = dict.fromkeys(METRICS[problem_type], float("nan"))
        return {**nan, "collapsed": bool(len(logits))}
    if problem_type == "regression":
        return _score_numbers(labels.reshape(logits.shape).astype(np.float64), logits)
    if problem_type == "multi_label_classification":
        return _score_labels(labels.astype(bool), logits)
    return _score_classes(labels, logits)


def _score_classes(
    labels: Int[np.ndarray, "examples"], logits: Float[np.ndarray, "examples classes"]
) -> Scores:
    predicted = logits.argmax(axis=1)
    if logits.shape[1] == 2:
        sides = [(labels == 1, logits[:, 1] - logits[:, 0])]
    else:
        likely = probabilities("single_label_classification", logits)
        sides = [(labels == i, likely[:, i]) for i in range(logits.shape[1])]
    return {
        "mcc": _mcc(labels, predicted),
        "f1": float(f1_score(labels, predicted, average="macro", zero_division=0)),
        "accuracy": float(accuracy_score(labels, predicted)),
        "auroc": _mean(_ranked(roc_auc_score, *side) for side in sides),
        "auprc": _mean(_ranked(average_precision_score, *side) for side in sides),
        "collapsed": _constant_rows(predicted[:, None]) and not _constant_rows(labels[:, None]),
    }


def counted_scores(confusion: Int[np.ndarray, "classes classes"]) -> Scores:
    """MCC, F1 and accuracy of the numbers of examples by true (rows) and predicted class.

    They are those of ``score``; MCC of several classes is that of Gorodkin 2004.
    """
    true, predicted, right = confusion.sum(axis=1), confusion.sum(axis=0), np.diag(confusion)
    total = float(confusion.sum())
    spread = np.sqrt(
        (total**2 - np.square(true.astype(float)).sum())
        * (total**2 - np.square(predicted.astype(float)).sum())
    )
    agreed = float(right.sum()) * total - float(true.astype(float) @ predicted)
    present = true + predicted > 0
    return {
        "mcc": agreed / spread if spread > 0 else 0.0,
        "f1": float(np.mean(2 * right[present] / (true + predicted)[present])),
        "accuracy": float(right.sum()) / total,
    }


def scores_by_class(
    labels: Int[np.ndarray, "examples"],
    logits: Float[np.ndarray, "examples classes"],
    names: Sequence[str],
) -> dict[str, Scores]:
    """Precision, recall, F1 and AUPRC of each class against the rest, and ``support``, the number
    of examples that are of it.

    Precision is NaN of a class that is never predicted, recall of one that never stands there.
    """
    likely = probabilities("single_label_classification", logits)
    predicted = logits.argmax(axis=1)
    table: dict[str, Scores] = {}
    for number, name in enumerate(names):
        true, called = labels == number, predicted == number
        right = int((true & called).sum())
        table[name] = {
            "precision": right / int(called.sum()) if called.any() else float("nan"),
            "recall": right / int(true.sum()) if true.any() else float("nan"),
            "f1": 2 * right / max(1, int(true.sum()) + int(called.sum())),
            "auprc": _ranked(average_precision_score, true, likely[:, number]),
            "support": int(true.sum()),
        }
    return table


def _score_labels(
    labels: Bool[np.ndarray, "examples labels"], logits: Float[np.ndarray, "examples labels"]
) -> Scores:
    predicted = logits > 0
    columns = list(zip(labels.T, predicted.T, strict=True))
    ranked = list(zip(labels.T, logits.T, strict=True))
    return {
        "mcc": _mean(_mcc(*column) for column in columns),
        "f1": _mean(f1_score(truth, guess, zero_division=0) for truth, guess in columns),
        "accuracy": float((labels == predicted).mean()),
        "auroc": _mean(_ranked(roc_auc_score, *side) for side in ranked),
        "auprc": _mean(_ranked(average_precision_score, *side) for side in ranked),
        "collapsed": _constant_rows(predicted) and not _constant_rows(labels),
    }


def _score_numbers(
    targets: Float[np.ndarray, "examples targets"], predicted: Float[np.ndarray, "examples targets"]
) -> Scores:
    columns = list(zip(targets.T, predicted.T, strict=True))
    return {
        "pearson": _mean(_correlation(pearsonr, *column) for column in columns),
        "spearman": _mean(_correlation(spearmanr, *column) for column in columns),
        "mse": float(np.square(targets - predicted).mean()),
        "collapsed": all(map(_is_constant, predicted.T)) and not all(map(_is_constant, targets.T)),
    }


def _mcc(truth: Shaped[np.ndarray, "examples"], guess: Shaped[np.ndarray, "examples"]) -> float:
    """0 where either side is all one class; scikit-learn says so too, but with a warning."""
    if (truth == truth[0]).all() or (guess == guess[0]).all():
        return 0.0
    return float(matthews_corrcoef(truth, guess))


def _ranked(
    metric: Callable[..., float],
    positive: Bool[np.ndarray, "examples"],
    ranking: Float[np.ndarray, "examples"],
) -> float:
    """A score of a ranking; NaN unless there are positives and negatives."""
    if positive.all() or not positive.any():
        return float("nan")
    return float(metric(positive, ranking))


def _correlation(
    metric: Callable[..., tuple[float, float]],
    truth: Float[np.ndarray, "examples"],
    guess: Float[np.ndarray, "examples"],
) -> float:
    if _is_constant(truth) or _is_constant(guess):
        return float("nan")
    return float(metric(truth, guess)[0])


def _is_constant(values: Float[np.ndarray, "examples"]) -> bool:
    return bool(np.ptp(values) <= _CONSTANT * np.abs(values).max())


def _constant_rows(table: Shaped[np.ndarray, "examples labels"]) -> bool:
    return bool((table == table[0]).all())


def _mean(values: Iterable[float]) -> float:
    """The mean of the defined values; NaN if there are none."""
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
