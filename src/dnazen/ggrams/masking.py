"""Whole-G-gram masking: which tokens the model must guess, and what it sees in their place."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Int64, UInt64

from ..tokens.special import MASK
from .kernels import kernel, require_sequences
from .matching import Matcher
from .settings import MaskingConfig
from .vocabulary import SPECIAL

NO_LABEL = -100
"""What the loss leaves out (PyTorch's ``ignore_index``)."""


class Masked(NamedTuple):
    """Corrupted sequences and what stood there."""

    tokens: Int[np.ndarray, "tokens"]
    """What the model sees; of the type of the tokens given."""
    labels: Int64[np.ndarray, "tokens"]
    """The original token where it is to be predicted, -100 elsewhere."""


def sequence_keys(
    seed: int, epoch: int, indices: Int[np.ndarray, "sequences"]
) -> UInt64[np.ndarray, "sequences"]:
    """One random key a sequence, from its place in the data set and nothing else.

    So masks are the same at any batch size, order and number of workers, and fresh every epoch.
    """
    # splitmix64's step and finaliser for each of the numbers in turn.
    key = np.zeros(len(indices), dtype=np.uint64)
    place = np.asarray(indices).astype(np.uint64)
    for number in (np.uint64(seed % (1 << 64)), np.uint64(epoch % (1 << 64)), place):
        key = (key ^ number) + np.uint64(0x9E3779B97F4A7C15)
        key = (key ^ (key >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        key = (key ^ (key >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        key ^= key >> np.uint64(31)
    return key


def mask(
    tokens: Int[np.ndarray, "tokens"],
    offsets: Int[np.ndarray, "sequences+1"],
    matcher: Matcher | None,
    keys: UInt64[np.ndarray, "sequences"],
    config: MaskingConfig,
    vocab_size: int,
) -> Masked:
    """Hide whole units, G-gram occurrences and single tokens, of each sequence.

    A unit is hidden wholly or not at all; 80 % of the units become [MASK], 10 % random tokens and
    10 % stay (``config``). The loss covers all tokens of the chosen units and nothing else.
    Special tokens (ids 0-4) are neither chosen nor drawn. A sequence's result depends on its
    tokens and its key alone.

    Decided here: the budget of a sequence with m maskable tokens is rate x m rounded at random up
    or down, but at least 1; a G-gram longer than what is left of the G-grams' budget is taken with
    the odds that keep the mean share as asked. So rate and share are met without bias, and the
    budget is overshot by less than the last unit.

    Parameters
    ----------
    matcher
        Finds the G-grams; None hides single tokens only.
    keys
        The source of all randomness, one number a sequence: see ``sequence_keys``.
    """
    require_sequences(tokens, offsets)
    if len(keys) != len(offsets) - 1:
        raise ValueError(f"{len(keys)} keys for {len(offsets) - 1} sequences")
    offsets = np.ascontiguousarray(offsets, dtype=np.int64)
    if matcher is None or config.ggram_share == 0:
        start, length = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    else:
        start, ggram_id = matcher.occurrences(tokens, offsets)
        length = matcher.lengths[ggram_id]
    corrupted = np.array(tokens)
    labels = np.full(len(tokens), NO_LABEL, dtype=np.int64)
    shares = config.rate, config.ggram_share, config.mask_share, config.random_share
    units = (start, length, config.units == "spans")
    _mask(corrupted, labels, offsets, *units, np.asarray(keys, np.uint64), *shares, vocab_size)
    return Masked(corrupted, labels)


@kernel
def _draw(state: UInt64[np.ndarray, "1"]) -> float:
    """The next number of the stream (splitmix64), uniform on [0, 1); ``state`` has one element."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    x = state[0]
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return float(x >> np.uint64(11)) / (1 << 53)


@kernel
def _mask(
    tokens: Int[np.ndarray, "tokens"],
    labels: Int64[np.ndarray, "tokens"],
    offsets: Int64[np.ndarray, "sequences+1"],
    start: Int64[np.ndarray, "occurrences"],
    length: Int64[np.ndarray, "occurrences"],
    displaced: bool,
    keys: UInt64[np.ndarray, "sequences"],
    rate: float,
    ggram_share: float,
    mask_share: float,
    random_share: float,
    vocab_size: int,
) -> None:
    """``mask`` in place, the occurrences given, or ``displaced`` to random places."""
    state = np.zeros(1, dtype=np.uint64)
    order = np.empty(max(tokens.shape[0], start.shape[0]), dtype=np.int64)
    low = 0
    for sequence in range(offsets.shape[0] - 1):
        begin, end = offsets[sequence], offsets[sequence + 1]
        state[0] = keys[sequence]
        maskable = 0
        for i in range(begin, end):
            maskable += tokens[i] >= SPECIAL
        if maskable == 0:
            continue
        budget = max(1, int(np.floor(rate * maskable + _draw(state))))
        covered = 0

        high = low
        while high < start.shape[0] and start[high] < end:
            order[high - low] = high
            high += 1
        left = high - low
        while left > 0 and covered < ggram_share * budget:
            # Lazy Fisher-Yates: the next occurrence of a random order.
            pick = int(_draw(state) * left)
            k = order[pick]
            left -= 1
            order[pick] = order[left]
            first = start[k]
            if displaced:
                first = begin + int(_draw(state) * (end - begin - length[k] + 1))
            free = True
            for i in range(first, first + length[k]):
                free = free and labels[i] == NO_LABEL and tokens[i] >= SPECIAL
            if not free:
                continue
            room = ggram_share * budget - covered
            if length[k] > room and _draw(state) * length[k] >= room:
                break
            _hide(tokens, labels, first, length[k], state, mask_share, random_share, vocab_size)
            covered += length[k]
        low = high

        left = 0
        if covered < budget:
            for i in range(begin, end):
                if labels[i] == NO_LABEL and tokens[i] >= SPECIAL:
                    order[left] = i
                    left += 1
        while left > 0 and covered < budget:
            pick = int(_draw(state) * left)
            i = order[pick]
            left -= 1
            order[pick] = order[left]
            _hide(tokens, labels, i, 1, state, mask_share, random_share, vocab_size)
            covered += 1


@kernel
def _hide(
    tokens: Int[np.ndarray, "tokens"],
    labels: Int64[np.ndarray, "tokens"],
    start: int,
    length: int,
    state: UInt64[np.ndarray, "1"],
    mask_share: float,
    random_share: float,
    vocab_size: int,
) -> None:
    """Copy one unit to ``labels``, and put [MASK], random tokens or the same in its place."""
    fate = _draw(state)
    for i in range(start, start + length):
        labels[i] = tokens[i]
        if fate < mask_share:
            tokens[i] = MASK
        elif fate < mask_share + random_share:
            tokens[i] = SPECIAL + int(_draw(state) * (vocab_size - SPECIAL))
