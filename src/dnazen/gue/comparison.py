"""Scores of a run's models with their intervals, and each model against a reference model."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from tqdm import tqdm

from .density import STRATA
from .results import Finished, Run, TaskResults, common_seeds
from .settings import DRAWS
from .statistics import (
    LEVEL,
    Draws,
    Estimate,
    Scores,
    TaskTest,
    benjamini_hochberg,
    effect_size,
    estimate,
    holm,
    mean_estimate,
    resampled_scores,
    scores_of,
    signed_rank,
)

TIE = 0.0005
"""Differences nearer to 0 are ties: they round to 0.0 where scores are told times 100."""

MIN_ROWS = 30
"""A stratum of fewer test rows has no score. Decided here."""


class ModelScore(NamedTuple):
    """A model on a task."""

    estimate: Estimate
    by_seed: Scores
    """The score of each seed."""
    collapsed: Bool[np.ndarray, "seeds"]

    @property
    def sd(self) -> float:
        """Standard deviation over seeds; NaN of one."""
        return float(self.by_seed.std(ddof=1)) if len(self.by_seed) > 1 else math.nan

    @property
    def mean_without_collapsed(self) -> float:
        """The mean of the seeds that did not collapse; NaN where all did."""
        left = self.by_seed[~self.collapsed]
        return float(left.mean()) if len(left) else math.nan


class TaskDifference(NamedTuple):
    """A model minus the reference on a task, over the seeds that both have."""

    estimate: Estimate
    effect_size: float
    """Cohen's d_z over seeds."""
    seeds: tuple[int, ...]
    holm: float = math.nan
    """p-value, corrected for the tasks of the comparison."""
    false_discovery: float = math.nan
    """The same after Benjamini and Hochberg."""
    collapsed: int = 0
    """Collapsed cells of either model among those seeds: with one, nobody wins."""


class Stratum(NamedTuple):
    """The test rows of a task with a like G-gram density."""

    rows: int
    scores: dict[str, Estimate]
    differences: dict[str, Estimate]
    """Each other model minus the reference."""


class OverallDifference(NamedTuple):
    """A model minus the reference, over tasks."""

    tasks: int
    mean: Estimate
    wins: int
    ties: int
    losses: int
    collapsed: int
    """Tasks with a collapsed cell of either model: neither wins, ties nor losses."""
    sure_wins: int
    """Wins with a p-value below 0.05 after Holm."""
    sure_losses: int
    test: TaskTest
    """Over the tasks with two seeds or more and no collapsed cell."""


class Analysis(NamedTuple):
    """All that is computed from a run."""

    reference: str
    models: list[str]
    """Those with a finished cell."""
    scores: dict[str, dict[str, ModelScore]]
    """By task and model."""
    differences: dict[str, dict[str, TaskDifference]]
    """By model and task."""
    strata: dict[str, dict[str, Stratum]]
    """By task and stratum."""

    @property
    def shared_tasks(self) -> list[str]:
        """The tasks on which every model has a finished cell: means over them can be compared."""
        return [task for task, by_model in self.scores.items() if len(by_model) == len(self.models)]

    def mean(self, model: str, tasks: Sequence[str]) -> Estimate:
        """The mean score of a model over tasks, each counting the same."""
        return mean_estimate([self.scores[task][model].estimate for task in tasks])


def analyse(run: Run, reference: str, *, draws: int = DRAWS) -> Analysis:
    """Score every model on every task, and compare every other model with the reference.

    Parameters
    ----------
    reference
        A model with a finished cell.
    draws
        Bootstrap resamples of the test rows.
    """
    scores: dict[str, dict[str, ModelScore]] = {}
    differences: dict[str, dict[str, TaskDifference]] = {}
    strata: dict[str, dict[str, Stratum]] = {}
    names = list(run.tasks)
    for name in tqdm(names, desc="resampling", unit="task", disable=None, file=sys.stderr):
        results = run.tasks[name]
        everywhere = np.ones(len(results.labels), dtype=np.bool_)
        resampled = _resampled(results, everywhere, draws)
        scores[name] = {
            model: ModelScore(
                estimate(*resampled[model]), resampled[model].scores, finished.collapsed
            )
            for model, finished in results.models.items()
        }
        for model, pair in _against(results.models, resampled, reference):
            difference = TaskDifference(
                pair.estimate, effect_size(pair.scores), pair.seeds, collapsed=pair.collapsed
            )
            differences.setdefault(model, {})[name] = difference
        strata[name] = dict(_strata(results, reference, draws))
    models = [
        model for model in run.models if any(model in by_model for by_model in scores.values())
    ]
    corrected = {model: _corrected(differences[model]) for model in models if model in differences}
    return Analysis(reference, models, scores, corrected, strata)


