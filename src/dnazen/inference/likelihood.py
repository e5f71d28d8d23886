"""How likely a pre-trained model finds tokens, and so whole sequences."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ..ggrams.masking import NO_LABEL
from ..sequences.inputs import InputRecord, records_of
from ..settings import settings_or_default
from ..tokens.encoding import Tokens
from ..tokens.special import MASK, UNK
from ..tokens.tokenizer import token_lengths
from .opened import OpenedModel, opened
from .settings import TOKENS_PER_BATCH, LikelihoodConfig
from .windows import WindowTokens, cut_to_windows, tokenise_strands, window_size

HIDDEN_APART = 7
"""Where many tokens are hidden at once, one in so many: about the 15 % of pre-training."""


class HiddenToken(NamedTuple):
    """One token of a sequence, to be predicted from all the others."""

    sequence: Tokens
    """The whole sequence, without special tokens."""
    position: int
    """Index into ``sequence``."""

    @property
    def tokens(self) -> Tokens:
        """The sequence with [MASK] at the position: what the model reads."""
        masked = self.sequence.copy()
        masked[self.position] = MASK
        return masked


class _HiddenTokens(NamedTuple):
    """Some tokens of a sequence, to be predicted at once from all the others."""

    number: int
    """Of the sequence."""
    sequence: Tokens
    positions: Int64[np.ndarray, "hidden"]

    @property
    def tokens(self) -> Tokens:
        """The sequence with [MASK] at the positions: what the model reads."""
        masked = self.sequence.copy()
        masked[self.positions] = MASK
        return masked


class SequenceLikelihood(NamedTuple):
    """The pseudo-log-likelihood of a sequence, in nats (Salazar et al. 2020)."""

    by_token: Float64[np.ndarray, "tokens"]
    """The log-probability of each token where it alone is hidden; NaN for a run of N."""
    bases: int
    """A, C, G and T of the sequence: those that the tokens scored stand for."""

    @property
    def total(self) -> float:
        """The sum over tokens. A longer sequence has a lower one."""
        return float(np.nansum(self.by_token))

    @property
    def per_base(self) -> float:
        """The mean over bases, to compare sequences of different lengths."""
        return self.total / self.bases


class _WindowToken(NamedTuple):
    """A token hidden in the window whose core it lies in."""

    window: WindowTokens
    place: int
    """Index into the tokens of the strand."""

    @property
    def hidden(self) -> HiddenToken:
        return HiddenToken(self.window.tokens, self.place - self.window.window.start)

    @property
    def tokens(self) -> Tokens:
        """What the model reads; nothing of a record without A, C, G or T."""
        return self.hidden.tokens if len(self.window.tokens) else self.window.tokens


def log_likelihood(
    model: str | Path | OpenedModel,
    sequences: Iterable[str | bytes],
    config: LikelihoodConfig | None = None,
) -> list[SequenceLikelihood | None]:
    """The pseudo-log-likelihood of each sequence; ``None`` for one without A, C, G or T.

    Parameters
    ----------
    model
        A pre-trained directory, or what ``dnazen.load`` gives.
    sequences
        Nucleotide letters in either case, U and IUPAC codes included.

    Raises
    ------
    InputError
        If the model cannot be opened or has no masked-LM head, or a sequence holds a character
        that is no nucleotide.
    """
    config = settings_or_default(config, LikelihoodConfig)
    records = records_of(sequences)
    return [likelihood for _, likelihood in log_likelihoods(opened(model), records, config)]


def log_likelihoods(
    model: OpenedModel,
    records: Iterable[InputRecord],
    config: LikelihoodConfig,
    progress: Callable[[int], object] = lambda tokens: None,
) -> Iterator[tuple[InputRecord, SequenceLikelihood | None]]:
    """Yield records with their pseudo-log-likelihoods, in order.

    Decided here. Every token but [UNK], which is a run of N, is hidden alone, and the G-grams that
    hold it are hidden with it (method.md section 6). A sequence longer than a window is read in
    windows, and each token is predicted in the window that has it in its core. So the time is one
    forward pass of a window a token.

    Parameters
    ----------
    progress
        Called with the number of tokens read of each batch that is done.

    Raises
    ------
    InputError
        If the model has no masked-LM head, or gives probabilities that are not finite.
    ConfigError
        If windows cannot overlap so.
    """
    size, overlap = window_size(model.config, config.max_tokens, config.overlap)
    strands = tokenise_strands(model.tokenizer, records, both_strands=False)
    hidden = _hidden_one_by_one(cut_to_windows(strands, size, overlap))

    def forward(inputs: dict[str, Tensor], batch: Sequence[_WindowToken]) -> list[float]:
        return _log_probabilities(model, inputs, [token.hidden for token in batch])

    results = model.run(
        hidden, forward, tokens_per_batch=config.tokens_per_batch, progress=progress
    )
    lengths = token_lengths(model.tokenizer)
    for _, group in itertools.groupby(results, lambda pair: pair[0].window.strand.number):
        by_token: Float64[np.ndarray, "tokens"] | None = None
        for token, value in group:
            strand = token.window.strand
            if value is None:
                continue
            if by_token is None:
                by_token = np.full(len(strand.tokens), np.nan)
            by_token[token.place] = value
        if by_token is None:
            yield strand.record, None
        else:
            model.require_finite(by_token[strand.tokens != UNK], strand.record.source)
            bases = int(lengths[strand.tokens[strand.tokens != UNK]].sum())
            yield strand.record, SequenceLikelihood(by_token, bases)


def token_log_likelihoods(
    model: OpenedModel,
    hidden: Iterable[HiddenToken],
    *,
    tokens_per_batch: int = TOKENS_PER_BATCH,
) -> Float64[np.ndarray, "hidden"]:
    """The log-probability of each hidden token, in nats, where it alone is [MASK].

    The model sees the G-grams of the sequence so masked: those that hold the token are not seen
    (method.md section 6). The sum over some tokens of a sequence is their pseudo-log-likelihood.
    """

    def forward(inputs: dict[str, Tensor], batch: Sequence[HiddenToken]) -> list[float]:
        return _log_probabilities(model, inputs, batch)

    results = model.run(hidden, forward, tokens_per_batch=tokens_per_batch)
    return np.array([value for _, value in results], dtype=np.float64)


def nats_per_base(
    model: OpenedModel,
    sequences: Sequence[Tokens],
    *,
    tokens_per_batch: int = TOKENS_PER_BATCH,
) -> Float64[np.ndarray, "sequences"]:
    """What a base of each sequence costs the model in the mean, in nats: 1.39 is guessing.

    Decided here: one token in ``HIDDEN_APART`` is hidden at a time, so all are predicted in as many
    passes. The pseudo-log-likelihood would take a pass a token. NaN for a sequence of [UNK] alone.
    """
    hidden = [
        _HiddenTokens(number, sequence, positions)
        for number, sequence in enumerate(sequences)
        for first in range(HIDDEN_APART)
        if len(positions := _scored(sequence, first))
    ]

    def forward(inputs: dict[str, Tensor], batch: Sequence[_HiddenTokens]) -> list[float]:
        values = _log_probabilities(model, inputs, batch)
        ends = itertools.accumulate(len(tokens.positions) for tokens in batch)
        return [sum(values[start:end]) for start, end in itertools.pairwise((0, *ends))]

    nats = np.zeros(len(sequences))
    for tokens, value in model.run(hidden, forward, tokens_per_batch=tokens_per_batch):
        nats[tokens.number] -= 0.0 if value is None else value
    lengths = token_lengths(model.tokenizer)
    bases = [int(lengths[sequence[sequence != UNK]].sum()) for sequence in sequences]
    costs = np.full(len(sequences), np.nan)
    np.divide(nats, bases, out=costs, where=np.array(bases) > 0)
    return costs


def _scored(sequence: Tokens, first: int) -> Int64[np.ndarray, "hidden"]:
    """Every ``HIDDEN_APART``-th position from one on, but those of [UNK]."""
    positions: Int64[np.ndarray, "hidden"] = np.arange(first, len(sequence), HIDDEN_APART)
    scored: Int64[np.ndarray, "hidden"] = positions[sequence[positions] != UNK]
    return scored


def _hidden_one_by_one(windows: Iterable[WindowTokens]) -> Iterator[_WindowToken]:
    """Every token of each window's core but [UNK]; one empty item for a strand without tokens."""
    for window in windows:
        if not len(window.tokens):
            yield _WindowToken(window, 0)
        for place in range(window.window.core_start, window.window.core_end):
            if window.strand.tokens[place] != UNK:
                yield _WindowToken(window, place)


def _log_probabilities(
    model: OpenedModel, inputs: dict[str, Tensor], hidden: Sequence[HiddenToken | _HiddenTokens]
) -> list[float]:
    """Of the true tokens at the masked positions of a batch, row by row, each row's in order; the
    head computes nothing else."""
    positions = [
        [token.position] if isinstance(token, HiddenToken) else token.positions for token in hidden
    ]
    rows = torch.tensor(np.repeat(np.arange(len(hidden)), list(map(len, positions))))
    columns = torch.tensor(np.concatenate(positions)) + 1  # [CLS] stands first
    tokens = [token.sequence[places] for token, places in zip(hidden, positions, strict=True)]
    truth = torch.tensor(np.concatenate(tokens).astype(np.int64)).to(model.device)
    labels = torch.full_like(inputs["input_ids"], NO_LABEL)
    labels[rows.to(model.device), columns.to(model.device)] = truth
    logits = model.masked_lm(**inputs, labels=labels).logits.float()
    log_probabilities: list[float] = logits.log_softmax(1).gather(1, truth[:, None])[:, 0].tolist()
    return log_probabilities
