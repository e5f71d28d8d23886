"""What pre-training and fine-tuning share: optimizer and run settings, and their Trainer set-up."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter
from transformers import PreTrainedModel, Trainer, TrainingArguments
from transformers.integrations import TensorBoardCallback

from ..errors import ConfigError, OutputError
from ..model.layers import EncoderLayer
from ..model.rows import RowEmbedding
from ..model.weights import WEIGHTS_FILES, weights_being_written
from ..outputs import refuse_existing
from .optimizer import RowwiseAdamW

CHECKPOINTS = "checkpoints"
"""Folder of a run's directory that holds what it needs to go on; gone when the run is done."""


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW and its learning-rate schedule (method.md section 7)."""

    learning_rate: float = 5e-5
    """Peak learning rate, > 0."""
    ggram_learning_rate: float | None = None
    """Peak learning rate of the G-gram embeddings, whose rows are seldom trained; by default that
    of all."""
    warmup_steps: int = 50
    """Optimizer steps of linear rise from 0."""
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

    def __post_init__(self) -> None:
        for name in ("learning_rate", "ggram_learning_rate"):
            rate = getattr(self, name)
            if rate is not None and rate <= 0:
                raise ConfigError(f"{name} must be > 0, got {rate}")
        for name in ("warmup_steps", "weight_decay", "adam_epsilon", "max_grad_norm"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must be >= 0, got {getattr(self, name)}")
        for name in ("adam_beta1", "adam_beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must lie in 0 <= beta < 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """How a training run uses the machine."""

    seed: int = 0
    """Of weights, data order, masks and dropout."""
    precision: Literal["auto", "bf16", "float32"] = "auto"
    """Arithmetic of the matrix products; weights stay float32. auto: bf16 where hardware has it."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: a GPU where there is one."""
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
    fsdp: str = ""
    """Options of fully sharded data parallelism for several GPUs, such as 'full_shard'."""
    deepspeed: str | None = None
    """Path of a DeepSpeed configuration."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 1 << 32:  # what numpy's generator takes
            raise ConfigError(f"seed must be 0 to {(1 << 32) - 1}, got {self.seed}")
        for name, least in (("gradient_accumulation", 1), ("logging_steps", 1), ("workers", 0)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} must be >= {least}, got {getattr(self, name)}")


def use_bf16(run: RunConfig) -> bool:
    """Whether a run computes in bf16: asked for, or had by the hardware."""
    if run.precision != "auto":
        return run.precision == "bf16"
    if run.device == "auto" and torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def choose_attention(model: PreTrainedModel, run: RunConfig) -> None:
    """Set how a model to be trained attends.

    Raises
    ------
    ConfigError
        If FlexAttention is asked for without a GPU: it has no way back on CPUs.
    """
    if run.attention == "flex_attention" and (run.device == "cpu" or not torch.cuda.is_available()):
        raise ConfigError(
            "run.attention flex_attention trains on GPUs only, and none is used here; "
            "leave it at sdpa"
        )
    model.set_attn_implementation(run.attention)


def compile_layers(model: nn.Module, run: RunConfig, backend: str = "inductor") -> None:
    """Compile the layers of both encoders if the run asks for it.

    Layer by layer, not the model as one: what depends on the lengths of a batch stays outside, so
    the layers are compiled a few times at the start of a run and then never again.
    """
    if run.compile:
        for part in model.modules():
            if isinstance(part, EncoderLayer):
                part.compile(backend=backend, dynamic=True)


def rowwise_optimizer(
    model: nn.Module, settings: OptimizerConfig, run: RunConfig
) -> RowwiseAdamW | None:
    """The optimizer of a model with G-grams; it also clips the gradients.

    ``None`` where the Trainer's AdamW is to be taken: for E4BU alone, where the table of G-gram
    embeddings stands still, and where FSDP or DeepSpeed shard the weights, the table with them.
    """
    table = next((part for part in model.modules() if isinstance(part, RowEmbedding)), None)
    if table is None or not table.weight.requires_grad or run.fsdp or run.deepspeed:
        return None
    others = [p for p in model.parameters() if p.requires_grad and p is not table.weight]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in others if p.ndim > 1]},
        {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return RowwiseAdamW(
        groups,
        table,
        max_grad_norm=settings.max_grad_norm,
        table_lr=settings.ggram_learning_rate,
        lr=settings.learning_rate,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
        weight_decay=settings.weight_decay,
    )


def training_arguments(
    directory: Path,
    optimizer: OptimizerConfig,
    run: RunConfig,
    *,
    clips_itself: bool = False,
    **more: Any,
) -> TrainingArguments:
    """The Hugging Face form of our settings; ``more`` are further arguments of it.

    ``clips_itself``: the optimizer scales gradients down, so the Trainer must not.
    """
    asked: dict[str, Any] = {"fsdp": run.fsdp} if run.fsdp else {}
    if run.gradient_checkpointing:  # transformers 5 gave the argument a new name on its way
        renamed = hasattr(TrainingArguments, "activation_checkpointing")
        asked["activation_checkpointing" if renamed else "gradient_checkpointing"] = True
    return TrainingArguments(
        output_dir=str(directory / CHECKPOINTS),
        learning_rate=optimizer.learning_rate,
        warmup_steps=optimizer.warmup_steps,
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(
            optimizer.schedule, optimizer.schedule
        ),
        weight_decay=optimizer.weight_decay,
        adam_beta1=optimizer.adam_beta1,
        adam_beta2=optimizer.adam_beta2,
        adam_epsilon=optimizer.adam_epsilon,
        max_grad_norm=0.0 if clips_itself else optimizer.max_grad_norm,
        seed=run.seed,
        bf16=use_bf16(run),
        use_cpu=run.device == "cpu" or not torch.accelerator.is_available(),
        dataloader_num_workers=run.workers,
        dataloader_pin_memory=torch.cuda.is_available() and run.device != "cpu",
        gradient_accumulation_steps=run.gradient_accumulation,
        logging_steps=run.logging_steps,
        deepspeed=run.deepspeed,
        report_to="none",  # our own callback names the folder
        disable_tqdm=not sys.stderr.isatty(),
        remove_unused_columns=False,
        **asked,
        **more,
    )


def tensorboard(directory: Path) -> TensorBoardCallback:
    """Log a run to ``directory/logs`` for TensorBoard."""
    return TensorBoardCallback(SummaryWriter(str(directory / "logs")))


def start_or_resume(directory: Path, *, resume: bool) -> str | None:
    """The checkpoint to go on from, or ``None`` for a fresh start in a new directory.

    Raises
    ------
    OutputError
        If the directory holds another run and going on was not asked for.
    """
    if not resume:
        refuse_existing(directory)
        directory.mkdir(parents=True, exist_ok=True)
        return None
    if any((directory / name).exists() for name in WEIGHTS_FILES):
        raise OutputError(f"{directory}: this run is complete; name another output")
    # The Trainer writes its own state last: a checkpoint without it was cut short.
    whole = [path.parent for path in (directory / CHECKPOINTS).glob("*/trainer_state.json")]
    if not whole:
        print(f"note: {directory} has no checkpoint yet: starting anew", file=sys.stderr)
        directory.mkdir(parents=True, exist_ok=True)
        return None
    return str(max(whole, key=lambda path: int(path.name.rpartition("-")[2])))


@contextmanager
def training_under_way(directory: Path) -> Iterator[None]:
    """Keep the Trainer's log off stdout, and say in one line that a checkpoint found no room.

    Raises
    ------
    OutputError
        If a checkpoint cannot be written below ``directory``.
    """
    try:
        with redirect_stdout(sys.stderr), weights_being_written(directory):
            yield
    except RuntimeError as error:
        if "inline_container" not in str(error):  # torch's writer, which names itself but no cause
            raise
        raise OutputError(
            f"{directory}: a checkpoint cannot be written; free some space and --resume the run"
        ) from error


def part_from_processes(trainer: Trainer) -> None:
    """End the talk between the processes of a distributed run, once all have come so far.

    A process that exits with the talk still open may be aborted by its own threads.
    """
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()
