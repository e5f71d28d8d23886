"""``dnazen pretrain``: masked-LM pre-training on a corpus with whole-G-gram masking.

Source: paper section 2.4; method.md sections 6 and 7.
"""

from __future__ import annotations

import math
import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from accelerate.utils import gather_object
from jaxtyping import Float, Float64, Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm
from transformers import Trainer, TrainerControl, set_seed

from ..errors import ConfigError, InputError
from ..ggrams.matching import Matcher
from ..ggrams.settings import MaskingConfig
from ..ggrams.vocabulary import GGramVocabulary
from ..model.batches import BatchPlan, Collator, Example, Key, token_budget_batches
from ..model.configuration import DnazenConfig, Fusion, GGramEmbedding, Size
from ..model.directory import (
    HEADS,
    ModelDirectory,
    load_weights,
    open_directory,
    read_weights,
    save_directory,
)
from ..model.modeling import DnazenForMaskedLM
from ..records import hash_file, run_record, write_json
from ..tokens.corpus import Corpus
from ..tokens.tokenizer import token_lengths, tokenizer_sha256
from .examples import PretrainDataset, example_spans, heldout_sequences
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
class ModelSettings:
    """Shape of a model that starts from random weights."""

    size: Size = "small"
    """Named size; tiny, mini and small are for CPUs."""
    fusion: Fusion = "sum"
    """How G-gram states join the tokens'."""
    ggram_embedding: GGramEmbedding = "own"
    """What the G-gram encoder is given: a row of each G-gram's own; composed, a row that starts at
    zero and the mean of its tokens' embeddings; or shared, one row for all."""
    num_hidden_ggram_layers: int | None = None
    """Layers of the G-gram encoder; by default the size's."""
    max_ggrams: int | None = None
    """Cap on the distinct G-grams of a sequence."""
    hidden_dropout_prob: float = 0.1
    """Dropout of both encoders."""


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """How a model is pre-trained, whatever the corpus and the G-grams."""

    max_steps: int = 1000
    """Optimizer steps."""
    tokens_per_batch: int = 8192
    """Bound on sequences x longest sequence of a batch."""
    max_tokens: int = 256
    """Longest example, [CLS] and [SEP] included; longer sequences become several examples."""
    heldout_fraction: float = 0.01
    """Fraction of the corpus kept for evaluation, in blocks of neighbouring windows, both strands
    of a block together."""
    heldout_tokens: int = 200_000
    """At most about so many tokens are kept for evaluation."""
    heldout_ggram_share: float | None = None
    """masking.ggram_share of the evaluation; by default as in training. With 0 all models on a
    corpus are scored on the same masks, whatever their G-grams and their training."""
    eval_steps: int = 200
    """Optimizer steps between evaluations."""
    save_steps: int = 200
    """Optimizer steps between checkpoints that an interrupted run can go on from."""
    model: ModelSettings = field(default_factory=ModelSettings)
    """Shape of a model that starts from random weights."""
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    """How positions are hidden."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(
            learning_rate=5e-4, warmup_steps=200, adam_beta2=0.98, adam_epsilon=1e-6
        )
    )
    """AdamW and its schedule."""
    run: RunConfig = field(default_factory=RunConfig)
    """How the machine is used."""

    def __post_init__(self) -> None:
        for name in ("max_steps", "eval_steps", "save_steps", "heldout_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be >= 1, got {getattr(self, name)}")
        if self.max_tokens < 4:
            raise ConfigError(f"max_tokens must be >= 4, got {self.max_tokens}")
        if self.tokens_per_batch < self.max_tokens:
            raise ConfigError(
                f"tokens_per_batch ({self.tokens_per_batch}) must be >= max_tokens "
                f"({self.max_tokens})"
            )
        if not 0 < self.heldout_fraction < 1:
            raise ConfigError(
                f"heldout_fraction must lie strictly between 0 and 1, got {self.heldout_fraction}"
            )
        _ = self.heldout_masking

    @property
    def heldout_masking(self) -> MaskingConfig:
        """How the held-out positions are hidden."""
        share = self.heldout_ggram_share
        return self.masking if share is None else replace(self.masking, ggram_share=share)


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(PretrainSettings):
    """Pre-train a model on a corpus.

    Writes OUTPUT/: the model, its tokenizer and its G-grams (all that other commands need),
    run.json (settings and inputs), metrics.json (held-out scores), history.json and logs/ (curves,
    for TensorBoard).
    """

    corpus: Path
    """Directory that 'dnazen corpus build' wrote."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write."""
    ggrams: Path | None = None
    """G-gram vocabulary that 'dnazen ggrams mine' wrote. Without it the model is E4BU alone."""
    mask_ggrams: Path | None = None
    """G-grams to hide whole, if not those of the model: gives an E4BU-only twin the same masks."""
    init: Path | None = None
    """Start from this model instead of random weights: a DNAZEN directory, ours or released, or
    a DNABERT-2 directory, to which a fresh G-gram encoder is added."""
    resume: bool = False
    """Go on with an interrupted run in OUTPUT."""


