"""From the states of windows to vectors: of whole records, of tokens, or of G-grams."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from ..model.batches import Collator, Example
from ..model.directory import ModelDirectory, open_directory, open_model
from ..model.modeling import DnazenModel
from ..sequences.alphabet import normalise
from ..sequences.inputs import InputRecord
from ..tokens.tokenizer import token_lengths, token_strings
from ..tokens.windows import token_starts
from .reading import Piece

Pooling = Literal["mean", "cls", "max", "token", "ggram"]


class Embedder(NamedTuple):
    """A model that gives vectors, with all it needs."""

    model: DnazenModel
    """In evaluation mode."""
    parts: ModelDirectory
    collator: Collator


class Pooled(NamedTuple):
    """What a model makes of a window."""

    states: Float[np.ndarray, "rows hidden"]
    """Of the core's tokens; or one row, a sum where a mean is asked for; or of all G-grams."""
    ggram_ids: Int64[np.ndarray, "rows"] | None = None
    """Which G-grams these are."""


class Vectors(NamedTuple):
    """The vector of a record, or those of the tokens or G-grams of one of its windows."""

    number: int
    """Of the record, from 0."""
    record: InputRecord
    starts: Int64[np.ndarray, "rows"]
    """Where each row begins on the forward strand of ``record.region.chrom``, 0-based ..."""
    ends: Int64[np.ndarray, "rows"]
    """... and where it ends, half-open."""
    more: dict[str, list[Any]]
    """What else is known of each row, by column."""
    rows: Float32[np.ndarray, "rows hidden"]


Read = Iterator[tuple[Piece, Pooled | None]]
"""Pieces in order, as ``reading.read`` gives them; ``None`` for those without tokens."""


def open_embedder(directory: str | Path, device: Literal["auto", "cpu"] = "auto") -> Embedder:
    """Open a model for its vectors; ``auto`` is a GPU where there is one.

    Raises
    ------
    InputError
        If the directory is no model, or a part of it is missing or damaged.
    """
    cuda = device == "auto" and torch.cuda.is_available()
    parts = open_directory(Path(directory))
    model = open_model(DnazenModel, Path(directory), config=parts.config)
    return Embedder(model.to("cuda" if cuda else "cpu"), parts, Collator.of(parts))


@torch.inference_mode()
def pool(
    embedder: Embedder, batch: Sequence[Piece], pooling: Pooling, layer: int | None, bf16: bool
) -> list[Pooled]:
    """Run the model on windows, none empty, and pool the states of each one's core.

    Parameters
    ----------
    layer
        0 is the embeddings, ``None`` the last layer.
    """
    model = embedder.model
    inputs = embedder.collator([Example(piece.tokens) for piece in batch])
    with torch.autocast(model.device.type, torch.bfloat16, enabled=bf16):
        output = model(
            **{name: tensor.to(model.device) for name, tensor in inputs.items()},
            output_hidden_states=layer is not None,
        )
    if pooling != "ggram":
        states = output.last_hidden_state if layer is None else output.hidden_states[layer]
        return _of_cores(states, batch, pooling)
    ids, bounds = inputs["ggram_ids"].numpy(), inputs["ggram_offsets"].tolist()
    if len(ids):
        states = output.ggram_hidden_state if layer is None else output.ggram_hidden_states[layer]
        rows = states.float().cpu().numpy()
    else:
        rows = np.empty((0, embedder.parts.config.hidden_size), dtype=np.float32)
    return [Pooled(rows[i:j], ids[i:j]) for i, j in itertools.pairwise(bounds)]


def per_record(read: Read, pooling: Pooling, width: int) -> Iterator[Vectors]:
    """Join the windows of each side, then the sides of each record."""
    for number, group in itertools.groupby(read, lambda pair: pair[0].side.number):
        found: list[Float64[np.ndarray, "1 hidden"]] = []
        tokens: list[int] = []
        for _, windows in itertools.groupby(group, lambda pair: pair[0].side.reverse):
            joined = np.full((1, width), -np.inf if pooling == "max" else 0.0)
            for piece, some in windows:
                if some is None:
                    joined[:] = np.nan
                elif pooling == "max":
                    joined = np.maximum(joined, some.states)
                else:
                    joined += some.states / len(piece.side.tokens)
            found.append(joined)
            tokens.append(len(piece.side.tokens))
        record = piece.side.record
        yield Vectors(
            number,
            record,
            np.array([record.region.start]),
            np.array([record.region.end]),
            {"tokens": tokens[:1]},  # of the strand as given
            np.concatenate(found).mean(axis=0, keepdims=True).astype(np.float32),
        )


