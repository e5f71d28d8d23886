"""From the states of windows to vectors: of whole records, of tokens, or of G-grams."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int64
from torch import Tensor

from ..sequences.alphabet import normalise
from ..sequences.inputs import InputRecord
from ..tokens.tokenizer import token_lengths, token_strings
from ..tokens.windows import token_starts
from .opened import OpenedModel
from .settings import EmbeddingConfig, Pooling
from .windows import WindowTokens


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
    columns: dict[str, list[Any]]
    """What else is known of each row, by column."""
    rows: Float32[np.ndarray, "rows hidden"]


States = Iterator[tuple[WindowTokens, Pooled | None]]
"""Windows in order, as ``loop.run`` gives them; ``None`` for those without tokens."""


def pooled_windows(
    model: OpenedModel,
    windows: Iterable[WindowTokens],
    config: EmbeddingConfig,
    progress: Callable[[int], object],
) -> States:
    """Run the encoder on windows, and pool the states of each one's core.

    Raises
    ------
    InputError
        If states are not finite.
    """
    encoder, layer = model.encoder, config.layer

    def forward(inputs: dict[str, Tensor], batch: Sequence[WindowTokens]) -> list[Pooled]:
        pooled = states_of(inputs, batch)
        for window, window_states in zip(batch, pooled, strict=True):
            model.require_finite(window_states.states, window.strand.record.source)
        return pooled

    def states_of(inputs: dict[str, Tensor], batch: Sequence[WindowTokens]) -> list[Pooled]:
        with torch.autocast(encoder.device.type, torch.bfloat16, enabled=config.bf16):
            output = encoder(**inputs, output_hidden_states=layer is not None)
        if config.pooling != "ggram":
            states = output.last_hidden_state if layer is None else output.hidden_states[layer]
            return _of_cores(states, batch, config.pooling)
        ids = inputs["ggram_ids"].cpu().numpy()
        if len(ids):
            ggrams = output.ggram_hidden_state
            if layer is not None:
                ggrams = output.ggram_hidden_states[layer]
            rows = ggrams.float().cpu().numpy()
        else:
            rows = np.empty((0, model.config.hidden_size), dtype=np.float32)
        bounds = inputs["ggram_offsets"].tolist()
        return [Pooled(rows[i:j], ids[i:j]) for i, j in itertools.pairwise(bounds)]

    return model.run(windows, forward, tokens_per_batch=config.tokens_per_batch, progress=progress)


def per_record(states: States, pooling: Pooling, width: int) -> Iterator[Vectors]:
    """Join the windows of each strand, then the strands of each record."""
    for number, group in itertools.groupby(states, lambda pair: pair[0].strand.number):
        by_strand: list[Float64[np.ndarray, "1 hidden"]] = []
        tokens: list[int] = []
        for _, windows in itertools.groupby(group, lambda pair: pair[0].strand.reverse):
            joined = np.full((1, width), -np.inf if pooling == "max" else 0.0)
            for window, pooled in windows:
                if pooled is None:
                    joined[:] = np.nan
                elif pooling == "max":
                    joined = np.maximum(joined, pooled.states)
                else:
                    joined += pooled.states / len(window.strand.tokens)
            by_strand.append(joined)
            tokens.append(len(window.strand.tokens))
        record = window.strand.record
        yield Vectors(
            number,
            record,
            np.array([record.region.start]),
            np.array([record.region.end]),
            {"tokens": tokens[:1]},  # of the strand as given
            np.concatenate(by_strand).mean(axis=0, keepdims=True).astype(np.float32),
        )


def per_token(states: States, model: OpenedModel) -> Iterator[Vectors]:
    """The tokens of each window's core, with their bases."""
    strings = token_strings(model.tokenizer)
    for window, pooled, starts in _with_starts(states, model):
        first, last = window.window.core_start, window.window.core_end
        edges = starts[first : last + 1]
        columns = {"token": [strings[token] for token in window.strand.tokens[first:last]]}
        yield _on_contig(window, edges[:-1], edges[1:], columns, pooled.states)


def per_ggram(states: States, model: OpenedModel) -> Iterator[Vectors]:
    """The G-grams that begin in each window's core, each at its first place there."""
    matcher, vocabulary = model.collator.matcher, model.vocabulary
    assert matcher is not None
    assert vocabulary is not None
    strings = token_strings(model.tokenizer)
    for window, pooled, starts in _with_starts(states, model):
        assert pooled.ggram_ids is not None
        place, tokens = window.window, window.tokens
        start, ids = matcher.occurrences(tokens, np.array([0, len(tokens)]))
        start = start + place.start
        inside = (place.core_start <= start) & (start < place.core_end)
        inside &= np.isin(ids, pooled.ggram_ids)  # the model may see only some: max_ggrams
        start, ids = start[inside], ids[inside]
        kinds, first, occurrences = np.unique(ids, return_index=True, return_counts=True)
        order = np.argsort(first)
        kinds, first = kinds[order], start[first[order]]
        row = {ggram_id: number for number, ggram_id in enumerate(pooled.ggram_ids.tolist())}
        grams = [vocabulary.ggram(ggram_id) for ggram_id in kinds.tolist()]
        columns = {
            "ggram": ["".join(strings[token] for token in gram) for gram in grams],
            "ggram_id": kinds.tolist(),
            "occurrences": occurrences[order].tolist(),
        }
        rows = pooled.states[[row[ggram_id] for ggram_id in kinds.tolist()]]
        ends = starts[first + matcher.lengths[kinds]]
        yield _on_contig(window, starts[first], ends, columns, rows)


def _of_cores(
    states: Float[Tensor, "batch width hidden"], batch: Sequence[WindowTokens], pooling: Pooling
) -> list[Pooled]:
    """One row for the core of each window, or a row a token; means are left as sums."""
    windows = [member.window for member in batch]
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
    states: States, model: OpenedModel
) -> Iterator[tuple[WindowTokens, Pooled, Int64[np.ndarray, "tokens+1"]]]:
    """Windows that hold tokens, each with where the tokens of its strand begin."""
    lengths = token_lengths(model.tokenizer)
    for _, group in itertools.groupby(states, lambda pair: pair[0].strand.number):
        starts: Int64[np.ndarray, "tokens+1"] | None = None
        for window, pooled in group:
            if pooled is None:
                continue
            if starts is None:
                clean, _ = normalise(window.strand.record.sequence)
                starts = token_starts(window.strand.tokens, clean, lengths)
            yield window, pooled, starts


def _on_contig(
    window: WindowTokens,
    starts: Int64[np.ndarray, "rows"],
    ends: Int64[np.ndarray, "rows"],
    columns: dict[str, list[Any]],
    rows: Float32[np.ndarray, "rows hidden"],
) -> Vectors:
    """Rows whose starts and ends are counted along a record, put on its contig's forward strand."""
    region = window.strand.record.region
    if region.strand == "+":
        starts, ends = region.start + starts, region.start + ends
    else:
        starts, ends = region.end - ends, region.end - starts
    return Vectors(window.strand.number, window.strand.record, starts, ends, columns, rows)
