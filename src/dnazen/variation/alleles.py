"""From the rows of a VCF, on their genome, to the scores of each allele."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from ..errors import InputError
from ..sequences.alphabet import BASES, normalise
from ..sequences.indexed import IndexedGenome
from .effects import Change, Scorer, open_scorer
from .vcf import VcfRow, read_vcf, unscorable

SKIPPED_MEANING = (
    "Why an allele has no scores: symbolic, breakend, overlapping_deletion (*), ambiguous "
    "(letters other than A C G T), ref_mismatch, off_contig, unknown_contig, too_long"
)


CHUNK_ROWS = 256
"""Rows that are scored together and share windows."""


class Allele(NamedTuple):
    """What became of one allele of ALT."""

    skipped: str
    """Why it has no scores, a word of ``SKIPPED_MEANING``; empty if it has."""
    scores: Float[np.ndarray, "columns"] | None
    """Those of ``Scorer.columns``."""


class ScoredVariant(NamedTuple):
    """An allele with what a model makes of it."""

    chrom: str
    pos: int
    """1-based, as in VCF."""
    ref: str
    alt: str
    skipped: str
    """Why it has no scores, a word of ``SKIPPED_MEANING``; empty if it has."""
    scores: dict[str, float]
    """By the names of ``Scorer.columns``, such as ``llr``; empty where it has none."""


class Survey(NamedTuple):
    """What the rows of a file are, known before the first is scored."""

    rows: int
    contigs: tuple[str, ...]
    """In the order of their first rows."""
    mismatches: int
    """Rows whose REF disagrees with the genome, or lies off its contig."""
    in_order: bool
    """Each contig's rows stand together, and by position."""


def score_variants(
    model: str | Path | Scorer,
    genome: str | Path | IndexedGenome,
    variants: str | Path | Iterable[tuple[str, int, str, str]],
    window_bp: int = 512,
) -> Iterator[ScoredVariant]:
    """Yield each allele with its scores, in order; the library's ``dnazen variants``.

    Memory is that of ``CHUNK_ROWS`` variants. Nothing is fatal that concerns single variants:
    what cannot be scored says why.

    Parameters
    ----------
    model
        A directory with a pre-trained or fine-tuned model, or what ``open_scorer`` gives.
    genome
        The reference: FASTA, plain or bgzip, or 2bit.
    variants
        A VCF or BCF file, or ``(chrom, pos, ref, alt)`` with ``pos`` 1-based as in VCF.
    window_bp
        Bases of the reference that the model reads around a variant.

    Raises
    ------
    InputError
        If the model, the genome or the file cannot be read.
    """
    scorer = model if isinstance(model, Scorer) else open_scorer(model)
    rows = read_vcf(variants).rows if isinstance(variants, str | Path) else _as_rows(variants)
    with nullcontext(genome) if isinstance(genome, IndexedGenome) else IndexedGenome(genome) as at:
        while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
            scored = score_rows(scorer, at, chunk, window_bp)
            for row, alleles in zip(chunk, scored, strict=True):
                for alt, (skipped, scores) in zip(row.alts, alleles, strict=True):
                    named = {} if scores is None else _named(scorer, scores)
                    yield ScoredVariant(row.chrom, row.start + 1, row.ref, alt, skipped, named)


def _as_rows(variants: Iterable[tuple[str, int, str, str]]) -> Iterator[VcfRow]:
    for number, (chrom, pos, ref, alt) in enumerate(variants, 1):
        yield VcfRow(f"variant {number}", chrom, pos - 1, ref, (alt,), ())


def _named(scorer: Scorer, scores: Float[np.ndarray, "columns"]) -> dict[str, float]:
    return {column.name: float(score) for column, score in zip(scorer.columns, scores, strict=True)}


