"""Draw a DNA sequence with what lies on it: tokens, G-grams, motifs, one track each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

ROW_IN = 0.2
"""Height of one row of boxes, in inches."""


class Span(NamedTuple):
    """A labelled stretch of a sequence, 0-based and half-open, in bases."""

    start: int
    end: int
    label: str


class Stretch(Protocol):
    """What lies on a sequence from one base to another."""

    @property
    def start(self) -> int:
        """First base."""

    @property
    def end(self) -> int:
        """Base behind the last."""


SomeStretch = TypeVar("SomeStretch", bound=Stretch)


class Track(NamedTuple):
    """Spans of one kind, drawn in one colour under one name."""

    name: str
    colour: str
    spans: Sequence[Span]


def stacked(spans: Sequence[SomeStretch]) -> list[list[SomeStretch]]:
    """Spread spans over as few rows as keep them from overlapping, left to right.

    Examples
    --------
    >>> [len(row) for row in stacked([Span(0, 4, "a"), Span(2, 6, "b"), Span(4, 8, "c")])]
    [2, 1]
    """
    rows: list[list[SomeStretch]] = []
    for span in sorted(spans, key=lambda span: (span.start, span.end)):
        free = next((row for row in rows if row[-1].end <= span.start), None)
        if free is None:
            rows.append([span])
        else:
            free.append(span)
    return rows


def draw_tracks(sequence: str, tracks: Sequence[Track], line_bp: int = 100) -> Figure:
    """A figure of the sequence in lines of ``line_bp`` bases, the tracks below each line.

    A span that crosses the end of a line is drawn in both.
    """
    lines = range(0, max(1, len(sequence)), line_bp)
    cut = [[_within(track, start, start + line_bp) for track in tracks] for start in lines]
    rows = [
        [
            (track, row)
            for track, inside in zip(tracks, line, strict=True)
            for row in stacked(inside)
        ]
        for line in cut
    ]
    heights = [1 + len(line) for line in rows]
    figure = Figure(figsize=(12, ROW_IN * (sum(heights) + len(heights)) + 0.5))
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axis, start, line in zip(axes, lines, rows, strict=True):
        axis.set_xlim(0, line_bp)
        axis.set_ylim(1 + len(line), 0)
        axis.axis("off")
        axis.text(-0.5, 0.5, f"{start:,}", ha="right", va="center", fontsize=7, color="#666666")
        for place, base in enumerate(sequence[start : start + line_bp]):
            axis.text(
                place + 0.5, 0.5, base, ha="center", va="center", fontsize=7, family="monospace"
            )
        for height, (track, spans) in enumerate(line, start=1):
            for span in spans:
                _box(axis, span, height, track.colour)
    handles = [Rectangle((0, 0), 1, 1, color=track.colour) for track in tracks]
    figure.legend(
        handles, [t.name for t in tracks], loc="upper right", ncols=len(tracks), frameon=False
    )
    figure.subplots_adjust(
        left=0.04, right=0.99, top=1 - 0.35 / figure.get_figheight(), bottom=0.01
    )
    return figure


def _within(track: Track, start: int, end: int) -> list[Span]:
    """The parts of a track's spans inside a line, in the line's coordinates."""
    return [
        Span(max(s.start, start) - start, min(s.end, end) - start, s.label)
        for s in track.spans
        if s.start < end and s.end > start
    ]


def _box(axis: Axes, span: Span, height: int, colour: str) -> None:
    width = span.end - span.start
    axis.add_patch(
        Rectangle(
            (span.start + 0.08, height + 0.1), width - 0.16, 0.8, facecolor=colour, alpha=0.75
        )
    )
    if width > 0.75 * len(span.label):
        axis.text(
            span.start + width / 2, height + 0.52, span.label, ha="center", va="center", fontsize=6
        )
