"""How the charts look: colours of models, shades that suit light and dark, text of others."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from .text import one_line

MUTED, GRID, BAND = "#808080", "#80808050", "#80808018"
"""Greys of lines, grids and bands, which can be seen on white and on black."""

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#9467bd")
_FIXED = {"kmer": ("#7f7f7f", "X"), "cnn": ("#b8a800", "P")}
_MARKERS = "osD^v<>*"


def label(text: str, most: int = 48) -> str:
    """Text of others for a chart: of one line, not too long, and nothing in it is mathematics.

    Examples
    --------
    >>> label("a$b$")
    'a\\\\$b\\\\$'
    """
    line = one_line(text, most).replace("$", "\\$")
    return f" {line}" if line.startswith("_") else line  # matplotlib leaves _names out of legends


def styles(kinds: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """A colour and a marker for each model, by its name: the same in every study.

    Where two names fall on one colour, the later in the alphabet takes the next free one; the order
    of the models is of no matter. Beyond the colours there are, markers tell models apart.

    Parameters
    ----------
    kinds
        The kind of each model by its name; a k-mer regression and a CNN have looks of their own.
    """
    looks: dict[str, tuple[str, str]] = {}
    taken: set[int] = set()
    turn = 0
    for name in sorted(kinds):
        fixed = _FIXED.get(kinds[name])
        if fixed is not None and fixed not in looks.values():
            looks[name] = fixed
            continue
        if len(taken) == len(_COLOURS):
            taken, turn = set(), turn + 1
        place = hashlib.sha256(name.encode("utf-8", "replace")).digest()[0] % len(_COLOURS)
        while place in taken:
            place = (place + 1) % len(_COLOURS)
        taken.add(place)
        looks[name] = _COLOURS[place], _MARKERS[(place + turn) % len(_MARKERS)]
    return {
        name: {"color": looks[name][0], "marker": looks[name][1], "markersize": 5} for name in kinds
    }


def to_svg(figure: Figure) -> str:
    """A figure as an SVG element whose ground is clear, and whose black is the page's text."""
    text = io.StringIO()
    with _savable():  # the same drawing has the same ids; text stays text
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].replace("stroke: #000000", "stroke: currentColor")
    return svg.replace("<svg", '<svg class="chart"', 1)


def save_png(figure: Figure, path: Path, dpi: int = 110) -> None:
    """Write a figure as PNG; the same drawing gives the same file."""
    with _savable():
        figure.savefig(path, dpi=dpi, metadata={"Software": None})


@contextmanager
def _savable() -> Iterator[None]:
    with rc_context({"svg.hashsalt": "dnazen", "svg.fonttype": "none"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield
