"""Intervals, paired comparisons and corrections for scores of several seeds and many test rows.

Test rows are resampled (bootstrap), the same rows for every model and seed. How much seeds differ
is seen from the seeds themselves: to resample five of them gives intervals that are too narrow.
The two are put together as in studies of several readers of the same cases (Obuchowski & Rockette
1995), seeds being the readers. Scores are fractions of 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from scipy.stats import false_discovery_control, rankdata, t, wilcoxon

from .settings import DRAWS
from .tasks import Metric

LEVEL = 0.05
"""Of significance; intervals hold the rest."""

_ROWS_A_BLOCK = 1 << 22  # bounds the memory of the resampled weights: 16 MiB a million

Scores = Float[np.ndarray, "seeds"]
Draws = Float[np.ndarray, "draws seeds"]


class Tally(NamedTuple):
    """Rows by class, which is all that MCC and F1 need to know of predictions."""

    true: Float[np.ndarray, "*some classes"]
    """Rows of each class."""
    predicted: Float[np.ndarray, "*some classes"]
    """Rows that were called so."""
    right: Float[np.ndarray, "*some classes"]
    """Rows of the class that were called so."""


class Estimate(NamedTuple):
    """A mean score, or a mean difference of scores, and how sure it is."""

    value: float
    standard_error: float
    df: float
    """Degrees of freedom of Student's t; infinite where seeds are not what limits it."""
    testable: bool = True
    """False where no test can rest on it: it is of one seed, which does not tell how seeds differ,
    or a collapsed cell has a part in it."""

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, symmetric."""
        half = self.standard_error * float(t.ppf(1 - LEVEL / 2, self.df))
        return self.value - half, self.value + half

    @property
    def p_value(self) -> float:
        """Two-sided, of the value being 0; 1 where nothing differs at all; NaN of no test."""
        if not self.testable:
            return math.nan
        if self.value == 0:
            return 1.0
        if self.standard_error == 0:
            return math.nan
        return 2 * float(t.sf(abs(self.value) / self.standard_error, self.df))


class TaskTest(NamedTuple):
    """Wilcoxon's signed-rank test over the tasks' differences."""

    p_value: float
    """Two-sided; NaN where all differences are 0 or there is none."""
    effect_size: float
    """Matched-pairs rank-biserial correlation, -1 to 1: how much of the ranks is on one side; NaN
    as the p-value is."""


def tally(
    labels: Int[np.ndarray, "rows"],
    predictions: Int[np.ndarray, "seeds rows"],
    classes: int,
    weights: Float32[np.ndarray, "draws rows"],
) -> Tally:
    """Count rows by class, each as often as a draw has it; float32 is exact to 16 million rows.

    Returns
    -------
    Arrays of shape (draws, seeds, classes); ``true`` of shape (draws, 1, classes).
    """
    is_class: Float32[np.ndarray, "rows classes"] = np.eye(classes, dtype=np.float32)[labels]
    called = np.eye(classes, dtype=np.float32)[predictions]

    def counted(rows: Float32[np.ndarray, "seeds rows classes"]) -> Float[np.ndarray, "..."]:
        # One product for all seeds; a row a test row.
        flat = np.moveaxis(rows, 1, 0).reshape(rows.shape[1], -1)
        counts: Float[np.ndarray, "..."] = (weights @ flat).astype(np.float64)
        return counts.reshape(len(weights), -1, classes)

    return Tally(counted(is_class[None]), counted(called), counted(called * is_class))


def score_tally(counts: Tally, metric: Metric) -> Float[np.ndarray, "*some"]:
    """MCC or macro F1; undefined ones are as in ``metrics.score``.

    MCC is 0 where labels or predictions are all of one class. F1 is the mean over the classes in
    labels or predictions.
    """
    true, predicted = np.broadcast_arrays(counts.true, counts.predicted)
    if metric == "f1":
        size = true + predicted
        by_class = np.divide(2 * counts.right, size, out=np.zeros_like(size), where=size > 0)
        f1: Float[np.ndarray, "*some"] = by_class.sum(-1) / np.maximum(1, (size > 0).sum(-1))
        return f1
    rows = true.sum(-1)
    covariance = counts.right.sum(-1) * rows - (true * predicted).sum(-1)
    spread = (rows**2 - (true**2).sum(-1)) * (rows**2 - (predicted**2).sum(-1))
    root = np.sqrt(np.maximum(spread, 0))
    mcc: Float[np.ndarray, "*some"] = np.divide(
        covariance, root, out=np.zeros_like(rows), where=root > 0
    )
    return mcc


def scores_of(
    labels: Int[np.ndarray, "rows"],
    predictions: Int[np.ndarray, "seeds rows"],
    classes: int,
    metric: Metric,
) -> Scores:
    """The score of each seed on all rows."""
    once = np.ones((1, len(labels)), dtype=np.float32)
    scores: Scores = score_tally(tally(labels, predictions, classes, once), metric)[0]
    return scores


def resampled_scores(
    labels: Int[np.ndarray, "rows"],
    predictions: Mapping[str, Int[np.ndarray, "seeds rows"]],
    classes: int,
    metric: Metric,
    *,
    draws: int = DRAWS,
    rng_seed: int = 0,
) -> dict[str, Draws]:
    """The scores of each model's seeds on resampled test rows, the same rows for all of them.

    The same ``rng_seed`` and number of rows give the same resamples.
    """
    draws_by_model: dict[str, list[Draws]] = {model: [] for model in predictions}
    for weights in _resamples(len(labels), draws, np.random.default_rng(rng_seed)):
        for model, by_seed in predictions.items():
            draws_by_model[model].append(
                score_tally(tally(labels, by_seed, classes, weights), metric)
            )
    return {model: np.concatenate(blocks) for model, blocks in draws_by_model.items()}


def _resamples(
    rows: int, draws: int, rng: np.random.Generator
) -> Iterator[Float32[np.ndarray, "some rows"]]:
    """How often each row is drawn, some draws at a time."""
    block = max(1, _ROWS_A_BLOCK // rows)
    for start in range(0, draws, block):
        block_draws = min(block, draws - start)
        drawn = (
            rng.integers(rows, size=(block_draws, rows)) + np.arange(block_draws)[:, None] * rows
        )
        counts = np.bincount(drawn.ravel(), minlength=block_draws * rows)
        yield counts.reshape(block_draws, rows).astype(np.float32)


def estimate(scores: Scores, draws: Draws) -> Estimate:
    """The mean over seeds, with the uncertainty of test rows and seeds together.

    For two models give the differences of their scores and of their draws, seed by seed. With s²
    the variance of the n seeds' scores and C the mean covariance of two seeds' draws, the variance
    of the mean is s²/n + C, and its degrees of freedom are (s²/n + C)² (n - 1) / (s²/n)² (Hillis
    2007). Of one seed, only the rows' part is known: the variance of its draws.
    """
    seeds = len(scores)
    value = float(scores.mean())
    if seeds == 1:
        return Estimate(value, float(draws.std(ddof=1)), math.inf, testable=False)
    of_seeds = float(scores.var(ddof=1)) / seeds
    covariance = np.cov(draws, rowvar=False)
    pairs = float(covariance.sum() - np.trace(covariance))
    of_rows = max(0.0, pairs / (seeds * (seeds - 1)))
    variance = of_seeds + of_rows
    df = variance**2 * (seeds - 1) / of_seeds**2 if of_seeds > 0 else math.inf
    return Estimate(value, math.sqrt(variance), df)


def mean_estimate(parts: Sequence[Estimate], weights: Sequence[float] | None = None) -> Estimate:
    """The (weighted) mean of independent estimates; degrees of freedom after Satterthwaite.

    The parts are the only ones there are, such as the tasks of a benchmark, not a sample of more.
    """
    shares = np.ones(len(parts)) if weights is None else np.asarray(weights, dtype=np.float64)
    shares = shares / shares.sum()
    variances = (shares * [part.standard_error for part in parts]) ** 2
    lost = sum(v**2 / part.df for v, part in zip(variances, parts, strict=True))
    variance = float(variances.sum())
    return Estimate(
        float(shares @ [part.value for part in parts]),
        math.sqrt(variance),
        variance**2 / lost if lost > 0 else math.inf,
        all(part.testable for part in parts),
    )


def effect_size(differences: Scores) -> float:
    """Mean over standard deviation of paired differences (Cohen's d_z).

    NaN where there is one seed or no spread.
    """
    spread = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    return float(differences.mean()) / spread if spread > 0 else math.nan


def signed_rank(differences: Sequence[float]) -> TaskTest:
    """Wilcoxon's test that differences of tasks are symmetric about 0; zeros are left out."""
    values = np.array([d for d in differences if d != 0])
    if not len(values):
        return TaskTest(math.nan, math.nan)
    ranks = rankdata(np.abs(values))
    effect = float((ranks * np.sign(values)).sum() / ranks.sum())
    return TaskTest(float(wilcoxon(values).pvalue), effect)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: the chance of any false claim stays below the level.

    NaN stays NaN and does not count as a test.
    """
    values = np.asarray(p_values, dtype=np.float64)
    defined = _defined(values)
    order = np.argsort(values[defined], kind="stable")
    steps = values[defined][order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    values[defined] = adjusted
    return [float(p) for p in values]


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's adjustment: the expected share of false claims.

    NaN stays NaN and does not count as a test.
    """
    values = np.asarray(p_values, dtype=np.float64)
    defined = _defined(values)
    if defined.any():
        values[defined] = false_discovery_control(values[defined])
    return [float(p) for p in values]


def _defined(values: Float[np.ndarray, "tests"]) -> Bool[np.ndarray, "tests"]:
    defined: Bool[np.ndarray, "tests"] = ~np.isnan(values)
    return defined
