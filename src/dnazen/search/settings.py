"""The settings of a search; they import nothing heavy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from ..errors import ConfigError
from ..overrides import from_words, words_of
from ..settings import MOST, require_numbers

MOST_TRIALS = 10_000


def read_space(words: Sequence[str]) -> dict[str, Any]:
    """What to try of each setting, from the words of a command line.

    Raises
    ------
    ConfigError
        If a word is of another form, or two name one setting.

    Examples
    --------
    >>> read_space(["layers=[2, 4]"])
    {'layers': [2, 4]}
    """
    space: dict[str, Any] = {}
    for word in words:
        name, _, text = word.partition("=")
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            raise ConfigError(
                f"""space: {word!r}: expected SETTING=[VALUE, ...] or SETTING={{"low": ..., """
                '"high": ...}'
            ) from None
        if name in space:
            raise ConfigError(f"space: {name!r} stands twice; expected different settings")
        space[name] = values
    return space


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How settings are searched for, whatever the model and the data."""

    trials: int = 20
    """Trials in all, those of an interrupted search included."""
    timeout_minutes: float | None = None
    """Begin no further trial after so many minutes; the one that runs is finished."""
    prune: bool = True
    """Stop a trial after an epoch, from the second on, whose best score so far is below the median
    of the earlier trials at that epoch; none is before five have come to their end."""
    space: Annotated[dict[str, Any], from_words(read_space, words_of, "SETTING=JSON")] = field(
        default_factory=dict
    )
    """What to try, in a recipe a table [space] with lines such as layers = [2, 4] and
    learning_rate = {low = 1e-4, high = 1e-2, log = true}. By default learning rate, layers, weight
    decay, batch size, base channels and pooling, those left out that are given as settings."""

    def __post_init__(self) -> None:
        require_numbers(self, names="trials", least=1, most=MOST_TRIALS)
        if self.timeout_minutes is not None and not 0 < self.timeout_minutes <= MOST:
            raise ConfigError(f"timeout_minutes must be > 0, got {self.timeout_minutes}")
