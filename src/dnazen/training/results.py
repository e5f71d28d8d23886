"""How a fine-tuned model came out beside the simple tools: numbers, a table, and a verdict."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from ..sequences.splits import Splits
from .finetune import Fitted
from .intervals import Interval, intervals, intervals_of_bases
from .metrics import Scores, scores_by_class
from .plan import Plan
from .rows import example_of_row, label_rows
from .settings import METRICS, FinetuneConfig

MODEL = "this model"

_UNEVEN = 10  # times as many rows of one class as of another


class Baseline(NamedTuple):
    """A simple tool on the same splits."""

    scores: Scores
    logits: Float[np.ndarray, "rows labels"]
    """Of the rows of test; in regression the predictions."""


@dataclass(frozen=True)
class Results:
    """A fine-tuned model and the baselines beside it, on test."""

    splits: Splits
    config: FinetuneConfig
    fitted: Fitted
    plan: Plan
    """The simple regression, and the strands that are read."""
    cnn: Fitted | None = None
    """The small CNN, if it was asked for."""

    @cached_property
    def metric(self) -> str:
        """The score that all are judged by."""
        return self.config.metric(self.splits.task.problem_type)

    @property
    def of_bases(self) -> bool:
        """Whether bases have classes."""
        return self.splits.task.problem_type == "base_classification"

    @cached_property
    def labels(self) -> Shaped[np.ndarray, "rows *labels"]:
        """Of the rows of test, or of its labelled bases."""
        return label_rows(self.splits.test.labels)

    @cached_property
    def by_class(self) -> dict[str, Scores]:
        """Scores of each class of bases, by name; none of other labels."""
        if not self.of_bases or not np.isfinite(self.fitted.logits).all():
            return {}
        return scores_by_class(self.labels, self.fitted.logits, self.splits.task.label_names)

    @cached_property
    def baselines(self) -> dict[str, Baseline]:
        """By name."""
        fit = self.plan.baseline
        found = {fit.name: Baseline(fit.test_scores, fit.test)}
        if self.cnn is not None:
            found["CNN"] = Baseline(self.cnn.test, self.cnn.logits)
        return found

    @cached_property
    def _intervals(self) -> tuple[list[Interval], list[Interval]]:
        models = [self.fitted.logits, *(each.logits for each in self.baselines.values())]
        labels = self.labels
        if self.of_bases:
            sequence = example_of_row(self.splits.test.labels)
            return intervals_of_bases(self.metric, labels, models, sequence)
        return intervals(self.splits.task.problem_type, self.metric, labels, models)

    @property
    def intervals(self) -> dict[str, Interval]:
        """Of the score, by the name of the model."""
        return dict(zip((MODEL, *self.baselines), self._intervals[0], strict=True))

    @property
    def gains(self) -> dict[str, Interval]:
        """Of what this model has more than a baseline, by the baseline's name."""
        return dict(zip(self.baselines, self._intervals[1], strict=True))

    @property
    def best_baseline(self) -> str:
        """Its name."""
        return max(self.baselines, key=lambda name: self._worth(self.baselines[name].scores))

    @property
    def loses(self) -> bool:
        """Whether a baseline has the better score."""
        best = self.baselines[self.best_baseline].scores
        return self._worth(self.fitted.test) < self._worth(best)

    def numbers(self) -> dict[str, Any]:
        """All of it, for ``test_metrics.json``."""
        fitted = self.fitted
        return {
            **fitted.test,
            "rows": len(self.splits.test.labels),
            **({"bases": len(fitted.logits), "classes": self.by_class} if self.of_bases else {}),
            "best_epoch": fitted.best_epoch,
            **{f"dev_{name}": value for name, value in fitted.dev.items()},
            "metric": self.metric,
            "interval": list(self.intervals[MODEL]),
            "baselines": {
                name: {
                    **each.scores,
                    "interval": list(self.intervals[name]),
                    "gain_interval": list(self.gains[name]),
                }
                for name, each in self.baselines.items()
            },
            "deep_head": fitted.deep,
            "blend": fitted.blend._asdict(),
            "strands": self.plan.strands,
            "learning_rate": fitted.rate.learning_rate,
            "tried_learning_rates": {f"{r:g}": loss for r, loss in fitted.rate.losses.items()},
            "restarts": fitted.restarts,
        }

    def table(self) -> Iterator[list[str]]:
        """The scores of model and baselines, a line a score."""
        yield ["score", MODEL.removeprefix("this "), *self.baselines]
        for name in (*METRICS[self.splits.task.problem_type], "collapsed"):
            models = [self.fitted.test, *(each.scores for each in self.baselines.values())]
            yield [name, *(f"{float(scores[name]):.6g}" for scores in models)]

    def verdict(self) -> str:
        """How the model stands, in a sentence or two."""
        baselines = ", ".join(
            f"{name} {each.scores[self.metric]:.3f}" for name, each in self.baselines.items()
        )
        low, high = self.intervals[MODEL]
        text = (
            f"{self.metric} on test: {baselines}, {MODEL} {self.fitted.test[self.metric]:.3f} "
            f"[{low:.3f}, {high:.3f}]"
        )
        if self.fitted.test["collapsed"]:
            return f"{text}\nWARNING: COLLAPSED: {self._cause()}"
        if self.loses:
            return f"{text}\nWARNING: {self.best_baseline} do better; {self.advice()}"
        return text

    def advice(self) -> str:
        """What to try when a baseline wins."""
        config = self.config
        steps = []
        if not config.kmers:
            steps.append("leave --kmers at its default, so that the model holds them")
        if config.from_random_weights:
            steps.append("start from a pre-trained model")
        if config.base_channels == 0:
            steps.append("leave --base-channels at its default")
        if config.optimizer.learning_rate != "auto":
            steps.append("leave --optimizer.learning-rate at auto")
        gain = self.gains[self.best_baseline]
        if gain.low < 0 if self.metric == "mse" else gain.high > 0:
            steps.append("the difference is within chance: other seeds (--seed) will tell")
        return "try: " + "; ".join(steps or ["a larger model, or more rows of train"])

    def _cause(self) -> str:
        """Why a model says the same of everything, and what helps."""
        if not np.isfinite(self.fitted.logits).all():
            return (
                "its numbers are not finite; look at the range of the labels, or lower "
                "--optimizer.learning-rate"
            )
        same = "it predicts the same for every example of test; "
        labels = label_rows(self.splits.train.labels)
        what, name = "bases" if self.of_bases else "rows", self.plan.baseline.name
        if self.of_bases or self.splits.task.problem_type == "single_label_classification":
            sizes = Counter(labels.tolist()).values()
            if max(sizes) > _UNEVEN * min(sizes):
                return (
                    f"{same}train has {max(sizes):,} {what} of one class and {min(sizes):,} of "
                    "another: try --class-weights balanced, and look at AUROC"
                )
        if all(each.scores["collapsed"] for each in self.baselines.values()):
            return (
                f"{same}so do {name}: with {len(labels):,} {what} of train, nothing was found in "
                "these sequences that goes with the labels"
            )
        return f"{same}{name} do not, so the training failed: {self.advice()}"

    def _worth(self, scores: Scores) -> float:
        """More is better; a score that is not defined is the worst."""
        value = scores[self.metric]
        if math.isnan(value):
            return -math.inf
        return -value if self.metric == "mse" else value
