"""One cell of a benchmark: a model fine-tuned on a task with a seed, scored, and its cost."""

from __future__ import annotations

import platform
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel

from ..inference.labels import PredictionTable
from ..model.batches import Example
from ..outputs import new_directory
from ..records import plain, read_json, run_record, write_json
from ..sequences.settings import LabelConfig, SplitConfig
from ..sequences.splits import Splits, load_splits
from ..tables import new_table
from ..training.finetune import announce, fit
from ..training.kmers import plan_kmers
from ..training.learner import Learner
from ..training.metrics import Scores
from ..training.settings import FinetuneConfig
from ..training.trainer import use_bf16
from .data import TASK_FILE
from .forms import TASK_FORM
from .models import finetuning_of, learner_of
from .settings import BenchmarkModel

CELL_FILE = "cell.json"
"""Written last: a directory that has it is a finished cell."""
PREDICTIONS_FILE = "test_predictions.tsv"

_FLOPS_EXAMPLES = 32
_BYTES_PER_MAXRSS = 1 if sys.platform == "darwin" else 1024


class Cell(NamedTuple):
    """What to run."""

    model: BenchmarkModel
    task: str
    data: Path
    """A directory that ``gue.data.prepare`` wrote."""
    output: Path
    """The cell's directory."""
    config: FinetuneConfig
    model_sha256: str | None = None
    """Of a model in a directory; of another, its source tells which it is."""

    @property
    def identity(self) -> dict[str, Any]:
        """All that the result depends on, but for versions and hardware."""
        prepared = read_json(self.data / TASK_FILE, "a prepared task", TASK_FORM)
        settings = plain(finetuning_of(self.model, self.config))
        run = {key: settings["run"][key] for key in ("seed", "precision", "gradient_accumulation")}
        return {
            "kind": self.model.kind,
            "model": self.model_sha256 or self.model.source,
            "task": self.task,
            "data": [source["sha256"] for source in prepared["sources"]],
            "rows": prepared["rows"],
            "settings": settings | {"run": run},
        }


class Outcome(NamedTuple):
    """How a cell came out."""

    test: Scores
    dev: Scores
    logits: Float[np.ndarray, "rows labels"]
    """Of the rows of test."""
    epochs: float
    """Passes over train that were made, those over the other strand counted too."""
    best_epoch: float | None
    parameters: int
    strands: int
    """That are read of each sequence."""
    flops_per_strand: float
    """Multiply-adds count twice; forward alone."""
    more: dict[str, Any]
    """For the record: the learning rate, and how the logits came about."""


def run_cell(cell: Cell) -> None:
    """Run a cell and write its directory, whole or not at all.

    Raises
    ------
    InputError
        If model or data cannot be read.
    OutputError
        If the directory is taken or cannot be written.
    """
    began = time.perf_counter()
    _sweep(cell.output)
    with new_directory(cell.output) as directory:
        config = finetuning_of(cell.model, cell.config)
        splits = load_splits(cell.data, LabelConfig(), SplitConfig())
        work = _kmers if cell.model.kind == "kmer" else _fine_tuned
        outcome = work(cell.model, config, splits, directory)
        _write_predictions(directory, splits, outcome.logits)
        seconds = time.perf_counter() - began
        rows = {name: len(part.labels) for name, part in splits.parts.items()}
        read = outcome.epochs * rows["train"]
        cuda = torch.cuda.is_available() and config.run.device == "auto"
        record = run_record(
            "gue run",
            cell.identity,
            splits.inputs,
            data_state=read_json(cell.data / TASK_FILE, "a prepared task", TASK_FORM)["said"],
            arm=cell.model.name,
            task=cell.task,
            seed=config.run.seed,
            rows=rows,
            duplicates=splits.duplicates,
            label_names=splits.task.label_names,
            test={name: _number(value) for name, value in outcome.test.items()},
            dev={name: _number(value) for name, value in outcome.dev.items()},
            best_epoch=outcome.best_epoch,
            **outcome.more,
            cost={
                "seconds": seconds,
                "peak_memory_bytes": _BYTES_PER_MAXRSS
                * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
                "peak_gpu_memory_bytes": torch.cuda.max_memory_allocated() if cuda else None,
                "parameters": outcome.parameters,
                "flops_per_sequence": outcome.strands * outcome.flops_per_strand,
                # The usual estimate: backward costs twice the forward pass.
                "training_flops": 3 * read * outcome.flops_per_strand,
                "threads": torch.get_num_threads(),
                "device": torch.cuda.get_device_name() if cuda else platform.processor() or "CPU",
                "bf16": use_bf16(config.run),
            },
        )
        write_json(directory / CELL_FILE, record)


