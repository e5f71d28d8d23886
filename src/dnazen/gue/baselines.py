"""Baselines without pre-training: logistic regression on k-mers, and a small CNN on bases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from ..model.batches import Example
from ..sequences.alphabet import Counts, normalise
from ..sequences.splits import Split, Splits
from ..tokens.encoding import EncodedExamples
from ..training.finetune import EncodedSplits, Learner
from ..training.metrics import score

LONGEST_KMER = 6
REGULARISATIONS = (0.1, 1.0, 10.0, 100.0)
"""Inverse strengths of the ridge penalty that dev chooses from."""

_PAD = 5
_CODES = np.full(256, 4, dtype=np.uint16)  # A C G T are 0-3, anything else is 4
_CODES[np.frombuffer(b"ACGT", dtype=np.uint8)] = range(4)


class KmerFit(NamedTuple):
    """A fitted k-mer regression."""

    dev: Float[np.ndarray, "examples classes"]
    """Logits."""
    test: Float[np.ndarray, "examples classes"]
    """Logits."""
    regularisation: float
    """The one of ``REGULARISATIONS`` with the best dev score."""
    parameters: int


def fit_kmers(splits: Splits, metric: str) -> KmerFit:
    """Fit a logistic regression on the frequencies of all 1- to 6-mers; nothing in it is random.

    Decided here: frequencies are weighted by inverse document frequency and scaled to unit length
    (scikit-learn's TF-IDF), and the strength of the ridge penalty is chosen by ``metric`` on dev,
    the stronger of equals.

    Parameters
    ----------
    metric
        A score of classes where more is better.
    """
    kmers = TfidfVectorizer(analyzer="char", ngram_range=(1, LONGEST_KMER), lowercase=False)
    train = kmers.fit_transform(_texts(splits.train))
    dev, test = (kmers.transform(_texts(split)) for split in (splits.dev, splits.test))
    best: tuple[float, KmerFit] | None = None
    for strength in REGULARISATIONS:
        model = LogisticRegression(C=strength, max_iter=1000)
        model.fit(train, np.array(splits.train.labels))
        fitted = KmerFit(
            _logits(model, dev),
            _logits(model, test),
            strength,
            model.coef_.size + model.classes_.size,
        )
        dev_scores = score("single_label_classification", np.array(splits.dev.labels), fitted.dev)
        if best is None or dev_scores[metric] > best[0]:
            best = dev_scores[metric], fitted
    assert best is not None
    return best[1]


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
        self, input_ids: Int[Tensor, "batch bases"], labels: Int[Tensor, "batch"] | None = None
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
        loss = None if labels is None else cross_entropy(logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def cnn_learner(splits: Splits) -> Learner:
    """The small CNN, from random weights; its tokens are bases."""
    classes = len(splits.task.label_names)
    return Learner(
        EncodedSplits(*(_bases(split) for split in splits.parts.values())),
        _pad,
        lambda: CnnClassifier(CnnConfig(num_labels=classes)),
    )


def _texts(split: Split) -> list[str]:
    return [normalise(row.sequences[0])[0].decode() for row in split.table.rows]


def _logits(model: LogisticRegression, features: Any) -> Float[np.ndarray, "examples classes"]:
    decision: Float[np.ndarray, "..."] = model.decision_function(features)
    return np.stack([np.zeros_like(decision), decision], axis=1) if decision.ndim == 1 else decision


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