class PretrainTrainer(Trainer):
    """Hugging Face's Trainer on our batch plan, with a masked-LM evaluation in constant memory."""

    def __init__(
        self,
        *,
        plan: BatchPlan,
        heldout_batches: list[list[Key]],
        heldout_collator: Collator,
        bases: Int[np.ndarray, "vocabulary"],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.heldout_collator = heldout_collator
        self.heldout_batches = heldout_batches
        self.bases = torch.from_numpy(bases)

    def _loader(
        self, dataset: Dataset[Example], batches: Any, collator: Collator
    ) -> DataLoader[Any]:
        return DataLoader(
            dataset,
            batch_sampler=batches,
            collate_fn=collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The batch plan, dealt out to the processes of a distributed run."""
        prepared: DataLoader[Any] = self.accelerator.prepare(
            self._loader(self.train_dataset, self.plan, self.data_collator)
        )
        return prepared

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Held-out loss (nats a predicted token), accuracy, and bits per base of those tokens.

        Masks are the same at every evaluation. With G-grams, also the spread of their last states:
        the root mean squared distance from their mean, as a fraction of their root mean squared
        length (Decided here). Near 0 all G-grams have one state, and only mark what they cover.
        """
        model = self.model
        model.eval()
        nats = correct = predicted = bases = 0.0
        states = torch.zeros(2 + model.config.hidden_size, dtype=torch.float64)
        # Dealt out by hand: a sampler would repeat batches to give each process as many.
        mine = self.heldout_batches[self.args.process_index :: self.args.world_size]
        with torch.no_grad(), self.compute_loss_context_manager():
            for raw in self._loader(self.eval_dataset, mine, self.heldout_collator):
                batch = self._prepare_inputs(raw)
                output = model(**batch)
                truth = batch["labels"].flatten()
                truth = truth[truth != -100]
                nats += float(output.loss) * len(truth)
                correct += float((output.logits.argmax(-1) == truth).sum())
                predicted += len(truth)
                bases += float(self.bases[truth.cpu()].sum())
                if output.ggram_hidden_state is not None:
                    states += _sums_of_states(output.ggram_hidden_state)
        sums = torch.tensor([nats, correct, predicted, bases], device=self.args.device)
        nats, correct, predicted, bases = self.accelerator.reduce(sums).tolist()
        metrics = {
            "eval_loss": nats / predicted,
            "eval_accuracy": correct / predicted,
            "eval_bits_per_bp": nats / math.log(2) / bases,
            "eval_predicted_tokens": predicted,
        }
        # As objects, since not every device has 64 bits.
        ggrams, squares, *total = sum(gather_object([states.numpy()])).tolist()
        if ggrams:
            metrics["eval_ggram_spread"] = _spread(ggrams, squares, total)
        self.log(dict(metrics))  # which adds the pass it is in
        self.control: TrainerControl = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics


def _sums_of_states(states: Float[Tensor, "slots hidden"]) -> Float64[Tensor, "2+hidden"]:
    """How many, the sum of their squared lengths, and their sum."""
    exact = states.double().cpu()
    counts = torch.tensor([len(exact), exact.square().sum()], dtype=torch.float64)
    return torch.cat([counts, exact.sum(0)])


def _spread(ggrams: float, squares: float, total: list[float]) -> float:
    """Distance of states from their mean (root mean square) over their length (likewise)."""
    return math.sqrt(max(0.0, 1 - math.fsum(x * x for x in total) / (ggrams * squares)))


def pretrain(config: PretrainConfig) -> dict[str, float]:
    """Run ``dnazen pretrain``; returns the last held-out scores.

    Raises
    ------
    InputError
        If corpus, G-grams and initial weights do not belong together.
    OutputError
        If the output directory is taken.
    """
    corpus = Corpus.open(config.corpus)
    parts, may_miss = starting_point(config, corpus)
    hidden = None if config.mask_ggrams is None else GGramVocabulary.load(config.mask_ggrams)
    if hidden is not None:
        hidden.require_tokenizer(corpus.tokenizer_sha256, config.mask_ggrams)
    heldout = heldout_sequences(
        corpus, config.heldout_fraction, config.heldout_tokens, config.run.seed
    )
    set_seed(config.run.seed)
    model = DnazenForMaskedLM(parts.config)
    if config.init is not None:
        source = read_weights(config.init, parts.config)
        load_weights(model, source, config.init, may_miss=may_miss)

    checkpoint = start_or_resume(config.output, resume=config.resume)
    longest = config.max_tokens - 2
    train = PretrainDataset(
        corpus, example_spans(corpus.offsets, ~heldout, longest), config.run.seed
    )
    held = PretrainDataset(
        corpus, example_spans(corpus.offsets, heldout, longest), config.run.seed + 1
    )
    collator = Collator.of(
        parts,
        vocab_size=corpus.vocab_size,  # random tokens are drawn from the tokenizer's
        masking=config.masking,
        masking_matcher=None if hidden is None else Matcher(hidden),
    )
    choose_attention(model, config.run)
    compile_layers(model, config.run)
    optimizer = rowwise_optimizer(model, config.optimizer, config.run)
    arguments = training_arguments(
        config.output,
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
    trainer = PretrainTrainer(
        model=model,
        args=arguments,
        optimizers=(optimizer, None),
        train_dataset=train,
        eval_dataset=held,
        data_collator=collator,
        plan=BatchPlan(
            train.spans.length + 2,
            config.tokens_per_batch,
            config.max_steps * config.run.gradient_accumulation * arguments.world_size,
            config.run.seed,
        ),
        heldout_batches=[
            [Key(0, int(i)) for i in batch]
            for batch in token_budget_batches(
                held.spans.length + 2, config.tokens_per_batch, np.random.default_rng(0)
            )
        ],
        heldout_collator=replace(collator, masking=config.heldout_masking),
        bases=token_lengths(parts.tokenizer),
        callbacks=[tensorboard(config.output)] if arguments.process_index == 0 else [],
    )
    tokens = {
        "train_tokens": int(train.spans.length.sum()),
        "heldout_tokens": int(held.spans.length.sum()),
    }
    if trainer.is_world_process_zero():
        _note(config, parts, tokens, checkpoint)
    with training_under_way(config.output):
        result = trainer.train(resume_from_checkpoint=checkpoint)
        metrics = _last_scores(trainer)
    part_from_processes(trainer)
    if trainer.is_world_process_zero():
        save_directory(config.output, trainer.accelerator.unwrap_model(model), *parts[1:])
        write_json(
            config.output / "metrics.json",
            {
                **metrics,
                "train_seconds": result.metrics["train_runtime"],
                "parameters": sum(p.numel() for p in model.parameters()),
                **tokens,
            },
        )
        write_json(config.output / "history.json", {"log": trainer.state.log_history})
        shutil.rmtree(config.output / CHECKPOINTS, ignore_errors=True)
        for name, value in metrics.items():
            print(f"{name}\t{value:.6g}")
    return metrics


def _last_scores(trainer: PretrainTrainer) -> dict[str, float]:
    """Held-out scores of the finished run; computed only if the last step was not evaluated."""
    for entry in reversed(trainer.state.log_history):
        if entry["step"] == trainer.state.global_step and "eval_loss" in entry:
            return {name: value for name, value in entry.items() if name.startswith("eval_")}
    return trainer.evaluate()


def starting_point(
    config: PretrainConfig, corpus: Corpus
) -> tuple[ModelDirectory, tuple[str, ...]]:
    """Configuration, tokenizer and G-grams of the run, and which weights may start at random.

    Raises
    ------
    InputError
        If the G-grams or the initial model were made with another tokenizer.
    ConfigError
        If G-grams are given for an initial model that has its own.
    """
    vocabulary = None if config.ggrams is None else GGramVocabulary.load(config.ggrams)
    if vocabulary is not None:
        vocabulary.require_tokenizer(corpus.tokenizer_sha256, config.ggrams)
    if config.init is None:
        shape = _random_shape(config.model, corpus.vocab_size, _rows(vocabulary))
        return ModelDirectory(shape, corpus.tokenizer, vocabulary), ()
    start = open_directory(config.init)
    if tokenizer_sha256(start.tokenizer) != corpus.tokenizer_sha256:
        raise InputError(
            "the corpus was made with another tokenizer than this model's",
            path=config.init,
            fix=f"build the corpus with --tokenizer {config.init}",
        )
    if vocabulary is None:
        return start, HEADS
    if start.vocabulary is not None:
        raise ConfigError(
            f"{config.init} has G-grams of its own; leave --ggrams out to train them further"
        )
    _add_ggrams(start.config, config.model, _rows(vocabulary))
    fresh = ("dnazen.ggram_", "dnazen.fusions.")
    return start._replace(vocabulary=vocabulary), (*HEADS, *fresh)


def _rows(vocabulary: GGramVocabulary | None) -> int:
    """Rows of the embedding table: the G-grams and the padding, or none at all."""
    return 0 if vocabulary is None else len(vocabulary) + 1


def _random_shape(settings: ModelSettings, vocab_size: int, rows: int) -> DnazenConfig:
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


def _add_ggrams(shape: DnazenConfig, settings: ModelSettings, rows: int) -> None:
    """Give E4BU alone a G-gram encoder, by default of half its layers as in the release."""
    layers = settings.num_hidden_ggram_layers
    shape.ggram_vocab_size = rows
    shape.fusion = settings.fusion
    shape.ggram_embedding = settings.ggram_embedding
    shape.max_ggrams = settings.max_ggrams
    shape.num_hidden_ggram_layers = shape.num_hidden_layers // 2 if layers is None else layers


def _note(
    config: PretrainConfig, parts: ModelDirectory, tokens: dict[str, int], checkpoint: str | None
) -> None:
    """Write the run's record before work starts, and say on stderr what will be done."""
    files = [p for p in (config.ggrams, config.mask_ggrams) if p is not None]
    inputs = [hash_file(path) for path in (config.corpus / "corpus.json", *files)]
    write_json(
        config.output / "run.json",
        run_record(
            "pretrain",
            config,
            inputs,
            bf16=use_bf16(config.run),
            torch=torch.__version__,
            resumed_from=checkpoint,
            **tokens,
        ),
    )
    ggrams = 0 if parts.vocabulary is None else len(parts.vocabulary)
    tqdm.write(
        f"pre-training on {tokens['train_tokens']:,} tokens ({tokens['heldout_tokens']:,} held "
        f"out), {ggrams:,} G-grams, {'bf16' if use_bf16(config.run) else 'float32'}",
        file=sys.stderr,
    )
