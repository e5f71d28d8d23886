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


def signed(difference: Estimate) -> str:
    """A difference times 100, with its sign."""
    return f"{100 * difference.value:+.2f}"


def interval(mean: Estimate) -> str:
    """The 95 % interval times 100."""
    low, high = mean.interval
    return f"[{points(low)}, {points(high)}]"


def p_value(value: float) -> str:
    """A p-value to three decimals."""
    if value != value:
        return UNDEFINED
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def signed_number(value: float) -> str:
    """A number with its sign, as it is."""
    return UNDEFINED if value != value else f"{value:+.2f}"


def win_loss(overall: OverallDifference) -> str:
    """Wins, ties and losses, and the tasks where a collapsed cell leaves nobody the winner."""
    collapsed = f" ({overall.collapsed} collapsed)" if overall.collapsed else ""
    return f"{overall.wins} / {overall.ties} / {overall.losses}{collapsed}"


def counted(number: int, what: str) -> str:
    """So many of something."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def listed(words: Iterable[Any]) -> str:
    """The words with commas, those of a set in order."""
    return ", ".join(map(str, sorted(words) if isinstance(words, set) else words))
