"""Model directories, ours or released ones: opened one way, strictly, and written whole.

Ours holds ``config.json``, ``model.safetensors``, the tokenizer's files and, when the model has
G-grams, ``ggrams.tsv``: all that another command needs.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from transformers.utils import logging as hf_logging

from ..config import read_json
from ..errors import ConfigError, InputError, OutputError
from ..ggrams.vocabulary import GGramVocabulary
from ..tokenizer import load_tokenizer, save_tokenizer, tokenizer_sha256
from .configuration import DnazenConfig
from .modeling import DnazenPreTrainedModel
from .released import config_from_released, is_released, weights_from_released

Model = TypeVar("Model", bound=DnazenPreTrainedModel)

GGRAMS_FILE = "ggrams.tsv"
WEIGHTS_FILE = "model.safetensors"
PICKLED_WEIGHTS_FILE = "pytorch_model.bin"
RELEASED_GGRAMS_FILE = "ngram.json"
HEADS = ("head.", "pooler.", "classifier.")
"""Where the names of task-specific weights begin."""
GGRAM_PARTS = ("dnazen.ggram_", "dnazen.fusions.")
"""Where the names of the weights begin that E4BU alone does not have."""


class ModelDirectory(NamedTuple):
    """The parts of a model directory beside its weights."""

    config: DnazenConfig
    tokenizer: Tokenizer
    vocabulary: GGramVocabulary | None
    """The G-grams; ``None`` for E4BU alone."""


def open_directory(directory: Path) -> ModelDirectory:
    """Read configuration, tokenizer and G-grams of a model directory.

    Raises
    ------
    InputError
        If a part is missing or damaged, or the parts do not belong together.
    """
    config = read_config(directory)
    tokenizer = load_tokenizer(directory)
    if tokenizer.get_vocab_size() > config.vocab_size:
        raise InputError(
            f"the tokenizer has {tokenizer.get_vocab_size()} tokens, the model {config.vocab_size}",
            path=directory,
            expected="a tokenizer no larger than the model's vocab_size",
        )
    if not config.ggram_vocab_size:
        return ModelDirectory(config, tokenizer, None)
    if (directory / GGRAMS_FILE).exists():
        vocabulary = GGramVocabulary.load(directory / GGRAMS_FILE)
    else:
        vocabulary = GGramVocabulary.from_released(directory / RELEASED_GGRAMS_FILE, tokenizer)
    vocabulary.require_tokenizer(tokenizer_sha256(tokenizer), directory)
    if len(vocabulary) + 1 != config.ggram_vocab_size:
        raise InputError(
            f"{len(vocabulary)} G-grams for a table of {config.ggram_vocab_size} rows",
            path=directory,
            expected="one row for each G-gram and one for the padding",
        )
    return ModelDirectory(config, tokenizer, vocabulary)


def read_config(directory: Path) -> DnazenConfig:
    """Our configuration, from our ``config.json`` or a released one.

    Raises
    ------
    InputError
        If it is missing, or of another kind of model.
    """
    if not directory.is_dir():
        raise InputError(
            "no such model directory", path=directory, expected="a folder with config.json"
        )
    path = directory / "config.json"
    settings = read_json(path, "the configuration of a DNAZEN or DNABERT-2 model")
    try:
        if settings.get("model_type") == DnazenConfig.model_type:
            ours: DnazenConfig = DnazenConfig.from_dict(settings)
            return ours
        if is_released(settings):
            return config_from_released(settings)
    except (ConfigError, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"cannot be a model's configuration ({error})", path=path) from None
    raise InputError(
        f"model_type is {settings.get('model_type')!r}",
        path=path,
        expected="'dnazen', or a released DNAZEN or DNABERT-2 model ('bert' with ALiBi)",
    )


def open_model(
    kind: type[Model], directory: Path, *, config: DnazenConfig | None = None, **changes: Any
) -> Model:
    """Load a model of ``kind`` from our format or a released one.

    The encoder must be whole. Missing heads start at random and unused ones are left out, both
    said on stderr.

    Parameters
    ----------
    config
        Takes the place of the directory's own configuration.
    changes
        Settings of the configuration to change, such as ``num_labels``.

    Raises
    ------
    InputError
        If weights are missing, of another shape, or not known.
    """
    settings = read_config(directory) if config is None else config
    for name, value in changes.items():
        setattr(settings, name, value)
    model = kind(settings)
    load_weights(model, read_weights(directory, settings), directory)
    model.eval()
    return model


def read_weights(directory: Path, config: DnazenConfig) -> dict[str, Tensor]:
    """The weights of a model directory under our names.

    Raises
    ------
    InputError
        If the file is missing, truncated or foreign.
    """
    safe, pickled = directory / WEIGHTS_FILE, directory / PICKLED_WEIGHTS_FILE
    path = safe if safe.exists() else pickled
    if not path.exists():
        raise InputError(
            "no weights", path=directory, expected=f"{WEIGHTS_FILE} or {PICKLED_WEIGHTS_FILE}"
        )
    try:
        if path == safe:
            state = load_file(safe)
        else:
            state = torch.load(pickled, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes lead an unpickler to raise almost anything
        problem = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(
            f"not readable as weights ({problem})", path=path, fix="copy it again"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(x, Tensor) for x in state.values()):
        raise InputError(
            "holds other things than weights",
            path=path,
            expected="the state dict of a model: a tensor under each name",
        )
    if any(name.startswith("bert.") for name in state):
        return weights_from_released(state, config)
    return dict(state)


def load_weights(
    model: DnazenPreTrainedModel,
    state: dict[str, Tensor],
    source: Path,
    *,
    may_miss: tuple[str, ...] = HEADS,
) -> None:
    """Put weights into a model; what the file lacks or the model does not use is said on stderr.

    Parameters
    ----------
    may_miss
        Beginnings of the names that may start at random instead. A head of another shape (a
        classifier of other classes) counts as missing.

    Raises
    ------
    InputError
        If the encoder is not whole, or a weight is unknown or of another shape.
    """
    expected = model.state_dict()
    prefix = "" if any(name.startswith("dnazen.") for name in expected) else "dnazen."
    state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    tied = "dnazen.embeddings.word_embeddings.weight"
    if "head.decoder.weight" in expected and tied in state:
        state.setdefault("head.decoder.weight", state[tied])
    shapes = {name: tensor.shape for name, tensor in expected.items()}
    state = {
        name: tensor
        for name, tensor in state.items()
        if not (name.startswith(HEADS) and tensor.shape != shapes.get(name, tensor.shape))
    }
    unused = [name for name in state if name not in expected]
    missing = [name for name in expected if name not in state]
    wrong = [n for n in state.keys() & expected.keys() if state[n].shape != expected[n].shape]
    if wrong:
        name = sorted(wrong)[0]
        raise InputError(
            f"{len(wrong)} weights have another shape, the first {name} {tuple(state[name].shape)}",
            path=source,
            expected=f"{tuple(expected[name].shape)}",
            fix="use the configuration these weights were saved with",
        )
    for what, names, allowed in (("not known", unused, HEADS), ("missing", missing, may_miss)):
        if strange := [name for name in names if not name.startswith(allowed)]:
            raise InputError(
                f"{len(strange)} weights are {what}: {', '.join(strange[:3])}"
                + (", ..." if len(strange) > 3 else ""),
                path=source,
                expected="the weights of a DNAZEN or DNABERT-2 model of this configuration",
            )
    if missing:
        print(f"note: {source} has no {_modules(missing)}: starting at random", file=sys.stderr)
    if unused:
        print(f"note: {source} also has {_modules(unused)}: not used here", file=sys.stderr)
    model.load_state_dict(state, strict=False)


@contextmanager
def weights_being_written(directory: Path) -> Iterator[None]:
    """Turn what safetensors says of a full disk into the user's error.

    Raises
    ------
    OutputError
        If weights cannot be written.
    """
    try:
        yield
    except SafetensorError as error:
        raise OutputError(
            f"{directory}: weights cannot be written ({error}); "
            "free some space or choose another place"
        ) from error


def _modules(names: list[str]) -> str:
    """The top modules of weights: ``head``, ``dnazen.ggram_layers``."""
    tops = (name.split(".")[: 2 if name.startswith("dnazen.") else 1] for name in names)
    return ", ".join(dict.fromkeys(".".join(top) for top in tops))


def save_directory(
    directory: Path,
    model: DnazenPreTrainedModel,
    tokenizer: Tokenizer,
    vocabulary: GGramVocabulary | None,
) -> None:
    """Write a model, its tokenizer and its G-grams into an existing directory.

    The weights take their name last: a directory that has them is whole.

    Raises
    ------
    OutputError
        If the weights cannot be written.
    """
    hf_logging.disable_progress_bar()  # for one file
    partial = directory / ".model.partial"
    try:
        with weights_being_written(directory):
            model.save_pretrained(partial)
        save_tokenizer(tokenizer, partial)
        if vocabulary is not None:
            vocabulary.save(partial / GGRAMS_FILE)
        for file in sorted(partial.iterdir(), key=lambda file: file.name == WEIGHTS_FILE):
            os.replace(file, directory / file.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
