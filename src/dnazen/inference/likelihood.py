"""What a model says of token sequences: masked log-likelihoods, final states and logits.

Sequences of like length share a batch, so padding is little; results do not depend on the batches.
Models must be in evaluation mode, and stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int
from torch import Tensor

from ..model.batches import Collator, Example, token_budget_batches
from ..model.modeling import IGNORED, DnazenForMaskedLM, DnazenForSequenceClassification
from ..tokens.encoding import Tokens
from ..tokens.special import MASK

TOKENS_PER_BATCH = 8192
"""Bound on sequences x longest of a batch: about 0.3 GB at base size."""


class HiddenToken(NamedTuple):
    """One token of a sequence, to be told from all the others."""

    tokens: Tokens
    """The whole sequence, without special tokens."""
    position: int
    """Index into ``tokens``."""


class Reading(NamedTuple):
    """What a model makes of one sequence."""

    states: Float32[np.ndarray, "tokens hidden"]
    """The last layer's, without those of [CLS] and [SEP]."""
    logits: Float32[np.ndarray, "labels"] | None
    """Of the classifier; ``None`` where the model has none."""


def hidden_log_likelihoods(
    model: DnazenForMaskedLM,
    collator: Collator,
    hidden: Sequence[HiddenToken],
    tokens_per_batch: int = TOKENS_PER_BATCH,
) -> Float64[np.ndarray, "hidden"]:
    """The log-probability of each hidden token, in nats, where it alone is [MASK].

    A forward pass sees one masked token a sequence, and the G-grams of the sequence so masked:
    those that hold the token are not seen (method.md section 6). The sum over some tokens of a
    sequence is their pseudo-log-likelihood (Salazar et al. 2020).
    """
    found = np.empty(len(hidden), dtype=np.float64)
    for batch in _batches([token.tokens for token in hidden], tokens_per_batch):
        some = [hidden[number] for number in batch]
        with torch.inference_mode():
            inputs = _inputs(collator, [_masked(*token) for token in some], model.device)
            labels = torch.full_like(inputs["input_ids"], IGNORED)
            true = torch.tensor([int(token.tokens[token.position]) for token in some])
            for row, token in enumerate(some):
                labels[row, token.position + 1] = true[row]  # [CLS] stands first
            logits = model(**inputs, labels=labels).logits.float()
            likely = logits.log_softmax(1).gather(1, true.to(model.device)[:, None])
        found[batch] = likely[:, 0].cpu().numpy()
    return found


def readings(
    model: DnazenForMaskedLM | DnazenForSequenceClassification,
    collator: Collator,
    sequences: Sequence[Tokens],
    tokens_per_batch: int = TOKENS_PER_BATCH,
) -> Iterator[tuple[int, Reading]]:
    """Yield the number of each sequence and its reading, in the order of the batches.

    Memory is one batch, however many the sequences.
    """
    for batch in _batches(sequences, tokens_per_batch):
        with torch.inference_mode():
            inputs = _inputs(collator, [sequences[number] for number in batch], model.device)
            if isinstance(model, DnazenForSequenceClassification):
                output = model(**inputs, output_hidden_states=True)
                states, logits = output.hidden_states[-1], output.logits.float().cpu().numpy()
            else:
                states, logits = model.dnazen(**inputs).last_hidden_state, None
        arrays = states.float().cpu().numpy()
        for row, number in enumerate(batch):
            inside = arrays[row, 1 : 1 + len(sequences[number])]
            yield int(number), Reading(inside, None if logits is None else logits[row])


def _masked(tokens: Tokens, position: int) -> Tokens:
    masked = tokens.copy()
    masked[position] = MASK
    return masked


def _batches(sequences: Sequence[Tokens], budget: int) -> list[Int[np.ndarray, "batch"]]:
    lengths = np.array([len(tokens) + 2 for tokens in sequences], dtype=np.int64)
    return token_budget_batches(lengths, budget, np.random.default_rng(0))


def _inputs(
    collator: Collator, sequences: Sequence[Tokens], device: torch.device
) -> dict[str, Tensor]:
    batch = collator([Example(tokens) for tokens in sequences])
    return {name: tensor.to(device) for name, tensor in batch.items()}
