"""What pre-training and fine-tuning share: the set-up of Hugging Face's Trainer."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.utils.tensorboard import SummaryWriter
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments
from transformers.integrations import TensorBoardCallback, get_available_reporting_integrations
from transformers.utils import logging as hf_logging

from ..errors import ConfigError, DnazenError, OutputError
from ..model.layers import EncoderLayer
from ..model.rows import RowEmbedding
from ..model.weights import weights_being_written
from .checkpoints import CHECKPOINTS
from .optimizer import RowwiseAdamW
from .progress import JsonLines
from .settings import OptimizerConfig, RunConfig

_SHARED_MEMORY = Path("/dev/shm")
_SHARED_BYTES_PER_WORKER = 4 << 20
"""Room for the batches that a worker has ready."""


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
    if table is None or not table.weight.requires_grad or run.shards_weights:
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
        lr=settings.rate,
        betas=(settings.adam_beta1, settings.adam_beta2),
        eps=settings.adam_epsilon,
        weight_decay=settings.weight_decay,
    )


def require_launch(run: RunConfig) -> None:
    """Raise ConfigError if weights are to be sharded where that cannot be, before work starts.

    Or if a tracker is not installed, or the log cannot be written to.
    """
    if run.log_json is not None:
        try:
            run.log_json.open("a").close()
        except OSError as error:
            raise ConfigError(
                f"run.log_json {run.log_json}: {error.strerror}; expected a file in a folder that "
                "is there"
            ) from error
    known = get_available_reporting_integrations()
    for tracker in run.trackers:
        if tracker not in known:
            here = ", ".join(name for name in known if name != "tensorboard") or "none"
            raise ConfigError(
                f"run.trackers: {tracker!r} is not installed, or no tracker that transformers "
                f"knows; here: {here}"
            )
    if run.fsdp and int(os.environ.get("WORLD_SIZE", "1")) < 2:
        raise ConfigError(
            f"run.fsdp {run.fsdp!r} shards weights over processes, and there is one; start it with "
            "'torchrun --nproc-per-node GPUS -m dnazen ...', or leave it out"
        )
    if run.deepspeed is not None:
        if not Path(run.deepspeed).is_file():
            raise ConfigError(f"run.deepspeed {run.deepspeed}: no such file")
        if find_spec("deepspeed") is None:
            raise ConfigError(
                "run.deepspeed needs deepspeed, which is not installed; run: pip install deepspeed"
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

    Raises
    ------
    ConfigError
        If the workers asked for have no shared memory to hand batches over.
    """
    _require_shared_memory(run.workers)
    if run.threads is not None:
        torch.set_num_threads(run.threads)
    hf_logging.set_verbosity_error()  # of checkpoints' times, which are no matter
    hf_logging.disable_progress_bar()  # of each checkpoint's one file
    options: dict[str, Any] = {"fsdp": run.fsdp} if run.fsdp else {}
    if run.gradient_checkpointing:  # transformers 5 gave the argument a new name on its way
        renamed = hasattr(TrainingArguments, "activation_checkpointing")
        options["activation_checkpointing" if renamed else "gradient_checkpointing"] = True
    return TrainingArguments(
        output_dir=str((directory / CHECKPOINTS).resolve()),
        learning_rate=optimizer.rate,
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
        report_to=list(run.trackers) or "none",  # TensorBoard's callback of ours names the folder
        run_name=directory.name,
        disable_tqdm=True,  # lines of ours stand in its place (progress.py)
        remove_unused_columns=False,
        restore_callback_states_from_checkpoint=True,  # how long patience has lasted
        **options,
        **more,
    )


def tensorboard(directory: Path) -> TensorBoardCallback:
    """Log a run to ``directory/logs`` for TensorBoard."""
    return TensorBoardCallback(SummaryWriter(str(directory / "logs")))


def json_lines(directory: Path, run: RunConfig) -> list[TrainerCallback]:
    """What writes the events of a run as JSON, if that is asked for."""
    return [] if run.log_json is None else [JsonLines(run.log_json, directory)]


def _require_shared_memory(workers: int) -> None:
    """Raise ConfigError if the workers would die, or wait for ever, for want of shared memory."""
    if workers and _SHARED_MEMORY.is_dir():
        free = shutil.disk_usage(_SHARED_MEMORY).free
        if free < workers * _SHARED_BYTES_PER_WORKER:
            raise ConfigError(
                f"run.workers {workers}: {_SHARED_MEMORY} has only {free >> 10:,} kB free; set "
                "run.workers to 0 or give it more (docker: --shm-size 1g)"
            )


@contextmanager
def training_under_way(directory: Path) -> Iterator[None]:
    """Keep the Trainer's log off stdout, and explain what befell a checkpoint or a worker.

    Raises
    ------
    OutputError
        If a checkpoint cannot be written below ``directory``.
    DnazenError
        If a process that prepares batches died.
    """
    try:
        with redirect_stdout(sys.stderr), weights_being_written(directory):
            yield
    except RuntimeError as error:
        if "DataLoader worker" in str(error):
            raise DnazenError(
                f"{directory}: a process that prepares batches died: memory, or {_SHARED_MEMORY}, "
                "was full; --resume with a lower --run.workers"
            ) from error
        if "inline_container" not in str(error):  # torch's writer, which names itself but no cause
            raise
        raise OutputError(
            f"{directory}: a checkpoint cannot be written; free some space and --resume the run"
        ) from error


def whole_model(trainer: Trainer, run: RunConfig) -> PreTrainedModel:
    """The trained model with all of its weights, on the process that leads.

    Every process must call it. Where weights are sharded, they are gathered on the processor, and
    the other processes get a model without.
    """
    model: PreTrainedModel = trainer.accelerator.unwrap_model(trainer.model)
    if not run.shards_weights:
        return model
    wrapped = trainer.model_wrapped
    weights = (
        trainer.accelerator.get_state_dict(wrapped) if run.deepspeed else whole_weights(wrapped)
    )
    whole: PreTrainedModel = type(model)(model.config)
    if weights:
        whole.load_state_dict(weights)
    return whole


def whole_weights(model: nn.Module) -> dict[str, Tensor]:
    """All weights of a model that is sharded by FSDP; none where this process does not lead."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    return cast(dict[str, Tensor], get_model_state_dict(model, options=options))


def end_distributed(trainer: Trainer) -> None:
    """End the talk between the processes of a distributed run, once all have come so far.

    A process that exits with the talk still open may be aborted by its own threads.
    """
    trainer.accelerator.wait_for_everyone()
    trainer.accelerator.end_training()
