"""From the rows of a VCF, on their genome, to the scores of each allele."""

from __future__ import annotations

import itertools
import operator
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from ..errors import InputError
from ..inference.opened import OpenedModel, opened
from ..sequences.alphabet import BASES, normalise
from ..sequences.contigs import ContigNames
from ..sequences.indexed import IndexedGenome
from ..sequences.inputs import text_of
from ..settings import settings_or_default
from .alignment import AllelePair
from .scores import score_pairs, scores_of
from .settings import ReferenceConfig, ScoringConfig
from .vcf import VcfRow, read_vcf, require_without, unscorable

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
    """By name (``scores_of``), such as ``llr``; empty where it has none."""


class Survey(NamedTuple):
    """What the rows of a file are, known before the first is scored."""

    rows: int
    contigs: dict[str, str]
    """What the genome calls each contig of the file, in the order of their first rows."""
    compared: int
    """Rows with an allele to score whose REF could be held against the genome."""
    mismatches: int
    """Those of them whose REF disagrees with it."""
    in_order: bool
    """Each contig's rows stand together, and by position."""
    end: int
    """The largest end of a REF, in bases of its contig."""
    skipped: Counter[str]
    """Alleles that have no scores, by the reason."""


def score_variants(
    model: str | Path | OpenedModel,
    genome: str | Path | IndexedGenome,
    variants: str | Path | Iterable[tuple[str, int, str, str]],
    config: ScoringConfig | None = None,
) -> Iterator[ScoredVariant]:
    """Yield each allele with its scores, in order; the library's ``dnazen variants``.

    Memory is that of ``CHUNK_ROWS`` variants. Nothing is fatal that concerns single variants:
    what cannot be scored says why.

    Parameters
    ----------
    model
        A directory with a pre-trained or fine-tuned model, or what ``dnazen.load`` gives.
    genome
        The reference: FASTA, plain or bgzip, or 2bit.
    variants
        A VCF or BCF file, or ``(chrom, pos, ref, alt)`` with ``pos`` 1-based as in VCF.

    Raises
    ------
    InputError
        If the model, the genome or the file cannot be read, or a tuple is no variant.
    """
    model = opened(model)
    config = settings_or_default(config, ScoringConfig)
    names = [score.name for score in scores_of(model)]
    rows = read_vcf(variants).rows if isinstance(variants, str | Path) else _as_rows(variants)
    with (
        nullcontext(genome)
        if isinstance(genome, IndexedGenome)
        else IndexedGenome(genome) as indexed
    ):
        while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
            scored = score_rows(model, indexed, chunk, config)
            for row, alleles in zip(chunk, scored, strict=True):
                for alt, (skipped, scores) in zip(row.alts, alleles, strict=True):
                    values = () if scores is None else scores.tolist()
                    by_name = dict(zip(names, values, strict=False))
                    yield ScoredVariant(row.chrom, row.start + 1, row.ref, alt, skipped, by_name)


def _as_rows(variants: Iterable[tuple[str, int, str, str]]) -> Iterator[VcfRow]:
    for number, variant in enumerate(variants, 1):
        at = f"variant {number}"
        try:
            chrom, pos, ref, alt = variant
            start = operator.index(pos) - 1
        except (TypeError, ValueError):
            raise InputError(
                f"{at}: {variant!r:.80}", expected="(chrom, pos, ref, alt), pos a whole number"
            ) from None
        ref, alt = text_of(ref, f"{at}, ref"), text_of(alt, f"{at}, alt")
        yield VcfRow(at, text_of(chrom, f"{at}, chrom"), start, ref, (alt,), ())


def survey(
    path: Path,
    genome: IndexedGenome,
    config: ReferenceConfig | None = None,
    *,
    name: str | None = None,
    window_bp: int = ScoringConfig.window_bp,
    new_fields: Collection[str] = (),
) -> Survey:
    """Read all rows of a VCF and hold them against a genome.

    Rows with nothing to score, symbolic alleles alone or off their contig, are not compared.

    Parameters
    ----------
    name
        What messages call the file, by default its path.
    window_bp
        Of the scoring: longer alleles are left out.
    new_fields
        Fields that no row's INFO may hold.

    Raises
    ------
    InputError
        If a row cannot be read or holds one of ``new_fields``, rows stand on contigs that the
        genome lacks, or of those that could be compared more than the given fraction disagree
        with it.
    """
    config = settings_or_default(config, ReferenceConfig)
    contig_names = ContigNames(config.contig_names, genome)
    rows = compared = mismatches = end = 0
    in_order, previous = True, ("", -1)
    contigs: dict[str, str] = {}
    first_rows: dict[str, str] = {}
    skipped: Counter[str] = Counter()
    example = ""
    for row in tqdm(read_vcf(path, name).rows, desc="checking", unit=" rows", disable=None):
        rows += 1
        require_without(row, new_fields)
        follows = row.chrom == previous[0] and row.start >= previous[1]
        in_order = in_order and (follows or row.chrom not in contigs)
        previous = row.chrom, row.start
        end = max(end, row.start + len(row.ref))
        if row.chrom not in contigs:
            contigs[row.chrom] = contig_names.of_genome(row.chrom)
            first_rows[row.chrom] = row.at
        problem = row_problem(row._replace(chrom=contigs[row.chrom]), genome)
        skipped.update(filter(None, _reasons(row, problem, window_bp)))
        if problem in ("", "ref_mismatch") and not all(map(unscorable, row.alts)):
            compared += 1
            if problem:
                mismatches += 1
                example = example or f"{row.chrom}:{row.start + 1} {row.ref[:20]}, {row.at}"
    unknown = [chrom for chrom, contig in contigs.items() if contig not in genome.lengths]
    if unknown and not config.skip_unknown_contigs:
        raise genome.unknown(*unknown, at=first_rows[unknown[0]])
    if mismatches > config.max_ref_mismatch * compared:
        raise InputError(
            f"REF of {mismatches:,} of {compared:,} rows disagrees with the genome, first "
            f"{example}",
            path=name or path,
            expected=f"at most a fraction of {config.max_ref_mismatch:g}",
            fix="give the genome that it was called on, or raise --max-ref-mismatch",
        )
    return Survey(rows, contigs, compared, mismatches, in_order, end, skipped)


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
        reasons = _reasons(row, row_problem(row, genome), config.window_bp)
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


def _reasons(row: VcfRow, problem: str, window_bp: int) -> list[str]:
    """Why each allele of a row has no scores, where its row has a problem or none; else empty."""
    return [problem or unscorable(alt) or _too_long(row, alt, window_bp) for alt in row.alts]


def _too_long(row: VcfRow, alt: str, window_bp: int) -> str:
    return "too_long" if max(len(row.ref), len(alt)) > window_bp // 2 else ""
