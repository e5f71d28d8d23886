"""``dnazen finetune``: fit a model to labelled sequences, choose the epoch on dev, score the test.

Source: method.md section 7.
"""

from __future__ import annotations

import math
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import tyro
from jaxtyping import Float
from torch import Tensor
from transformers import (
    EarlyStoppingCallback,
    EvalPrediction,
    PreTrainedModel,
    Trainer,
    TrainerState,
    set_seed,
)

from ..errors import ConfigError, InputError
from ..inference.labels import PredictionTable
from ..inference.prediction import MAX_TOKENS, logits_of
from ..model.batches import Collator, Example
from ..model.configuration import ClassifierPooling
from ..model.directory import (
    GGRAM_PARTS,
    HEADS,
    ModelDirectory,
    load_weights,
    open_directory,
    read_weights,
    save_directory,
)
from ..model.modeling import DnazenForSequenceClassification
from ..records import read_json, run_record, write_json
from ..sequences.labelled import spelt
from ..sequences.settings import LabelConfig, SplitConfig
from ..sequences.splits import Split, Splits, load_splits
from ..tables import new_table
from ..tokens.encoding import EncodedExamples, Length, encode_examples
from ..tokens.settings import TooLong, require_max_tokens
from .adapters import LoraSettings, add_adapter, require_peft, save_adapter
from .metrics import LOWER_IS_BETTER, METRICS, Scores, score
from .scale import Scale
from .trainer import (
    CHECKPOINTS,
    OptimizerConfig,
    RunConfig,
    choose_attention,
    compile_layers,
    part_from_processes,
    rowwise_optimizer,
    start_or_resume,
    tensorboard,
    training_arguments,
    training_under_way,
    use_bf16,
)


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Fine-tune a model on labelled sequences and score it on the test split.

    Writes OUTPUT/: the model of the best epoch with its tokenizer, G-grams and label names (all
    that 'dnazen predict' needs; with --lora.rank an adapter, which names its base),
    test_metrics.json, test_predictions.tsv, run.json (settings and inputs), history.json and logs/
    (curves, for TensorBoard).
    """

    data: Path
    """Directory with train.csv, dev.csv and test.csv, or one table that is split. Columns:
    'sequence', or 'sequence_1' and 'sequence_2' for pairs, and 'label'."""
    model: Path
    """Model to start from: a DNAZEN directory, ours or released, or a DNABERT-2 directory."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write."""
    from_random_weights: bool = False
    """Take only shape, tokenizer and G-grams from the model; start from random weights."""
    pooling: ClassifierPooling = "cls"
    """What the classifier reads: the state of [CLS], or the mean of the tokens' states."""
    without_ggrams: bool = False
    """Leave the model's G-grams out: its E4BU alone."""
    resume: bool = False
    """Go on with an interrupted run in OUTPUT."""
    epochs: int = 3
    """Passes over train."""
    batch_size: int = 32
    """Examples per batch and device."""
    best_metric: str | None = None
    """Score on dev that chooses the epoch: mcc, f1, accuracy, auroc or auprc (default mcc);
    in regression pearson, spearman or mse (default pearson)."""
    patience: int | None = None
    """Stop after so many epochs without a better dev score; by default never."""
    max_tokens: int = MAX_TOKENS
    """Longest example, [CLS] and [SEP] included."""
    too_long: TooLong = "refuse"
    """Refuse longer examples, or cut them and count."""
    labels: LabelConfig = field(default_factory=LabelConfig)
    """What the labels are."""
    splits: SplitConfig = field(default_factory=SplitConfig)
    """What is train, dev and test."""
    lora: LoraSettings = field(default_factory=LoraSettings)
    """Train an adapter instead of the whole model."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """AdamW and its schedule."""
    run: RunConfig = field(default_factory=RunConfig)
    """How the machine is used."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.patience is not None and self.patience < 1:
            raise ConfigError(f"patience must be at least 1, got {self.patience}")
        require_max_tokens(self.max_tokens)
        if self.lora.rank and self.from_random_weights:
            raise ConfigError("an adapter needs a trained model; leave from_random_weights out")
        known = METRICS[self.labels.problem_type]
        if self.best_metric is not None and self.best_metric not in known:
            raise ConfigError(
                f"best_metric must be one of {', '.join(known)} for "
                f"{self.labels.problem_type}, got {self.best_metric!r}"
            )

    @property
    def chosen_metric(self) -> str:
        """The score on dev that chooses the epoch."""
        return self.best_metric or METRICS[self.labels.problem_type][0]


class Encoded(NamedTuple):
    """The splits as tokens."""

    train: EncodedExamples
    dev: EncodedExamples
    test: EncodedExamples


class Learner(NamedTuple):
    """What is fine-tuned: the splits as a model reads them, and how to make and keep the model."""

    encoded: Encoded
    collator: Callable[[Sequence[Example]], dict[str, Tensor]]
    fresh: Callable[[], PreTrainedModel]
    """Makes the model to train, a sequence classifier; called once the seed is set."""
    save: Callable[[PreTrainedModel], None]
    """Keeps the trained model in the run's directory, or not at all."""


