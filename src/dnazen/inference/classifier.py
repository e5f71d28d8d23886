"""A fine-tuned model with all it needs, in the form that explanations and variants still take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from ..errors import InputError
from ..model.batches import Collator, Example
from ..model.directory import load_weights, open_directory, read_weights
from ..model.modeling import DnazenForSequenceClassification
from ..sequences.labelled import Task
from ..tokens.encoding import Tokens
from .prediction import MAX_TOKENS


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
