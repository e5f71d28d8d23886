"""Sequences beside motifs: likeness to a motif (TOMTOM), and hits in a sequence (FIMO).

The two algorithms are memelite's; it comes with the extra ``motifs`` and compiles itself on first
use, which takes about a minute once.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from tqdm import tqdm

from ...errors import DnazenError
from ...sequences.alphabet import BASES
from ..kernels import import_kernels
from ..settings import LONGEST_BP
from .meme import Motif

_AT_ONCE = 1000  # sequences compared together, against thousands of motifs


class Similar(NamedTuple):
    """Pairs of a sequence and a motif that resemble each other, in the order of both."""

    sequence: Int64[np.ndarray, "pairs"]
    """Number of the sequence."""
    motif: Int64[np.ndarray, "pairs"]
    """Number of the motif."""
    p_value: Float64[np.ndarray, "pairs"]
    """Of the best alignment over both strands, for one sequence and one motif."""
    forward: Bool[np.ndarray, "pairs"]
    """False where the sequence's reverse complement resembles the motif."""
    offset: Int64[np.ndarray, "pairs"]
    """Column of the motif at which the sequence, on that strand, begins; may be negative."""
    overlap: Int64[np.ndarray, "pairs"]
    """Aligned columns."""


class Hit(NamedTuple):
    """A place in a sequence that a motif matches, 0-based and half-open."""

    sequence: int
    start: int
    end: int
    motif: int
    strand: str
    p_value: float
    """Chance of a score as high at one place, all bases being equally likely."""


def similar_motifs(sequences: Sequence[str], motifs: Sequence[Motif], max_p: float) -> Similar:
    """Every pair of a sequence and a motif whose TOMTOM p-value is at most ``max_p``.

    A sequence is compared as a motif of certain bases. The p-value is of the best alignment on
    either strand, overhangs allowed; it rests on the columns of all ``motifs``, so that fewer
    than about 50 give poor ones. Time is about 1 ms for a sequence and a thousand motifs.
    Source: Gupta and others 2007, Genome Biology 8:R24; memelite's complete scores.

    Parameters
    ----------
    sequences
        Upper-case ACGT, 1 to ``LONGEST_BP`` bases each.

    Raises
    ------
    ValueError
        If a sequence is empty or too long.
    DnazenError
        If the extra ``motifs`` is not installed.
    """
    if any(not 1 <= len(sequence) <= LONGEST_BP for sequence in sequences):
        raise ValueError(f"sequences must have 1 to {LONGEST_BP} bases")
    tomtom = _memelite().tomtom
    targets = [motif.matrix.T for motif in motifs]
    batches = []
    starts = range(0, len(sequences), _AT_ONCE)
    for start in tqdm(starts, desc="comparing with motifs", disable=None):
        queries = [_one_hot(sequence) for sequence in sequences[start : start + _AT_ONCE]]
        with warnings.catch_warnings():  # of few targets, which the contract speaks of
            warnings.simplefilter("ignore", UserWarning)
            p, _, offset, overlap, strand = tomtom(queries, targets)
        rows, columns = np.nonzero(p <= max_p)
        alike = (rows, columns)
        batches.append(
            (rows + start, columns, p[alike], strand[alike], offset[alike], overlap[alike])
        )
    if not batches:
        batches = [(np.empty(0, dtype=np.int64),) * 6]
    sequence, motif, p_value, strands, offsets, overlaps = map(
        np.concatenate, zip(*batches, strict=True)
    )
    forward = strands == 0
    begins = offsets.astype(np.int64)
    # Of a reverse match the offset counts from the motif's end, and the sequence is turned too.
    widths = np.array([len(m.matrix) for m in motifs], dtype=np.int64)[motif]
    lengths = np.array([len(s) for s in sequences], dtype=np.int64)[sequence]
    begins = np.where(forward, begins, widths - begins - lengths)
    return Similar(sequence, motif, p_value, forward, begins, overlaps.astype(np.int64))


def scan(sequences: Sequence[str], motifs: Sequence[Motif], max_p: float = 1e-4) -> list[Hit]:
    """Every place on either strand that a motif matches with a p-value of at most ``max_p``.

    Sorted by sequence, start and end. Places with an N match nothing. Source: Grant and others
    2011, Bioinformatics 27:1017 (FIMO).

    Parameters
    ----------
    sequences
        Upper-case ACGT and N.

    Raises
    ------
    DnazenError
        If the extra ``motifs`` is not installed.
    """
    joined = "N".join(sequences)  # of one length for all, as FIMO takes them
    if not joined:
        return []
    starts = np.cumsum([0, *(len(sequence) + 1 for sequence in sequences)])
    unknown = np.cumsum([0, *(base == "N" for base in joined)])
    # Shorter than the longest motif FIMO has no place to look at.
    longest = max(len(motif.matrix) for motif in motifs)
    one_hot = _one_hot(joined + "N" * longest).astype(np.int8)[None]
    weights = {str(number): motif.matrix.T for number, motif in enumerate(motifs)}
    tables = _memelite().fimo(weights, one_hot, dim=1, threshold=max_p)
    if not tables:  # no hit at all
        return []
    (table,) = tables
    hits = []
    for motif, start, end, strand, p_value in zip(
        table["motif_idx"],
        table["start"],
        table["end"],
        table["strand"],
        table["p-value"],
        strict=True,
    ):
        if end <= len(joined) and unknown[end] == unknown[start]:
            number = int(np.searchsorted(starts, start, side="right")) - 1
            left = int(starts[number])
            hits.append(
                Hit(number, int(start) - left, int(end) - left, int(motif), strand, float(p_value))
            )
    return sorted(hits)


def _one_hot(sequence: str) -> Float[np.ndarray, "4 bases"]:
    """1 where a base stands; an N has none."""
    letters = np.frombuffer(sequence.encode(), dtype=np.uint8)
    one_hot: Float[np.ndarray, "4 bases"] = (
        letters == np.frombuffer(BASES, dtype=np.uint8)[:, None]
    ).astype(np.float64)
    return one_hot


def _memelite() -> Any:
    try:
        return import_kernels("memelite")
    except ModuleNotFoundError:
        raise DnazenError(
            "memelite is not installed; it compares with motifs; pip install 'dnazen[motifs]'"
        ) from None
