"""Model directories, ours or released ones: opened one way, strictly, and written whole.

Ours holds ``config.json``, ``model.safetensors``, the tokenizer's files and, when the model has
G-grams, ``ggrams.tsv``: all that another command needs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers.utils import logging as hf_logging

from ..errors import InputError
from ..ggrams.vocabulary import GGramVocabulary
from ..tokens.tokenizer import load_tokenizer, tokenizer_sha256
from .configuration import DnazenConfig
from .files import GGRAMS_FILE, PACKED_WEIGHTS_FILE, RELEASED_GGRAMS_FILE, WEIGHTS_FILES
from .packed import pack
from .released import read_released_ggrams
from .weights import adapter_base, read_config, weights_being_written

if TYPE_CHECKING:
    from .modeling import DnazenPreTrainedModel


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
    if (base := adapter_base(directory)) is not None:
        vocabulary = open_directory(base).vocabulary if config.ggram_vocab_size else None
        return ModelDirectory(config, load_tokenizer(directory), vocabulary)
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
        vocabulary = read_released_ggrams(directory / RELEASED_GGRAMS_FILE, tokenizer)
    vocabulary.require_tokenizer(tokenizer_sha256(tokenizer), directory)
    if len(vocabulary) + 1 != config.ggram_vocab_size:
        raise InputError(
            f"{len(vocabulary)} G-grams for a table of {config.ggram_vocab_size} rows",
            path=directory,
            expected="one row for each G-gram and one for the padding",
        )
    return ModelDirectory(config, tokenizer, vocabulary)


def save_directory(
    directory: Path,
    model: DnazenPreTrainedModel,
    tokenizer: Tokenizer,
    vocabulary: GGramVocabulary | None,
    *,
    packed: bool = False,
) -> None:
    """Write a model, its tokenizer and its G-grams into an existing directory.

    The weights take their name last: a directory that has them is whole.

    Raises
    ------
    OutputError
        If the weights cannot be written.
    """
    with files_for(directory) as partial:
        from .tokenization import DnazenTokenizer  # takes a second, which reading a model spares

        if packed:
            _save_packed(partial, model)
        else:
            model.save_pretrained(partial)
        DnazenTokenizer.of(model.config, tokenizer, vocabulary).save_pretrained(partial)


def _save_packed(directory: Path, model: DnazenPreTrainedModel) -> None:
    """Write configuration and weights, the matrices of the encoder as bytes (``packed``)."""
    model.config.save_pretrained(directory)
    weights = model.state_dict()
    if model.config.tie_word_embeddings:
        weights.pop("head.decoder.weight", None)
    save_file(pack(weights), directory / PACKED_WEIGHTS_FILE, metadata={"format": "pt"})


@contextmanager
def files_for(directory: Path) -> Iterator[Path]:
    """A folder whose files move into an existing directory in the end, the weights last.

    They get the permissions that files have by default; safetensors' would be the owner's alone.

    Raises
    ------
    OutputError
        If the weights cannot be written.
    """
    hf_logging.disable_progress_bar()  # for one file
    partial = directory / ".model.partial"
    try:
        partial.mkdir(exist_ok=True)
        with weights_being_written(directory):
            yield partial
        permissions = partial.stat().st_mode & 0o666
        for file in sorted(partial.iterdir(), key=lambda file: file.name in WEIGHTS_FILES):
            file.chmod(permissions)
            os.replace(file, directory / file.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
