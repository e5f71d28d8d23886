"""``dnazen variants``: a VCF with what a model makes of every allele, row by row.

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
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import pysam
import torch
import tyro
from tqdm import tqdm

from ..errors import ConfigError, InputError
from ..inference.likelihood import TOKENS_PER_BATCH
from ..inference.predict import MISSING
from ..outputs import new_file
from ..records import hash_file
from ..sequences.indexed import IndexedGenome
from .alleles import CHUNK_ROWS, SKIPPED_MEANING, Allele, Survey, score_rows, survey
from .effects import Column, Scorer, Strands, open_scorer
from .journal import Journal, open_journal
from .vcf import annotated, declared, info_line, read_vcf, with_lines

_SUFFIXES = (".vcf", ".vcf.gz", ".tsv", ".tsv.gz")
_SKIPPED = Column("skipped", SKIPPED_MEANING)
_TABIX_BP = 1 << 29
"""A longer contig takes the other kind of index, CSI."""


@dataclass(frozen=True, kw_only=True)
class VariantsConfig:
    """Score the alleles of a VCF with a pre-trained or fine-tuned model.

    Every header line and row comes out, in order, with scores in INFO: log-likelihood ratios of a
    masked LM, or changes of a fine-tuned model's output.
    """

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL_DIR")]
    """Directory that 'dnazen pretrain' or 'dnazen finetune' wrote, or a released one."""
    genome: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="GENOME")]
    """The reference: FASTA, plain or bgzip, or 2bit."""
    variants: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="VCF")]
    """VCF, plain, gzip or bgzip, or BCF; '-' for stdin. It is read twice, so a pipe is copied to
    the disk first."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("-")
    """.vcf, .vcf.gz (bgzip, with an index beside it), .tsv or .tsv.gz; '-' is VCF to stdout."""
    window_bp: int = 512
    """Bases of the reference that the model reads around a variant."""
    strands: Strands = "forward"
    """average: the mean of the scores on both strands, in twice the time."""
    max_ref_mismatch: float = 0.01
    """Largest fraction of rows whose REF may disagree with the genome, 0 to 1. Up to it, they are
    kept without scores; beyond it, the genome is taken for another one."""
    skip_unknown_contigs: bool = False
    """Keep rows on contigs that the genome lacks, without scores, in place of stopping."""
    prefix: str = "DNAZEN"
    """What the names of the INFO fields begin with; two models can share a file by two prefixes."""
    resume: bool = False
    """Go on with an interrupted run."""
    tokens_per_batch: int = TOKENS_PER_BATCH
    """Bound on sequences x longest of a batch; changes memory and speed, not the scores."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: a GPU where there is one."""

    def __post_init__(self) -> None:
        if str(self.output) == "-":
            if self.resume:
                raise ConfigError("--resume goes with an output file, not with stdout; name one")
        elif not self.output.name.endswith(_SUFFIXES):
            raise ConfigError(f"output {self.output}: expected a name in {', '.join(_SUFFIXES)}")
        if not 16 <= self.window_bp <= 100_000:
            raise ConfigError(f"window_bp must be 16 to 100000, got {self.window_bp}")
        if not 0 <= self.max_ref_mismatch <= 1:
            raise ConfigError(f"max_ref_mismatch must lie in 0 to 1, got {self.max_ref_mismatch}")
        if not (self.prefix.isascii() and self.prefix.isidentifier()):
            raise ConfigError(
                f"prefix must be letters, digits and _, no digit first, got {self.prefix!r}"
            )
        if self.tokens_per_batch < 1:
            raise ConfigError(f"tokens_per_batch must be at least 1, got {self.tokens_per_batch}")


def variants(config: VariantsConfig) -> None:
    """Run ``dnazen variants``.

    Raises
    ------
    InputError
        If the model, the genome or the VCF cannot be read, or they do not go together.
    OutputError
        If the output cannot be written, or an interrupted run stands beside it.
    ConfigError
        If the run to go on with is another one.
    """
    with _on_disk(config.variants) as path:
        _annotate(replace(config, variants=path))


@contextmanager
def _on_disk(path: Path) -> Iterator[Path]:
    """A path that can be read more than once: of a pipe, that of a copy."""
    stdin = str(path) == "-"
    if not stdin and (path.is_file() or path.is_dir() or not path.exists()):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "stdin" if stdin else path.name)
        source = nullcontext(sys.stdin.buffer) if stdin else path.open("rb")
        with source as pipe, copy.open("wb") as target:
            shutil.copyfileobj(pipe, target, 1 << 20)
        yield copy


def _annotate(config: VariantsConfig) -> None:
    cuda = config.device == "auto" and torch.cuda.is_available()
    scorer = open_scorer(
        config.model,
        device="cuda" if cuda else "cpu",
        strands=config.strands,
        tokens_per_batch=config.tokens_per_batch,
    )
    columns = (_SKIPPED, *scorer.columns)
    keys = [f"{config.prefix}_{column.name}".upper() for column in columns]
    header = read_vcf(config.variants).header
    _require_new(keys, header, config.variants)
    with IndexedGenome(config.genome) as genome:
        found = survey(
            config.variants,
            genome,
            max_ref_mismatch=config.max_ref_mismatch,
            skip_unknown_contigs=config.skip_unknown_contigs,
        )
        with _journal(config, scorer) as journal:
            _score_into(journal, config, scorer, genome, found.rows)
            if config.output.name.endswith((".tsv", ".tsv.gz")):
                lines = _table(config.variants, journal, [column.name for column in columns])
            else:
                ours = [
                    *_missing_contigs(header, found.contigs, genome.lengths),
                    *map(_info_line, keys, columns),
                    _provenance(config),
                ]
                rows = _annotated_rows(config.variants, journal, keys)
                lines = itertools.chain(with_lines(header, ours), rows)
            _write(config.output, lines, _index_kind(config.output, found, genome.lengths))
    print(
        f"{found.rows:,} rows; in {found.mismatches:,} of them REF disagrees with the genome",
        file=sys.stderr,
    )
    if config.output.name.endswith(".vcf.gz") and not found.in_order:
        print(
            f"note: {config.variants} is not sorted: its rows come out as they stand, without an "
            "index; 'bcftools sort' makes them fit for one",
            file=sys.stderr,
        )


