"""A VCF with what a model makes of every allele, row by row.

The input is checked whole before the first score is made. Scores go to a journal, a line for each
row, and in the end to the output: so a killed run can go on, and memory is that of one chunk.
"""

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pysam
from tqdm import tqdm

from ..errors import InputError
from ..inference.labels import MISSING
from ..inference.opened import OpenedModel
from ..outputs import new_files, refuse_inputs
from ..records import hash_file, package_version, plain
from ..sequences.indexed import IndexedGenome
from ..tables import causes_of_htslib, printable
from .calibration import Calibration, files_of, scoring_identity
from .journal import Journal, open_journal
from .rows import CHUNK_ROWS, SKIPPED_MEANING, ScoredAllele, score_rows
from .scores import Score, scores_of, strands_of
from .settings import CalibrationConfig, ReferenceConfig, ScoringConfig
from .variants import Survey, survey
from .vcf import (
    annotated,
    as_text,
    contig_line,
    declared,
    info_line,
    read_vcf,
    with_lines,
)

_SKIPPED = Score("skipped", SKIPPED_MEANING)
_TABIX_BP = 1 << 29
"""A longer contig takes the other kind of index, CSI."""
CSI_BP = 1 << 32
"""No index names a place beyond this."""


class _Field(NamedTuple):
    """A field of INFO, and what stands in it."""

    key: str
    score: Score


@contextmanager
def rereadable(path: Path) -> Iterator[Path]:
    """A path that can be read more than once: of a pipe, that of a copy.

    The copy has no name in any folder where the system allows it (Linux), so nothing of it stays,
    however the process ends.
    """
    stdin = str(path) == "-"
    if not stdin and (path.is_file() or path.is_dir() or not path.exists()):
        yield path
        return
    unnamed = Path("/proc/self/fd").is_dir()
    with (tempfile.TemporaryFile if unnamed else tempfile.NamedTemporaryFile)() as copy:
        with nullcontext(sys.stdin.buffer) if stdin else path.open("rb") as pipe:
            shutil.copyfileobj(pipe, copy, 1 << 20)
        copy.flush()
        yield Path(f"/proc/self/fd/{copy.fileno()}" if unnamed else copy.name)


def annotate_variants(
    model: OpenedModel,
    genome: IndexedGenome,
    variants: Path,
    output: Path,
    scoring: ScoringConfig,
    reference: ReferenceConfig,
    calibration: CalibrationConfig | None = None,
    *,
    prefix: str = "DNAZEN",
    resume: bool = False,
) -> Survey:
    """Write the rows of a VCF with the scores of their alleles, or these as a table.

    Parameters
    ----------
    variants
        VCF or BCF; ``-`` is standard input.
    output
        A name in ``VARIANT_SUFFIXES``; ``-`` is VCF to standard output.
    calibration
        Gives percentiles; its file is ``OUTPUT.calibration.json`` unless it names one, and none
        beside standard output.
    prefix
        What the names of the INFO fields begin with.
    resume
        Go on with an interrupted run.

    Raises
    ------
    InputError
        If the genome or the VCF cannot be read, or they do not go together.
    OutputError
        If the output cannot be written or is an input, or an interrupted run stands beside it.
    ConfigError
        If the run to go on with, or the calibration's file, is another one.
    """
    name = str(variants)
    calibrated = _calibration(model, genome, output, scoring, calibration)
    percentiles = calibrated.scores if calibrated else ()
    fields = [
        _Field(f"{prefix}_{score.name}".upper(), score)
        for score in (_SKIPPED, *scores_of(model), *percentiles)
    ]
    table = output.name.endswith((".tsv", ".tsv.gz"))
    with rereadable(variants) as source:
        refuse_inputs(output, [source, *files_of(model), genome.path])
        header = read_vcf(source, name).header
        new_fields = [] if table else [field.key for field in fields]
        _require_new(new_fields, header, name)
        summary = survey(
            source,
            genome,
            reference,
            name=name,
            window_bp=scoring.window_bp,
            new_fields=new_fields,
        )
        identity = _identity(model, genome, source, scoring, reference)
        if calibrated:
            identity["calibration"] = calibrated.identity
        with _journal(output, identity, resume=resume) as journal:
            _score_into(journal, model, genome, source, scoring, summary, calibrated)
            if table:
                lines = _table(source, journal, [field.score.name for field in fields])
            else:
                new_lines = [
                    *_missing_contigs(header, summary.contigs, genome.lengths),
                    *map(_info_line, fields),
                    _provenance(model, genome, scoring, prefix),
                ]
                rows = _annotated_rows(source, journal, [field.key for field in fields])
                lines = itertools.chain(with_lines(header, new_lines), rows)
            _write(output, lines, index_kind(output, summary, genome.lengths))
    return summary


