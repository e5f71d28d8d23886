"""Vectors of sequences, of their tokens or of their G-grams, in constant memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from ..errors import ConfigError
from ..sequences.inputs import InputRecord, records_of
from ..settings import settings_or_default
from .opened import OpenedModel, opened
from .pooling import Vectors, per_ggram, per_record, per_token, pooled_windows
from .settings import EmbeddingConfig, Pooling
from .vector_files import Columns
from .windows import cut_to_windows, tokenise_strands, window_size


def embed(
    model: str | Path | OpenedModel,
    sequences: Iterable[str | bytes],
    config: EmbeddingConfig | None = None,
) -> Float32[np.ndarray, "sequences hidden"]:
    """The vectors of sequences, one row each; NaN for one without A, C, G or T.

    Parameters
    ----------
    model
        A directory or a name of the hub, or what ``dnazen.load`` gives.
    sequences
        Nucleotide letters in either case, U and IUPAC codes included.
    config
        What a vector is: by default the mean of the last layer over tokens.

    Raises
    ------
    ConfigError
        If the pooling is ``token`` or ``ggram``: see ``embeddings``.
    InputError
        If the model cannot be opened, or a sequence holds a character that is no nucleotide.
    """
    config = settings_or_default(config, EmbeddingConfig)
    records = records_of(sequences)
    if config.pooling in ("token", "ggram"):
        raise ConfigError(
            f"pooling {config.pooling} gives no one vector a sequence; "
            "iterate dnazen.inference.embedding.embeddings()"
        )
    model = opened(model)
    rows = [vectors.rows for vectors in embeddings(model, records, config)]
    return np.concatenate([np.empty((0, model.config.hidden_size), dtype=np.float32), *rows])


def embeddings(
    model: OpenedModel,
    records: Iterable[InputRecord],
    config: EmbeddingConfig,
    progress: Callable[[int], object] = lambda tokens: None,
) -> Iterator[Vectors]:
    """Yield the vectors of records, in their order; the numbers do not depend on the batches.

    Decided here. ``mean`` and ``max`` are over the tokens of the sequence; a stretch of N is one
    token, [UNK]; [CLS] and [SEP] are none. A sequence of several windows counts each token once,
    as read by the window that has it in its core (``tokens.windows.token_windows``); ``cls`` is
    the mean over windows, weighted by the tokens of their cores. A record without A, C, G or T
    gets a vector of NaN, and has no tokens and no G-grams. A window gives the G-grams that begin
    in its core, in the order of their first occurrence there, which is the place they are given.

    Memory is that of ``windows.tokenise_strands`` and ``loop.run``.

    Parameters
    ----------
    progress
        Called with the number of tokens of each batch that is done.

    Raises
    ------
    ConfigError
        If the model does not have that layer, or no G-grams, or no [CLS], or windows cannot
        overlap so.
    """
    size, overlap = window_size(model.config, config.max_tokens, config.overlap)
    _require_possible(model, config)
    both = config.strands == "average"
    strands = tokenise_strands(model.tokenizer, records, both_strands=both)
    states = pooled_windows(model, cut_to_windows(strands, size, overlap), config, progress)
    if config.pooling == "token":
        return per_token(states, model)
    if config.pooling == "ggram":
        return per_ggram(states, model)
    return per_record(states, config.pooling, model.config.hidden_size)


def columns(pooling: Pooling) -> Columns:
    """What stands beside each row that ``dnazen embed`` writes."""
    place = {"name": str, "chrom": str, "start": int, "end": int, "strand": str}
    if pooling == "token":
        return {"record": int, **place, "token": str}
    if pooling == "ggram":
        return {"record": int, **place, "ggram": str, "ggram_id": int, "occurrences": int}
    return {**place, "tokens": int}


def _require_possible(model: OpenedModel, config: EmbeddingConfig) -> None:
    ggram = config.pooling == "ggram"
    if ggram and model.vocabulary is None:
        raise ConfigError("pooling ggram: the model has no G-grams; expected a DNAZEN model")
    if config.pooling == "cls" and not model.has_first_token:
        raise ConfigError(
            "pooling cls: the model has no token before a sequence; expected pooling mean or max"
        )
    shape = model.config
    most = shape.num_hidden_ggram_layers if ggram else shape.num_hidden_layers
    if config.layer is not None and config.layer > most:
        encoder = "G-gram encoder" if ggram else "model"
        raise ConfigError(f"layer {config.layer}: the {encoder} has {most}; expected 0 to {most}")
