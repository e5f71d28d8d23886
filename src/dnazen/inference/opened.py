"""A model opened for use: configuration, tokenizer, G-grams, weights and heads, read once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from jaxtyping import Num
from torch import Tensor

from ..errors import ConfigError, InputError
from ..ggrams.vocabulary import GGramVocabulary
from ..model.base_classifier import BaseClassifier
from ..model.batches import Collator
from ..model.classifier import SequenceClassifier
from ..model.configuration import DnazenConfig
from ..model.directory import open_directory
from ..model.encoder import FusedEncoder, Network
from ..model.masked_lm import MaskedLM
from ..model.source import ModelSource, find_model
from ..model.weights import is_foreign, load_weights, read_weights
from ..model.worth import weakness
from ..sequences.labelled import Task
from ..tokens.tokenizer import BaseTokenizer
from .loop import Item, Result, run
from .settings import TOKENS_PER_BATCH

if TYPE_CHECKING:
    from ..model.foreign_networks import ForeignEncoder, ForeignMaskedLM

_MASKED_LM_HEAD = ("head.",)
_CLASSIFIER_HEAD = ("pooler.", "classifier.", "base_head.", "kmers.", "neighbours.")


@dataclass(frozen=True, repr=False)
class OpenedModel:
    """All that a command or a caller needs of a model; ``OpenedModel.open`` makes one.

    The heads share one encoder. All networks are in evaluation mode, and stay so.
    """

    origin: ModelSource
    """What it was opened from."""
    config: DnazenConfig
    tokenizer: BaseTokenizer
    vocabulary: GGramVocabulary | None
    """The G-grams; ``None`` for E4BU alone."""
    collator: Collator
    """Makes batches of examples, their G-grams matched."""
    encoder: FusedEncoder | ForeignEncoder
    masked_lm_network: MaskedLM | ForeignMaskedLM | None
    """``masked_lm``, where the weights have that head."""
    classifier_network: SequenceClassifier | None
    """``classifier``, where the weights have that head."""
    base_classifier_network: BaseClassifier | None = None
    """``base_classifier``, where the weights have that head."""
    has_first_token: bool = True
    """Whether it reads a token before each sequence, as [CLS] is for ours."""

    @classmethod
    def open(cls, source: str | Path, device: str = "auto") -> Self:
        """Open a model, ours or a released one, a LoRA adapter, or another maker's encoder.

        Of the last, vectors, likelihoods and scores of changes are read with its own tokens; that
        it has no G-grams and no base view is said on stderr.

        Parameters
        ----------
        source
            A directory, or a name of the hub (``model.source.find_model``).
        device
            ``auto`` is a GPU where there is one; else a name of PyTorch's, such as ``cpu`` or
            ``cuda:1``.

        Raises
        ------
        InputError
            If it is no model, or a part of it is missing or damaged.
        ConfigError
            If there is no such device.
        """
        place = choose_device(device)
        origin = find_model(source)
        directory = origin.directory
        if is_foreign(directory):
            return cls._open_foreign(origin, place)
        parts = open_directory(directory)
        weights = read_weights(directory, parts.config)
        if (problem := weakness(directory)) is not None:
            print(f"warning: {source} {problem}", file=sys.stderr)
        masked_lm = classifier = base_classifier = None
        if parts.config.problem_type == "base_classification":
            base_classifier = BaseClassifier.of(parts.config)
            _load(base_classifier, weights, directory, without=_MASKED_LM_HEAD)
        elif _has(weights, "classifier."):
            classifier = SequenceClassifier.of(parts.config)
            _load(classifier, weights, directory, without=_MASKED_LM_HEAD)
        if _has(weights, "head."):
            masked_lm = MaskedLM.of(parts.config)
            tuned = classifier or base_classifier
            unused = () if tuned is None else _CLASSIFIER_HEAD
            _load(masked_lm, weights, directory, without=unused)
            if tuned is not None:
                masked_lm.dnazen = tuned.dnazen
        if masked_lm is not None:
            masked_lm.tie()
        headed = classifier or base_classifier or masked_lm
        if headed is None:
            encoder = FusedEncoder.of(parts.config)
            load_weights(encoder, weights, directory)
        else:
            encoder = headed.dnazen
        for network in (encoder, masked_lm, classifier, base_classifier):
            if network is not None:
                network.eval().to(place)
        return cls(
            origin=origin,
            config=parts.config,
            tokenizer=parts.tokenizer,
            vocabulary=parts.vocabulary,
            collator=Collator.of(parts),
            encoder=encoder,
            masked_lm_network=masked_lm,
            classifier_network=classifier,
            base_classifier_network=base_classifier,
        )

    @classmethod
    def _open_foreign(cls, origin: ModelSource, place: torch.device) -> Self:
        from ..model.foreign_networks import read_foreign

        foreign = read_foreign(origin.directory)
        print(
            f"note: {origin.name} is a model of the kind {foreign.kind}, read with its own tokens: "
            "no G-grams, no base view",
            file=sys.stderr,
        )
        network = foreign.encoder if foreign.masked_lm is None else foreign.masked_lm
        network.eval().to(place)
        return cls(
            origin=origin,
            config=foreign.config,
            tokenizer=foreign.tokenizer,
            vocabulary=None,
            collator=Collator(matcher=None, vocab_size=foreign.config.vocab_size),
            encoder=foreign.encoder,
            masked_lm_network=foreign.masked_lm,
            classifier_network=None,
            has_first_token=not foreign.encoder.columns_before,
        )

    @property
    def source(self) -> str:
        """What it was opened from, as it was named."""
        return self.origin.name

    def __repr__(self) -> str:
        ggrams = 0 if self.vocabulary is None else len(self.vocabulary)
        heads = [
            name
            for name, network in (
                ("masked LM", self.masked_lm_network),
                ("classifier", self.classifier_network),
                ("classifier of bases", self.base_classifier_network),
            )
            if network is not None
        ]
        return (
            f"{type(self).__name__}({self.source!r}, {self.config.num_hidden_layers} layers of "
            f"{self.config.hidden_size}, {ggrams:,} G-grams, {' and '.join(heads) or 'no head'}, "
            f"{self.device}, {self.dtype})"
        )

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.encoder.device

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""
        return self.encoder.dtype

    @property
    def masked_lm(self) -> MaskedLM | ForeignMaskedLM:
        """The encoder with the masked-LM head of pre-training.

        Raises
        ------
        InputError
            If the model has no such head.
        """
        if self.masked_lm_network is None:
            raise InputError(
                "a model without a masked-LM head",
                path=self.source,
                expected="a pre-trained model with its head",
            )
        return self.masked_lm_network

    @property
    def classifier(self) -> SequenceClassifier:
        """The encoder with the head of fine-tuning.

        Raises
        ------
        InputError
            If the model is not fine-tuned, or classifies bases.
        """
        self.require_whole_sequences()
        if self.classifier_network is None:
            raise InputError(
                "a model without a classifier",
                path=self.source,
                expected="a fine-tuned model",
                fix="fine-tune it with 'dnazen finetune'",
            )
        return self.classifier_network

    @property
    def base_classifier(self) -> BaseClassifier:
        """The encoder with the head that gives every base a class.

        Raises
        ------
        InputError
            If the model has no such head.
        """
        if self.base_classifier_network is None:
            raise InputError(
                "a model that does not classify bases",
                path=self.source,
                expected="one fine-tuned with --labels.problem-type base_classification",
            )
        return self.base_classifier_network

    def require_whole_sequences(self) -> None:
        """Raise InputError if the model gives classes to bases, and nothing to whole sequences."""
        if self.base_classifier_network is not None:
            raise InputError(
                "a model that classifies bases",
                path=self.source,
                expected="one that predicts something of whole sequences",
                fix="read it with 'dnazen predict'",
            )

    @property
    def task(self) -> Task:
        """What the fine-tuned model predicts: problem type and label names.

        Raises
        ------
        InputError
            If the model is not fine-tuned.
        """
        config = self.config if self.base_classifier_network else self.classifier.config
        names = tuple(config.id2label[number] for number in range(config.num_labels))
        return Task(config.problem_type or "single_label_classification", names, config.background)

    def require_finite(self, values: Num[np.ndarray, "*shape"], source: str) -> None:
        """Raise InputError unless all that the model makes of ``source`` are numbers."""
        if not np.isfinite(values).all():
            raise InputError(
                f"{source}: what the model computes is not finite",
                path=self.source,
                expected="numbers",
                fix="train it anew, or take an earlier checkpoint",
            )

    def run(
        self,
        items: Iterable[Item],
        forward: Callable[[dict[str, Tensor], Sequence[Item]], Sequence[Result]],
        *,
        tokens_per_batch: int = TOKENS_PER_BATCH,
        gradients: bool = False,
        progress: Callable[[int], object] = lambda tokens: None,
    ) -> Iterator[tuple[Item, Result | None]]:
        """``loop.run`` with this model's batches on its device."""
        return run(
            self.encoder,
            self.collator,
            items,
            forward,
            tokens_per_batch=tokens_per_batch,
            gradients=gradients,
            progress=progress,
        )


def opened(model: str | Path | OpenedModel) -> OpenedModel:
    """The model, opened if it is not."""
    return model if isinstance(model, OpenedModel) else OpenedModel.open(model)


def choose_device(name: str) -> torch.device:
    """The device of a name; ``auto`` is a GPU where there is one.

    Raises
    ------
    ConfigError
        If there is no such device here.
    """
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator()
        return torch.device("cpu") if accelerator is None else accelerator
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ConfigError(
            f"device {name!r} is not to be had here; expected auto, cpu, or a GPU such as cuda"
        ) from None
    return device


def _has(weights: dict[str, Tensor], beginning: str) -> bool:
    return any(name.startswith(beginning) for name in weights)


def _load(
    network: Network,
    weights: dict[str, Tensor],
    source: Path,
    *,
    without: tuple[str, ...],
) -> None:
    """Put encoder and head into a network; the head must be whole."""
    own = {name: tensor for name, tensor in weights.items() if not name.startswith(without)}
    load_weights(network, own, source, may_miss=())
