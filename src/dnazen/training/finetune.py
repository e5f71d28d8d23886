"""Fine-tuning: fit a model to labelled sequences, choose on dev, score the test, once.

Source: method.md section 7; what is chosen, and how, is Decided here (docs/finetuning.md).
"""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from transformers import (
    EarlyStoppingCallback,
    PreTrainedModel,
    PrinterCallback,
    TrainerCallback,
    set_seed,
)

from ..inference.logits import Logits
from ..inference.prediction import mean_logits
from ..model.batches import Example
from ..records import read_json, write_json
from ..sequences.splits import Split, Splits, contradicting_rows
from ..tables import printable
from ..tokens.encoding import EncodedExamples
from .blend import Blend
from .checkpoints import CHECKPOINTS
from .collapse import StopWhenCollapsed, never_told_apart
from .evaluation import Dev, FinetuneTrainer
from .kmers import KmerFit
from .learner import Learner
from .losses import loss_of
from .metrics import Scores, score
from .neighbours import NeighbourFit
from .progress import EpochLines
from .rates import MOST_TRIAL_ROWS, TRIAL_STEPS, RateChoice, choose_rate, rates_for
from .rows import label_rows, labels_to_learn, logit_rows
from .scale import Scale
from .selection import is_defined
from .settings import METRICS, FinetuneConfig
from .stopping import StopAtCheckpoint, StopRequest, stop_requested
from .trainer import (
    end_distributed,
    json_lines,
    rowwise_optimizer,
    tensorboard,
    training_arguments,
    training_under_way,
)
from .view import install_kmers, install_neighbours

MOST_RESTARTS = 2
_RATE_FILE = "rate.json"
_RATE_FORM = {"learning_rate": float, "losses": {str: str}, "restarts": int}


class Fitted(NamedTuple):
    """A fine-tuned model, its scores, and how it came to them."""

    model: PreTrainedModel
    """In evaluation mode, with the weights of the best epoch and the k-mers that dev kept."""
    test: Scores
    dev: Scores
    """Of the best epoch."""
    logits: Float[np.ndarray, "rows labels"]
    """Of the rows of test, or its labelled bases; in regression the predictions."""
    deep: Scores
    """On test, of the deep head without k-mers."""
    blend: Blend
    rate: RateChoice
    restarts: int
    """After a collapse, at a lower rate."""
    best_epoch: float | None
    epochs: float
    """Passes over train that were made."""
    history: list[dict[str, Any]]
    """Losses, learning rates and dev scores by step."""
    by_example: Sequence[Logits | None] = ()
    """The logits of each example of test; where bases have classes, of each A, C, G and T."""


class DevFit(NamedTuple):
    """What dev says of a training whose model is not kept."""

    dev: Scores
    """Of the best epoch."""
    best_epoch: float | None
    collapsed: bool
    """Whether the deep head never told rows of dev apart."""
    finite: bool
    """Whether all weights are numbers."""


def fit(
    learner: Learner,
    splits: Splits,
    config: FinetuneConfig,
    directory: Path,
    *,
    kmers: KmerFit | NeighbourFit | None = None,
    checkpoint: Path | None = None,
    resumable: bool = True,
) -> Fitted | None:
    """Train a learner as the settings say, choose on dev, and score test, once.

    The learning rate is found by trials (``rates``) unless the settings name one; a training that
    collapses is then begun again at a third of it, at most twice (unless bases have classes: to
    call none of a rare class is how such a training begins, and no sign of a failed one). The deep
    head is trained on its own and then blended with the k-mers (``blend``): begun from them it
    hardly learns, for they fit train too well to leave anything to it (docs/experiments.md).

    Where the score that should choose cannot tell epochs apart (a dev of one class) or is defined
    in no epoch, the lowest dev loss chooses, and this is said on stderr.

    Parameters
    ----------
    directory
        For checkpoints, and ``logs/`` (curves, for TensorBoard).
    kmers
        The regression to blend in, of the strands that the learner reads; where bases have
        classes, that on the bases around each.
    checkpoint
        Go on from there.
    resumable
        Let an interrupted run go on: keep all that it needs, and at Ctrl-C or SIGTERM write a
        checkpoint first. Otherwise only weights are kept, and nothing in the end.

    Returns
    -------
    ``None`` in the processes of a distributed run that do not lead it.

    Raises
    ------
    ConfigError
        If ``best_metric`` is no score of these labels.
    OutputError
        If a checkpoint cannot be written.
    """
    run = _Run(
        learner, splits, config, directory, None if learner.table is None else kmers, resumable
    )
    rate, restarts = run.first_rate(checkpoint)
    while True:
        trainer, model, collapsed = run.train(rate.learning_rate, checkpoint)
        again = collapsed and config.optimizer.learning_rate == "auto" and restarts < MOST_RESTARTS
        if not again or run.of_bases:
            break
        restarts += 1
        rate = rate._replace(learning_rate=rate.learning_rate / 3)
        run.say(
            "the deep head predicts the same for every row of dev: starting again at a learning "
            f"rate of {rate.learning_rate:.2g}"
        )
        checkpoint = None
        run.start_anew(rate, restarts)
    end_distributed(trainer)
    return run.result(trainer, model, rate, restarts) if run.leads else None


