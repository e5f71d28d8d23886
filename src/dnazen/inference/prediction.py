"""Labels and probabilities of sequences, by a fine-tuned model, in constant memory."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn

from ..errors import InputError
from ..model.batches import Example
from ..sequences.alphabet import Counts
from ..sequences.inputs import InputRecord, records_of
from ..settings import settings_or_default
from ..tokens.encoding import Length
from ..tokens.strands import encode_strands
from ..tokens.tokenizer import CHUNK_BP, grouped
from .base_prediction import BasePrediction, predict_bases
from .labels import predicted, probabilities
from .logits import Logits, by_sequence, mean_of_strands
from .loop import Collate, run
from .opened import OpenedModel, opened
from .settings import TOKENS_PER_BATCH, PredictionConfig

MAX_TOKENS = 1024
"""The longest example by default: about 5 kb. Attention takes memory with the square of it."""

_RECORD_COST_BP = 8000
"""What a record costs in memory beside its letters, in bases; some hundred are read together."""


class Prediction(NamedTuple):
    """What a fine-tuned model says of one sequence."""

    label: str
    """Spelt as labels are in the data."""
    probabilities: dict[str, float]
    """Of each label, by its name; none in regression."""
    logits: Logits
    """One per class or label; in regression the predicted numbers."""


class PredictedRecords(NamedTuple):
    """Some records with their logits, and what was done to them."""

    records: list[InputRecord]
    """The first one of each pair, where the model reads pairs."""
    logits: list[Logits | None]
    """``None`` for a record without A, C, G or T."""
    counts: Counts
    cut: int
    """Records that lost tokens."""


def predict(
    model: str | Path | OpenedModel,
    sequences: Iterable[str | bytes],
    config: PredictionConfig | None = None,
) -> list[Prediction | BasePrediction | None]:
    """Predict the labels of sequences, or of their bases; ``None`` without A, C, G or T.

    A model of pairs takes the two sequences of each pair one after the other. A model that
    classifies bases gives a ``BasePrediction`` each.

    Raises
    ------
    InputError
        If the model cannot be opened or is not fine-tuned, a sequence holds a character that is
        no nucleotide, or it is too long and may not be cut.
    """
    model = opened(model)
    config = settings_or_default(config, PredictionConfig)
    if model.base_classifier_network is not None:
        return [calls for _, calls in predict_bases(model, records_of(sequences), config)]
    return [
        None if logits is None else _prediction(model, logits)
        for part in predictions(model, iter(records_of(sequences)), config)
        for logits in part.logits
    ]


def predictions(
    model: OpenedModel, records: Iterator[InputRecord], config: PredictionConfig
) -> Iterator[PredictedRecords]:
    """Yield the logits of records, some hundred at a time, in order.

    Raises
    ------
    InputError
        If the model is not fine-tuned or gives logits that are not finite, a record is too long
        and may not be cut, or the last one of pairs has no partner.
    """
    length = Length(longest(model, config), config.too_long)
    examples = _examples(records, model.config.sequences_per_example)
    for batch in grouped(examples, _cost_bp, CHUNK_BP):
        firsts = [example[0] for example in batch]
        letters = [tuple(record.sequence for record in example) for example in batch]
        sources = [record.source for record in firsts]
        both = model.config.strands == "average"
        strands = encode_strands(model.tokenizer, letters, length, sources, both=both)
        logits = mean_logits(
            model.classifier,
            model.collator,
            [[Example(tokens) for tokens in strand.tokens] for strand in strands],
            tokens_per_batch=config.tokens_per_batch,
        )
        for source, record_logits in zip(sources, logits, strict=True):
            if record_logits is not None:
                model.require_finite(record_logits, source)
        yield PredictedRecords(firsts, logits, strands[0].counts, strands[0].cut)


def longest(model: OpenedModel, config: PredictionConfig) -> int:
    """The most tokens that a record may have, [CLS] and [SEP] included."""
    return config.max_tokens or model.config.max_tokens or MAX_TOKENS


def mean_logits(
    network: nn.Module,
    collate: Collate,
    strands: Sequence[Sequence[Example]],
    *,
    tokens_per_batch: int = TOKENS_PER_BATCH,
) -> list[Logits | None]:
    """``logits_of`` of each example, the mean over its strands."""
    by_strand = [
        logits_of(network, collate, examples, tokens_per_batch=tokens_per_batch)
        for examples in strands
    ]
    return [
        None if any(rows is None for rows in each) else mean_of_strands(each)
        for each in zip(*by_strand, strict=True)
    ]


def logits_of(
    network: nn.Module,
    collate: Collate,
    examples: Iterable[Example],
    *,
    tokens_per_batch: int = TOKENS_PER_BATCH,
) -> list[Logits | None]:
    """The logits of a classifier in float32; ``None`` for examples without tokens.

    Parameters
    ----------
    network
        Any module that gives an output with ``logits``: (batch, labels), or those of bases, in
        ``BaseClassifierOutput``, of which each example gets its own.
    collate
        Makes its inputs.
    """

    def forward(inputs: dict[str, Tensor], batch: Sequence[Example]) -> list[Logits]:
        return by_sequence(network(**inputs), len(batch))

    results = run(network, collate, examples, forward, tokens_per_batch=tokens_per_batch)
    return [logits for _, logits in results]


def _prediction(model: OpenedModel, logits: Logits) -> Prediction:
    task = model.task
    if task.problem_type == "regression":
        return Prediction(predicted(task, logits), {}, logits)
    likely = probabilities(task.problem_type, logits[None])[0]
    by_label = dict(zip(task.label_names, likely.tolist(), strict=True))
    return Prediction(predicted(task, logits), by_label, logits)


def _cost_bp(example: tuple[InputRecord, ...]) -> int:
    return _RECORD_COST_BP + sum(len(record.sequence) for record in example)


def _examples(records: Iterator[InputRecord], size: int) -> Iterator[tuple[InputRecord, ...]]:
    """Records one by one, or two by two."""
    while example := tuple(itertools.islice(records, size)):
        if len(example) < size:
            raise InputError(
                f"{example[0].source} has no partner",
                expected="pairs: columns sequence_1 and sequence_2, or two records each",
            )
        yield example
