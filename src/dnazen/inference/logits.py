"""Logits out of what a classifier gives: by sequence, and their mean over both strands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from ..model.base_classifier import BaseClassifierOutput

Logits = Float[np.ndarray, "*bases labels"]
"""Of a sequence, or of each of its bases A, C, G and T."""


def by_sequence(output: Any, sequences: int) -> list[Logits]:
    """The logits of each sequence of a batch, in float32.

    Parameters
    ----------
    output
        Has ``logits``: (batch, labels), or those of bases as in ``BaseClassifierOutput``.
    """
    logits = output.logits.float().cpu().numpy()
    if not isinstance(output, BaseClassifierOutput):
        return list(logits)
    assert output.sequence is not None
    sequence = output.sequence.cpu().numpy()
    return np.split(logits, np.searchsorted(sequence, np.arange(1, sequences)))


def mean_of_strands(strands: Sequence[Logits]) -> Logits:
    """The mean logits of a sequence over its strands; those of bases are turned first.

    Parameters
    ----------
    strands
        Of the sequence as it is and, if that was read too, of its reverse complement, the bases in
        the order in which each strand is read.
    """
    forward, *reverse = strands
    turned = [rows[::-1] if rows.ndim == 2 else rows for rows in reverse]
    mean: Logits = np.mean([forward, *turned], axis=0)
    return mean
