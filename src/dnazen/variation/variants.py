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
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import pysam
import torch
import tyro
from tqdm import tqdm

from ..errors import ConfigError, InputError
from ..inference.labels import MISSING
from ..inference.settings import TOKENS_PER_BATCH
from ..outputs import new_file
from ..records import hash_file
from ..sequences.indexed import IndexedGenome
from .alleles import CHUNK_ROWS, SKIPPED_MEANING, Allele, Survey, score_rows, survey
from .effects import Column, Scorer, Strands, open_scorer
from .journal import Journal, open_journal
from .vcf import (
    annotated,
    as_text,
    contig_line,
    declared,
    info_line,
    read_vcf,
    visible,
    with_lines,
)

_SUFFIXES = (".vcf", ".vcf.gz", ".tsv", ".tsv.gz")
_SKIPPED = Column("skipped", SKIPPED_MEANING)
_TABIX_BP = 1 << 29
"""A longer contig takes the other kind of index, CSI."""
_CSI_BP = 1 << 32
"""No index names a place beyond this."""


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
        _annotate(path, config)


@contextmanager
def _on_disk(path: Path) -> Iterator[Path]:
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


def _annotate(source: Path, config: VariantsConfig) -> None:
    """``source`` is what is read, ``config.variants`` what messages call it."""
    cuda = config.device == "auto" and torch.cuda.is_available()
    scorer = open_scorer(
        config.model,
        device="cuda" if cuda else "cpu",
        strands=config.strands,
        tokens_per_batch=config.tokens_per_batch,
    )
    name = str(config.variants)
    columns = (_SKIPPED, *scorer.columns)
    keys = [f"{config.prefix}_{column.name}".upper() for column in columns]
    header = read_vcf(source, name).header
    _require_new(keys, header, config.variants)
    with IndexedGenome(config.genome) as genome:
        summary = survey(
            source,
            genome,
            name=name,
            window_bp=config.window_bp,
            max_ref_mismatch=config.max_ref_mismatch,
            skip_unknown_contigs=config.skip_unknown_contigs,
        )
        with _journal(source, config, scorer) as journal:
            _score_into(journal, source, config, scorer, genome, summary.rows)
            if config.output.name.endswith((".tsv", ".tsv.gz")):
                lines = _table(source, journal, [column.name for column in columns])
            else:
                ours = [
                    *_missing_contigs(header, summary.contigs, genome.lengths),
                    *map(_info_line, keys, columns),
                    _provenance(config),
                ]
                lines = itertools.chain(
                    with_lines(header, ours), _annotated_rows(source, journal, keys)
                )
            _write(config.output, lines, _index_kind(config.output, summary, genome.lengths))
    _say(summary, config)


