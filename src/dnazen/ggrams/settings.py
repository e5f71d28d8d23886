"""Settings of mining, masking and the comparison with motifs, and the limits of G-grams."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import ConfigError
from ..settings import require_choices, require_fractions, require_numbers
from ..tables import check_table_name

MAX_LENGTH = 16
"""The longest G-gram that the engine takes, in tokens."""

MOST_SIGHTINGS = (1 << 31) - 1
"""Sightings stop counting here; only whether they reach ``min_count`` is asked."""

SHORTEST_OVERLAP_BP = 16
"""Shorter stretches are shared by chance in any genome."""

LONGEST_BP = 60
"""Longest sequence that is compared with motifs: TOMTOM's memory grows with the cube of it."""


def check_vocabulary_name(path: Path) -> None:
    """Raise ConfigError unless a vocabulary can be written under this name."""
    check_table_name(path)
    if ".csv" in path.suffixes[-2:]:
        raise ConfigError(
            f"{path}: a vocabulary has tabs between columns; expected a name that ends in .tsv or "
            ".tsv.gz"
        )


Method = Literal["pmi", "frequency", "random", "shuffled"]


@dataclass(frozen=True, kw_only=True)
class MaskingConfig:
    """How training positions are hidden from the model."""

    rate: float = 0.15
    """Fraction of the maskable tokens to predict, 0 < rate < 1."""
    ggram_share: float = 0.8
    """Fraction of the predicted tokens that whole G-grams take while there are any; 0: none."""
    units: Literal["ggrams", "spans"] = "ggrams"
    """What is hidden whole: G-grams where they stand, or as a control spans of their lengths at
    random places of their sequences."""
    mask_share: float = 0.8
    """Fraction of the chosen units that become [MASK]."""
    random_share: float = 0.1
    """Fraction of the chosen units that become random tokens; the rest stays as it is."""
    matches: Literal["corrupted", "unhidden"] = "corrupted"
    """Where a model is shown G-grams: all of the corrupted sequence, or those alone that lie
    outside the tokens to predict. A token that was kept stands in G-grams still, and one that was
    replaced does not, so the first tell which is which."""
    repeat_weight: float = 1.0
    """What a predicted token of a repeat counts in the loss, beside 1 for others; genomes have
    repeats in lower case, and 0.1 is the custom of the field."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_fractions(self, names="repeat_weight")
        require_fractions(self, names="rate", closed=False)
        require_fractions(self, names="ggram_share mask_share random_share")
        if self.mask_share + self.random_share > 1:
            raise ConfigError(
                f"masking.mask_share + masking.random_share must not exceed 1, got "
                f"{self.mask_share} + {self.random_share}"
            )


@dataclass(frozen=True, kw_only=True)
class MiningConfig:
    """What makes a G-gram (method.md section 3)."""

    min_pmi: float = 1.0
    """Least PMI of a strong pair, in bits."""
    min_pair_count: int = 5
    """Least count of a strong pair."""
    min_token_count: int = 5
    """Least count of each token of a strong pair."""
    min_count: int = 5
    """Least count of a G-gram."""
    max_len: int = 5
    """Longest G-gram in tokens, 2 to 16."""
    max_size: int | None = None
    """Keep at most this many G-grams, the most frequent; None keeps all."""
    method: Method = "pmi"
    """``pmi`` mines; the others are its controls: ``frequency`` takes all token n-grams by count,
    ``random`` n-grams drawn from the corpus with the mined lengths, ``shuffled`` the mined
    G-grams with their tokens permuted."""
    seed: int = 0
    """Seed of the ``random`` and ``shuffled`` controls."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_numbers(self, names="min_pmi", least=-64, most=64)
        counts = "min_pair_count min_token_count min_count"
        require_numbers(self, names=counts, least=1, most=MOST_SIGHTINGS)
        require_numbers(self, names="max_len", least=2, most=MAX_LENGTH)
        require_numbers(self, names="max_size", least=1)
        require_numbers(self, names="seed", least=0)


@dataclass(frozen=True, kw_only=True)
class EnrichmentConfig:
    """Which G-grams are compared with motifs, and with how many controls."""

    max_e_value: float = 0.1
    """A sequence matches a motif when the p-value of their likeness (TOMTOM) times the number of
    motifs is at most this."""
    controls: int = 4
    """Sequences that stand beside each G-gram, in each kind of control."""
    sample: int | None = 5_000
    """Compare a random sample of at most this many G-grams; None compares all."""
    min_bp: int = 6
    """G-grams of fewer bases are left out."""
    max_bp: int = 40
    """G-grams of more bases are left out; at most 60."""
    seed: int = 0
    """Seed of the sample and the controls."""

    def __post_init__(self) -> None:
        if not 0 < self.max_e_value < float("inf"):
            raise ConfigError(f"max_e_value must be above 0, got {self.max_e_value}")
        require_numbers(self, names="controls", least=1, most=10_000)
        require_numbers(self, names="sample", least=1)
        require_numbers(self, names="seed", least=0)
        if not 1 <= self.min_bp <= self.max_bp <= LONGEST_BP:
            raise ConfigError(
                f"lengths must be 1 <= min_bp <= max_bp <= {LONGEST_BP}, got {self.min_bp} and "
                f"{self.max_bp}"
            )
