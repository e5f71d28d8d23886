"""A head on an encoder that stands still: every sequence is read once, and its vector kept.

What is trained is the pooler and the classifier, on vectors in memory; a training takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel, set_seed
from transformers.modeling_outputs import SequenceClassifierOutput

from ..inference.loop import run
from ..model.batches import Example
from ..model.classifier import classifier_dropout
from ..model.configuration import DnazenConfig
from ..model.modeling import DnazenForSequenceClassification, DnazenPreTrainedModel
from ..model.settings import Strands
from ..sequences.splits import Splits
from .learner import Learner, dnazen_learner
from .settings import FinetuneConfig


class HeadOnVectors(DnazenPreTrainedModel):
    """The head of ``DnazenForSequenceClassification``, given what it reads."""

    def build(self, config: DnazenConfig) -> None:
        """Make the parts."""
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    def forward(
        self, vectors: Float[Tensor, "batch hidden"], labels: Tensor | None = None
    ) -> SequenceClassifierOutput:
        """Logits (batch, labels); the loss is the trainer's."""
        pooled = torch.tanh(self.pooler(vectors))
        return SequenceClassifierOutput(logits=self.classifier(self.dropout(pooled)))


def probe_learner(
    model: str | Path, splits: Splits, config: FinetuneConfig, strands: Strands = "forward"
) -> Learner:
    """The head of a DNAZEN model; the encoder is as the directory has it.

    Raises
    ------
    InputError
        If the model cannot be read, or an example is too long.
    """
    whole = dnazen_learner(model, splits, config, strands)
    set_seed(config.run.seed)
    network = whole.fresh()
    assert isinstance(network, DnazenForSequenceClassification)
    examples = {
        tokens.tobytes(): Example(tokens)
        for encoded in whole.strands
        for split in encoded
        for tokens in split.tokens
    }
    vectors = dict(zip(examples, _vectors(network, whole, list(examples.values())), strict=True))

    def collate(batch: Sequence[Example]) -> dict[str, Tensor]:
        rows = np.stack([vectors[example.tokens.tobytes()] for example in batch])
        inputs = {"vectors": torch.from_numpy(rows)}
        if batch[0].label is not None:
            inputs["labels"] = torch.tensor([example.label for example in batch])
        return inputs

    def finished(head: PreTrainedModel) -> PreTrainedModel:
        network.load_state_dict(head.state_dict(), strict=False)
        return network

    return whole._replace(
        collator=collate,
        fresh=lambda: HeadOnVectors(network.config),
        finished=finished,
        reader=whole.collator,
    )


def _vectors(
    network: DnazenForSequenceClassification, learner: Learner, examples: list[Example]
) -> list[Float[np.ndarray, "hidden"]]:
    """What the head reads of each example."""

    def forward(
        inputs: dict[str, Tensor], batch: Sequence[Example]
    ) -> list[Float[np.ndarray, "hidden"]]:
        return list(network.read(**inputs)[0].float().cpu().numpy())

    results = run(network, learner.collator, examples, forward)
    return [vector for _, vector in results if vector is not None]