def survey(
    path: Path,
    genome: IndexedGenome,
    *,
    max_ref_mismatch: float = 0.01,
    skip_unknown_contigs: bool = False,
) -> Survey:
    """Read all rows of a VCF and hold them against a genome.

    Raises
    ------
    InputError
        If a row cannot be read, rows stand on contigs that the genome lacks, or more than the
        given fraction of the others disagree with it.
    """
    rows = known = mismatches = 0
    in_order, previous = True, ("", -1)
    contigs: dict[str, str] = {}  # and where each was met first
    example = ""
    for row in tqdm(read_vcf(path).rows, desc="checking", unit=" rows", disable=None):
        rows += 1
        follows = row.chrom == previous[0] and row.start >= previous[1]
        in_order = in_order and (follows or row.chrom not in contigs)
        previous = row.chrom, row.start
        contigs.setdefault(row.chrom, row.at)
        problem = row_problem(row, genome)
        known += problem != "unknown_contig"
        if problem in ("ref_mismatch", "off_contig"):
            mismatches += 1
            example = example or f"{row.chrom}:{row.start + 1} {row.ref[:20]}, {row.at}"
    unknown = [chrom for chrom in contigs if chrom not in genome.lengths]
    if unknown and not skip_unknown_contigs:
        raise genome.unknown(*unknown, at=contigs[unknown[0]])
    if mismatches > max_ref_mismatch * known:
        raise InputError(
            f"REF of {mismatches:,} of {known:,} rows disagrees with the genome, first {example}",
            path=path,
            expected=f"at most a fraction of {max_ref_mismatch:g}",
            fix="give the genome that it was called on, or raise --max-ref-mismatch",
        )
    return Survey(rows, tuple(contigs), mismatches, in_order)


def row_problem(row: VcfRow, genome: IndexedGenome) -> str:
    """Why no allele of a row can be scored on a genome; empty if nothing stands against it."""
    if row.chrom not in genome.lengths:
        return "unknown_contig"
    end = row.start + len(row.ref)
    if row.start < 0 or end > genome.lengths[row.chrom]:
        return "off_contig"
    ref, there = row.ref.upper().encode(), genome.fetch(row.chrom, row.start, end)
    if (ref + there).translate(None, BASES):
        return "ambiguous"
    return "" if ref == there else "ref_mismatch"


def window_start(start: int, end: int, window_bp: int) -> int:
    """Where the window begins that has a stretch in its middle, give or take a 16th of its length.

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
    scorer: Scorer, genome: IndexedGenome, rows: Sequence[VcfRow], window_bp: int = 512
) -> list[list[Allele]]:
    """What became of each allele of some rows; memory grows with their number.

    A window of the reference stands around REF, with N past the ends of the contig; the
    alternative is the same window with the allele in REF's place. Alleles, REF too, of more than
    half a window are left out as ``too_long``.
    """
    alleles: list[list[Allele]] = []
    changes: list[Change] = []
    places: list[tuple[int, int]] = []
    for number, row in enumerate(rows):
        problem = row_problem(row, genome)
        reasons = [problem or unscorable(alt) or _too_long(row, alt, window_bp) for alt in row.alts]
        alleles.append([Allele(reason, None) for reason in reasons])
        if all(reasons):
            continue
        end = row.start + len(row.ref)
        first = window_start(row.start, end, window_bp)
        window, _ = normalise(genome.fetch(row.chrom, first, first + window_bp))
        for which, (alt, reason) in enumerate(zip(row.alts, reasons, strict=True)):
            if not reason:
                changed = window[: row.start - first] + alt.upper().encode() + window[end - first :]
                changes.append(Change(window, changed))
                places.append((number, which))
    if changes:
        for (number, which), scores in zip(places, scorer.score(changes), strict=True):
            alleles[number][which] = Allele("", scores)
    return alleles


def _too_long(row: VcfRow, alt: str, window_bp: int) -> str:
    return "too_long" if max(len(row.ref), len(alt)) > window_bp // 2 else ""