class Fitted(NamedTuple):
    """A fine-tuned model and its scores on test."""

    scores: Scores
    model: PreTrainedModel
    """In evaluation mode, with the weights of the best epoch."""


def finetune(config: FinetuneConfig) -> Scores:
    """Run ``dnazen finetune``; returns the scores on test.

    Raises
    ------
    InputError
        If data or model cannot be read, an example is too long, or a run is to go on with other
        data than it began with.
    OutputError
        If the output directory is taken.
    """
    splits = load_splits(config.data, config.labels, config.splits)
    fitted = fit(config, splits, dnazen_learner(config, splits))
    return {} if fitted is None else fitted.scores


def dnazen_learner(config: FinetuneConfig, splits: Splits) -> Learner:
    """The DNAZEN model of ``config.model`` with its tokenizer and G-grams.

    Raises
    ------
    InputError
        If the model cannot be read, or an example is too long.
    """
    parts = open_directory(config.model)
    if config.without_ggrams:
        parts.config.ggram_vocab_size = 0
        parts = parts._replace(vocabulary=None)
    if config.lora.rank:
        require_peft()
    length = Length(config.max_tokens, config.too_long)

    def save(model: PreTrainedModel) -> None:
        if config.lora.rank:
            save_adapter(config.output, model, config.model, parts.tokenizer)
        else:
            save_directory(config.output, model, parts.tokenizer, parts.vocabulary)

    return Learner(
        Encoded(*(_encode(parts, split, length) for split in splits.parts.values())),
        Collator.of(parts),
        lambda: fresh_classifier(config, parts, splits),
        save,
    )


def fit(
    config: FinetuneConfig, splits: Splits, learner: Learner, *, resumable: bool = True
) -> Fitted | None:
    """Train a learner as the settings say, choose the epoch on dev, and score test, once.

    Parameters
    ----------
    resumable
        Store after each epoch all that an interrupted run needs to go on, not the weights alone.

    Returns
    -------
    ``None`` in the processes of a distributed run that do not lead it.

    Raises
    ------
    InputError
        If a run is to go on with other data than it began with.
    OutputError
        If the output directory is taken.
    """
    problem_type = splits.task.problem_type
    encoded = learner.encoded
    scale = Scale.of(splits.train.labels) if problem_type == "regression" else None
    set_seed(config.run.seed)
    model = learner.fresh()
    optimizer = rowwise_optimizer(model, config.optimizer, config.run)
    checkpoint = start_or_resume(config.output, resume=config.resume)
    arguments = training_arguments(
        config.output,
        config.optimizer,
        config.run,
        clips_itself=optimizer is not None,
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=1,  # beside the best one
        save_only_model=not resumable,
        load_best_model_at_end=True,
        metric_for_best_model=config.chosen_metric,
        greater_is_better=config.chosen_metric not in LOWER_IS_BETTER,
    )
    leads = arguments.process_index == 0
    if leads:
        _record(config, splits, encoded, checkpoint)
        _note(config, splits, encoded, arguments.world_size)

    def dev_scores(prediction: EvalPrediction) -> Scores:
        labels, logits = prediction.label_ids, prediction.predictions
        if scale is not None:
            labels, logits = scale.unscaled(labels), scale.unscaled(logits)
        return score(problem_type, labels, logits)

    trainer = Trainer(
        model=model,
        args=arguments,
        optimizers=(optimizer, None),
        data_collator=learner.collator,
        train_dataset=_examples(encoded.train, splits.train, scale),
        # Like lengths together; scores do not depend on the order.
        eval_dataset=sorted(
            _examples(encoded.dev, splits.dev, scale), key=lambda example: len(example.tokens)
        ),
        compute_metrics=dev_scores,
        callbacks=[
            *([tensorboard(config.output)] if leads else []),
            *([EarlyStoppingCallback(config.patience)] if config.patience is not None else []),
        ],
    )
    with training_under_way(config.output):
        trainer.train(resume_from_checkpoint=checkpoint)
    part_from_processes(trainer)
    if not leads:
        return None
    # Without the Trainer's mixed precision: the test sees the numbers that predict will give.
    model = trainer.accelerator.unwrap_model(model, keep_fp32_wrapper=False)
    if scale is not None:
        scale.fold_into(model)
    model.eval()
    logits = _predict_test(config, model, learner, splits)
    scores = score(problem_type, np.array(splits.test.labels), logits)
    _report(config, scores, len(logits), trainer.state)
    # The weights come last: a directory that has them is whole.
    learner.save(model)
    shutil.rmtree(config.output / CHECKPOINTS, ignore_errors=True)
    return Fitted(scores, model)


