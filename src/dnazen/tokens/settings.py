"""Settings of a corpus, and how long a sequence may be that a model reads at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..errors import ConfigError
from ..settings import require_choices, require_numbers

Strands = Literal["both", "forward"]
TooLong = Literal["refuse", "cut"]

MOST_WEIGHT = 1000
"""Of a window's drawing."""
MOST_TOKENS = 1 << 20
"""Of a sequence that a model reads at once: attention takes memory with the square of it."""


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """How genomes become sequences of tokens."""

    strands: Strands = "both"
    """Both strands of every window, or the forward one only."""
    window_bp: int = 1000
    """Runs of ACGT are tokenised in windows of this length, each a sequence of its own."""
    regions: Path | None = None
    """BED file of regions, such as promoters and exons, that pre-training is to draw more often,
    or less; contigs are named as in the genomes."""
    region_weight: float = 1.0
    """How often their bases are drawn, beside 1 for others."""
    file_weights: dict[str, float] = field(default_factory=dict)
    """How often the windows of a genome are drawn, by path or file name, beside 1 for others:
    'human.fa.gz 0.5 yeast.fa.gz 4', in a recipe a table."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_numbers(self, names="window_bp", least=1, most=100_000)
        require_numbers(self, names="region_weight", least=0, most=MOST_WEIGHT)
        for name, weight in self.file_weights.items():
            if not 0 <= weight <= MOST_WEIGHT:
                raise ConfigError(f"file_weights: {name} has {weight}; expected 0 to {MOST_WEIGHT}")
        if self.region_weight != 1 and self.regions is None:
            raise ConfigError("region_weight needs regions, a BED file")


def require_max_tokens(max_tokens: int | None) -> None:
    """Raise ConfigError unless a pair of one-token sequences fits, and memory can be had."""
    if max_tokens is not None and not 5 <= max_tokens <= MOST_TOKENS:
        raise ConfigError(f"max_tokens must be 5 to {MOST_TOKENS}, got {max_tokens}")
