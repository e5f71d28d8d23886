"""The models that a benchmark compares, each as something that can be fine-tuned."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from ..errors import InputError
from ..model.batches import Example
from ..model.files import GGRAMS_FILE, RELEASED_GGRAMS_FILE, TOKENIZER_PATTERNS, WEIGHTS_FILE
from ..model.foreign import FROM_DIRECTORY, by_transformers, open_foreign
from ..model.settings import Strands
from ..model.source import find_model
from ..model.weights import adapter_base
from ..records import hash_file, read_json
from ..sequences.alphabet import Counts, normalise
from ..sequences.splits import Split, Splits
from ..tokens.encoding import EncodedExamples
from ..training.cnn import cnn_learner, cnn_settings
from ..training.learner import Learner, dnazen_learner, on_strands
from ..training.settings import FinetuneConfig
from .settings import BenchmarkModel

_WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.index.json")
_CONFIGURATIONS = ("config.json", "adapter_config.json")
_OF_TRAINING = ("optimizer*", "scheduler*", "training_args.bin", "rng_state*")
"""Files that look like weights and are not the model's."""

_OF_ITS_MAKING = ("transformers_version", "_name_or_path", "base_model_name_or_path")
"""What a configuration says of its history; not part of the model."""


def model_sha256(model: BenchmarkModel) -> str | None:
    """The hash of a model; ``None`` for one without a source.

    That is of weights, configuration, tokenizer and G-grams, and of nothing else: it tells two
    models apart wherever they stand and however they came about. An adapter counts with its base.

    Raises
    ------
    InputError
        If a model directory is none.
    """
    if not model.source:
        return None
    directory = find_model(model.source).directory
    if directory.is_dir():
        names = {path.name for path in directory.iterdir() if path.is_file()}
        if any(_is_any(name, _WEIGHTS) for name in names):
            return hashlib.sha256("".join(_identity(directory, names)).encode()).hexdigest()
    raise InputError("no such model", path=model.source, expected=f"a folder with {WEIGHTS_FILE}")


def _identity(directory: Path, names: set[str]) -> Iterator[str]:
    """The files of a model, each with the hash of what the model is by it."""
    for name in sorted(names):
        path = directory / name
        if _is_any(name, _CONFIGURATIONS):
            settings = read_json(path, "a model's configuration")
            kept = {key: value for key, value in settings.items() if key not in _OF_ITS_MAKING}
            yield f"{name} {_sha256(json.dumps(kept, sort_keys=True).encode())}\n"
        elif name == GGRAMS_FILE:  # without what it says of its mining
            lines = path.read_bytes().split(b"\n")
            table = b"\n".join(line for line in lines if not line.startswith(b"#"))
            yield f"{name} {_sha256(table)}\n"
        elif name == RELEASED_GGRAMS_FILE or _is_any(name, (*_WEIGHTS, *TOKENIZER_PATTERNS)):
            yield f"{name} {hash_file(path).sha256}\n"
    if (base := adapter_base(directory)) is not None:
        yield f"base {model_sha256(BenchmarkModel('base', 'dnazen', str(base)))}\n"


def _is_any(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch(name, one) for one in patterns) and not any(
        fnmatch(name, one) for one in _OF_TRAINING
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def finetuning_of(model: BenchmarkModel, config: FinetuneConfig) -> FinetuneConfig:
    """The settings that a model is fine-tuned with, those of the benchmark being ``config``."""
    own = {
        name: value
        for name in ("pooling", "kmers", "base_channels", "strands")
        if (value := getattr(model, name)) is not None
    }
    config = replace(config, **own)
    if model.kind == "cnn":
        return replace(cnn_settings(config), strands=model.strands or "forward")
    return replace(
        config,
        from_random_weights=model.kind == "random",
        without_ggrams=model.kind == "e4bu",
    )


def learner_of(
    model: BenchmarkModel, config: FinetuneConfig, splits: Splits, strands: Strands = "forward"
) -> Learner:
    """What is fine-tuned; nothing is kept of its weights.

    Parameters
    ----------
    strands
        Which the model reads, ``config`` leaving it open or not.

    Raises
    ------
    InputError
        If the model cannot be read, or an example is too long.
    """
    if model.kind == "cnn":
        return cnn_learner(splits, strands)
    if model.kind == "hf":
        return _hugging_face(model.source, config, splits, strands)
    return dnazen_learner(model.source, splits, config, strands)._replace(save=None)


def _hugging_face(source: str, config: FinetuneConfig, splits: Splits, strands: Strands) -> Learner:
    """A model and tokenizer that the Auto classes open; code of others is not run."""
    classes = len(splits.task.label_names)
    directory = find_model(source).directory
    shape, tokenizer = open_foreign(directory)
    limit = min(config.max_tokens, tokenizer.model_max_length)

    def fresh() -> PreTrainedModel:
        with by_transformers(directory):
            return AutoModelForSequenceClassification.from_pretrained(
                directory, num_labels=classes, ignore_mismatched_sizes=True, **FROM_DIRECTORY
            )

    def encode(split: Split) -> EncodedExamples:
        rows = split.table.rows
        cleaned = [normalise(row.sequences[0]) for row in rows]
        texts = [clean.decode() for clean, _ in cleaned]
        ids = tokenizer(texts)["input_ids"]
        long = [number for number, tokens in enumerate(ids) if len(tokens) > limit]
        if long and config.too_long == "refuse":
            raise InputError(
                f"{len(ids[long[0]])} tokens of {source}",
                path=split.table.source.path,
                line=rows[long[0]].line,
                expected=f"at most {limit}",
            )
        if long:
            ids = tokenizer(texts, truncation=True, max_length=limit)["input_ids"]
        counts = functools.reduce(Counts.plus, (count for _, count in cleaned))
        return EncodedExamples([np.array(tokens) for tokens in ids], counts, cut=len(long))

    def collate(examples: Sequence[Example]) -> dict[str, Tensor]:
        ids = [{"input_ids": example.tokens.tolist()} for example in examples]
        batch: dict[str, Tensor] = dict(tokenizer.pad(ids, return_tensors="pt"))
        if examples[0].label is not None:
            batch["labels"] = torch.tensor([example.label for example in examples])
        return batch

    learner = Learner(on_strands(encode, splits, strands), collate, fresh)
    width = getattr(shape, "hidden_size", None)
    return learner if width is None else learner._replace(width=width)
