"""Draw a value for each base of a sequence and each of the four letters as a heat map."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from ..sequences.alphabet import BASES
from .charts import label

_LINE_BP = 100
_MOST_LINES = 25


def draw_heatmap(
    sequence: str, values: Float[np.ndarray, "bases 4"], first: int, meaning: str
) -> Figure:
    """A figure of the sequence in lines, a row for each of A, C, G, T; red is higher, blue lower.

    The sequence's own letters stand in their cells. The scale is symmetric and ends at the 99th
    percentile of the values' size, so that single ones do not bleach the rest; where values lie
    beyond, the title says how many and how far. NaN is grey.

    Parameters
    ----------
    first
        Number of the first base, for the axis.
    meaning
        What the values are; the title.
    """
    line_bp = max(_LINE_BP, -(-len(sequence) // (_MOST_LINES * 10)) * 10)
    starts = range(0, len(sequence), line_bp)
    height = 0.85 * len(starts) + 1.3
    figure = Figure(figsize=(13, height))
    axes = figure.subplots(len(starts), 1, squeeze=False)[:, 0]
    sizes = np.abs(values[~np.isnan(values)])
    bound = max(float(np.quantile(sizes, 0.99)) if sizes.size else 0.0, 1e-9)
    beyond = int(np.count_nonzero(sizes > bound))
    for axis, start in zip(axes, starts, strict=True):
        part = sequence[start : start + line_bp]
        image = axis.imshow(
            values[start : start + line_bp].T,
            aspect="auto",
            cmap="RdBu_r",
            norm=TwoSlopeNorm(0, -bound, bound),
            extent=(0, len(part), 4, 0),
            interpolation="nearest",
        )
        _dress(axis, part, first + start, line_bp)
    axes[-1].set_xlabel("position (bp, 1-based)", fontsize=8)
    axes[len(axes) // 2].set_ylabel("changed to", fontsize=8)
    bar = figure.add_axes((0.935, 0.6 / height, 0.012, 1 - 1.3 / height))
    extend = "both" if beyond else "neither"
    figure.colorbar(image, cax=bar, extend=extend).ax.tick_params(labelsize=7)
    title = label(meaning, most=150)
    if beyond:
        title += f"\n{beyond:,} of {sizes.size:,} values lie beyond ±{bound:.3g}, the farthest at "
        title += f"{values.flat[np.nanargmax(np.abs(values))]:+.3g}; they have the end colours"
    figure.suptitle(title, fontsize=9, x=0.045, ha="left", y=1 - 0.12 / height, va="top")
    figure.subplots_adjust(
        left=0.045, right=0.925, top=1 - 0.7 / height, bottom=0.6 / height, hspace=0.5
    )
    return figure


def _dress(axis: Axes, sequence: str, first: int, line_bp: int) -> None:
    """Ticks every tenth of a line, on round numbers, and the letters where there is room."""
    axis.set_xlim(0, line_bp)
    axis.set_facecolor("#dddddd" if "N" in sequence else "white")
    axis.set_yticks([0.5, 1.5, 2.5, 3.5], [chr(base) for base in BASES], fontsize=7)
    step = line_bp // 10
    places = [n for n in range(len(sequence)) if (first + n) % step == 0]
    axis.set_xticks([n + 0.5 for n in places], [f"{first + n:,}" for n in places], fontsize=7)
    axis.tick_params(length=2)
    for side in axis.spines.values():
        side.set_visible(False)
    for place, base in enumerate(sequence if line_bp == _LINE_BP else ""):
        row = BASES.find(base.encode())
        if row >= 0:
            axis.text(
                place + 0.5, row + 0.53, base, ha="center", va="center", fontsize=6, color="#555555"
            )
