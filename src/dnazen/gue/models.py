"""The kinds of models that a benchmark compares, each as something that can be fine-tuned."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from ..errors import ConfigError, InputError
from ..model.batches import Example
from ..model.directory import WEIGHTS_FILE
from ..records import hash_file
from ..sequences.alphabet import Counts, normalise
from ..sequences.splits import Split, Splits
from ..tokens.encoding import EncodedExamples
from ..training.finetune import EncodedSplits, Learner, dnazen_learner
from ..training.settings import FinetuneConfig
from .baselines import cnn_learner

KINDS = {
    "dnazen": "a DNAZEN or DNABERT-2 directory, ours or released",
    "e4bu": "the same, its G-grams left out",
    "random": "the same, from random weights",
    "hf": "a directory or name of a Hugging Face sequence classifier or encoder",
    "cnn": "a small CNN on bases",
    "kmer": "logistic regression on k-mers",
}
"""Kinds of models; the last two need no source."""

_WEIGHTS_SUFFIXES = (".safetensors", ".bin", ".pt")
_MODEL_SUFFIXES = (*_WEIGHTS_SUFFIXES, ".json", ".txt", ".tsv", ".model")
_RECORDS = ("run.json", "history.json", "trainer_state.json")
"""Of how a model came to be; not part of it."""

CNN_LEARNING_RATE = 1e-3
CNN_EPOCHS = 10
"""The least; decided here, for the CNN starts from nothing and is cheap."""


class BenchmarkModel(NamedTuple):
    """A model that is compared with others."""

    name: str
    kind: str
    source: str
    """Directory, or name; empty for the baselines."""

    @property
    def has_directory(self) -> bool:
        """Whether the source is a DNAZEN model directory."""
        return self.kind in ("dnazen", "e4bu", "random")


def parse_model(text: str) -> BenchmarkModel:
    """Read ``NAME: KIND SOURCE``, such as ``ours: dnazen runs/pretrained``, or ``kmer: kmer``.

    Raises
    ------
    ConfigError
        If it is of another form.
    """
    name, colon, rest = text.partition(":")
    kind, *source = rest.split(maxsplit=1) if rest.split() else [""]
    needed = kind not in ("cnn", "kmer")
    name = name.strip()
    if not colon or kind not in KINDS or bool(source) != needed or not _is_plain(name):
        raise ConfigError(
            f"{text!r} is no model; expected 'NAME: KIND SOURCE', NAME of letters, digits and -_., "
            f"KIND one of {', '.join(KINDS)} (cnn and kmer without a source)"
        )
    return BenchmarkModel(name, kind, source[0].strip() if source else "")


def parse_models(texts: Sequence[str]) -> list[BenchmarkModel]:
    """Read several models of different names.

    Raises
    ------
    ConfigError
        If there is none, one is of another form, or two have one name.
    """
    models = [parse_model(text) for text in texts]
    names = [model.name for model in models]
    twice = {name for name in names if names.count(name) > 1}
    if not models or twice:
        what = f"two models are called {min(twice)!r}" if twice else "no model given"
        raise ConfigError(f"models: {what}; expected one or more, each with a name of its own")
    return models


def model_sha256(model: BenchmarkModel) -> str | None:
    """The hash of all that a model's directory says of the model; ``None`` where there is none.

    That is of weights, configuration, tokenizer and G-grams, whatever their files are called, so
    it tells two models apart wherever they stand.

    Raises
    ------
    InputError
        If a model directory is none.
    """
    directory = Path(model.source)
    if model.source and directory.is_dir():
        files = [
            file
            for file in sorted(directory.iterdir())
            if file.is_file() and file.suffix in _MODEL_SUFFIXES and file.name not in _RECORDS
        ]
        if any(file.suffix in _WEIGHTS_SUFFIXES for file in files):
            told = "".join(f"{file.name} {hash_file(file).sha256}\n" for file in files)
            return hashlib.sha256(told.encode()).hexdigest()
    if model.has_directory or (directory.is_dir() and model.source):
        raise InputError(
            "no such model", path=model.source, expected=f"a folder with {WEIGHTS_FILE}"
        )
    return None


def settings_of(model: BenchmarkModel, config: FinetuneConfig) -> FinetuneConfig:
    """The settings that a model is trained with, those of the run being ``config``."""
    if model.kind == "cnn":
        optimizer = replace(config.optimizer, learning_rate=CNN_LEARNING_RATE)
        return replace(config, optimizer=optimizer, epochs=max(config.epochs, CNN_EPOCHS))
    return replace(
        config,
        from_random_weights=model.kind == "random",
        without_ggrams=model.kind == "e4bu",
    )


def learner_of(model: BenchmarkModel, config: FinetuneConfig, splits: Splits) -> Learner:
    """What is fine-tuned; nothing is kept of its weights.

    Raises
    ------
    InputError
        If the model cannot be read, or an example is too long.
    """
    if model.kind == "cnn":
        return cnn_learner(splits)
    if model.kind == "hf":
        return _hugging_face(model.source, config, splits)
    return dnazen_learner(Path(model.source), splits, config)._replace(save=None)


def _hugging_face(source: str, config: FinetuneConfig, splits: Splits) -> Learner:
    """A model and tokenizer that the Auto classes open; code from the source is not run."""
    classes = len(splits.task.label_names)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
    except (OSError, ValueError, KeyError) as error:
        raise _not_opened(source, error) from None

    limit = min(config.max_tokens, tokenizer.model_max_length)

    def fresh() -> PreTrainedModel:
        try:
            return AutoModelForSequenceClassification.from_pretrained(
                source, num_labels=classes, ignore_mismatched_sizes=True
            )
        except (OSError, ValueError, KeyError) as error:
            raise _not_opened(source, error) from None

    def encode(split: Split) -> EncodedExamples:
        rows = split.table.rows
        cleaned = [normalise(row.sequences[0]) for row in rows]
        texts = [clean.decode() for clean, _ in cleaned]
        ids = tokenizer(texts)["input_ids"]
        long = [number for number, some in enumerate(ids) if len(some) > limit]
        if long and config.too_long == "refuse":
            raise InputError(
                f"{len(ids[long[0]])} tokens of {source}",
                path=split.table.source.path,
                line=rows[long[0]].line,
                expected=f"at most {limit}",
            )
        if long:
            ids = tokenizer(texts, truncation=True, max_length=limit)["input_ids"]
        counts = functools.reduce(Counts.plus, (here for _, here in cleaned))
        return EncodedExamples([np.array(some) for some in ids], counts, cut=len(long))

    def collate(examples: Sequence[Example]) -> dict[str, Tensor]:
        ids = [{"input_ids": example.tokens.tolist()} for example in examples]
        batch: dict[str, Tensor] = dict(tokenizer.pad(ids, return_tensors="pt"))
        if examples[0].label is not None:
            batch["labels"] = torch.tensor([example.label for example in examples])
        return batch

    encoded = EncodedSplits(*(encode(split) for split in splits.parts.values()))
    return Learner(encoded, collate, fresh)


def _not_opened(source: str, error: Exception) -> InputError:
    problem = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return InputError(
        f"cannot be opened by transformers ({problem})",
        path=source,
        expected="a directory or Hugging Face name of a model without code of its own",
    )


def _is_plain(name: str) -> bool:
    return bool(name) and all(c.isalnum() or c in "-_." for c in name) and name.strip(".") == name
