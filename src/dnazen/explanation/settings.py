"""Settings of explanations."""

from __future__ import annotations

from dataclasses import dataclass

from ..inference.settings import TOKENS_PER_BATCH
from ..settings import require_choices, require_numbers
from ..tokens.settings import TooLong, require_max_tokens


@dataclass(frozen=True, kw_only=True)
class ExplanationConfig:
    """Which output is explained, and how closely."""

    target: str | None = None
    """Label, class or number of the model to explain; by default the predicted one, of each
    sequence."""
    steps: int = 64
    """Points of the path of integrated gradients, 1 to 1,000: more leave a smaller gap."""
    occlusion: bool = True
    """Hide each token in turn too: time grows with the square of the length."""
    max_tokens: int | None = None
    """Longest sequence, [CLS] and [SEP] included; by default that of the fine-tuning."""
    too_long: TooLong = "refuse"
    """Refuse longer sequences, or cut them and count."""
    tokens_per_batch: int = TOKENS_PER_BATCH
    """Bound on copies of a sequence x its length; changes memory and speed, not the numbers."""

    def __post_init__(self) -> None:
        require_choices(self)
        require_numbers(self, names="steps", least=1, most=1000)
        require_numbers(self, names="tokens_per_batch", least=1)
        require_max_tokens(self.max_tokens)
