"""DNAZEN: DNA language models that read tokens and G-grams.

``import dnazen`` is light. It teaches ``transformers``' ``Auto`` classes our model type as soon
as they are imported, and the names below load on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import wrapt

if TYPE_CHECKING:  # what type checkers see; the names of _HOME and no other
    from .explanation.explanation import explain as explain
    from .explanation.settings import ExplanationConfig as ExplanationConfig
    from .ggrams.matching import Matcher as Matcher
    from .ggrams.vocabulary import GGramVocabulary as GGramVocabulary
    from .inference.embedding import embed as embed
    from .inference.likelihood import log_likelihood as log_likelihood
    from .inference.prediction import predict as predict
    from .inference.settings import EmbeddingConfig as EmbeddingConfig
    from .inference.settings import LikelihoodConfig as LikelihoodConfig
    from .inference.settings import PredictionConfig as PredictionConfig
    from .library import load as load
    from .model.configuration import DnazenConfig as DnazenConfig
    from .model.modeling import DnazenForBaseClassification as DnazenForBaseClassification
    from .model.modeling import DnazenForMaskedLM as DnazenForMaskedLM
    from .model.modeling import DnazenForSequenceClassification as DnazenForSequenceClassification
    from .model.modeling import DnazenForTokenClassification as DnazenForTokenClassification
    from .model.modeling import DnazenModel as DnazenModel
    from .model.tokenization import DnazenTokenizer as DnazenTokenizer
    from .tokens.corpus import Corpus as Corpus
    from .tokens.tokenizer import load_tokenizer as load_tokenizer
    from .variation.mutagenesis import score_mutations as score_mutations
    from .variation.settings import CalibrationConfig as CalibrationConfig
    from .variation.settings import ScoringConfig as ScoringConfig
    from .variation.variants import score_variants as score_variants

    __version__: str

_HOME = {
    "DnazenConfig": "model.configuration",
    "DnazenModel": "model.modeling",
    "DnazenTokenizer": "model.tokenization",
    "DnazenForBaseClassification": "model.modeling",
    "DnazenForMaskedLM": "model.modeling",
    "DnazenForSequenceClassification": "model.modeling",
    "DnazenForTokenClassification": "model.modeling",
    "CalibrationConfig": "variation.settings",
    "Corpus": "tokens.corpus",
    "EmbeddingConfig": "inference.settings",
    "ExplanationConfig": "explanation.settings",
    "GGramVocabulary": "ggrams.vocabulary",
    "LikelihoodConfig": "inference.settings",
    "Matcher": "ggrams.matching",
    "PredictionConfig": "inference.settings",
    "embed": "inference.embedding",
    "explain": "explanation.explanation",
    "load": "library",
    "load_tokenizer": "tokens.tokenizer",
    "log_likelihood": "inference.likelihood",
    "predict": "inference.prediction",
    "ScoringConfig": "variation.settings",
    "score_mutations": "variation.mutagenesis",
    "score_variants": "variation.variants",
}

__all__ = sorted(_HOME)

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from .records import package_version

            return package_version()
        if name not in _HOME:
            raise AttributeError(f"module 'dnazen' has no attribute '{name}'")
        return getattr(importlib.import_module(f"dnazen.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def _load_when_imported(trigger: str, ours: str) -> None:
    wrapt.register_post_import_hook(lambda _: importlib.import_module(ours), trigger)


_load_when_imported("transformers.models.auto.configuration_auto", "dnazen.model.auto")
_load_when_imported("transformers.models.auto.modeling_auto", "dnazen.model.modeling")
_load_when_imported("transformers.models.auto.tokenization_auto", "dnazen.model.tokenization")
