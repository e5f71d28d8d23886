"""How a report spells numbers: scores times 100, as in published tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .comparison import OverallDifference
from .statistics import Estimate

UNDEFINED = "n/a"


def points(value: float | None) -> str:
    """A score times 100."""
    return UNDEFINED if value is None or value != value else f"{100 * value:.2f}"


def signed(found: Estimate) -> str:
    """A difference times 100, with its sign."""
    return f"{100 * found.value:+.2f}"


def interval(found: Estimate) -> str:
    """The 95 % interval times 100."""
    low, high = found.interval
    return f"[{points(low)}, {points(high)}]"


def p_value(value: float) -> str:
    """A p-value to three decimals."""
    if value != value:
        return UNDEFINED
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def signed_number(value: float) -> str:
    """A number with its sign, as it is."""
    return UNDEFINED if value != value else f"{value:+.2f}"


def win_loss(found: OverallDifference) -> str:
    """Wins, ties and losses."""
    return f"{found.wins} / {found.ties} / {found.losses}"


def counted(number: int, what: str) -> str:
    """So many of something."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def listed(words: Iterable[Any]) -> str:
    """The words with commas, those of a set in order."""
    return ", ".join(map(str, sorted(words) if isinstance(words, set) else words))