def overall_difference(differences: Iterable[TaskDifference]) -> OverallDifference:
    """Sum up the differences of tasks, one or more."""
    tasks = list(differences)
    values = [task.estimate.value for task in tasks if not task.collapsed]
    sure = [task.estimate.value for task in tasks if task.holm < LEVEL]
    return OverallDifference(
        tasks=len(tasks),
        mean=mean_estimate([task.estimate for task in tasks]),
        wins=sum(value >= TIE for value in values),
        ties=sum(abs(value) < TIE for value in values),
        losses=sum(value <= -TIE for value in values),
        collapsed=sum(task.collapsed > 0 for task in tasks),
        sure_wins=sum(value > 0 for value in sure),
        sure_losses=sum(value < 0 for value in sure),
        test=signed_rank([task.estimate.value for task in tasks if task.estimate.testable]),
    )


def pooled(
    strata: Mapping[str, Mapping[str, Stratum]], stratum: str, model: str, *, difference: bool
) -> tuple[Estimate, int, int] | None:
    """The score of a model in a stratum, or its difference: mean over tasks, weighted by rows.

    Confusion counts of several tasks are not thrown together, for their base rates differ.

    Returns
    -------
    The estimate, and the number of its tasks and test rows; ``None`` where no task has it.
    """
    parts, rows = [], []
    for by_name in strata.values():
        if (cell := by_name.get(stratum)) is not None:
            estimates = cell.differences if difference else cell.scores
            if model in estimates:
                parts.append(estimates[model])
                rows.append(cell.rows)
    return (mean_estimate(parts, rows), len(parts), sum(rows)) if parts else None


class _Resampled(NamedTuple):
    scores: Scores
    draws: Draws


def _resampled(
    results: TaskResults, rows: Bool[np.ndarray, "rows"], draws: int
) -> dict[str, _Resampled]:
    """Scores of each model's seeds on some of the rows, as they are and resampled."""
    labels, classes, metric = results.labels[rows], len(results.label_names), results.task.metric
    predictions = {
        model: finished.predictions[:, rows] for model, finished in results.models.items()
    }
    drawn = resampled_scores(labels, predictions, classes, metric, draws=draws)
    return {
        model: _Resampled(scores_of(labels, predictions, classes, metric), drawn[model])
        for model, predictions in predictions.items()
    }


class _Pair(NamedTuple):
    """A model minus the reference, on the seeds that both have."""

    seeds: tuple[int, ...]
    scores: Scores
    draws: Draws
    collapsed: int

    @property
    def estimate(self) -> Estimate:
        mean = estimate(self.scores, self.draws)
        return mean._replace(testable=mean.testable and not self.collapsed)


def _against(
    models: Mapping[str, Finished], resampled: Mapping[str, _Resampled], reference: str
) -> Iterable[tuple[str, _Pair]]:
    """Each other model minus the reference."""
    if reference not in models:
        return
    for model, finished in models.items():
        seeds = common_seeds(finished, models[reference])
        if model == reference or not seeds:
            continue
        ours = [finished.seeds.index(seed) for seed in seeds]
        theirs = [models[reference].seeds.index(seed) for seed in seeds]
        scores = resampled[model].scores[ours] - resampled[reference].scores[theirs]
        draws = resampled[model].draws[:, ours] - resampled[reference].draws[:, theirs]
        collapsed = finished.collapsed[ours].sum() + models[reference].collapsed[theirs].sum()
        yield model, _Pair(seeds, scores, draws, int(collapsed))


def _strata(results: TaskResults, reference: str, draws: int) -> Iterable[tuple[str, Stratum]]:
    """The strata with enough rows, of more than one class."""
    if results.strata is None:
        return
    for number, name in enumerate(STRATA):
        rows = results.strata == number
        if rows.sum() < MIN_ROWS or len(np.unique(results.labels[rows])) < 2:
            continue
        resampled = _resampled(results, rows, draws)
        pairs = _against(results.models, resampled, reference)
        stratum = Stratum(
            int(rows.sum()),
            {model: estimate(*drawn) for model, drawn in resampled.items()},
            {model: pair.estimate for model, pair in pairs},
        )
        yield name, stratum


def _corrected(differences: dict[str, TaskDifference]) -> dict[str, TaskDifference]:
    """The same with p-values corrected for the number of tasks."""
    p_values = [difference.estimate.p_value for difference in differences.values()]
    corrections = zip(holm(p_values), benjamini_hochberg(p_values), strict=True)
    return {
        task: difference._replace(holm=strict, false_discovery=mild)
        for (task, difference), (strict, mild) in zip(differences.items(), corrections, strict=True)
    }