def fresh_classifier(
    config: FinetuneConfig, parts: ModelDirectory, splits: Splits
) -> PreTrainedModel:
    """The model to train: the encoder as given, or random; the head always random.

    With ``lora``, an adapter on it.

    The configuration gets what prediction must know: label names, problem type, ``max_tokens``
    and ``sequences_per_example``.

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
    model = DnazenForSequenceClassification(shape)
    if not config.from_random_weights:
        weights = read_weights(config.model, shape)
        left_out = (*HEADS, *GGRAM_PARTS) if config.without_ggrams else HEADS
        encoder = {name: w for name, w in weights.items() if not name.startswith(left_out)}
        load_weights(model, encoder, config.model)
    choose_attention(model, config.run)
    adapted = add_adapter(model, config.lora, config.model) if config.lora.rank else model
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


def _predict_test(
    config: FinetuneConfig, model: PreTrainedModel, learner: Learner, splits: Splits
) -> Float[np.ndarray, "examples labels"]:
    """Write the predictions on test, and return the logits."""
    rows, labels = splits.test.table.rows, splits.test.labels
    every: list[Float[np.ndarray, "labels"]] = []
    with new_table(config.output / "test_predictions.tsv") as write:
        table = PredictionTable(write, splits.task, with_labels=True)
        examples = [Example(tokens) for tokens in learner.encoded.test.tokens]
        found = logits_of(model, learner.collator, examples)
        for row, label, logits in zip(rows, labels, found, strict=True):
            assert logits is not None  # every labelled sequence has a base
            table.write(row.name, logits, label)
            every.append(logits)
    return np.array(every)


def _record(
    config: FinetuneConfig, splits: Splits, encoded: Encoded, checkpoint: str | None
) -> None:
    """Write the run's record before work starts.

    Raises
    ------
    InputError
        If the run to go on with began with other data.
    """
    path = config.output / "run.json"
    if checkpoint is not None:
        before = [file["sha256"] for file in read_json(path, "the record of a run")["inputs"]]
        if before != [file.sha256 for file in splits.inputs]:
            raise InputError(
                "the run to go on with began with other data",
                path=path,
                fix="name the same --data, or another output",
            )
    classes: dict[str, dict[str, int]] = {}
    if splits.task.problem_type == "single_label_classification":
        for name, part in splits.parts.items():
            found = Counter(part.labels)
            classes[name] = {spelt(splits.task, label): found[label] for label in sorted(found)}
    record = run_record(
        "finetune",
        config,
        splits.inputs,
        label_names=splits.task.label_names,
        rows={name: len(part.labels) for name, part in splits.parts.items()},
        classes=classes,
        duplicates=splits.duplicates,
        cut={name: some.cut for name, some in encoded._asdict().items()},
        normalisation={name: some.counts for name, some in encoded._asdict().items()},
        bf16=use_bf16(config.run),
        torch=torch.__version__,
        resumed_from=checkpoint,
    )
    write_json(path, record)


def _note(config: FinetuneConfig, splits: Splits, encoded: Encoded, processes: int) -> None:
    """Say on stderr what will be done, and what is amiss with the data."""
    rows = {name: len(part.labels) for name, part in splits.parts.items()}
    told = ", ".join(f"{number:,} {name}" for name, number in rows.items())
    labels = ", ".join(splits.task.label_names[:10])
    print(f"fine-tuning on {told} examples; {splits.task.problem_type}: {labels}", file=sys.stderr)
    for name, number in splits.duplicates.items():
        if number:
            seen, where = name.split("_")
            print(
                f"warning: {number:,} sequences of {where} stand in {seen} too, on either strand",
                file=sys.stderr,
            )
    cut = {name: some.cut for name, some in encoded._asdict().items()}
    if any(cut.values()):
        told = ", ".join(f"{number:,} in {name}" for name, number in cut.items())
        print(f"warning: cut to {config.max_tokens} tokens: {told}", file=sys.stderr)
    per_step = config.batch_size * config.run.gradient_accumulation * processes
    steps = math.ceil(rows["train"] / per_step) * config.epochs
    if steps <= config.optimizer.warmup_steps:
        print(
            f"warning: {steps} optimizer steps in all, so the learning rate never gets to its "
            f"peak; lower --optimizer.warmup-steps ({config.optimizer.warmup_steps})",
            file=sys.stderr,
        )


def _report(config: FinetuneConfig, scores: Scores, rows: int, state: TrainerState) -> None:
    """Write the scores, print them, and say loudly if the run collapsed."""
    best: dict[str, Any] = next(
        (
            entry
            for entry in state.log_history
            if entry["step"] == state.best_global_step and "eval_loss" in entry
        ),
        {},
    )
    dev = {f"dev_{name}": best.get(f"eval_{name}") for name in METRICS[config.labels.problem_type]}
    report = {**scores, "rows": rows, "best_epoch": best.get("epoch"), **dev}
    write_json(config.output / "test_metrics.json", _without_nan(report))
    write_json(config.output / "history.json", _without_nan({"log": state.log_history}))
    for name, value in scores.items():
        print(f"{name}\t{value:.6g}")
    if scores["collapsed"]:
        print(
            f"WARNING: {config.output}: COLLAPSED: the model predicts the same for every example "
            "of test, or nothing at all; its scores say nothing about method or data; try another "
            "--run.seed, a lower --optimizer.learning-rate or more --epochs",
            file=sys.stderr,
        )


def _without_nan(value: Any) -> Any:
    """The value with NaN, which JSON lacks, as null."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
