"""Long sequences as overlapping windows of tokens, and the bases that each token stands for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from ..sequences.alphabet import stretches
from .encoding import Tokens
from .special import UNK


class TokenWindow(NamedTuple):
    """A stretch of a token sequence that a model reads at once, and the part it answers for.

    All are indices into the sequence's tokens, half-open.
    """

    start: int
    end: int
    core_start: int
    core_end: int
    """The cores of a sequence's windows tile it: each token is in one core."""


def token_windows(tokens: int, size: int, overlap: int) -> Iterator[TokenWindow]:
    """Yield the windows of a sequence, left to right; none if it has no tokens.

    Decided here: a sequence that fits is one window. A longer one gets as few windows of ``size``
    tokens as overlap by at least ``overlap`` each, spread evenly, so that no window is short of
    context. Neighbouring cores meet in the middle of the overlap.

    Parameters
    ----------
    tokens
        Length of the sequence.
    size
        The most tokens in a window, special tokens not counted.
    overlap
        The least tokens that neighbouring windows share, less than ``size``.

    Examples
    --------
    >>> [tuple(window) for window in token_windows(10, 6, 2)]
    [(0, 6, 0, 5), (4, 10, 5, 10)]
    """
    count = 1 if tokens <= size else -(-(tokens - overlap) // (size - overlap))
    core_start = 0
    for number in range(count if tokens else 0):
        start = number * (tokens - size) // (count - 1) if number else 0
        end = min(start + size, tokens)
        following = (number + 1) * (tokens - size) // (count - 1) if number + 1 < count else tokens
        core_end = (following + end) // 2
        yield TokenWindow(start, end, core_start, core_end)
        core_start = core_end


def token_starts(
    tokens: Tokens, clean: bytes, lengths: Int64[np.ndarray, "vocab"]
) -> Int64[np.ndarray, "tokens+1"]:
    """Where each token begins in its sequence, in bases; the last entry is where it all ends.

    Parameters
    ----------
    tokens
        Of one sequence, as ``encoding.encode_examples`` makes them: [UNK] is a stretch of N. Or
        the first of them, where it was cut.
    clean
        That sequence, as ``alphabet.normalise`` makes it.
    lengths
        Bases of each token by id, as ``tokenizer.token_lengths`` makes them.

    Examples
    --------
    >>> import numpy as np
    >>> lengths = np.array([0, 0, 0, 0, 0, 2, 1])  # token 5 is AC, token 6 is G
    >>> token_starts(np.array([5, 0, 6], dtype=np.uint16), b"ACNNNG", lengths).tolist()
    [0, 2, 5, 6]
    """
    widths = lengths[tokens]
    unknown = tokens == UNK
    if unknown.any():
        runs = (len(stretch) for stretch in stretches(clean) if stretch.startswith(b"N"))
        widths[unknown] = list(islice(runs, int(unknown.sum())))
    return np.concatenate(([0], np.cumsum(widths)))
