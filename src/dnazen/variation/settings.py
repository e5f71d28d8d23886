"""Settings of scores: what a model reads of a change, and how a VCF must agree with a genome."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import ConfigError
from ..inference.settings import TOKENS_PER_BATCH
from ..model.settings import Strands
from ..settings import require_choices, require_fractions, require_numbers


@dataclass(frozen=True, kw_only=True)
class ScoringConfig:
    """How a change of a sequence is scored."""

    window_bp: int = 512
    """Bases that the model reads around a change, 16 to 100,000."""
    strands: Strands | None = None
    """average: the mean of the scores on both strands, in twice the time. By default as the model
    was fine-tuned, and forward for one that was not."""
    tokens_per_batch: int = TOKENS_PER_BATCH
    """Bound on sequences x longest of a batch; changes memory and speed, not the scores."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_numbers(self, names="window_bp", least=16, most=100_000)
        require_numbers(self, names="tokens_per_batch", least=1)


@dataclass(frozen=True, kw_only=True)
class CalibrationConfig:
    """What scores of variants are held against."""

    calibrate: int = 0
    """Give each score's percentile among so many simulated variants of the same class, 10 to
    100,000: as long as scoring that many for each class met. 0: none, unless --calibration names
    a file that has them."""
    calibration: Path | None = None
    """The file that keeps the scores of simulated variants, for the same model, genome, window and
    strands; it is made by --calibrate, and grows by the classes that it lacks. By default, with
    --calibrate, OUTPUT.calibration.json."""
    calibration_seed: int = 0
    """Of the random variants."""

    def __post_init__(self) -> None:
        if self.calibrate:
            require_numbers(self, names="calibrate", least=10, most=100_000)
        require_numbers(self, names="calibration_seed", least=0, most=(1 << 32) - 1)

    @property
    def wanted(self) -> bool:
        """Whether there are to be percentiles."""
        return bool(self.calibrate) or self.calibration is not None


@dataclass(frozen=True, kw_only=True)
class ReferenceConfig:
    """How far the rows of a VCF may disagree with the genome."""

    max_ref_mismatch: float = 0.01
    """Largest fraction of rows whose REF may disagree with the genome, 0 to 1, of those that have
    an allele to score. Up to it, they are kept without scores; beyond it, the genome is taken for
    another one."""
    skip_unknown_contigs: bool = False
    """Keep rows on contigs that the genome lacks, without scores, in place of stopping."""
    contig_names: Path | None = None
    """What the genome calls the contigs of the VCF: a file of two columns, the VCF's name and the
    genome's, with a tab between; or 'chr': put 'chr' before a name or take it away, and chrM for
    MT, where that makes it one of the genome's. By default names must be the same."""

    def __post_init__(self) -> None:
        require_fractions(self, names="max_ref_mismatch")


VARIANT_SUFFIXES = (".vcf", ".vcf.gz", ".tsv", ".tsv.gz")
"""Of the files that scored variants can be written to."""


def require_variant_suffix(path: Path) -> None:
    """Raise ConfigError unless the file's name says how variants are to be written to it."""
    if str(path) != "-" and not path.name.endswith(VARIANT_SUFFIXES):
        raise ConfigError(f"output {path}: expected a name in {', '.join(VARIANT_SUFFIXES)}")