def fit_on_dev(
    learner: Learner,
    splits: Splits,
    config: FinetuneConfig,
    directory: Path,
    *,
    kmers: KmerFit | NeighbourFit | None,
    watch: TrainerCallback,
) -> DevFit:
    """Train as ``fit`` does, for the scores on dev alone: test is not looked at, it may be empty.

    A training that collapses is given up early, and not begun again.

    Parameters
    ----------
    directory
        For checkpoints, which are gone in the end.
    kmers
        As in ``fit``.
    watch
        Sees the scores on dev after every epoch, and may stop the training.

    Raises
    ------
    ConfigError, OutputError
        As ``fit``.
    """
    kmers = None if learner.table is None else kmers
    run = _Run(learner, splits, config, directory, kmers, resumable=False)
    rate, _ = run.first_rate(None)
    trainer, model, collapsed = run.train(rate.learning_rate, None, watch)
    shutil.rmtree(directory / CHECKPOINTS, ignore_errors=True)
    dev, best_epoch = run.best_on_dev(trainer)
    finite = all(bool(weights.isfinite().all()) for weights in model.parameters())
    return DevFit(dev, best_epoch, collapsed, finite)


class _Run:
    """One fine-tuning: trials, trainings, and what comes out."""

    def __init__(
        self,
        learner: Learner,
        splits: Splits,
        config: FinetuneConfig,
        directory: Path,
        kmers: KmerFit | NeighbourFit | None,
        resumable: bool,
    ) -> None:
        problem_type = splits.task.problem_type
        self.learner, self.splits, self.config = learner, splits, config
        self.directory, self.kmers, self.resumable = directory, kmers, resumable
        self.of_bases = problem_type == "base_classification"
        self.leads = os.environ.get("RANK", "0") == "0"
        self.scale = Scale.of(splits.train.labels) if problem_type == "regression" else None
        read = [splits] * len(learner.strands)
        if self.of_bases and len(read) > 1:  # only their labels are turned with the strand
            read[1] = splits.reverse_complement()
        strands = list(zip(learner.strands, read, strict=True))
        self.train_rows = [
            example
            for encoded, read in strands
            for example in self._examples(encoded.train, read.train)
        ]
        metric = config.metric(problem_type)
        defined = is_defined(metric, splits.dev.labels)
        if not defined:
            self.say(
                f"warning: all labels of dev are the same, so {metric} cannot choose the epoch: "
                "the lowest dev loss does"
            )
        self.dev = Dev(
            problem_type,
            tuple(self._examples(encoded.dev, read.dev) for encoded, read in strands),
            labels_to_learn(splits.dev),
            self.scale,
            metric if defined else None,
            loss_of(splits, config),
            None if kmers is None or not defined else kmers.dev,
        )
        self.steps_per_epoch = math.ceil(len(self.train_rows) / _rows_per_step(config))
        self.epochs = config.epochs_of(self.steps_per_epoch, problem_type)

    def first_rate(self, checkpoint: Path | None) -> tuple[RateChoice, int]:
        """The rate to train at, and the restarts before it; tried, unless it is known."""
        known = self.directory / CHECKPOINTS / _RATE_FILE
        if checkpoint is not None and known.is_file():
            stored = read_json(known, "the learning rate of a run", _RATE_FORM)
            losses = {float(name): float(loss) for name, loss in stored["losses"].items()}
            return RateChoice(stored["learning_rate"], losses), stored["restarts"]
        wanted = self.config.optimizer.learning_rate
        if wanted != "auto":
            return RateChoice(wanted, {}), 0
        rates = rates_for(self.learner.width, self.config)
        choice = choose_rate(rates, self.epochs * self.steps_per_epoch, self.trial)
        self.say(choice.sentence())
        if self.resumable:
            self.start_anew(choice, 0)
        return choice, 0

    def start_anew(self, rate: RateChoice, restarts: int) -> None:
        """Forget the checkpoints of another rate, and keep what is known of this one."""
        if not self.leads:
            return
        checkpoints = self.directory / CHECKPOINTS
        shutil.rmtree(checkpoints, ignore_errors=True)
        checkpoints.mkdir(parents=True)
        losses = {repr(x): repr(loss) for x, loss in rate.losses.items()}
        known = {"learning_rate": rate.learning_rate, "losses": losses, "restarts": restarts}
        write_json(checkpoints / _RATE_FILE, known)

    def trial(self, rate: float) -> float:
        """The dev loss after a short training."""
        self.say(f"trying a learning rate of {rate:.2g} for {TRIAL_STEPS} steps")
        step = max(1, len(self.dev.labels) // MOST_TRIAL_ROWS)
        dev = self.dev._replace(
            strands=tuple(rows[::step] for rows in self.dev.strands),
            labels=self.dev.labels[::step],
            kmers=None,
        )
        schedule: dict[str, Any] = {
            "max_steps": TRIAL_STEPS,
            "eval_strategy": "no",
            "save_strategy": "no",
        }
        trainer = self._trainer(rate, dev, (), **schedule)
        with training_under_way(self.directory):
            trainer.train()
            return dev.judge(trainer.dev_logits()).loss

    def train(
        self, rate: float, checkpoint: Path | None, watch: TrainerCallback | None = None
    ) -> tuple[FinetuneTrainer, PreTrainedModel, bool]:
        """The whole training; the model has the weights of the best epoch.

        Parameters
        ----------
        watch
            Of a search, which tells of a training in a line of its own, and gives it up where it
            collapses.

        Returns
        -------
        With trainer and model, whether the deep head collapsed.
        """
        found = self.config.optimizer.learning_rate == "auto" and not self.of_bases
        collapse = StopWhenCollapsed(may_stop=watch is not None or found)
        with stop_requested() if self.resumable else nullcontext(StopRequest()) as stop:
            callbacks: list[Any] = [StopAtCheckpoint(stop), collapse]
            if self.leads and self.resumable:
                callbacks.append(tensorboard(self.directory))
            if self.config.patience is not None:
                callbacks.append(EarlyStoppingCallback(self.config.patience))
            callbacks.append(EpochLines(self.dev.metric) if watch is None else watch)
            callbacks += json_lines(self.directory, self.config.run)
            # Neighbouring bases alone may do so well at first that the blend hides what is learnt.
            dev = self.dev._replace(kmers=None) if self.of_bases else self.dev
            trainer = self._trainer(
                rate,
                dev,
                callbacks,
                num_train_epochs=self.epochs,
                eval_strategy="epoch",
                save_strategy="epoch",
                save_total_limit=2 if self.resumable else 1,  # the best one beside the last one
                save_only_model=not self.resumable,
                load_best_model_at_end=True,
                metric_for_best_model="rank",
                greater_is_better=True,
            )
            model = trainer.model
            start = None if checkpoint is None else str(checkpoint)
            with training_under_way(self.directory):
                trainer.train(resume_from_checkpoint=start)
        return trainer, model, never_told_apart(trainer.state.log_history)

    def result(
        self, trainer: FinetuneTrainer, model: PreTrainedModel, rate: RateChoice, restarts: int
    ) -> Fitted:
        """Blend, score test, and gather what came out."""
        learner, problem_type = self.learner, self.splits.task.problem_type
        # Without the Trainer's mixed precision: the test sees the numbers that predict will give.
        model = trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
        model = learner.finished(model)
        model.eval()
        tests = [[Example(tokens) for tokens in encoded.test.tokens] for encoded in learner.strands]
        test_labels = labels_to_learn(self.splits.test)
        of_dev = logit_rows(_logits(learner, model, self.dev.strands), self.dev.labels)
        judged = self.dev.judge(of_dev)
        of_deep = logit_rows(_logits(learner, model, tests), test_labels)
        if isinstance(self.kmers, NeighbourFit):
            install_neighbours(model, self.kmers, judged.blend)
        elif self.kmers is not None and learner.table is not None:
            install_kmers(model, self.kmers, judged.blend, learner.table)
        if self.scale is not None:
            self.scale.fold_into(model)
            of_deep = self.scale.unscaled(of_deep)
        by_example = _logits(learner, model, tests)
        logits = logit_rows(by_example, test_labels)
        if not self.resumable:
            shutil.rmtree(self.directory / CHECKPOINTS, ignore_errors=True)
        history = trainer.state.log_history
        dev, best_epoch = self.best_on_dev(trainer)
        metric = self.dev.metric
        if metric is not None and math.isnan(dev[metric]):
            self.say(f"warning: {metric} on dev is defined in no epoch: the lowest dev loss chose")
        if self.of_bases:
            dev = {name: judged.scores[name] for name in dev}
        labels = label_rows(test_labels)
        return Fitted(
            model,
            test=score(problem_type, labels, logits),
            dev=dev,
            logits=logits,
            deep=score(problem_type, labels, of_deep),
            blend=judged.blend,
            rate=rate,
            restarts=restarts,
            best_epoch=best_epoch,
            epochs=history[-1]["epoch"],
            history=history,
            by_example=by_example,
        )

    def best_on_dev(self, trainer: FinetuneTrainer) -> tuple[Scores, float | None]:
        """The scores on dev of the best epoch, and its number."""
        best = _best_entry(trainer.state.log_history, trainer.state.best_global_step)
        names = METRICS[self.splits.task.problem_type]
        return {name: best.get(f"eval_{name}", math.nan) for name in names}, best.get("epoch")

    def say(self, text: str) -> None:
        """On stderr, once in a distributed run."""
        if self.leads:
            print(text, file=sys.stderr)

    def _trainer(
        self, rate: float, dev: Dev, callbacks: Sequence[Any] = (), **schedule: Any
    ) -> FinetuneTrainer:
        """A fresh model and what trains it."""
        config = self.config
        optimizer_config = replace(config.optimizer, learning_rate=rate)
        set_seed(config.run.seed)
        model = self.learner.fresh()
        optimizer = rowwise_optimizer(model, optimizer_config, config.run)
        arguments = training_arguments(
            self.directory,
            optimizer_config,
            config.run,
            clips_itself=optimizer is not None,
            per_device_train_batch_size=config.batch_size,
            **schedule,
        )
        trainer = FinetuneTrainer(
            dev=dev,
            collate=self.learner.collator,
            model=model,
            args=arguments,
            optimizers=(optimizer, None),
            train_dataset=self.train_rows,
            callbacks=list(callbacks),
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    def _examples(self, encoded: EncodedExamples, split: Split) -> list[Example]:
        labels = labels_to_learn(split)
        labels = labels if self.scale is None else self.scale.scaled(labels)
        pairs = zip(encoded.tokens, labels, strict=True)
        return [Example(tokens, label=label) for tokens, label in pairs]


def announce(learner: Learner, splits: Splits, config: FinetuneConfig) -> None:
    """Say on stderr what will be done, and what is amiss with the data."""
    task = splits.task
    rows = {name: len(part.labels) for name, part in splits.parts.items()}
    sizes = ", ".join(f"{number:,} {name}" for name, number in rows.items())
    names = ", ".join(map(printable, task.label_names[:10]))
    read = "both strands" if len(learner.strands) > 1 else "one strand"
    per_epoch = math.ceil(rows["train"] * len(learner.strands) / _rows_per_step(config))
    epochs = config.epochs_of(per_epoch, task.problem_type)
    lines = [
        f"fine-tuning on {sizes} examples, {read} of each; {task.problem_type}: {names}",
        f"{epochs} epochs of {per_epoch:,} steps at most",
    ]
    for name, number in splits.duplicates.items():
        if number:
            first, second = name.split("_")
            lines.append(
                f"warning: {number:,} sequences of {second} stand in {first} too, on either strand"
            )
    of_rows = task.problem_type.endswith("label_classification")
    contradicting = contradicting_rows(splits.train) if of_rows else 0
    if contradicting:
        lines.append(
            f"warning: {contradicting:,} rows of train have a sequence that stands there with "
            "another label too, on either strand: nothing can learn both"
        )
    cut = {name: examples.cut for name, examples in learner.encoded._asdict().items()}
    if any(cut.values()):
        sizes = ", ".join(f"{number:,} in {name}" for name, number in cut.items())
        lines.append(f"warning: cut to {config.max_tokens} tokens: {sizes}")
    warmup = config.optimizer.warmup_steps
    steps = epochs * per_epoch
    if warmup >= 1 and steps <= warmup:
        lines.append(
            f"warning: {steps} optimizer steps in all, so the learning rate never gets to its "
            f"peak; lower --optimizer.warmup-steps ({warmup:g})"
        )
    print("\n".join(lines), file=sys.stderr)


def _logits(
    learner: Learner, model: PreTrainedModel, strands: Sequence[Sequence[Example]]
) -> list[Logits | None]:
    """Of each example, the mean over its strands."""
    return mean_logits(model, learner.reader or learner.collator, strands)


def _rows_per_step(config: FinetuneConfig) -> int:
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    return config.batch_size * config.run.gradient_accumulation * processes


def _best_entry(history: list[dict[str, Any]], step: int | None) -> dict[str, Any]:
    """The dev scores of the best epoch."""
    entries = (entry for entry in history if entry["step"] == step and "eval_loss" in entry)
    return next(entries, {})
