"""A class for every base of sequences of any length, by a model that was fine-tuned for it.

A sequence that is longer than the model reads at once is read in overlapping windows of tokens, and
each base is taken from the window in which it stands further from the end; nothing is cut.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from ..sequences.base_labels import NO_CLASS, Classes, is_base, spelt_classes
from ..sequences.inputs import InputRecord
from ..sequences.labelled import Task
from ..tokens.tokenizer import token_lengths
from .labels import probabilities
from .logits import by_sequence, mean_of_strands
from .opened import OpenedModel
from .settings import PredictionConfig
from .windows import WindowTokens, cut_to_windows, tokenise_strands, window_size

Logits = Float[np.ndarray, "letters labels"]


class Segment(NamedTuple):
    """A stretch of bases of one class that is not the background, as long as can be."""

    start: int
    end: int
    """0-based and half-open, in the sequence as it was given."""
    label: str
    probability: float
    """Mean over its bases, of this class."""


class BasePrediction:
    """What a fine-tuned model says of the bases of one sequence."""

    logits: Logits
    """A row a letter; NaN where it is no A, C, G or T."""

    def __init__(self, task: Task, logits: Logits) -> None:
        self.task = task
        self.logits = logits

    @classmethod
    def of(
        cls, task: Task, sequence: bytes, logits: Float[np.ndarray, "bases labels"]
    ) -> BasePrediction:
        """From the logits of a sequence's A, C, G and T alone."""
        on_letters = np.full((len(sequence), logits.shape[1]), np.nan, dtype=np.float32)
        on_letters[is_base(sequence)] = logits
        return cls(task, on_letters)

    def __repr__(self) -> str:
        return f"BasePrediction({len(self.logits):,} bases, {len(self.segments):,} segments)"

    def __len__(self) -> int:
        return len(self.logits)

    @cached_property
    def numbers(self) -> Classes:
        """The likeliest class of each letter, by number; -100 where it is no A, C, G or T."""
        known = ~np.isnan(self.logits[:, 0])
        likeliest = np.full(len(self.logits), NO_CLASS, dtype=np.int16)
        likeliest[known] = self.logits[known].argmax(axis=1)
        return likeliest

    @property
    def label(self) -> str:
        """The classes, spelt as labels are in the data: a character a base, or names joined by
        ``;``; ``.`` where a letter is no A, C, G or T."""
        return spelt_classes(self.numbers, self.task.label_names)

    @cached_property
    def chances(self) -> Float[np.ndarray, "letters labels"]:
        """The probability of each class of each letter; NaN where it is no A, C, G or T."""
        return probabilities("base_classification", self.logits)

    @property
    def probabilities(self) -> dict[str, Float[np.ndarray, "letters"]]:
        """The same by the name of the class."""
        return dict(zip(self.task.label_names, self.chances.T, strict=True))

    @property
    def segments(self) -> list[Segment]:
        """The stretches of each class but the background, from left to right."""
        return segments_of(self.task, self.numbers, self.chances)


def segments_of(
    task: Task, numbers: Classes, chances: Float[np.ndarray, "letters labels"]
) -> list[Segment]:
    """The stretches of letters of one class, but for the background; N ends one."""
    if not len(numbers):
        return []
    borders = np.flatnonzero(np.diff(numbers)) + 1
    starts, ends = [0, *borders.tolist()], [*borders.tolist(), len(numbers)]
    return [
        Segment(start, end, task.label_names[number], float(chances[start:end, number].mean()))
        for start, end in zip(starts, ends, strict=True)
        if (number := int(numbers[start])) != NO_CLASS
        and task.label_names[number] != task.background
    ]


def predict_bases(
    model: OpenedModel, records: Iterable[InputRecord], config: PredictionConfig
) -> Iterator[tuple[InputRecord, BasePrediction | None]]:
    """Yield each record with its prediction; ``None`` for one without A, C, G or T.

    Memory is that of the longest record, about 12 bytes a base and class.

    Raises
    ------
    InputError
        If the model does not classify bases, or gives logits that are not finite.
    """
    network, task = model.base_classifier, model.task
    lengths = token_lengths(model.tokenizer)
    both = model.config.strands == "average"

    def forward(
        inputs: dict[str, Tensor], batch: Sequence[WindowTokens]
    ) -> list[Float[np.ndarray, "bases labels"]]:
        rows_of = by_sequence(network(**inputs), len(batch))
        return [core(window, rows, lengths) for window, rows in zip(batch, rows_of, strict=True)]

    strands = tokenise_strands(model.tokenizer, records, both_strands=both)
    windows = cut_to_windows(strands, *window_size(model.config, config.max_tokens, None))
    results = model.run(windows, forward, tokens_per_batch=config.tokens_per_batch)
    for _, of_record in itertools.groupby(results, lambda result: result[0].strand.number):
        by_strand: dict[bool, list[Float[np.ndarray, "bases labels"]]] = {}
        for window, rows in of_record:
            record = window.strand.record
            if rows is not None:
                by_strand.setdefault(window.strand.reverse, []).append(rows)
        if not by_strand:
            yield record, None
            continue
        logits = mean_of_strands([np.concatenate(parts) for parts in by_strand.values()])
        model.require_finite(logits, record.source)
        yield record, BasePrediction.of(task, record.sequence, logits)


def core(
    window: WindowTokens,
    rows: Float[np.ndarray, "bases labels"],
    lengths: Int[np.ndarray, "vocabulary"],
) -> Float[np.ndarray, "core_bases labels"]:
    """The rows of the bases that a window answers for."""
    start, _, core_start, core_end = window.window
    tokens = window.strand.tokens
    before = int(lengths[tokens[start:core_start]].sum())
    return rows[before : before + int(lengths[tokens[core_start:core_end]].sum())]