def per_token(read: Read, embedder: Embedder) -> Iterator[Vectors]:
    """The tokens of each window's core, with their bases."""
    strings = token_strings(embedder.parts.tokenizer)
    for piece, some, starts in _with_starts(read, embedder):
        window = piece.window
        tokens = piece.side.tokens[window.core_start : window.core_end]
        edges = starts[window.core_start : window.core_end + 1]
        more = {"token": [strings[token] for token in tokens]}
        yield _placed(piece, edges[:-1], edges[1:], more, some.states)


def per_ggram(read: Read, embedder: Embedder) -> Iterator[Vectors]:
    """The G-grams that begin in each window's core, each at its first place there."""
    matcher, vocabulary = embedder.collator.matcher, embedder.parts.vocabulary
    assert matcher is not None
    assert vocabulary is not None
    strings = token_strings(embedder.parts.tokenizer)
    for piece, some, starts in _with_starts(read, embedder):
        assert some.ggram_ids is not None
        window, tokens = piece.window, piece.tokens
        start, ids = matcher.occurrences(tokens, np.array([0, len(tokens)]))
        start = start + window.start
        inside = (window.core_start <= start) & (start < window.core_end)
        inside &= np.isin(ids, some.ggram_ids)  # the model may see only some: max_ggrams
        start, ids = start[inside], ids[inside]
        kinds, first, occurrences = np.unique(ids, return_index=True, return_counts=True)
        order = np.argsort(first)
        kinds, first = kinds[order], start[first[order]]
        row = {ggram_id: number for number, ggram_id in enumerate(some.ggram_ids.tolist())}
        grams = [vocabulary.ggram(ggram_id) for ggram_id in kinds.tolist()]
        more = {
            "ggram": ["".join(strings[token] for token in gram) for gram in grams],
            "ggram_id": kinds.tolist(),
            "occurrences": occurrences[order].tolist(),
        }
        rows = some.states[[row[ggram_id] for ggram_id in kinds.tolist()]]
        yield _placed(piece, starts[first], starts[first + matcher.lengths[kinds]], more, rows)


def _of_cores(
    states: Float[Tensor, "batch width hidden"], batch: Sequence[Piece], pooling: Pooling
) -> list[Pooled]:
    """One row for the core of each window, or a row a token; means are left as sums."""
    windows = [piece.window for piece in batch]
    bounds = [(w.core_start - w.start + 1, w.core_end - w.start + 1) for w in windows]  # [CLS]
    first, last = torch.tensor(bounds, device=states.device).T[..., None]
    place = torch.arange(states.shape[1], device=states.device)
    core = (first <= place) & (place < last)
    if pooling == "token":
        rows = states[core].float().cpu().numpy()
        ends = np.cumsum([0, *(end - start for start, end in bounds)]).tolist()
        return [Pooled(rows[i:j]) for i, j in itertools.pairwise(ends)]
    if pooling == "max":
        pooled = states.masked_fill(~core[..., None], -torch.inf).amax(1).double()
    elif pooling == "cls":
        pooled = states[:, 0].double() * core.sum(1, keepdim=True)
    else:
        pooled = states.masked_fill(~core[..., None], 0).sum(1, dtype=torch.float64)
    return [Pooled(row[None]) for row in pooled.cpu().numpy()]


def _with_starts(
    read: Read, embedder: Embedder
) -> Iterator[tuple[Piece, Pooled, Int64[np.ndarray, "tokens+1"]]]:
    """Pieces that hold tokens, each with where the tokens of its side begin."""
    lengths = token_lengths(embedder.parts.tokenizer)
    for _, group in itertools.groupby(read, lambda pair: pair[0].side.number):
        starts: Int64[np.ndarray, "tokens+1"] | None = None
        for piece, some in group:
            if some is None:
                continue
            if starts is None:
                clean, _ = normalise(piece.side.record.sequence)
                starts = token_starts(piece.side.tokens, clean, lengths)
            yield piece, some, starts


def _placed(
    piece: Piece,
    starts: Int64[np.ndarray, "rows"],
    ends: Int64[np.ndarray, "rows"],
    more: dict[str, list[Any]],
    rows: Float32[np.ndarray, "rows hidden"],
) -> Vectors:
    """Rows whose starts and ends are counted along a record, put on its contig's forward strand."""
    region = piece.side.record.region
    if region.strand == "+":
        starts, ends = region.start + starts, region.start + ends
    else:
        starts, ends = region.end - ends, region.end - starts
    return Vectors(piece.side.number, piece.side.record, starts, ends, more, rows)