def _sweep(output: Path) -> None:
    """Remove what a killed process left of this cell."""
    for left in output.parent.glob(f".{output.name}.*.partial"):
        shutil.rmtree(left, ignore_errors=True)


def _fine_tuned(
    model: BenchmarkModel, config: FinetuneConfig, splits: Splits, directory: Path
) -> Outcome:
    strands, kmers = config.strands, None
    if strands == "auto" or (model.has_directory and config.kmers):  # others hold no k-mers
        plan = plan_kmers(splits, config)
        strands, kmers = plan.strands, plan.blended
    learner = learner_of(model, config, splits, strands)
    announce(learner, splits, config)
    fitted = fit(learner, splits, config, directory, kmers=kmers, resumable=False)
    assert fitted is not None  # one process
    write_json(directory / "history.json", {"log": fitted.history})
    return Outcome(
        fitted.test,
        fitted.dev,
        fitted.logits,
        fitted.epochs * len(learner.strands),
        fitted.best_epoch,
        sum(p.numel() for p in fitted.model.parameters()),
        len(learner.strands),
        flops_per_sequence(fitted.model, learner),
        {
            "learning_rate": fitted.rate.learning_rate,
            "restarts": fitted.restarts,
            "strands": strands,
            "blend": fitted.blend._asdict(),
            "deep": {name: _number(value) for name, value in fitted.deep.items()},
        },
    )


def _kmers(_: BenchmarkModel, config: FinetuneConfig, splits: Splits, __: Path) -> Outcome:
    fitted = plan_kmers(splits, config).baseline
    return Outcome(
        fitted.test_scores,
        fitted.dev_scores,
        fitted.test,
        0,
        None,
        fitted.parameters,
        1,
        2.0 * fitted.parameters,
        {"learning_rate": 0.0, "strands": fitted.strands, "strength": fitted.strength},
    )


def _write_predictions(
    directory: Path, splits: Splits, logits_by_row: Float[np.ndarray, "rows labels"]
) -> None:
    with new_table(directory / PREDICTIONS_FILE) as write:
        table = PredictionTable(write, splits.task, with_labels=True)
        rows = zip(splits.test.table.rows, logits_by_row, splits.test.labels, strict=True)
        for row, logits, label in rows:
            table.write(row.name, logits, label)


@torch.no_grad()
def flops_per_sequence(model: PreTrainedModel, learner: Learner) -> float:
    """Floating-point operations of a forward pass, mean over the first 32 test sequences.

    Counted are matrix products, convolutions and attention, a multiply-add as two.
    """
    sequences = learner.encoded.test.tokens[:_FLOPS_EXAMPLES]
    batch = learner.collator([Example(tokens) for tokens in sequences])
    # The fused kernel of CPUs is not known to the counter; its sum, spelt out, is.
    with sdpa_kernel([SDPBackend.MATH]), FlopCounterMode(display=False) as counter:
        model(**{name: tensor.to(model.device) for name, tensor in batch.items()})
    return float(counter.get_total_flops()) / len(sequences)


def _number(value: float | None) -> float | None:
    """The value with NaN, which JSON lacks, as null."""
    return None if value is None or value != value else value