def _require_new(keys: Sequence[str], header: Sequence[bytes], path: Path) -> None:
    taken = sorted(declared(header, "INFO").intersection(keys))
    if taken:
        raise InputError(
            f"has INFO fields {', '.join(taken)} already",
            path=path,
            fix="choose another --prefix, or take them out with 'bcftools annotate -x'",
        )


@contextmanager
def _journal(config: VariantsConfig, scorer: Scorer) -> Iterator[Journal]:
    """Beside the output; taken away when all is well."""
    if str(config.output) == "-":
        with (
            tempfile.TemporaryDirectory() as folder,
            open_journal(Path(folder, "stdout"), {}, resume=False) as journal,
        ):
            yield journal
        return
    identity = _identity(config, scorer)
    with open_journal(config.output, identity, resume=config.resume) as journal:
        yield journal


def _identity(config: VariantsConfig, scorer: Scorer) -> dict[str, Any]:
    """All that the scores depend on, to the last digit."""
    parts = sorted(path for path in config.model.iterdir() if path.is_file())
    return {
        "dnazen": version("dnazen"),
        "variants": hash_file(config.variants).sha256,
        "genome": hash_file(config.genome).sha256,
        **{f"model {path.name}": hash_file(path).sha256 for path in parts},
        "window_bp": config.window_bp,
        "strands": config.strands,
        "tokens_per_batch": config.tokens_per_batch,
        "device": scorer.model.device.type,
    }


def _score_into(
    journal: Journal, config: VariantsConfig, scorer: Scorer, genome: IndexedGenome, total: int
) -> None:
    """Put the scores of all rows that it does not hold into the journal."""
    width = 1 + len(scorer.columns)
    done = journal.keep(CHUNK_ROWS)
    rows = itertools.islice(read_vcf(config.variants).rows, done, None)
    with tqdm(desc="scoring", unit=" rows", total=total, initial=done, disable=None) as progress:
        while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
            scored = score_rows(scorer, genome, chunk, config.window_bp)
            journal.append(_values(alleles, width) for alleles in scored)
            progress.update(len(chunk))


def _values(alleles: Sequence[Allele], width: int) -> str:
    """The values of each INFO field of a row, tabs between fields and commas between alleles."""
    told = [
        [allele.skipped, *["."] * (width - 1)]
        if allele.scores is None
        else [".", *(f"{score + 0.0:.6g}" for score in allele.scores)]  # no -0
        for allele in alleles
    ]
    return "\t".join(",".join(allele[field] for allele in told) for field in range(width))


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
            yield b"\t".join([*row.columns[:4], alt.encode(), *(cell.encode() for cell in cells)])


def _missing_contigs(
    header: Sequence[bytes], contigs: Sequence[str], lengths: Mapping[str, int]
) -> list[bytes]:
    """Lines for contigs that rows stand on and the header leaves out: bcftools wants them all."""
    named = declared(header, "contig")
    return [
        f"##contig=<ID={chrom}{f',length={lengths[chrom]}' if chrom in lengths else ''}>".encode()
        for chrom in contigs
        if chrom not in named
    ]


def _info_line(key: str, column: Column) -> bytes:
    return info_line(key, "String" if column is _SKIPPED else "Float", column.meaning)


def _provenance(config: VariantsConfig) -> bytes:
    return (
        f"##{config.prefix}_variants=dnazen {version('dnazen')}; model {config.model}; genome "
        f"{config.genome}; window_bp {config.window_bp}; strands {config.strands}"
    ).encode()


def _index_kind(output: Path, found: Survey, lengths: Mapping[str, int]) -> str:
    """``tbi``, or ``csi`` where a contig is too long for it; empty where there can be none."""
    if not output.name.endswith(".vcf.gz") or not found.in_order:
        return ""
    return "csi" if max(lengths.values()) > _TABIX_BP else "tbi"


def _write(output: Path, lines: Iterable[bytes], index: str) -> None:
    """Write lines to stdout, or to a file that is whole or absent: bgzip where it ends in .gz."""
    if str(output) == "-":
        sys.stdout.buffer.writelines(line + b"\n" for line in lines)
        return
    for kind in {"tbi", "csi"} - {index}:  # of an earlier output of this name
        output.with_name(f"{output.name}.{kind}").unlink(missing_ok=True)
    with new_file(output) as temporary:
        zipped = output.name.endswith(".gz")
        with pysam.BGZFile(str(temporary), "w", None) if zipped else temporary.open("wb") as handle:
            for line in lines:
                handle.write(line + b"\n")
        if index:
            with new_file(output.with_name(f"{output.name}.{index}")) as beside:
                pysam.tabix_index(
                    str(temporary), preset="vcf", index=str(beside), csi=index == "csi", force=True
                )
