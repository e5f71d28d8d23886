"""Choices of a model's shape, and the settings of one that starts from random weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..settings import require_choices, require_numbers

Size = Literal["tiny", "mini", "small", "base", "large", "x-large"]
Fusion = Literal["sum", "mean", "gated"]
GGramEmbedding = Literal["own", "composed", "shared"]
ClassifierPooling = Literal["cls", "mean"]
Strands = Literal["forward", "average"]
Format = Literal["dnazen", "released", "int8"]
"""Of a model directory."""

MOST_LAYERS = 1024
"""Of an encoder; also of the heads of its attention."""
MOST_BASE_CHANNELS = 4096
MOST_KMERS = 8
"""The longest k: 87,380 k-mers of length 1 to 8, half of them distinct on both strands."""


@dataclass(frozen=True, kw_only=True)
class ShapeConfig:
    """Shape of a model that starts from random weights."""

    size: Size = "small"
    """Named size; tiny, mini and small are for CPUs."""
    fusion: Fusion = "sum"
    """How G-gram states join the tokens'."""
    ggram_embedding: GGramEmbedding = "own"
    """What the G-gram encoder is given: a row of each G-gram's own; composed, a row that starts at
    zero and the mean of its tokens' embeddings; or shared, one row for all."""
    num_hidden_ggram_layers: int | None = None
    """Layers of the G-gram encoder; by default the size's."""
    max_ggrams: int | None = None
    """Cap on the distinct G-grams of a sequence."""
    base_channels: int = 0
    """Channels of the base view, convolutions over single bases beside the tokens; 0 for none."""
    hidden_dropout_prob: float = 0.1
    """Dropout of both encoders."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_numbers(self, names="num_hidden_ggram_layers", least=0, most=MOST_LAYERS)
        require_numbers(self, names="max_ggrams", least=0)
        require_numbers(self, names="base_channels", least=0, most=MOST_BASE_CHANNELS)
        require_numbers(self, names="hidden_dropout_prob", least=0, most=0.99)
