"""Masked-LM pre-training on a corpus with whole-G-gram masking.

Source: paper section 2.4; method.md sections 6 and 7.
"""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate.utils import gather_object
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import PrinterCallback, Trainer, TrainerControl, set_seed

from ..errors import ConfigError, InputError
from ..ggrams.masking import NO_LABEL
from ..ggrams.matching import Matcher
from ..ggrams.vocabulary import GGramVocabulary
from ..inference.loop import run
from ..model.bases import base_table, longest_token_bp
from ..model.batches import Collator, Example
from ..model.configuration import DnazenConfig
from ..model.directory import ModelDirectory, open_directory, save_directory
from ..model.modeling import DnazenForMaskedLM
from ..model.settings import ShapeConfig
from ..model.weights import HEADS, load_weights, read_weights, weights_file
from ..outputs import refuse_existing
from ..records import hash_file, plain, run_record, write_json
from ..tokens.corpus import RECORD_FILE, Corpus
from ..tokens.tokenizer import token_lengths, tokenizer_sha256
from .batch_plan import BatchPlan, ExampleKey
from .checkpoints import (
    CHECKPOINTS,
    training_directory,
    training_identity,
    was_only_left_uncleaned,
    write_training_record,
)
from .examples import PretrainDataset, example_intervals, heldout_sequences
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
    """Model to start from; ``None`` starts from random weights."""


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


class PretrainTrainer(Trainer):
    """Hugging Face's Trainer on our batch plan, with a masked-LM evaluation in constant memory."""

    def __init__(
        self,
        *,
        plan: BatchPlan,
        tokens_per_batch: int,
        heldout_collator: Collator,
        bases: Int[np.ndarray, "vocabulary"],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.tokens_per_batch = tokens_per_batch
        self.heldout_collator = heldout_collator
        self.bases = torch.from_numpy(bases)
        self._trained_tokens: Tensor | int = 0

    def training_step(self, model: nn.Module, inputs: dict[str, Tensor], *rest: Any) -> Tensor:
        """Train on a batch, and count its tokens."""
        self._trained_tokens = self._trained_tokens + inputs["attention_mask"].sum()
        loss: Tensor = super().training_step(model, inputs, *rest)
        return loss

    def trained_tokens(self) -> int:
        """Tokens that this process was trained on, padding left out; waits for the device."""
        return int(self._trained_tokens)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The batch plan, dealt out to the processes of a distributed run."""
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=self.plan,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Held-out loss (nats a predicted token), accuracy, and bits per base of those tokens.

        Masks are the same at every evaluation, and no random number is drawn from the training's
        streams. With G-grams, also the spread of their last states: the root mean squared distance
        from their mean, as a fraction of their root mean squared length (Decided here). Near 0 all
        G-grams have one state, and only mark what they cover.
        """
        model = self.model
        sums = torch.zeros(4, dtype=torch.float64)  # nats, correct, predicted tokens, bases
        states = torch.zeros(2 + model.config.hidden_size, dtype=torch.float64)

        def add_up(batch: dict[str, Tensor], examples: Sequence[Example]) -> list[None]:
            labels = batch.pop("labels").flatten()
            cells = (labels != NO_LABEL).nonzero().squeeze(1)
            output = model.dnazen(**batch, wanted=cells)
            logits, truth = model.head(output.last_hidden_state).float(), labels[cells]
            sums.add_(
                torch.tensor(
                    [
                        float(cross_entropy(logits, truth, reduction="sum")),
                        float((logits.argmax(-1) == truth).sum()),
                        len(truth),
                        float(self.bases[truth.cpu()].sum()),
                    ],
                    dtype=torch.float64,
                )
            )
            if output.ggram_hidden_state is not None:
                states.add_(_sums_of_states(output.ggram_hidden_state))
            return [None] * len(examples)

        with self.compute_loss_context_manager():  # the arithmetic of the training
            for _done in run(
                model,
                self.heldout_collator,
                self._heldout_examples(),
                add_up,
                tokens_per_batch=self.tokens_per_batch,
            ):
                pass
        # As objects, since not every device has 64 bits.
        nats, correct, predicted, bases = sum(gather_object([sums.numpy()])).tolist()
        metrics = {
            "eval_loss": nats / predicted,
            "eval_accuracy": correct / predicted,
            "eval_bits_per_bp": nats / math.log(2) / bases,
            "eval_predicted_tokens": predicted,
        }
        ggrams, squares, *total = sum(gather_object([states.numpy()])).tolist()
        if ggrams:
            metrics["eval_ggram_spread"] = _spread(ggrams, squares, total)
        self.log(dict(metrics))  # which adds the pass it is in
        self.control: TrainerControl = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _heldout_examples(self) -> Iterator[Example]:
        """This process' part of the held-out examples."""
        for number in range(self.args.process_index, len(self.eval_dataset), self.args.world_size):
            yield self.eval_dataset[ExampleKey(0, number)]


def _sums_of_states(states: Float[Tensor, "slots hidden"]) -> Float64[Tensor, "2+hidden"]:
    """How many, the sum of their squared lengths, and their sum."""
    exact = states.double().cpu()
    counts = torch.tensor([len(exact), exact.square().sum()], dtype=torch.float64)
    return torch.cat([counts, exact.sum(0)])


def _spread(ggrams: float, squares: float, total: list[float]) -> float:
    """Distance of states from their mean (root mean square) over their length (likewise)."""
    return math.sqrt(max(0.0, 1 - math.fsum(x * x for x in total) / (ggrams * squares)))


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
    parts, may_miss = starting_point(inputs, config.model, corpus)
    hidden = None if inputs.mask_ggrams is None else GGramVocabulary.load(inputs.mask_ggrams)
    if hidden is not None:
        hidden.require_tokenizer(corpus.tokenizer_sha256, inputs.mask_ggrams)
    heldout = heldout_sequences(
        corpus, config.heldout_fraction, config.heldout_tokens, config.run.seed
    )
    set_seed(config.run.seed)
    model = DnazenForMaskedLM(parts.config)
    if inputs.init is not None:
        source = read_weights(inputs.init, parts.config)
        load_weights(model, source, inputs.init, may_miss=may_miss)
    if parts.config.base_channels:
        table = base_table(parts.tokenizer, parts.config.vocab_size)
        model.dnazen.bases.table.copy_(table)
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
            ),
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
        end_distributed(trainer)
        if not leads:
            return None
        history = trainer.state.log_history
        seconds = result.metrics["train_runtime"]
        parameters = sum(p.numel() for p in model.parameters())
        metrics = {
            **scores,
            "train_seconds": seconds,
            "parameters": parameters,
            **tokens,
        }
        write_json(output / "metrics.json", metrics)
        write_json(output / "history.json", {"log": history})
        # The weights come last: a directory that has them is whole.
        save_directory(output, trainer.accelerator.unwrap_model(model), *parts[1:])
        shutil.rmtree(output / CHECKPOINTS, ignore_errors=True)
    return Pretrained(scores, history, parameters, seconds)


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
    if inputs.init is None:
        config = _random_shape(shape, corpus.vocab_size, _rows(vocabulary))
        if shape.base_channels:
            config.base_channels = shape.base_channels
            config.longest_token_bp = longest_token_bp(corpus.tokenizer)
        return ModelDirectory(config, corpus.tokenizer, vocabulary), ()
    start = open_directory(inputs.init)
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
        "init": None if inputs.init is None else weights_file(inputs.init),
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