def index_kind(output: Path, summary: Survey, lengths: Mapping[str, int]) -> str:
    """``tbi``, or ``csi`` where a contig is too long for it; empty where there can be none."""
    if not (output.name.endswith(".vcf.gz") and summary.in_order and summary.end <= CSI_BP):
        return ""
    return "csi" if max(summary.end, *lengths.values()) > _TABIX_BP else "tbi"


def _require_new(keys: Sequence[str], header: Sequence[bytes], name: str) -> None:
    taken = sorted(declared(header, "INFO").intersection(keys))
    if taken:
        raise InputError(
            f"has INFO fields {', '.join(taken)} already",
            path=name,
            fix="choose another --prefix, or take them out with 'bcftools annotate -x'",
        )


@contextmanager
def _journal(output: Path, identity: Mapping[str, Any], *, resume: bool) -> Iterator[Journal]:
    """Beside the output; taken away when all is well."""
    if str(output) == "-":
        with tempfile.TemporaryDirectory() as folder:
            lines = Path(folder, "lines")
            lines.touch()
            yield Journal(lines)
        return
    with open_journal(output, identity, resume=resume) as journal:
        yield journal


def _identity(
    model: OpenedModel,
    genome: IndexedGenome,
    source: Path,
    scoring: ScoringConfig,
    reference: ReferenceConfig,
) -> dict[str, Any]:
    """All that the scores depend on, to the last digit."""
    names = reference.contig_names
    return {
        "dnazen": package_version(),
        "variants": hash_file(source).sha256,
        **scoring_identity(model, genome, scoring),
        "tokens_per_batch": scoring.tokens_per_batch,
        "device": model.device.type,
        "contig_names": hash_file(names).sha256 if names and names.is_file() else plain(names),
    }


def _calibration(
    model: OpenedModel,
    genome: IndexedGenome,
    output: Path,
    scoring: ScoringConfig,
    config: CalibrationConfig | None,
) -> Calibration | None:
    """Kept beside the output unless a file is named; nothing if no percentiles are wanted."""
    if config is None or not config.wanted:
        return None
    beside = None if str(output) == "-" else output.with_name(f"{output.name}.calibration.json")
    return Calibration(model, genome, scoring, config, config.calibration or beside)


def _score_into(
    journal: Journal,
    model: OpenedModel,
    genome: IndexedGenome,
    source: Path,
    config: ScoringConfig,
    summary: Survey,
    calibration: Calibration | None,
) -> None:
    """Put the scores of all rows that it does not hold into the journal."""
    width = 1 + len(scores_of(model)) + (len(calibration.scores) if calibration else 0)
    done = journal.keep(CHUNK_ROWS)
    rows = (
        row._replace(chrom=summary.contigs[row.chrom])
        for row in itertools.islice(read_vcf(source).rows, done, None)
    )
    with tqdm(
        desc="scoring", unit=" rows", total=summary.rows, initial=done, disable=None
    ) as progress:
        while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
            scored = score_rows(model, genome, chunk, config)
            if calibration is not None:
                scored = calibration.with_percentiles(chunk, scored)
            journal.append(_values(alleles, width) for alleles in scored)
            progress.update(len(chunk))


