"""Fine-tuning: fit a model to labelled sequences, choose the epoch on dev, score the test, once.

Source: method.md section 7.
"""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate.utils import gather_object
from jaxtyping import Float
from torch import Tensor
from transformers import EarlyStoppingCallback, PreTrainedModel, Trainer, TrainerControl, set_seed

from ..inference.prediction import logits_of
from ..model.bases import base_table, longest_token_bp
from ..model.batches import Collator, Example
from ..model.directory import ModelDirectory, open_directory, save_directory
from ..model.modeling import DnazenForSequenceClassification
from ..model.networks import classification_loss
from ..model.weights import BASE_VIEW, GGRAM_PARTS, HEADS, load_weights, read_weights
from ..sequences.labelled import Label
from ..sequences.settings import ProblemType
from ..sequences.splits import Split, Splits
from ..tables import printable
from ..tokens.encoding import EncodedExamples, Length, encode_examples
from .adapters import add_adapter, require_peft, save_adapter
from .checkpoints import CHECKPOINTS
from .metrics import Scores, score
from .scale import Scale
from .selection import is_defined, rank
from .settings import METRICS, FinetuneConfig
from .stopping import StopAtCheckpoint, StopRequest, stop_requested
from .trainer import (
    choose_attention,
    compile_layers,
    end_distributed,
    rowwise_optimizer,
    tensorboard,
    training_arguments,
    training_under_way,
)


class EncodedSplits(NamedTuple):
    """The splits as tokens."""

    train: EncodedExamples
    dev: EncodedExamples
    test: EncodedExamples


class Learner(NamedTuple):
    """What is fine-tuned: the splits as a model reads them, and how to make and keep the model."""

    encoded: EncodedSplits
    collator: Callable[[Sequence[Example]], dict[str, Tensor]]
    fresh: Callable[[], PreTrainedModel]
    """Makes the model to train, a sequence classifier; called once the seed is set."""
    save: Callable[[Path, PreTrainedModel], None] | None = None
    """Writes the trained model into a directory; ``None`` where it is not kept."""


class Fitted(NamedTuple):
    """A fine-tuned model, its scores, and how it came to them."""

    model: PreTrainedModel
    """In evaluation mode, with the weights of the best epoch."""
    test: Scores
    dev: Scores
    """Of the best epoch."""
    logits: Float[np.ndarray, "rows labels"]
    """Of the rows of test; in regression the predictions."""
    best_epoch: float | None
    epochs: float
    """Passes over train that were made."""
    history: list[dict[str, Any]]
    """Losses, learning rates and dev scores by step."""


def dnazen_learner(model: Path, splits: Splits, config: FinetuneConfig) -> Learner:
    """The DNAZEN model of a directory, with its tokenizer and G-grams.

    Raises
    ------
    InputError
        If the model cannot be read, or an example is too long.
    """
    parts = open_directory(model)
    if config.without_ggrams:
        parts.config.ggram_vocab_size = 0
        parts = parts._replace(vocabulary=None)
    if config.lora.rank:
        require_peft()
    length = Length(config.max_tokens, config.too_long)

    def save(directory: Path, trained: PreTrainedModel) -> None:
        if config.lora.rank:
            save_adapter(directory, trained, model, parts.tokenizer)
        else:
            save_directory(directory, trained, parts.tokenizer, parts.vocabulary)

    return Learner(
        EncodedSplits(*(_encode(parts, split, length) for split in splits.parts.values())),
        Collator.of(parts),
        lambda: _fresh_classifier(model, parts, splits, config),
        save,
    )


