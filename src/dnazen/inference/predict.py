"""``dnazen predict``: labels and probabilities of sequences, in constant memory."""

from __future__ import annotations

import contextlib
import csv
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TextIO

import numpy as np
import torch
import tyro
from jaxtyping import Float
from scipy.special import expit, softmax
from tokenizers import Tokenizer
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedModel

from ..errors import ConfigError, InputError
from ..model.batches import Collator, Example
from ..model.directory import load_weights, open_directory, read_weights
from ..model.modeling import DnazenForSequenceClassification
from ..outputs import new_file
from ..sequences.alphabet import Counts
from ..sequences.inputs import InputRecord, Inputs, TiledInputConfig
from ..sequences.labelled import Label, ProblemType, Task, spelt
from ..sequences.regions import Region
from ..tokens.encoding import (
    EncodedExamples,
    Length,
    Tokens,
    TooLong,
    check_max_tokens,
    encode_examples,
)

MAX_TOKENS = 1024
"""The longest example by default: about 5 kb. Attention takes memory with the square of it."""

POOL = 16
"""Batches' worth of records that are read together, so that like lengths share a batch."""

MISSING = "NA"
"""Stands for the prediction of a record without a base."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig(TiledInputConfig):
    """Predict labels with a fine-tuned model.

    Writes a table with a row per record in the order of the input: name, prediction, and a
    column p_LABEL with the probability of each label (none in regression). Of regions and tiles,
    chrom, start, end (0-based, half-open) and strand stand before the prediction.
    """

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL_DIR")]
    """Directory that 'dnazen finetune' wrote."""
    sequences: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="SEQUENCES...")
    ]
    """FASTA, FASTQ, table with a column 'sequence', or a sequence a line; plain, gzip or bgzip;
    2bit; '-' for stdin. A model of pairs takes columns sequence_1 and sequence_2, or two records
    after each other."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("-")
    """Table to write, tab-separated; '-' for stdout."""
    batch_size: int = 32
    """Records per batch; changes memory and speed, not the numbers."""
    max_tokens: int | None = None
    """Longest record, [CLS] and [SEP] included; by default that of the fine-tuning."""
    too_long: TooLong = "refuse"
    """Refuse longer records, or cut them and count; tile_bp reads them in parts."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: a GPU where there is one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.batch_size < 1:
            raise ConfigError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.max_tokens is not None:
            check_max_tokens(self.max_tokens)


class Classifier(NamedTuple):
    """A fine-tuned model with all it needs."""

    model: DnazenForSequenceClassification
    task: Task
    tokenizer: Tokenizer
    collator: Collator
    max_tokens: int
    """Longest example of its fine-tuning."""
    sequences_per_example: int
    """1, or 2 for pairs."""


def predict(config: PredictConfig) -> None:
    """Run ``dnazen predict``.

    Raises
    ------
    InputError
        If the model is not a fine-tuned one, a file is no sequence file, or a record is too long.
    ConfigError
        If tiles are asked for and the model reads pairs.
    OutputError
        If the table cannot be written.
    """
    inputs = Inputs(config.sequences, config)
    cuda = config.device == "auto" and torch.cuda.is_available()
    classifier = open_classifier(config.model, "cuda" if cuda else "cpu")
    if config.tile_bp is not None and classifier.sequences_per_example != 1:
        raise ConfigError("tile_bp: the model reads pairs; expected a model of one sequence")
    limit = classifier.max_tokens if config.max_tokens is None else config.max_tokens
    length = Length(limit, config.too_long)
    counts, rows, empty, cut = Counts(), 0, 0, 0
    with (
        _table(config.output) as handle,
        tqdm(desc="predicting", unit=" records", unit_scale=True, disable=None) as progress,
    ):
        table = PredictionTable(
            handle, classifier.task, with_labels=False, with_places=config.by_part
        )
        for records, encoded in _pools(inputs, classifier, length, POOL * config.batch_size):
            found = predict_by_length(
                classifier.model, classifier.collator, encoded.tokens, config.batch_size
            )
            for record, logits in zip(records, found, strict=True):
                place = record.region if config.by_part else None
                table.write(record.name, logits, place=place)
                empty += logits is None
            counts = counts.plus(encoded.counts)
            rows += len(records)
            cut += encoded.cut
            progress.update(len(records))
    print(
        f"{rows:,} predictions, {empty:,} of them {MISSING} (no A, C, G or T), {cut:,} from "
        f"sequences cut to {limit} tokens ({counts.told()}; {inputs.padded:,} bp off the contigs "
        "read as N)",
        file=sys.stderr,
    )


def open_classifier(directory: Path, device: str) -> Classifier:
    """Open a fine-tuned model, ours or a released one, for prediction.

    Raises
    ------
    InputError
        If the directory is no fine-tuned model, or a part of it is missing or damaged.
    """
    parts = open_directory(directory)
    weights = read_weights(directory, parts.config)
    if not any(name.startswith("classifier.") for name in weights):
        raise InputError(
            "a model without a classifier",
            path=directory,
            expected="a fine-tuned model",
            fix="fine-tune it with 'dnazen finetune'",
        )
    model = DnazenForSequenceClassification(parts.config)
    load_weights(model, weights, directory, may_miss=())
    model.eval().to(device)
    config = parts.config
    names = tuple(config.id2label[i] for i in range(config.num_labels))
    return Classifier(
        model=model,
        task=Task(config.problem_type or "single_label_classification", names),
        tokenizer=parts.tokenizer,
        collator=Collator.of(parts),
        max_tokens=config.max_tokens or MAX_TOKENS,
        sequences_per_example=config.sequences_per_example,
    )


@torch.inference_mode()
def predict_logits(
    model: PreTrainedModel,
    collator: Callable[[Sequence[Example]], dict[str, Tensor]],
    tokens: Sequence[Tokens],
) -> list[Float[np.ndarray, "labels"] | None]:
    """The logits of one batch of examples in float32; ``None`` for those without tokens.

    The model must be in evaluation mode.
    """
    present = [number for number, some in enumerate(tokens) if len(some)]
    found: list[Float[np.ndarray, "labels"] | None] = [None] * len(tokens)
    if present:
        batch = collator([Example(tokens[number]) for number in present])
        output = model(**{name: tensor.to(model.device) for name, tensor in batch.items()})
        for number, logits in zip(present, output.logits.float().cpu().numpy(), strict=True):
            found[number] = logits
    return found


def predict_by_length(
    model: PreTrainedModel,
    collator: Callable[[Sequence[Example]], dict[str, Tensor]],
    tokens: Sequence[Tokens],
    batch_size: int,
) -> list[Float[np.ndarray, "labels"] | None]:
    """``predict_logits`` of any number of examples, in batches of like length; order is kept."""
    order = np.argsort([-len(some) for some in tokens], kind="stable")
    found: list[Float[np.ndarray, "labels"] | None] = [None] * len(tokens)
    for start in range(0, len(order), batch_size):
        numbers = order[start : start + batch_size]
        logits = predict_logits(model, collator, [tokens[number] for number in numbers])
        for number, some in zip(numbers, logits, strict=True):
            found[number] = some
    return found


class PredictionTable:
    """Writes predictions as they come: name, place and label where known, then the prediction."""

    def __init__(
        self, handle: TextIO, task: Task, *, with_labels: bool, with_places: bool = False
    ) -> None:
        self.task = task
        self._rows = csv.writer(handle, delimiter="\t", lineterminator="\n")
        places = Region._fields if with_places else ()
        columns = ["name", *places, *(["label"] if with_labels else []), "prediction"]
        if task.problem_type != "regression":
            columns += [f"p_{name}" for name in task.label_names]
        self._rows.writerow(columns)

    def write(
        self,
        name: str,
        logits: Float[np.ndarray, "labels"] | None,
        label: Label | None = None,
        place: Region | None = None,
    ) -> None:
        """Write one row; ``MISSING`` in every column of a prediction that there is none of."""
        cells = [name, *map(str, place or ())]
        if label is not None:
            cells.append(spelt(self.task, label))
        if logits is None:
            regression = self.task.problem_type == "regression"
            cells += [MISSING] * (1 if regression else 1 + len(self.task.label_names))
        else:
            cells += _cells(self.task, logits)
        self._rows.writerow(cells)


def predicted(task: Task, logits: Float[np.ndarray, "labels"]) -> str:
    """The prediction, spelt as labels are in the data."""
    if task.problem_type == "regression":
        return spelt(task, logits.tolist())
    several = task.problem_type == "multi_label_classification"
    label: Label = (logits > 0).astype(float).tolist() if several else int(logits.argmax())
    return spelt(task, label)


def probabilities(
    problem_type: ProblemType, logits: Float[np.ndarray, "examples labels"]
) -> Float[np.ndarray, "examples labels"]:
    """Probability of each class (they add up to 1) or of each label; in float64."""
    logits = np.asarray(logits, dtype=np.float64)
    independent = problem_type == "multi_label_classification"
    found: Float[np.ndarray, "examples labels"] = (
        expit(logits) if independent else softmax(logits, axis=1)
    )
    return found


def _cells(task: Task, logits: Float[np.ndarray, "labels"]) -> list[str]:
    """The prediction and the probabilities."""
    if task.problem_type == "regression":
        return [predicted(task, logits)]
    likely = probabilities(task.problem_type, logits[None])[0]
    return [predicted(task, logits), *(f"{probability:.7g}" for probability in likely)]


def _pools(
    inputs: Inputs, classifier: Classifier, length: Length, size: int
) -> Iterator[tuple[list[InputRecord], EncodedExamples]]:
    """The records, or the first ones of pairs, ``size`` at a time, and the tokens of them all."""
    for part in inputs.parts():
        examples = _examples(part, classifier.sequences_per_example)
        while some := list(itertools.islice(examples, size)):
            firsts = [example[0] for example in some]
            letters = [tuple(record.sequence for record in example) for example in some]
            places = [record.source for record in firsts]
            yield firsts, encode_examples(classifier.tokenizer, letters, length, places)


def _examples(records: Iterator[InputRecord], size: int) -> Iterator[tuple[InputRecord, ...]]:
    """Records one by one, or two by two."""
    while example := tuple(itertools.islice(records, size)):
        if len(example) < size:
            raise InputError(
                f"{example[0].source} has no partner",
                expected="pairs: columns sequence_1 and sequence_2, or two records each",
            )
        yield example


@contextlib.contextmanager
def _table(path: Path) -> Iterator[TextIO]:
    """A file that is whole or absent, or standard output."""
    if str(path) == "-":
        yield sys.stdout
        return
    with new_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        yield handle
