"""A baseline without pre-training: a small CNN on bases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn.functional import one_hot
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from ..model.batches import Example
from ..model.losses import at_least_float32, classification_loss
from ..model.settings import Strands
from ..sequences.alphabet import Counts, normalise
from ..sequences.splits import Split, Splits
from ..tokens.encoding import EncodedExamples
from .finetune import Fitted, fit
from .learner import Learner, on_strands
from .settings import FinetuneConfig

LEARNING_RATE = 1e-3
EPOCHS = 10

_PAD = 5
_CODES = np.full(256, 4, dtype=np.uint16)  # A C G T are 0-3, anything else is 4
_CODES[np.frombuffer(b"ACGT", dtype=np.uint8)] = range(4)


class CnnConfig(PreTrainedConfig):
    """Shape of the small CNN."""

    model_type = "dnazen-cnn"

    def __init__(self, channels: int = 64, dropout: float = 0.2, **kwargs: Any) -> None:
        self.channels = channels
        self.dropout = dropout
        super().__init__(**kwargs)


class CnnClassifier(PreTrainedModel):
    """Two convolutions over one-hot bases (11 and 7 wide), their maximum, a linear layer."""

    config_class = CnnConfig

    def __init__(self, config: CnnConfig) -> None:
        super().__init__(config)
        width = config.channels
        self.first = nn.Conv1d(4, width, 11, padding="same")
        self.second = nn.Conv1d(width, width, 7, padding="same")
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(width, config.num_labels)
        self.post_init()

    def forward(
        self, input_ids: Int[Tensor, "batch bases"], labels: Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Logits (batch, labels), and the mean loss when ``labels`` are given.

        Padding changes nothing: it is all zeros, as what lies beyond a sequence's ends is, and is
        left out of the maximum.
        """
        bases = one_hot(input_ids, 6)[..., :4].transpose(1, 2).to(self.first.weight.dtype)
        padded = (input_ids == _PAD)[:, None]
        states = torch.relu(self.first(bases)).masked_fill(padded, 0.0)
        states = torch.relu(self.second(states)).masked_fill(padded, 0.0)
        logits = self.classifier(self.dropout(states.amax(dim=2)))
        loss = None
        if labels is not None:
            kind = self.config.problem_type or "single_label_classification"
            loss = classification_loss(at_least_float32(logits), labels, kind)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def cnn_learner(splits: Splits, strands: Strands = "forward") -> Learner:
    """The small CNN, from random weights; its tokens are bases."""
    task = splits.task
    return Learner(
        on_strands(_bases, splits, strands),
        _pad,
        lambda: CnnClassifier(
            CnnConfig(num_labels=len(task.label_names), problem_type=task.problem_type)
        ),
    )


def _bases(split: Split) -> EncodedExamples:
    counts = Counts()
    tokens = []
    for row in split.table.rows:
        clean, letter_counts = normalise(row.sequences[0])
        counts = counts.plus(letter_counts)
        tokens.append(_CODES[np.frombuffer(clean, dtype=np.uint8)])
    return EncodedExamples(tokens, counts, cut=0)


def _pad(examples: Sequence[Example]) -> dict[str, Tensor]:
    """A batch of bases, padded to the longest."""
    rows = [torch.from_numpy(example.tokens.astype(np.int64)) for example in examples]
    batch = {"input_ids": nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=_PAD)}
    if examples[0].label is not None:
        batch["labels"] = torch.tensor([example.label for example in examples])
    return batch


def cnn_settings(config: FinetuneConfig) -> FinetuneConfig:
    """How the CNN is trained where a model is trained by ``config``: as is usual for it.

    Decided here: a rate and a number of epochs of its own, for it starts from nothing and is cheap.
    """
    optimizer = replace(config.optimizer, learning_rate=LEARNING_RATE)
    return replace(config, optimizer=optimizer, epochs=EPOCHS)


def fit_cnn(splits: Splits, config: FinetuneConfig, directory: Path) -> Fitted | None:
    """Train and score the CNN; nothing of it is kept."""
    return fit(cnn_learner(splits), splits, cnn_settings(config), directory, resumable=False)
