"""The learning rate of a fine-tuning, found by short trials that dev judges.

Decided here. Three rates a factor of three apart are tried, around one that falls with the width
of the model. Each trial is a whole small training, warm-up and decay included, from the same start;
the rate with the lowest dev loss is taken. Test is not looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from .settings import FinetuneConfig

TRIAL_STEPS = 150
"""Optimizer steps of a trial; a training of fewer than four times as many has none."""
MOST_TRIAL_ROWS = 1000
"""Of dev, that judge a trial."""

_FACTORS = (1 / 3, 1.0, 3.0)
_RATE_OF_WIDTH_128 = 1e-3
_ADAPTER_FACTOR = 3.0


class RateChoice(NamedTuple):
    """A learning rate, and how it came about."""

    learning_rate: float
    losses: Mapping[float, float]
    """Dev loss after the trial of each rate; none where none was tried."""

    def sentence(self) -> str:
        """The same in words."""
        if not self.losses:
            return (
                f"learning rate {self.learning_rate:.2g}, by the size of the model: the training "
                "is too short to try others"
            )
        tried = ", ".join(f"{rate:.2g}: {loss:.4f}" for rate, loss in self.losses.items())
        return (
            f"learning rate {self.learning_rate:.2g}, of the lowest dev loss after {TRIAL_STEPS} "
            f"steps ({tried})"
        )


def rates_for(width: int, config: FinetuneConfig) -> tuple[float, ...]:
    """The rates to try, lowest first: lower for wider models, higher for adapters and heads."""
    middle = _RATE_OF_WIDTH_128 * min(1.0, 128 / width)
    if config.lora.rank or config.train == "head":
        middle *= _ADAPTER_FACTOR
    return tuple(middle * factor for factor in _FACTORS)


def choose_rate(
    rates: tuple[float, ...], steps: int, trial: Callable[[float], float]
) -> RateChoice:
    """Try rates, unless the training is too short for that.

    Parameters
    ----------
    steps
        Of the training that is to come.
    trial
        Trains for ``TRIAL_STEPS`` at a rate and gives the dev loss, NaN if it diverged.
    """
    if steps < 4 * TRIAL_STEPS:
        return RateChoice(rates[len(rates) // 2], {})
    losses = {rate: trial(rate) for rate in rates}
    worth = {rate: math.inf if math.isnan(loss) else loss for rate, loss in losses.items()}
    return RateChoice(min(worth, key=worth.__getitem__), losses)
