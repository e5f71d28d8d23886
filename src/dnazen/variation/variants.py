"""From the rows of a VCF, on their genome, to the scores of each allele."""

from __future__ import annotations

import itertools
import operator
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from ..errors import InputError
from ..inference.opened import OpenedModel, opened
from ..sequences.contigs import ContigNames
from ..sequences.indexed import IndexedGenome
from ..sequences.inputs import text_of
from ..settings import settings_or_default
from .calibration import Calibration, percentile_scores
from .rows import CHUNK_ROWS, reasons_of, row_problem, score_rows
from .scores import scores_of
from .settings import CalibrationConfig, ReferenceConfig, ScoringConfig
from .vcf import VcfRow, read_vcf, require_without, unscorable


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
    """By name (``scores_of``), such as ``llr``; empty where it has none. With a calibration
    ``percentile`` too (``percentile_scores``), NaN where the allele has no class."""


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
    calibration: CalibrationConfig | None = None,
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
    calibration
        Gives percentiles among simulated variants, kept in its file if it names one.

    Raises
    ------
    ConfigError
        If the calibration's file is absent, or of another model, genome or setting.
    InputError
        If the model, the genome or the file cannot be read, or a tuple is no variant.
    """
    model = opened(model)
    config = settings_or_default(config, ScoringConfig)
    calibration = settings_or_default(calibration, CalibrationConfig)
    percentiles = percentile_scores(model) if calibration.wanted else ()
    names = [score.name for score in (*scores_of(model), *percentiles)]
    rows = read_vcf(variants).rows if isinstance(variants, str | Path) else _as_rows(variants)
    with (
        nullcontext(genome)
        if isinstance(genome, IndexedGenome)
        else IndexedGenome(genome) as indexed
    ):
        calibrated = (
            Calibration(model, indexed, config, calibration, calibration.calibration)
            if calibration.wanted
            else None
        )
        while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
            scored = score_rows(model, indexed, chunk, config)
            if calibrated is not None:
                scored = calibrated.with_percentiles(chunk, scored)
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
        skipped.update(filter(None, reasons_of(row, problem, window_bp)))
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
