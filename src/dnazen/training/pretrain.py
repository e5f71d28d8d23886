"""Masked-LM pre-training on a corpus with whole-G-gram masking.

Source: paper section 2.4; method.md sections 6 and 7.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tqdm import tqdm
from transformers import PrinterCallback, set_seed

from ..errors import ConfigError, InputError
from ..ggrams.matching import Matcher
from ..ggrams.vocabulary import GGramVocabulary
from ..model.bases import base_table, longest_token_bp
from ..model.batches import Collator
from ..model.configuration import DnazenConfig
from ..model.directory import ModelDirectory, open_directory, save_directory
from ..model.modeling import DnazenForMaskedLM
from ..model.settings import ShapeConfig
from ..model.source import ModelSource, find_model
from ..model.weights import HEADS, load_weights, read_weights, weights_file
from ..model.worth import weakness
from ..outputs import refuse_existing
from ..records import hash_file, plain, read_json, run_record, write_json
from ..tokens.corpus import RECORD_FILE, Corpus
from ..tokens.tokenizer import token_lengths, tokenizer_sha256
from .batch_plan import BatchPlan
from .card import write_card
from .checkpoints import (
    CHECKPOINTS,
    training_directory,
    training_identity,
    was_only_left_uncleaned,
    write_training_record,
)
from .examples import PretrainDataset, TokenIntervals, example_intervals, heldout_sequences
from .markov import markov_score
from .pretrain_trainer import PretrainTrainer
from .progress import StepLines
from .settings import PretrainConfig
from .stopping import StopAtCheckpoint, stop_requested
from .trainer import (
    choose_attention,
    compile_layers,
    end_distributed,
    json_lines,
    require_launch,
    rowwise_optimizer,
    tensorboard,
    training_arguments,
    training_under_way,
    use_bf16,
    whole_model,
)


class PretrainInputs(NamedTuple):
    """What a model is pre-trained on."""

    corpus: Path
    """Directory that ``dnazen corpus build`` wrote."""
    ggrams: Path | None = None
    """G-gram vocabulary; without it the model is E4BU alone."""
    mask_ggrams: Path | None = None
    """G-grams to hide whole, if not those of the model."""
    init: Path | None = None
    """Directory or name of a model to start from (``model.source.find_model``); ``None`` starts
    from random weights."""

    @property
    def start(self) -> ModelSource | None:
        """The model to start from."""
        return None if self.init is None else find_model(self.init)


class Pretrained(NamedTuple):
    """How a pre-training came out."""

    scores: dict[str, float]
    """The last scores on held-out positions, by the names of ``metrics.json``."""
    history: list[dict[str, Any]]
    """Losses, learning rates and held-out scores by step."""
    parameters: int
    """Of the model."""
    seconds: float
    """That the training took, since it was begun or gone on with."""


def pretrain(
    inputs: PretrainInputs, config: PretrainConfig, output: Path, *, resume: bool = False
) -> Pretrained | None:
    """Pre-train a model into a directory: ours, with its scores and the record of the run.

    Ctrl-C and SIGTERM write a checkpoint first.

    Parameters
    ----------
    resume
        Go on with an interrupted run in the directory.

    Returns
    -------
    ``None`` in the processes of a distributed run that do not lead it, and where the run to go on
    with was complete but for its checkpoints.

    Raises
    ------
    InputError
        If corpus, G-grams and initial weights do not belong together.
    ConfigError
        If the run to go on with was begun with other settings or inputs.
    OutputError
        If the output directory is taken.
    """
    require_launch(config.run)
    if not resume:
        refuse_existing(output)
    elif was_only_left_uncleaned(output):
        return None
    corpus = Corpus.open(inputs.corpus)
    if config.masking.repeat_weight != 1 and corpus.repeat is None:
        raise InputError(
            "does not tell repeats, of which masking.repeat_weight is",
            path=inputs.corpus,
            fix="build the corpus anew",
        )
    parts, may_miss = starting_point(inputs, config.model, corpus)
    hidden = None if inputs.mask_ggrams is None else GGramVocabulary.load(inputs.mask_ggrams)
    if hidden is not None:
        hidden.require_tokenizer(corpus.tokenizer_sha256, inputs.mask_ggrams)
    heldout = heldout_sequences(
        corpus, config.heldout_fraction, config.heldout_tokens, config.run.seed
    )
    set_seed(config.run.seed)
    model = DnazenForMaskedLM(parts.config)
    if (start := inputs.start) is not None:
        weights = read_weights(start.directory, parts.config)
        load_weights(model, weights, start.directory, may_miss=may_miss)
    bases = base_table(parts.tokenizer, parts.config.vocab_size)
    if parts.config.base_channels:
        model.dnazen.bases.table.copy_(bases)
    choose_attention(model, config.run)
    compile_layers(model, config.run)
    longest, seed = config.max_tokens - 2, config.run.seed
    train = PretrainDataset(corpus, example_intervals(corpus.offsets, ~heldout, longest), seed)
    held = PretrainDataset(corpus, example_intervals(corpus.offsets, heldout, longest), seed + 1)
    collator = Collator.of(
        parts,
        vocab_size=corpus.vocab_size,  # random tokens are drawn from the tokenizer's
        masking=config.masking,
        masking_matcher=None if hidden is None else Matcher(hidden),
    )
    tokens = {
        "train_tokens": int(train.intervals.length.sum()),
        "heldout_tokens": int(held.intervals.length.sum()),
    }
    with (
        training_directory(output, resume=resume, sharded=config.run.shards_weights) as checkpoint,
        stop_requested() as stop,
    ):
        optimizer = rowwise_optimizer(model, config.optimizer, config.run)
        arguments = training_arguments(
            output,
            config.optimizer,
            config.run,
            clips_itself=optimizer is not None,
            max_steps=config.max_steps,
            eval_strategy="steps",
            eval_steps=config.eval_steps,
            save_strategy="steps",
            save_steps=config.save_steps,
            save_total_limit=2,
            per_device_train_batch_size=1,  # unused: the plan makes the batches, as many for each
            accelerator_config={"even_batches": False},
        )
        leads = arguments.process_index == 0
        if leads:
            _begin(inputs, config, output, tokens, checkpoint)
            _announce(parts, tokens, bf16=use_bf16(config.run))
        trainer = PretrainTrainer(
            model=model,
            args=arguments,
            optimizers=(optimizer, None),
            train_dataset=train,
            eval_dataset=held,
            data_collator=collator,
            plan=BatchPlan(
                train.intervals.length + 2,
                config.tokens_per_batch,
                config.max_steps * config.run.gradient_accumulation * arguments.world_size,
                seed,
                _weights(corpus, train.intervals),
            ),
            repeat_weight=config.masking.repeat_weight,
            tokens_per_batch=config.tokens_per_batch,
            heldout_collator=replace(collator, masking=config.heldout_masking),
            bases=token_lengths(parts.tokenizer),
            callbacks=[
                StopAtCheckpoint(stop),
                *([tensorboard(output)] if leads else []),
                *json_lines(output, config.run),
            ],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(StepLines(trainer.trained_tokens))
        with training_under_way(output):
            result = trainer.train(
                resume_from_checkpoint=None if checkpoint is None else str(checkpoint)
            )
            scores = _last_scores(trainer)
        whole = whole_model(trainer, config.run)
        end_distributed(trainer)
        if not leads:
            return None
        history = trainer.state.log_history
        markov = markov_score(corpus, heldout, bases.numpy(), seed)
        seconds = result.metrics["train_runtime"]
        parameters = sum(p.numel() for p in whole.parameters())
        metrics = {
            **scores,
            "markov_order": markov.order,
            "markov_bits_per_bp": markov.bits_per_bp,
            "train_seconds": seconds,
            "parameters": parameters,
            **tokens,
        }
        write_json(output / "metrics.json", metrics)
        write_json(output / "history.json", {"log": history})
        record = read_json(output / "run.json", "the record of a run")
        write_card(output, model.config, record, metrics, history)
        # The weights come last: a directory that has them is whole.
        save_directory(output, whole, *parts[1:])
        shutil.rmtree(output / CHECKPOINTS, ignore_errors=True)
    if (problem := weakness(output)) is not None:
        print(f"warning: this model {problem}", file=sys.stderr)
    return Pretrained(scores, history, parameters, seconds)


def _weights(corpus: Corpus, intervals: TokenIntervals) -> Float32[np.ndarray, "examples"] | None:
    """How often each example is to be drawn; ``None`` if all alike."""
    if corpus.weight is None or (corpus.weight == 1).all():
        return None
    weights: Float32[np.ndarray, "examples"] = corpus.weight[intervals.sequence]
    return weights


def _last_scores(trainer: PretrainTrainer) -> dict[str, float]:
    """Held-out scores of the finished run; computed only if the last step was not evaluated."""
    for entry in reversed(trainer.state.log_history):
        if entry["step"] == trainer.state.global_step and "eval_loss" in entry:
            return {name: value for name, value in entry.items() if name.startswith("eval_")}
    return trainer.evaluate()


def starting_point(
    inputs: PretrainInputs, shape: ShapeConfig, corpus: Corpus
) -> tuple[ModelDirectory, tuple[str, ...]]:
    """Configuration, tokenizer and G-grams of the run, and which weights may start at random.

    Raises
    ------
    InputError
        If the G-grams or the initial model were made with another tokenizer.
    ConfigError
        If G-grams are given for an initial model that has its own.
    """
    vocabulary = None if inputs.ggrams is None else GGramVocabulary.load(inputs.ggrams)
    if vocabulary is not None:
        vocabulary.require_tokenizer(corpus.tokenizer_sha256, inputs.ggrams)
    if inputs.start is None:
        config = _random_shape(shape, corpus.vocab_size, _rows(vocabulary))
        if shape.base_channels:
            config.base_channels = shape.base_channels
            config.longest_token_bp = longest_token_bp(corpus.tokenizer)
        return ModelDirectory(config, corpus.tokenizer, vocabulary), ()
    start = open_directory(inputs.start.directory)
    if tokenizer_sha256(start.tokenizer) != corpus.tokenizer_sha256:
        raise InputError(
            "the corpus was made with another tokenizer than this model's",
            path=inputs.init,
            fix=f"build the corpus with --tokenizer {inputs.init}",
        )
    if vocabulary is None:
        return start, HEADS
    if start.vocabulary is not None:
        raise ConfigError(
            f"{inputs.init} has G-grams of its own; leave --ggrams out to train them further"
        )
    _add_ggrams(start.config, shape, _rows(vocabulary))
    fresh = ("dnazen.ggram_", "dnazen.fusions.")
    return start._replace(vocabulary=vocabulary), (*HEADS, *fresh)


def _rows(vocabulary: GGramVocabulary | None) -> int:
    """Rows of the embedding table: the G-grams and the padding, or none at all."""
    return 0 if vocabulary is None else len(vocabulary) + 1


def _random_shape(settings: ShapeConfig, vocab_size: int, rows: int) -> DnazenConfig:
    """The configuration of a model that starts from random weights."""
    layers = settings.num_hidden_ggram_layers
    return DnazenConfig.of_size(
        settings.size,
        vocab_size=vocab_size,
        ggram_vocab_size=rows,
        fusion=settings.fusion,
        ggram_embedding=settings.ggram_embedding,
        max_ggrams=settings.max_ggrams,
        hidden_dropout_prob=settings.hidden_dropout_prob,
        **({} if layers is None else {"num_hidden_ggram_layers": layers}),
    )


def _add_ggrams(shape: DnazenConfig, settings: ShapeConfig, rows: int) -> None:
    """Give E4BU alone a G-gram encoder, by default of half its layers as in the release."""
    layers = settings.num_hidden_ggram_layers
    shape.ggram_vocab_size = rows
    shape.fusion = settings.fusion
    shape.ggram_embedding = settings.ggram_embedding
    shape.max_ggrams = settings.max_ggrams
    shape.num_hidden_ggram_layers = shape.num_hidden_layers // 2 if layers is None else layers


def pretraining_identity(inputs: PretrainInputs, config: PretrainConfig) -> dict[str, Any]:
    """What the result of a pre-training depends on: settings, and hashes of what is read."""
    return training_identity(
        config, **{name: hash_file(path).sha256 for name, path in _files(inputs).items()}
    )


def _files(inputs: PretrainInputs) -> dict[str, Path]:
    """The files that say what is read, by the setting that names them."""
    files = {
        "corpus": inputs.corpus / RECORD_FILE,
        "ggrams": inputs.ggrams,
        "mask_ggrams": inputs.mask_ggrams,
        "init": None if inputs.start is None else weights_file(inputs.start.directory),
    }
    return {name: path for name, path in files.items() if path is not None}


def _begin(
    inputs: PretrainInputs,
    config: PretrainConfig,
    output: Path,
    tokens: dict[str, int],
    checkpoint: Path | None,
) -> None:
    """Write the run's record before work starts."""
    record = run_record(
        "pretrain",
        {**plain(inputs), "output": output, **plain(config)},
        [hash_file(path) for path in _files(inputs).values()],
        bf16=use_bf16(config.run),
        torch=torch.__version__,
        start=None if inputs.start is None else inputs.start.record,
        **tokens,
    )
    write_training_record(output, record, pretraining_identity(inputs, config), checkpoint)


def _announce(parts: ModelDirectory, tokens: dict[str, int], *, bf16: bool) -> None:
    """Say on stderr what will be done."""
    ggrams = 0 if parts.vocabulary is None else len(parts.vocabulary)
    tqdm.write(
        f"pre-training on {tokens['train_tokens']:,} tokens ({tokens['heldout_tokens']:,} held "
        f"out), {ggrams:,} G-grams, {'bf16' if bf16 else 'float32'}",
        file=sys.stderr,
    )
