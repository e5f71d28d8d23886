"""DNAZEN: DNA language models that read tokens and G-grams.

``import dnazen`` is light. It teaches ``transformers``' ``Auto`` classes our model type as soon
as they are imported, and the names below load on first use.
"""

from __future__ import annotations

import importlib
from typing import Any

import wrapt

_HOME = {
    "DnazenConfig": "model.configuration",
    "DnazenModel": "model.modeling",
    "DnazenForMaskedLM": "model.modeling",
    "DnazenForSequenceClassification": "model.modeling",
    "DnazenForTokenClassification": "model.modeling",
    "Corpus": "tokens.corpus",
    "EmbeddingConfig": "inference.settings",
    "ExplanationConfig": "explanation.explanation",
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
    "open_scorer": "variation.effects",
    "score_mutations": "variation.mutagenesis",
    "score_variants": "variation.alleles",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dnazen' has no attribute '{name}'")
    return getattr(importlib.import_module(f"dnazen.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def _load_when_imported(trigger: str, ours: str) -> None:
    wrapt.register_post_import_hook(lambda _: importlib.import_module(ours), trigger)


_load_when_imported("transformers.models.auto.configuration_auto", "dnazen.model.auto")
_load_when_imported("transformers.models.auto.modeling_auto", "dnazen.model.modeling")
