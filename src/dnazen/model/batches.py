"""From token ids to the tensors a model reads: matching, masking, padding, and batches.

Every random number of a batch comes from the seed and the names of its examples, so a batch is
the same however many workers load it and wherever a run is resumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from ..ggrams.masking import NO_LABEL, mask
from ..ggrams.matching import Matcher
from ..ggrams.settings import MaskingConfig
from ..tokens.special import CLS, MASK, PAD, SEP
from .directory import ModelDirectory


class Example(NamedTuple):
    """One sequence on its way into a batch."""

    tokens: Int[np.ndarray, "tokens"]
    """Token ids without special tokens."""
    key: int = 0
    """Names the random numbers of its mask; of ``ggrams.masking.sequence_keys``."""
    label: int | float | Sequence[float] | Int[np.ndarray, "bases"] | None = None
    """Where bases have classes, those of each A, C, G and T that the tokens hold."""
    repeat: UInt8[np.ndarray, "tokens"] | None = None
    """1 for tokens of repeats, where that is known."""


@dataclass(frozen=True)
class Collator:
    """Makes batches: [CLS] tokens [SEP], masked if asked, G-grams matched, padded to the longest.

    Parameters
    ----------
    matcher
        Finds G-grams; ``None`` for E4BU alone.
    vocab_size
        Tokens, special ones included.
    max_ggrams
        Cap on the distinct G-grams of a sequence, from the front; ``None`` is no cap.
    masking
        How to hide positions for pre-training; ``None`` leaves the tokens as they are.
    masking_matcher
        Finds the G-grams that are hidden whole, if they are not those of ``matcher``: the
        E4BU-only twin of a run hides the same G-grams that it does not see.
    """

    matcher: Matcher | None
    vocab_size: int
    max_ggrams: int | None = None
    masking: MaskingConfig | None = None
    masking_matcher: Matcher | None = None

    @classmethod
    def of(cls, parts: ModelDirectory, **changes: Any) -> Collator:
        """The collator of a model directory's tokens and G-grams; ``changes`` win."""
        plain = cls(
            matcher=None if parts.vocabulary is None else Matcher(parts.vocabulary),
            vocab_size=parts.config.vocab_size,
            max_ggrams=parts.config.max_ggrams,
        )
        return replace(plain, **changes)

    def __call__(self, examples: Sequence[Example]) -> dict[str, Tensor]:
        """A batch under the names of the models' inputs.

        Labels are those of the masked-LM task when ``masking`` is set, of the examples otherwise
        (left out if they have none). With ``masking``, ``repeat`` tells the tokens of repeats, if
        the examples do.
        """
        lengths = np.array([len(e.tokens) + 2 for e in examples], dtype=np.int64)
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        tokens = np.empty(offsets[-1], dtype=np.int64)
        for example, start, end in zip(examples, offsets[:-1], offsets[1:], strict=True):
            tokens[start] = CLS
            tokens[start + 1 : end - 1] = example.tokens
            tokens[end - 1] = SEP
        width = int(lengths.max())
        cells = np.arange(offsets[-1]) + np.repeat(
            np.arange(len(examples)) * width - offsets[:-1], lengths
        )

        def box(values: Int[np.ndarray, "total"], empty: int) -> Tensor:
            out = np.full(len(examples) * width, empty, dtype=np.int64)
            out[cells] = values
            return torch.from_numpy(out.reshape(len(examples), width))

        batch: dict[str, Tensor] = {}
        matched = tokens
        if self.masking is not None:
            keys = np.array([e.key for e in examples], dtype=np.uint64)
            whole = self.matcher if self.masking_matcher is None else self.masking_matcher
            masked = mask(tokens, offsets, whole, keys, self.masking, self.vocab_size)
            matched = tokens = masked.tokens
            if self.masking.matches == "unhidden":
                matched = np.where(masked.labels == NO_LABEL, tokens, MASK)
            batch["labels"] = box(masked.labels, NO_LABEL)
            if examples[0].repeat is not None:
                repeat = np.zeros_like(tokens)
                for example, start, end in zip(examples, offsets[:-1], offsets[1:], strict=True):
                    repeat[start + 1 : end - 1] = example.repeat
                batch["repeat"] = box(repeat, 0)
        elif examples[0].label is not None:
            batch["labels"] = _labels([e.label for e in examples])
        batch["input_ids"] = box(tokens, PAD)
        batch["attention_mask"] = box(np.ones_like(tokens), 0)
        if self.matcher is not None:
            matches = self.matcher.match(matched, offsets, self.max_ggrams)
            batch["ggram_ids"] = torch.from_numpy(matches.ggram_ids)
            batch["ggram_offsets"] = torch.from_numpy(matches.slot_offsets)
            batch["cover_token"] = torch.from_numpy(cells[matches.cover_token])
            batch["cover_slot"] = torch.from_numpy(matches.cover_slot)
        return batch


def _labels(labels: Sequence[Any]) -> Tensor:
    """The labels of a batch, a row an example; classes of bases one example after the other."""
    if isinstance(labels[0], np.ndarray):
        return torch.from_numpy(np.concatenate(labels).astype(np.int64))
    return torch.tensor(labels)


def token_budget_batches(
    lengths: Int[np.ndarray, "examples"],
    tokens_per_batch: int,
    rng: np.random.Generator,
    pool: int = 64,
) -> list[Int[np.ndarray, "batch"]]:
    """Group examples of like length so that a padded batch stays within a token budget.

    Parameters
    ----------
    lengths
        Tokens of each example, special ones included.
    tokens_per_batch
        Bound on sequences x longest; an example longer than that is a batch of its own.
    pool
        Batches' worth of shuffled examples that are sorted together: more means less padding,
        fewer means more mixing.

    Returns
    -------
    Batches of example numbers in random order; every example stands in exactly one.
    """
    order = rng.permutation(len(lengths))
    if len(order) == 0:
        return []
    per_pool = max(1, pool * tokens_per_batch // max(1, int(lengths.mean())))
    batches = []
    for start in range(0, len(order), per_pool):
        members = order[start : start + per_pool]
        members = members[np.argsort(-lengths[members], kind="stable")]
        first = 0
        while first < len(members):
            count = max(1, tokens_per_batch // int(lengths[members[first]]))
            batches.append(members[first : first + count])
            first += count
    return [batches[i] for i in rng.permutation(len(batches))]
