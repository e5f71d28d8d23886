"""The front door of the library: ``dnazen.load`` opens a model, and what can be read out of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from .explanation.explanation import Explanation, explain
from .explanation.settings import ExplanationConfig
from .inference.base_prediction import BasePrediction
from .inference.embedding import embed
from .inference.likelihood import SequenceLikelihood, log_likelihood
from .inference.opened import OpenedModel
from .inference.prediction import Prediction, predict
from .inference.sequence_ggrams import SequenceGGrams, ggrams_of
from .inference.settings import EmbeddingConfig, LikelihoodConfig, PredictionConfig
from .sequences.indexed import IndexedGenome
from .variation.mutagenesis import score_mutations
from .variation.scores import scores_of
from .variation.settings import CalibrationConfig, ScoringConfig
from .variation.variants import ScoredVariant, score_variants


class Model(OpenedModel):
    """A DNA language model, opened, with all that can be read out of it.

    Each method is a function of the library with this model.
    """

    def embed(
        self, sequences: Iterable[str | bytes], config: EmbeddingConfig | None = None
    ) -> Float32[np.ndarray, "sequences hidden"]:
        """The vectors of sequences (``dnazen.embed``)."""
        return embed(self, sequences, config)

    def predict(
        self, sequences: Iterable[str | bytes], config: PredictionConfig | None = None
    ) -> list[Prediction | BasePrediction | None]:
        """What a fine-tuned model says of sequences, or of their bases (``dnazen.predict``)."""
        return predict(self, sequences, config)

    def log_likelihood(
        self, sequences: Iterable[str | bytes], config: LikelihoodConfig | None = None
    ) -> list[SequenceLikelihood | None]:
        """The pseudo-log-likelihoods of sequences (``dnazen.log_likelihood``)."""
        return log_likelihood(self, sequences, config)

    def score_variants(
        self,
        genome: str | Path | IndexedGenome,
        variants: str | Path | Iterable[tuple[str, int, str, str]],
        config: ScoringConfig | None = None,
        calibration: CalibrationConfig | None = None,
    ) -> Iterator[ScoredVariant]:
        """The scores of alleles on a genome (``dnazen.score_variants``), as they are asked for.

        An allele that cannot be scored says why in ``skipped``.
        """
        return score_variants(self, genome, variants, config, calibration)

    def score_mutations(
        self, sequence: str | bytes, config: ScoringConfig | None = None
    ) -> Float[np.ndarray, "bases 4 scores"]:
        """The scores of all single-base changes (``dnazen.score_mutations``)."""
        return score_mutations(self, sequence, config)

    def explain(
        self, sequences: Iterable[str | bytes], config: ExplanationConfig | None = None
    ) -> list[Explanation | None]:
        """What a fine-tuned model's output owes to the parts of sequences (``dnazen.explain``)."""
        return explain(self, sequences, config)

    @property
    def score_names(self) -> tuple[str, ...]:
        """What ``score_variants`` and ``score_mutations`` give, in this order."""
        return tuple(score.name for score in scores_of(self))

    def ggrams(self, sequence: str | bytes) -> SequenceGGrams:
        """The tokens and G-grams of a sequence, with their places (``ggrams_of``)."""
        return ggrams_of(self, sequence)


def load(source: str | Path, device: str = "auto") -> Model:
    """Open a model, ours or a released one, a LoRA adapter, or another maker's encoder.

    Parameters
    ----------
    source
        A directory, or the name of a model on the Hugging Face hub, ``ORG/NAME`` or
        ``ORG/NAME@REVISION``, which is downloaded once.
    device
        ``auto`` is a GPU where there is one; else a name of PyTorch's, such as ``cpu``.

    Raises
    ------
    InputError
        If it is no model, or a part of it is missing or damaged.
    ConfigError
        If there is no such device.
    """
    return Model.open(source, device)
