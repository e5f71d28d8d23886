"""Settings of a corpus, and how long a sequence may be that a model reads at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import ConfigError
from ..settings import require_choices, require_numbers

Strands = Literal["both", "forward"]
TooLong = Literal["refuse", "cut"]

MOST_TOKENS = 1 << 20
"""Of a sequence that a model reads at once: attention takes memory with the square of it."""


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """How genomes become sequences of tokens."""

    strands: Strands = "both"
    """Both strands of every window, or the forward one only."""
    window_bp: int = 1000
    """Runs of ACGT are tokenised in windows of this length, each a sequence of its own."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_numbers(self, names="window_bp", least=1, most=100_000)


def require_max_tokens(max_tokens: int | None) -> None:
    """Raise ConfigError unless a pair of one-token sequences fits, and memory can be had."""
    if max_tokens is not None and not 5 <= max_tokens <= MOST_TOKENS:
        raise ConfigError(f"max_tokens must be 5 to {MOST_TOKENS}, got {max_tokens}")
