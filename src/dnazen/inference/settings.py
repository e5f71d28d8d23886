"""Settings of embeddings, predictions and likelihoods."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import ConfigError
from ..model.settings import Strands
from ..settings import require_choices, require_numbers
from ..tokens.settings import TooLong, require_max_tokens

Pooling = Literal["mean", "cls", "max", "token", "ggram"]

TOKENS_PER_BATCH = 8192
"""Bound on sequences x longest of a batch: about 0.3 GB at base size."""


@dataclass(frozen=True, kw_only=True)
class EmbeddingConfig:
    """What the vector of a sequence is."""

    pooling: Pooling = "mean"
    """One vector a sequence: the mean or the largest of each dimension over its tokens, special
    ones left out, or the state of [CLS]. Or one vector for each token, or for each G-gram."""
    layer: int | None = None
    """States after this layer (of the G-gram encoder, for G-grams); 0 is the embeddings; by
    default the last."""
    strands: Strands = "forward"
    """The sequence as it stands, or the mean of its vector and that of its reverse complement."""
    max_tokens: int | None = None
    """Longest window, [CLS] and [SEP] included; by default that of the model's fine-tuning, or
    512. Longer sequences are read in windows, and nothing is cut."""
    overlap: int | None = None
    """Tokens that neighbouring windows share at least; by default a quarter of the window."""
    tokens_per_batch: int = TOKENS_PER_BATCH
    """Bound on windows x longest; changes memory and speed, not the numbers."""
    bf16: bool = False
    """Compute in bfloat16: faster where the hardware has it, and good to two digits or three."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_numbers(self, names="layer", least=0)
        require_numbers(self, names="tokens_per_batch", least=1)
        require_max_tokens(self.max_tokens)
        require_overlap(self.overlap, self.max_tokens)
        if self.strands == "average" and self.pooling in ("token", "ggram"):
            raise ConfigError(
                f"strands average with pooling {self.pooling}: the strands have other tokens; "
                "expected pooling mean, cls or max"
            )


VECTOR_SUFFIXES = (".npy", ".npz", ".parquet", ".h5ad")
"""Of the files that vectors can be written to."""


@dataclass(frozen=True, kw_only=True)
class PredictionConfig:
    """How sequences are read for prediction."""

    max_tokens: int | None = None
    """Longest record, [CLS] and [SEP] included; by default that of the fine-tuning."""
    too_long: TooLong = "refuse"
    """Refuse longer records, or cut them and count; tile_bp reads them in parts."""
    tokens_per_batch: int = TOKENS_PER_BATCH
    """Bound on records x longest; changes memory and speed, not the numbers."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_numbers(self, names="tokens_per_batch", least=1)
        require_max_tokens(self.max_tokens)


def require_vector_suffix(path: Path) -> None:
    """Raise ConfigError unless the file's name says how vectors are to be written to it."""
    if path.suffix not in VECTOR_SUFFIXES:
        raise ConfigError(f"{path}: expected a name that ends in {', '.join(VECTOR_SUFFIXES)}")


@dataclass(frozen=True, kw_only=True)
class LikelihoodConfig:
    """How sequences are read for their likelihood."""

    max_tokens: int | None = None
    """Longest window, [CLS] and [SEP] included; by default that of the model's fine-tuning, or
    512. Longer sequences are read in windows, and nothing is cut."""
    overlap: int | None = None
    """Tokens that neighbouring windows share at least; by default a quarter of the window."""
    tokens_per_batch: int = TOKENS_PER_BATCH
    """Bound on windows x longest; changes memory and speed, not the numbers."""

    def __post_init__(self) -> None:
        require_numbers(self, names="tokens_per_batch", least=1)
        require_max_tokens(self.max_tokens)
        require_overlap(self.overlap, self.max_tokens)


def require_overlap(overlap: int | None, max_tokens: int | None) -> None:
    """Raise ConfigError unless windows of ``max_tokens``, two of them special, can overlap so."""
    if overlap is not None and overlap < 0:
        raise ConfigError(f"overlap must be 0 tokens or more, got {overlap}")
    if overlap is not None and max_tokens is not None and overlap > max_tokens - 3:
        raise ConfigError(
            f"overlap must leave a token of a window of {max_tokens}, [CLS] and [SEP] included, "
            f"so be at most {max_tokens - 3}, got {overlap}"
        )


BIGWIG_SUFFIXES = (".bw", ".bigwig", ".bigWig")
BEDGRAPH_SUFFIXES = (".bedgraph", ".bedGraph", ".bg")


def is_bedgraph(path: Path) -> bool:
    """Whether a file's name asks for bedGraph."""
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix in BEDGRAPH_SUFFIXES


def check_track_name(path: Path) -> None:
    """Raise ConfigError unless a track can be written under this name."""
    if path.suffix not in BIGWIG_SUFFIXES and not is_bedgraph(path):
        raise ConfigError(f"track {path}: expected a name in .bw, .bedgraph or .bedgraph.gz")
