"""One trial: a fine-tuning with its settings, judged by dev. Test is empty here, and never read."""

from __future__ import annotations

import math
import shutil
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..errors import ConfigError, DnazenError, OutputError
from ..model.settings import Strands
from ..sequences.splits import Splits
from ..training.finetune import fit_on_dev
from ..training.learner import BASE_CHANNELS, Learner, dnazen_learner
from ..training.plan import Plan, plan_baseline
from ..training.probe import probe_learner
from ..training.rates import rates_for
from ..training.selection import higher_is_better, is_defined
from ..training.settings import FinetuneConfig
from .search import Report
from .space import Automatic, Space, Values, default_space, resolve_space, with_values
from .trials import Outcome

TRIAL = "trial"
"""Folder of a search's directory for the checkpoints of the trial that runs."""


class DevObjective:
    """Tries settings on a task; what trials share is made once.

    Raises
    ------
    ConfigError
        If no score on dev can tell settings apart.
    """

    def __init__(
        self, model: str | Path, splits: Splits, config: FinetuneConfig, directory: Path
    ) -> None:
        assert not splits.test.labels  # nothing of test is here to be looked at
        self.model, self.splits, self.config = model, splits, config
        self.directory = directory
        self.metric = config.metric(splits.task.problem_type)
        self.higher_is_better = higher_is_better(self.metric)
        self._plans: dict[Any, Plan] = {}
        if not is_defined(self.metric, splits.dev.labels):
            raise ConfigError(
                f"all labels of dev are the same, so {self.metric} cannot tell settings apart; "
                "give dev other rows"
            )

    def __call__(self, values: Values, report: Report) -> Outcome:
        """Fine-tune with these settings; an error is an outcome, and is said on stderr."""
        try:
            return self._tried(values, report)
        except OutputError:  # a full disk is no fault of the settings
            raise
        except DnazenError as error:
            return Outcome("failed", None, problem=str(error))
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            return Outcome("failed", None, problem=f"{type(error).__name__}: {error}")

    def space(self, tables: Mapping[str, Any]) -> tuple[Space, Automatic]:
        """What is tried, as a user wrote it or by default, and what automatic settings come to.

        Raises
        ------
        InputError
            If the model cannot be read, or an example is too long.
        ConfigError
            If a setting cannot be tried.
        """
        learner = self.learner(self.config)
        rates = rates_for(learner.width, self.config)
        shape = learner.fresh().config
        automatic = Automatic(
            rates[len(rates) // 2], shape.num_hidden_layers, shape.base_channels or BASE_CHANNELS
        )
        space = resolve_space(tables, self.config) or default_space(self.config, automatic)
        return space, automatic

    @property
    def kmers(self) -> float:
        """The score of k-mers alone, or of neighbouring bases."""
        return self.plan(self.config).baseline.dev_scores[self.metric]

    def plan(self, config: FinetuneConfig) -> Plan:
        """The simple regression, which few settings change."""
        key = (config.kmers, config.strands, config.class_weights)
        if key not in self._plans:
            self._plans[key] = plan_baseline(self.splits, config)
        return self._plans[key]

    def learner(self, config: FinetuneConfig) -> Learner:
        """What is trained."""
        make: Callable[[str | Path, Splits, FinetuneConfig, Strands], Learner]
        make = dnazen_learner if config.train == "all" else probe_learner
        return make(self.model, self.splits, config, self.plan(config).strands)

    def _tried(self, values: Values, report: Report) -> Outcome:
        config = with_values(self.config, values)
        watch = _Watch(self.metric, report)
        folder = self.directory / TRIAL
        try:
            fitted = fit_on_dev(
                self.learner(config),
                self.splits,
                config,
                folder,
                kmers=self.plan(config).blended,
                watch=watch,
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        score = fitted.dev[self.metric]
        if not fitted.finite or not math.isfinite(score):
            return Outcome("diverged", None)
        if fitted.collapsed:
            return Outcome("collapsed", score, fitted.best_epoch)
        return Outcome("pruned" if watch.stopped else "complete", score, fitted.best_epoch)


class _Watch(TrainerCallback):
    """Reports the score on dev after each epoch, and stops where it is told to."""

    def __init__(self, metric: str, report: Report) -> None:
        self.metric, self.report = metric, report
        self.stopped = False

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        **_: Any,
    ) -> None:
        """Report, and stop unless all is done."""
        epoch = round(state.epoch or 0)
        if self.report(epoch, metrics[f"eval_{self.metric}"]) and epoch < args.num_train_epochs:
            self.stopped = control.should_training_stop = True
