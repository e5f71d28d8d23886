"""Settings of pre-training and fine-tuning; they import nothing heavy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..errors import ConfigError
from ..ggrams.settings import MaskingConfig
from ..model.settings import MOST_BASE_CHANNELS, MOST_KMERS, ClassifierPooling, ShapeConfig
from ..sequences.settings import ProblemType
from ..settings import require_choices, require_fractions, require_numbers
from ..tokens.settings import MOST_TOKENS, TooLong, require_max_tokens

METRICS: Mapping[ProblemType, tuple[str, ...]] = {
    "single_label_classification": ("mcc", "f1", "accuracy", "auroc", "auprc"),
    "multi_label_classification": ("mcc", "f1", "accuracy", "auroc", "auprc"),
    "regression": ("pearson", "spearman", "mse"),
    "base_classification": ("mcc", "f1", "accuracy", "auroc", "auprc"),
}
"""The scores of each problem type, the one that chooses the best epoch by default first."""

_COUNTED = ("mcc", "f1", "accuracy")
"""Scores of classes that come of counts alone; of bases, which are many, only these choose."""
MOST_LEARNING_RATE = 1000
MOST_TOKENS_PER_BATCH = 1 << 28
MOST_RANK = 1 << 16

AUTO_STEPS = 2000
"""Optimizer steps that ``epochs = "auto"`` aims at, within these bounds."""
LEAST_AUTO_EPOCHS, MOST_AUTO_EPOCHS = 3, 10
MOST_AUTO_STEPS = 20_000
"""More than that it aims at only for one epoch, of a very large train."""
MOST_AUTO_EPOCHS_OF_BASES = 40
"""A sequence has many bases to learn from, and few sequences are enough."""
BASELINE_KMERS = 6
"""Longest k-mers of the baseline beside a model without any."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW and its learning-rate schedule (method.md section 7)."""

    learning_rate: float | Literal["auto"] = "auto"
    """Peak learning rate, > 0. auto, in fine-tuning: of three by the size of the model, the one
    with the lowest dev loss after a short trial; dev alone decides."""
    ggram_learning_rate: float | None = None
    """Peak learning rate of the G-gram embeddings, whose rows are seldom trained; by default that
    of all."""
    warmup_steps: float = 0.06
    """Optimizer steps of linear rise from 0; below 1, a share of all steps."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """Shape of the decay to 0 after the warm-up; constant does not decay."""
    weight_decay: float = 0.01
    """Decoupled weight decay; biases, layer norms and fusion gates are spared."""
    adam_beta1: float = 0.9
    """Decay of the first moment."""
    adam_beta2: float = 0.999
    """Decay of the second moment."""
    adam_epsilon: float = 1e-8
    """Added to the root of the second moment."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this global norm; 0 leaves them."""

    @property
    def rate(self) -> float:
        """The learning rate, where it is a number."""
        assert self.learning_rate != "auto"
        return self.learning_rate

    def __post_init__(self) -> None:
        require_choices(self)
        for name in ("learning_rate", "ggram_learning_rate"):
            rate = getattr(self, name)
            if isinstance(rate, float | int) and not 0 < rate <= MOST_LEARNING_RATE:
                raise ConfigError(f"{name} must be > 0, at most {MOST_LEARNING_RATE}, got {rate}")
        names = "warmup_steps weight_decay adam_epsilon max_grad_norm"
        require_numbers(self, names=names, least=0)
        for name in ("adam_beta1", "adam_beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must lie in 0 <= beta < 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How a training run uses the machine."""

    seed: Annotated[int, tyro.conf.arg(aliases=["--seed"])] = 0
    """Of weights, data order, masks and dropout."""
    precision: Literal["auto", "bf16", "float32"] = "auto"
    """Arithmetic of the matrix products; weights stay float32. auto: bf16 where hardware has it."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: a GPU where there is one."""
    threads: int | None = None
    """Threads of the products on CPUs; by default one a core. Fewer leave room for other work."""
    workers: int = 0
    """Processes that prepare batches beside the training; results do not depend on it."""
    gradient_accumulation: int = 1
    """Batches per optimizer step and device."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""
    compile: bool = False
    """torch.compile the layers, once for all shapes of batches."""
    attention: Literal["sdpa", "flex_attention"] = "sdpa"
    """Attention over padded boxes, or on a GPU over packed sequences."""
    logging_steps: int = 20
    """Optimizer steps between lines of the training log."""
    log_json: Path | None = None
    """Also append each event of the training to this file, a JSON object a line; /dev/stderr is
    one too."""
    trackers: tuple[str, ...] = ()
    """Also report the run to these, such as wandb, mlflow, trackio or comet_ml, which must be
    installed and set up."""
    fsdp: str = ""
    """Options of fully sharded data parallelism for several GPUs, such as 'full_shard'."""
    deepspeed: str | None = None
    """Path of a DeepSpeed configuration."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_numbers(self, names="seed", least=0, most=(1 << 32) - 1)  # what numpy takes
        require_numbers(self, names="gradient_accumulation logging_steps", least=1)
        require_numbers(self, names="workers", least=0, most=4096)
        require_numbers(self, names="threads", least=1, most=4096)

    @property
    def shards_weights(self) -> bool:
        """Whether each process holds only a part of the weights."""
        return bool(self.fsdp or self.deepspeed)


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """A low-rank change of the model's layers in place of training all of its weights."""

    rank: int = 0
    """Rank of the change; 0 trains all weights."""
    alpha: int | None = None
    """The change is scaled by alpha / rank; by default alpha is twice the rank."""
    dropout: float = 0.0
    """Dropout of the inputs of the change."""

    def __post_init__(self) -> None:
        if not 0 <= self.rank <= MOST_RANK:
            raise ConfigError(f"lora.rank must be 0 to {MOST_RANK}, got {self.rank}")
        if self.alpha is not None and not 0 < self.alpha <= 1 << 20:
            raise ConfigError(f"lora.alpha must be 1 to {1 << 20}, got {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"lora.dropout must lie in 0 <= p < 1, got {self.dropout}")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
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
    model: ShapeConfig = field(default_factory=ShapeConfig)
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
        require_numbers(self, names="max_steps eval_steps save_steps heldout_tokens", least=1)
        require_numbers(self, names="max_tokens", least=4, most=MOST_TOKENS)
        if not self.max_tokens <= self.tokens_per_batch <= MOST_TOKENS_PER_BATCH:
            raise ConfigError(
                f"tokens_per_batch must be max_tokens ({self.max_tokens}) to "
                f"{MOST_TOKENS_PER_BATCH}, got {self.tokens_per_batch}"
            )
        require_fractions(self, names="heldout_fraction", closed=False)
        if self.optimizer.learning_rate == "auto":
            raise ConfigError("learning_rate auto is for fine-tuning; expected a number")
        _ = self.heldout_masking

    @property
    def heldout_masking(self) -> MaskingConfig:
        """How the held-out positions are hidden."""
        share = self.heldout_ggram_share
        return self.masking if share is None else replace(self.masking, ggram_share=share)


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """How a model is fine-tuned, whatever the model and the data."""

    from_random_weights: bool = False
    """Take only shape, tokenizer and G-grams from the model; start from random weights."""
    train: Literal["all", "head"] = "all"
    """What is trained: all weights, or the head alone, on vectors that the model as it stands gave
    once (a probe)."""
    layers: int | None = None
    """Keep so many of the model's first layers; by default all."""
    pooling: ClassifierPooling = "mean"
    """What the classifier reads: the mean of the tokens' states, or the state of [CLS], as
    released classifiers do."""
    base_channels: int | None = None
    """Channels of the base view, convolutions over single bases beside the tokens, which add
    nothing at first; 0 for none. By default those of the view that the model has, or 64."""
    kmers: int = 6
    """Longest k-mers of a regression beside the deep head, in the share that dev chooses; 0 for
    none. Where bases have classes, a regression on the bases around each stands in its place."""
    strands: Literal["auto", "average", "forward"] = "auto"
    """average: train on both strands of every sequence, and average what the model says of them;
    forward: the sequence as it is. auto: average, unless k-mers show on dev that labels depend on
    the strand, or bases have classes."""
    without_ggrams: bool = False
    """Leave the model's G-grams out: its E4BU alone."""
    epochs: int | Literal["auto"] = "auto"
    """Passes over train; auto: what makes 2,000 steps, 3 to 10 (to 40 where bases have classes), or
    fewer of a very large train. Dev chooses the best."""
    batch_size: int = 32
    """Examples per batch and device."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: all classes weigh the same, however many rows they have."""
    focal_gamma: float = 0.0
    """Weigh rows down that the model is sure of, by (1 - p)^gamma; 2 is usual, 0 leaves them."""
    best_metric: str | None = None
    """Score on dev that chooses the epoch: mcc, f1, accuracy, auroc or auprc (default mcc);
    in regression pearson, spearman or mse (default pearson); of bases mcc, f1 or accuracy."""
    patience: int | None = 5
    """Stop after so many epochs without a better dev score; None: never."""
    max_tokens: int = 1024
    """Longest example, [CLS] and [SEP] included."""
    too_long: TooLong = "refuse"
    """Refuse longer examples, or cut them and count."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Train an adapter instead of the whole model."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """AdamW and its schedule."""
    run: RunConfig = field(default_factory=RunConfig)
    """How the machine is used."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_numbers(self, names="batch_size patience", least=1)
        if self.epochs != "auto":
            require_numbers(self, names="epochs", least=1)
        require_numbers(self, names="base_channels", least=0, most=MOST_BASE_CHANNELS)
        require_numbers(self, names="kmers", least=0, most=MOST_KMERS)
        require_numbers(self, names="focal_gamma", least=0, most=100)
        require_max_tokens(self.max_tokens)
        require_numbers(self, names="layers", least=1)
        if self.lora.rank and (self.train == "head" or self.layers is not None):
            raise ConfigError("an adapter is of the whole model; leave train and layers out")
        if self.lora.rank and self.from_random_weights:
            raise ConfigError("an adapter needs a trained model; leave from_random_weights out")

    def epochs_of(self, steps: int, problem_type: ProblemType) -> int:
        """Passes over train, of so many optimizer steps each."""
        if self.epochs != "auto":
            return self.epochs
        of_bases = problem_type == "base_classification"
        most = MOST_AUTO_EPOCHS_OF_BASES if of_bases else MOST_AUTO_EPOCHS
        wanted = min(most, max(LEAST_AUTO_EPOCHS, round(AUTO_STEPS / steps)))
        return min(wanted, max(1, MOST_AUTO_STEPS // steps))

    def metric(self, problem_type: ProblemType) -> str:
        """The score on dev that chooses the epoch.

        Raises
        ------
        ConfigError
            If the settings name one that this kind of label does not have, or are otherwise none
            for classes of bases.
        """
        names = METRICS[problem_type]
        if problem_type == "base_classification":
            self._require_bases()
            names = _COUNTED
        if self.best_metric is not None and self.best_metric not in names:
            raise ConfigError(
                f"best_metric must be one of {', '.join(names)} for {problem_type}, "
                f"got {self.best_metric!r}"
            )
        return self.best_metric or names[0]

    def _require_bases(self) -> None:
        """Raise ConfigError if the settings cannot be those of a model that classifies bases."""
        reason = ""
        if self.base_channels == 0:
            reason = "base_channels 0: tokens of several bases cannot tell them apart"
        elif self.train == "head":
            reason = "train head: a head alone trains no base view"
        elif self.lora.rank:
            reason = "lora.rank: an adapter trains no base view"
        elif self.too_long == "cut":
            reason = "too_long cut: bases that are cut off would have no class"
        if reason:
            raise ConfigError(f"{reason}; leave it out for classes of bases")