def _values(alleles: Sequence[ScoredAllele], width: int) -> str:
    """The values of each INFO field of a row, tabs between fields and commas between alleles."""
    by_allele = [
        [allele.skipped, *["."] * (width - 1)]
        if allele.scores is None
        else [".", *map(_number, allele.scores)]
        for allele in alleles
    ]
    return "\t".join(",".join(values[field] for values in by_allele) for field in range(width))


def _number(score: float) -> str:
    return "." if np.isnan(score) else f"{score + 0.0:.6g}"  # no -0


def _annotated_rows(path: Path, journal: Journal, keys: Sequence[str]) -> Iterator[bytes]:
    """The rows of a VCF with their scores; a field without any value is left out."""
    for row, line in zip(read_vcf(path).rows, journal, strict=True):
        fields = zip(keys, line.split("\t"), strict=True)
        yield annotated(row, [(key, value) for key, value in fields if value.strip(".,")])


def _table(path: Path, journal: Journal, names: Sequence[str]) -> Iterator[bytes]:
    """The scores as a table: a line for each allele, POS as in the VCF."""
    yield "\t".join(["chrom", "pos", "id", "ref", "alt", *names]).encode()
    for row, line in zip(read_vcf(path).rows, journal, strict=True):
        fields = [field.split(",") for field in line.split("\t")]
        for alt, *values in zip(row.alts, *fields, strict=True) if row.alts else ():
            cells = [MISSING if value == "." else value for value in values]
            names = (*map(as_text, row.columns[:4]), alt)
            yield "\t".join([*map(printable, names), *cells]).encode()


def _missing_contigs(
    header: Sequence[bytes], contigs: Mapping[str, str], lengths: Mapping[str, int]
) -> list[bytes]:
    """Lines for contigs that rows stand on and the header leaves out: bcftools wants them all."""
    declared_contigs = declared(header, "contig")
    lines = (
        contig_line(chrom, lengths.get(contig))
        for chrom, contig in contigs.items()
        if chrom not in declared_contigs
    )
    return [line for line in lines if line is not None]


def _info_line(field: _Field) -> bytes:
    kind: Literal["Float", "String"] = "String" if field.score is _SKIPPED else "Float"
    return info_line(field.key, kind, field.score.meaning)


def _provenance(
    model: OpenedModel, genome: IndexedGenome, config: ScoringConfig, prefix: str
) -> bytes:
    text = (
        f"##{prefix}_variants=dnazen {package_version()}; model {model.origin.pinned}; genome "
        f"{genome.path}; window_bp {config.window_bp}; strands {strands_of(model, config)}"
    )
    return printable(text).encode()


def _write(output: Path, lines: Iterable[bytes], index: str) -> None:
    """Write lines to stdout, or to a file that is whole or absent: bgzip where it ends in .gz.

    An index of an earlier output goes before that output is replaced, and the new one comes after:
    whenever the process ends, no index stands beside a file that is not its own.
    """
    if str(output) == "-":
        sys.stdout.buffer.writelines(line + b"\n" for line in lines)
        return
    indexes = {kind: output.with_name(f"{output.name}.{kind}") for kind in ("tbi", "csi")}
    with new_files(output, *([indexes[index]] if index else [])) as (part, *index_parts):
        if output.name.endswith(".gz"):
            with causes_of_htslib(part):
                with pysam.BGZFile(str(part), "w", None) as zipped:
                    for line in lines:
                        zipped.write(line + b"\n")
                for index_part in index_parts:
                    csi = index == "csi"
                    pysam.tabix_index(
                        str(part), preset="vcf", index=str(index_part), csi=csi, force=True
                    )
        else:
            with part.open("wb") as plain_file:
                plain_file.writelines(line + b"\n" for line in lines)
        if output.name.endswith(".vcf.gz"):
            for path in indexes.values():
                path.unlink(missing_ok=True)