def fit(
    learner: Learner,
    splits: Splits,
    config: FinetuneConfig,
    directory: Path,
    *,
    checkpoint: Path | None = None,
    resumable: bool = True,
) -> Fitted | None:
    """Train a learner as the settings say, choose the epoch on dev, and score test, once.

    Where the score that should choose cannot tell epochs apart (a dev of one class) or is defined
    in no epoch, the lowest dev loss chooses, and this is said on stderr.

    Parameters
    ----------
    directory
        For checkpoints, and ``logs/`` (curves, for TensorBoard).
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
    problem_type = splits.task.problem_type
    metric: str | None = config.metric(problem_type)
    scale = Scale.of(splits.train.labels) if problem_type == "regression" else None
    set_seed(config.run.seed)
    model = learner.fresh()
    optimizer = rowwise_optimizer(model, config.optimizer, config.run)
    arguments = training_arguments(
        directory,
        config.optimizer,
        config.run,
        clips_itself=optimizer is not None,
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=2 if resumable else 1,  # the best one is kept beside the last one
        save_only_model=not resumable,
        load_best_model_at_end=True,
        metric_for_best_model="rank",
        greater_is_better=True,
    )
    leads = arguments.process_index == 0
    if not is_defined(config.metric(problem_type), splits.dev.labels):
        metric = None
        if leads:
            print(
                f"warning: all labels of dev are the same, so {config.metric(problem_type)} cannot "
                "choose the epoch: the lowest dev loss does",
                file=sys.stderr,
            )
    with stop_requested() if resumable else nullcontext(StopRequest()) as stop:
        trainer = FinetuneTrainer(
            dev=_Dev(
                problem_type,
                _examples(learner.encoded.dev, splits.dev, scale),
                splits.dev.labels,
                scale,
                metric,
            ),
            collate=learner.collator,
            model=model,
            args=arguments,
            optimizers=(optimizer, None),
            train_dataset=_examples(learner.encoded.train, splits.train, scale),
            callbacks=[
                StopAtCheckpoint(stop),
                *([tensorboard(directory)] if leads and resumable else []),
                *([EarlyStoppingCallback(config.patience)] if config.patience is not None else []),
            ],
        )
        with training_under_way(directory):
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    end_distributed(trainer)
    if not leads:
        return None
    # Without the Trainer's mixed precision: the test sees the numbers that predict will give.
    model = trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    if scale is not None:
        scale.fold_into(model)
    model.eval()
    tests = [Example(tokens) for tokens in learner.encoded.test.tokens]
    logits = np.array(logits_of(model, learner.collator, tests))
    if not resumable:
        shutil.rmtree(directory / CHECKPOINTS, ignore_errors=True)
    history = trainer.state.log_history
    best = _best_entry(history, trainer.state.best_global_step)
    dev = {name: best.get(f"eval_{name}", math.nan) for name in METRICS[problem_type]}
    if metric is not None and math.isnan(dev[metric]):
        print(
            f"warning: {metric} on dev is defined in no epoch: the lowest dev loss chose",
            file=sys.stderr,
        )
    return Fitted(
        model,
        score(problem_type, np.array(splits.test.labels), logits),
        dev,
        logits,
        best.get("epoch"),
        history[-1]["epoch"],
        history,
    )


def announce(learner: Learner, splits: Splits, config: FinetuneConfig) -> None:
    """Say on stderr what will be done, and what is amiss with the data."""
    task = splits.task
    rows = {name: len(part.labels) for name, part in splits.parts.items()}
    sizes = ", ".join(f"{number:,} {name}" for name, number in rows.items())
    names = ", ".join(map(printable, task.label_names[:10]))
    lines = [f"fine-tuning on {sizes} examples; {task.problem_type}: {names}"]
    for name, number in splits.duplicates.items():
        if number:
            first, second = name.split("_")
            lines.append(
                f"warning: {number:,} sequences of {second} stand in {first} too, on either strand"
            )
    cut = {name: examples.cut for name, examples in learner.encoded._asdict().items()}
    if any(cut.values()):
        sizes = ", ".join(f"{number:,} in {name}" for name, number in cut.items())
        lines.append(f"warning: cut to {config.max_tokens} tokens: {sizes}")
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    per_step = config.batch_size * config.run.gradient_accumulation * processes
    steps = math.ceil(rows["train"] / per_step) * config.epochs
    if steps <= config.optimizer.warmup_steps:
        lines.append(
            f"warning: {steps} optimizer steps in all, so the learning rate never gets to its "
            f"peak; lower --optimizer.warmup-steps ({config.optimizer.warmup_steps})"
        )
    print("\n".join(lines), file=sys.stderr)


class _Dev(NamedTuple):
    """The examples that choose the epoch, and how."""

    problem_type: ProblemType
    examples: list[Example]
    labels: list[Label]
    """In the data's own unit."""
    scale: Scale | None
    metric: str | None
    """The score that chooses; ``None`` leaves it to the loss."""


