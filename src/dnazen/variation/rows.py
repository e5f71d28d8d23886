"""What a model makes of each allele of some rows, in its place in a genome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..inference.opened import OpenedModel
from ..sequences.alphabet import BASES, normalise
from ..sequences.indexed import IndexedGenome
from .alignment import AllelePair
from .scores import score_pairs
from .settings import ScoringConfig
from .vcf import VcfRow, unscorable

SKIPPED_MEANING = (
    "Why an allele has no scores: symbolic, breakend, overlapping_deletion (*), missing (.), "
    "ambiguous (letters other than A C G T), malformed (no letters), ref_mismatch, off_contig, "
    "unknown_contig, too_long"
)


CHUNK_ROWS = 256
"""Rows that are scored together and share windows."""


class ScoredAllele(NamedTuple):
    """What became of one allele of ALT."""

    skipped: str
    """Why it has no scores, a word of ``SKIPPED_MEANING``; empty if it has."""
    scores: Float[np.ndarray, "scores"] | None
    """In the order of ``scores_of``."""


def row_problem(row: VcfRow, genome: IndexedGenome) -> str:
    """Why no allele of a row can be scored on a genome; empty if nothing stands against it."""
    if row.chrom not in genome.lengths:
        return "unknown_contig"
    if (reason := unscorable(row.ref)) not in ("", "ambiguous"):
        return reason
    end = row.start + len(row.ref)
    if row.start < 0 or end > genome.lengths[row.chrom]:
        return "off_contig"
    ref, reference = row.ref.upper().encode(), genome.fetch(row.chrom, row.start, end)
    if (ref + reference).translate(None, BASES):
        return "ambiguous"
    return "" if ref == reference else "ref_mismatch"


def window_start(start: int, end: int, window_bp: int) -> int:
    """Where the window begins that has an interval in its middle, to within a 16th of its length.

    Decided here: windows begin at multiples of an 8th of their length, so that neighbouring
    variants share theirs. It may lie off the contig.

    Examples
    --------
    >>> [window_start(pos, pos + 1, 64) for pos in (99, 100, 107, 108)]
    [64, 72, 72, 80]
    """
    step = max(1, window_bp // 8)
    return ((start + end) // 2 - window_bp // 2 + step // 2) // step * step


def score_rows(
    model: OpenedModel, genome: IndexedGenome, rows: Sequence[VcfRow], config: ScoringConfig
) -> list[list[ScoredAllele]]:
    """What became of each allele of some rows; memory grows with their number.

    A window of the reference stands around REF, with N past the ends of the contig; the
    alternative is the same window with the allele in REF's place. Alleles, REF too, of more than
    half a window are left out as ``too_long``.
    """
    alleles: list[list[ScoredAllele]] = []
    pairs: list[AllelePair] = []
    origins: list[tuple[int, int]] = []  # row and allele of each pair
    for number, row in enumerate(rows):
        reasons = reasons_of(row, row_problem(row, genome), config.window_bp)
        alleles.append([ScoredAllele(reason, None) for reason in reasons])
        if all(reasons):
            continue
        end = row.start + len(row.ref)
        first = window_start(row.start, end, config.window_bp)
        window, _ = normalise(genome.fetch(row.chrom, first, first + config.window_bp))
        for which, (alt, reason) in enumerate(zip(row.alts, reasons, strict=True)):
            if not reason:
                changed = window[: row.start - first] + alt.upper().encode() + window[end - first :]
                pairs.append(AllelePair(window, changed))
                origins.append((number, which))
    if pairs:
        for (number, which), scores in zip(origins, score_pairs(model, pairs, config), strict=True):
            alleles[number][which] = ScoredAllele("", scores)
    return alleles


def reasons_of(row: VcfRow, problem: str, window_bp: int) -> list[str]:
    """Why each allele of a row has no scores, where its row has a problem or none; else empty."""
    return [problem or unscorable(alt) or _too_long(row, alt, window_bp) for alt in row.alts]


def _too_long(row: VcfRow, alt: str, window_bp: int) -> str:
    return "too_long" if max(len(row.ref), len(alt)) > window_bp // 2 else ""
