"""``dnazen variants``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ..errors import ConfigError
from ..settings import FLAT
from ..variation.settings import (
    CalibrationConfig,
    ReferenceConfig,
    ScoringConfig,
    require_variant_suffix,
)

if TYPE_CHECKING:
    from ..variation.variants import Survey


@dataclass(frozen=True, kw_only=True)
class VariantsCommand:
    """Score the alleles of a VCF with a pre-trained or fine-tuned model.

    Every header line and row comes out, in order, with scores in INFO: log-likelihood ratios of a
    masked LM, or changes of a fine-tuned model's output.
    """

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL")]
    """Directory that 'dnazen pretrain' or 'dnazen finetune' wrote, a released one, or a
    masked LM of others; or ORG/NAME[@REVISION] of the Hugging Face hub."""
    genome: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="GENOME")]
    """The reference: FASTA, plain or bgzip, or 2bit."""
    variants: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="VCF")]
    """VCF, plain, gzip or bgzip, or BCF; '-' for stdin. It is read twice, so a pipe is copied to
    the disk first."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("-")
    """.vcf, .vcf.gz (bgzip, with an index beside it), .tsv or .tsv.gz; '-' is VCF to stdout."""
    scoring: Annotated[ScoringConfig, FLAT] = field(default_factory=ScoringConfig)
    reference: Annotated[ReferenceConfig, FLAT] = field(default_factory=ReferenceConfig)
    calibration: Annotated[CalibrationConfig, FLAT] = field(default_factory=CalibrationConfig)
    prefix: str = "DNAZEN"
    """What the names of the INFO fields begin with; two models can share a file by two prefixes."""
    resume: bool = False
    """Go on with an interrupted run."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: a GPU where there is one."""

    def __post_init__(self) -> None:
        require_variant_suffix(self.output)
        if str(self.output) == "-" and self.resume:
            raise ConfigError("--resume goes with an output file, not with stdout; name one")
        if self.calibration.calibration == self.output:
            raise ConfigError(f"--calibration {self.output} is the output too; name another file")
        if not (self.prefix.isascii() and self.prefix.isidentifier()):
            raise ConfigError(
                f"prefix must be letters, digits and _, no digit first, got {self.prefix!r}"
            )


def run(settings: VariantsCommand) -> None:
    """Write the rows with their scores, and say what became of them."""
    from ..inference.opened import OpenedModel
    from ..sequences.indexed import IndexedGenome
    from ..variation.annotation import annotate_variants

    model = OpenedModel.open(settings.model, settings.device)
    with IndexedGenome(settings.genome) as genome:
        summary = annotate_variants(
            model,
            genome,
            settings.variants,
            settings.output,
            settings.scoring,
            settings.reference,
            settings.calibration,
            prefix=settings.prefix,
            resume=settings.resume,
        )
    for line in _account(summary, settings):
        print(line, file=sys.stderr)


def _account(summary: Survey, settings: VariantsCommand) -> list[str]:
    """What became of the rows, in lines for the terminal."""
    from ..variation.annotation import CSI_BP

    reasons = ", ".join(f"{count:,} {reason}" for reason, count in summary.skipped.most_common())
    lines = [
        f"{summary.rows:,} rows; REF of {summary.mismatches:,} of {summary.compared:,} disagrees "
        f"with the genome; alleles without scores: {reasons or 'none'}"
    ]
    if renamed := [f"{name} as {own}" for name, own in summary.contigs.items() if name != own]:
        more = ", ..." if len(renamed) > 5 else ""
        lines.append(
            f"note: {len(renamed):,} of {len(summary.contigs):,} contigs are called otherwise in "
            f"the genome: {', '.join(renamed[:5])}{more}"
        )
    if summary.rows and not summary.compared:
        lines.append(
            f"note: no row of {settings.variants} has an allele to score on this genome, so no REF "
            "was compared with it"
        )
    if settings.output.name.endswith(".vcf.gz"):
        if not summary.in_order:
            lines.append(
                f"note: {settings.variants} is not sorted: its rows come out as they stand, "
                "without an index; 'bcftools sort' makes them fit for one"
            )
        elif summary.end > CSI_BP:
            lines.append(
                f"note: {settings.variants} has a POS above {CSI_BP:,}: its rows come out without "
                "an index, which cannot hold it"
            )
    return lines