class FinetuneTrainer(Trainer):
    """Hugging Face's Trainer, whose evaluation goes through the loop that all predictions take."""

    def __init__(
        self,
        *,
        dev: _Dev,
        collate: Callable[[Sequence[Example]], dict[str, Tensor]],
        **kwargs: Any,
    ) -> None:
        super().__init__(eval_dataset=dev.examples, data_collator=collate, **kwargs)
        self.dev = dev

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Loss and scores on dev, and the rank of the model by them; draws no random number."""
        dev, processes = self.dev, self.args.world_size
        with self.compute_loss_context_manager():  # the arithmetic of the training
            mine = logits_of(
                self.model,
                self.data_collator,
                dev.examples[self.args.process_index :: processes],
            )
        parts = gather_object([mine])  # process 0 has an example in any case
        logits = np.empty((len(dev.examples), len(parts[0][0])), dtype=np.float32)
        for process, part in enumerate(parts):
            logits[process::processes] = np.reshape(part, (-1, logits.shape[1]))
        labels = torch.tensor([example.label for example in dev.examples])
        loss = float(classification_loss(torch.from_numpy(logits), labels, dev.problem_type))
        values = logits if dev.scale is None else dev.scale.unscaled(logits)
        scores = score(dev.problem_type, np.array(dev.labels), values)
        metrics = {"eval_loss": loss, **{f"eval_{name}": x for name, x in scores.items()}}
        self.log(dict(metrics))
        chosen = math.nan if dev.metric is None else scores[dev.metric]
        metrics["eval_rank"] = rank(dev.metric, chosen, loss)
        self.control: TrainerControl = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics


def _best_entry(history: list[dict[str, Any]], step: int | None) -> dict[str, Any]:
    """The dev scores of the best epoch."""
    entries = (entry for entry in history if entry["step"] == step and "eval_loss" in entry)
    return next(entries, {})


def _fresh_classifier(
    directory: Path, parts: ModelDirectory, splits: Splits, config: FinetuneConfig
) -> PreTrainedModel:
    """The model to train: the encoder as given, or random; the head always random.

    With ``lora``, an adapter on it. The configuration gets what prediction must know: label names,
    problem type, ``max_tokens`` and ``sequences_per_example``.

    Raises
    ------
    InputError
        If the weights cannot be read or do not fit.
    """
    shape = parts.config
    names = splits.task.label_names
    shape.id2label = dict(enumerate(names))
    shape.label2id = {name: number for number, name in enumerate(names)}
    shape.problem_type = splits.task.problem_type
    shape.classifier_pooling = config.pooling
    shape.max_tokens = config.max_tokens
    shape.sequences_per_example = len(splits.train.table.rows[0].sequences)
    channels = shape.base_channels if config.base_channels is None else config.base_channels
    new_view = channels != shape.base_channels
    if new_view:
        shape.base_channels = channels
        shape.longest_token_bp = longest_token_bp(parts.tokenizer)
    model = DnazenForSequenceClassification(shape)
    if shape.base_channels:
        model.dnazen.bases.table.copy_(base_table(parts.tokenizer, shape.vocab_size))
    if not config.from_random_weights:
        weights = read_weights(directory, shape)
        left_out = (*HEADS, *(GGRAM_PARTS if config.without_ggrams else ()))
        left_out = (*left_out, *(BASE_VIEW if new_view else ()))
        encoder = {name: w for name, w in weights.items() if not name.startswith(left_out)}
        load_weights(model, encoder, directory, may_miss=(*HEADS, *(BASE_VIEW if new_view else ())))
    choose_attention(model, config.run)
    adapted = add_adapter(model, config.lora, directory) if config.lora.rank else model
    compile_layers(adapted, config.run)
    return adapted


def _encode(parts: ModelDirectory, split: Split, length: Length) -> EncodedExamples:
    path, rows = split.table.source.path, split.table.rows
    places = [f"{path}:{row.line}" for row in rows]
    return encode_examples(parts.tokenizer, [row.sequences for row in rows], length, places)


def _examples(encoded: EncodedExamples, split: Split, scale: Scale | None) -> list[Example]:
    labels = split.labels if scale is None else scale.scaled(split.labels)
    pairs = zip(encoded.tokens, labels, strict=True)
    return [Example(tokens, label=label) for tokens, label in pairs]
