"""The models that a benchmark compares, each as something that can be fine-tuned."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.utils import cached_file

from ..errors import InputError
from ..ggrams.vocabulary import GGRAMS_FILE
from ..model.batches import Example
from ..model.released import RELEASED_GGRAMS_FILE
from ..model.settings import Strands
from ..model.weights import WEIGHTS_FILE, adapter_base
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
_TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.*", "merges.txt", "*.model"),
)
_OF_TRAINING = ("optimizer*", "scheduler*", "training_args.bin", "rng_state*")
"""Files that look like weights and are not the model's."""

_OF_ITS_MAKING = ("transformers_version", "_name_or_path", "base_model_name_or_path")
"""What a configuration says of its history; not part of the model."""

_CODE = ("auto_map", "custom_pipelines", "trust_remote_code")
_ATTENTION = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")


def model_sha256(model: BenchmarkModel) -> str | None:
    """The hash of a model in a directory; ``None`` where there is none.

    That is of weights, configuration, tokenizer and G-grams, and of nothing else: it tells two
    models apart wherever they stand and however they came about. An adapter counts with its base.

    Raises
    ------
    InputError
        If a model directory is none.
    """
    directory = Path(model.source)
    if model.source and directory.is_dir():
        names = {path.name for path in directory.iterdir() if path.is_file()}
        if any(_is_any(name, _WEIGHTS) for name in names):
            return hashlib.sha256("".join(_identity(directory, names)).encode()).hexdigest()
    if model.has_directory or (directory.is_dir() and model.source):
        raise InputError(
            "no such model", path=model.source, expected=f"a folder with {WEIGHTS_FILE}"
        )
    return None


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
        elif name == RELEASED_GGRAMS_FILE or _is_any(name, (*_WEIGHTS, *_TOKENIZER)):
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
    return dnazen_learner(Path(model.source), splits, config, strands)._replace(save=None)


def _hugging_face(source: str, config: FinetuneConfig, splits: Splits, strands: Strands) -> Learner:
    """A model and tokenizer that the Auto classes open; code of others is not run."""
    classes = len(splits.task.label_names)
    _refuse_code(source)
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        shape = AutoConfig.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise _not_opened(source, error) from None

    limit = min(config.max_tokens, tokenizer.model_max_length)

    def fresh() -> PreTrainedModel:
        try:
            return AutoModelForSequenceClassification.from_pretrained(
                source, num_labels=classes, ignore_mismatched_sizes=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError) as error:
            raise _not_opened(source, error) from None

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


def _refuse_code(source: str) -> None:
    """Raise InputError if a configuration names code of others, before transformers reads it."""
    for name in ("config.json", "tokenizer_config.json"):
        if Path(source).is_dir():
            path = Path(source) / name
        else:
            try:
                path = Path(cached_file(source, name) or "")
            except (OSError, ValueError) as error:
                if name == "config.json":
                    raise _not_opened(source, error) from None
                continue
        if path.is_file():
            settings = read_json(path, "a model's configuration")
            for key in _names_of_code(settings):
                raise InputError(
                    f"'{key}' names code of others, which is never run",
                    path=path,
                    expected="a model that transformers has itself",
                    fix="if it has, take the entry out of a copy",
                )


def _names_of_code(settings: Mapping[str, Any]) -> Iterator[str]:
    """Keys under which a configuration, or one within it, names code that is not transformers'."""
    for key, value in settings.items():
        # The names of transformers' own attentions are plain; those of others are repositories.
        attention = key in _ATTENTION and not (value is None or str(value).isidentifier())
        if (key in _CODE and value) or attention:
            yield key
        if isinstance(value, Mapping):
            yield from _names_of_code(value)


def _not_opened(source: str, error: Exception) -> InputError:
    problem = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return InputError(
        f"cannot be opened by transformers ({problem})",
        path=source,
        expected="a directory or Hugging Face name of a model without code of its own",
    )