def _say(summary: Survey, config: VariantsConfig) -> None:
    """What became of the rows, on stderr."""
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in summary.skipped.most_common())
    print(
        f"{summary.rows:,} rows; REF of {summary.mismatches:,} of {summary.compared:,} disagrees "
        f"with the genome; alleles without scores: {reasons or 'none'}",
        file=sys.stderr,
    )
    if summary.rows and not summary.compared:
        print(
            f"note: no row of {config.variants} has an allele to score on this genome, so no REF "
            "was compared with it",
            file=sys.stderr,
        )
    if config.output.name.endswith(".vcf.gz") and not summary.in_order:
        print(
            f"note: {config.variants} is not sorted: its rows come out as they stand, without an "
            "index; 'bcftools sort' makes them fit for one",
            file=sys.stderr,
        )
    elif config.output.name.endswith(".vcf.gz") and summary.end > _CSI_BP:
        print(
            f"note: {config.variants} has a POS above {_CSI_BP:,}: its rows come out without an "
            "index, which cannot hold it",
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
def _journal(source: Path, config: VariantsConfig, scorer: Scorer) -> Iterator[Journal]:
    """Beside the output; taken away when all is well."""
    if str(config.output) == "-":
        with (
            tempfile.TemporaryDirectory() as folder,
            open_journal(Path(folder, "stdout"), {}, resume=False) as journal,
        ):
            yield journal
        return
    identity = _identity(source, config, scorer)
    with open_journal(config.output, identity, resume=config.resume) as journal:
        yield journal


def _identity(source: Path, config: VariantsConfig, scorer: Scorer) -> dict[str, Any]:
    """All that the scores depend on, to the last digit."""
    parts = sorted(path for path in config.model.iterdir() if path.is_file())
    return {
        "dnazen": version("dnazen"),
        "variants": hash_file(source).sha256,
        "genome": hash_file(config.genome).sha256,
        **{f"model {path.name}": hash_file(path).sha256 for path in parts},
        "window_bp": config.window_bp,
        "strands": config.strands,
        "tokens_per_batch": config.tokens_per_batch,
        "device": scorer.model.device.type,
    }


def _score_into(
    journal: Journal,
    source: Path,
    config: VariantsConfig,
    scorer: Scorer,
    genome: IndexedGenome,
    total: int,
) -> None:
    """Put the scores of all rows that it does not hold into the journal."""
    width = 1 + len(scorer.columns)
    done = journal.keep(CHUNK_ROWS)
    rows = itertools.islice(read_vcf(source).rows, done, None)
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
            names = (*map(as_text, row.columns[:4]), alt)
            yield "\t".join([*map(visible, names), *cells]).encode()


def _missing_contigs(
    header: Sequence[bytes], contigs: Sequence[str], lengths: Mapping[str, int]
) -> list[bytes]:
    """Lines for contigs that rows stand on and the header leaves out: bcftools wants them all."""
    declared_contigs = declared(header, "contig")
    lines = (
        contig_line(chrom, lengths.get(chrom)) for chrom in contigs if chrom not in declared_contigs
    )
    return [line for line in lines if line is not None]


def _info_line(key: str, column: Column) -> bytes:
    return info_line(key, "String" if column is _SKIPPED else "Float", column.meaning)


def _provenance(config: VariantsConfig) -> bytes:
    text = (
        f"##{config.prefix}_variants=dnazen {version('dnazen')}; model {config.model}; genome "
        f"{config.genome}; window_bp {config.window_bp}; strands {config.strands}"
    )
    return visible(text).encode()


def _index_kind(output: Path, summary: Survey, lengths: Mapping[str, int]) -> str:
    """``tbi``, or ``csi`` where a contig is too long for it; empty where there can be none."""
    if not (output.name.endswith(".vcf.gz") and summary.in_order and summary.end <= _CSI_BP):
        return ""
    return "csi" if max(summary.end, *lengths.values()) > _TABIX_BP else "tbi"


def _write(output: Path, lines: Iterable[bytes], index: str) -> None:
    """Write lines to stdout, or to a file that is whole or absent: bgzip where it ends in .gz.

    An index of an earlier output goes just before that output is replaced, and the new one comes
    just after: whenever the process ends, no index stands beside a file that is not its own.
    """
    if str(output) == "-":
        sys.stdout.buffer.writelines(line + b"\n" for line in lines)
        return
    beside = [output.with_name(f"{output.name}.{kind}") for kind in ("tbi", "csi")]
    with ExitStack() as renamed_last:
        index_part = renamed_last.enter_context(new_file(beside[index == "csi"])) if index else None
        with new_file(output) as part:
            if output.name.endswith(".gz"):
                with _causes(part):
                    with pysam.BGZFile(str(part), "w", None) as zipped:
                        for line in lines:
                            zipped.write(line + b"\n")
                    if index:
                        pysam.tabix_index(
                            str(part),
                            preset="vcf",
                            index=str(index_part),
                            csi=index == "csi",
                            force=True,
                        )
            else:
                with part.open("wb") as plain:
                    plain.writelines(line + b"\n" for line in lines)
            if output.name.endswith(".vcf.gz"):
                for path in beside:
                    path.unlink(missing_ok=True)


@contextmanager
def _causes(part: Path) -> Iterator[None]:
    """Find out why htslib could not write a file: it says that it failed, and not why."""
    before = pysam.set_verbosity(0)
    try:
        yield
    except OSError as error:
        if error.errno is None:
            with part.open("ab") as handle:  # fails likewise, and says why
                handle.write(bytes(1 << 16))
        raise
    finally:
        pysam.set_verbosity(before)
