"""Draw a DNA sequence with what lies on it: tokens, G-grams, motifs, one track each.

Values have one meaning of colour in every drawing of the package: red is higher, blue is lower.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

LINE_BP = 100
"""Bases in a line of a drawing."""

UP, DOWN = (178, 24, 43), (33, 102, 172)
"""Red and blue of a diverging palette that the colour-blind can read."""

_BASE_PX = 10
_LEFT_PX = 78  # for the names of the tracks
_BARS_PX = 64
_ROW_PX = 16
_GAP_PX = 14  # between lines
_LETTER_PX = 5.6  # of a label
_PLAIN = ("first", "second", "third")  # colours of the tracks without values


class Interval(Protocol):
    """What lies on a sequence from one base to another, 0-based and half-open."""

    @property
    def start(self) -> int:
        """First base."""

    @property
    def end(self) -> int:
        """Base behind the last."""


SomeInterval = TypeVar("SomeInterval", bound=Interval)


class Box(NamedTuple):
    """A labelled interval of a sequence, 0-based and half-open, and what is known of it."""

    start: int
    end: int
    label: str
    values: tuple[float | str, ...] = ()
    """One for each of its track's columns."""
    value: float | None = None
    """What its colour shows; ``None`` where it shows nothing."""


class Track(NamedTuple):
    """Boxes of one kind, drawn below the sequence under one name."""

    name: str
    boxes: Sequence[Box]
    columns: tuple[str, ...] = ()
    """Names of the boxes' values."""

    @property
    def header(self) -> Sequence[str]:
        """Column names of the track as a table, for those who cannot see the drawing."""
        return [self.name, "bases", *self.columns]

    @property
    def rows(self) -> Iterator[Sequence[float | str]]:
        """A row a box."""
        return ([box.label, f"{box.start}-{box.end}", *box.values] for box in self.boxes)


class Bars(NamedTuple):
    """Values of neighbouring intervals, drawn above the sequence as bars, each per base."""

    intervals: Sequence[tuple[int, int]]
    values: Sequence[float]
    line: Sequence[float] = ()
    """Other values of the same intervals, drawn as a line on the same scale."""


class Drawing(NamedTuple):
    """A sequence with its tracks: inline SVG, and tables that say the same."""

    title: str
    description: str
    """What is drawn and what its colours mean; stands below the drawing."""
    sequence: str
    tracks: Sequence[Track]
    bars: Bars | None = None

    @property
    def bound(self) -> float:
        """The largest absolute value of any box, which has the strongest colour; 0 without."""
        boxes = (box for track in self.tracks for box in track.boxes)
        return max((abs(box.value) for box in boxes if box.value is not None), default=0.0)

    @property
    def layout(self) -> Layout:
        """Where everything stands in the picture."""
        marks: list[Mark] = []
        top, bound = 0.0, self.bound
        for start in range(0, max(1, len(self.sequence)), LINE_BP):
            line = _Line(self, bound, start, min(start + LINE_BP, len(self.sequence)))
            top = line.draw(marks, top) + _GAP_PX
        return Layout(_LEFT_PX + LINE_BP * _BASE_PX + 4, round(top), marks)


class Mark(NamedTuple):
    """A rectangle, a text or a path of a picture, in pixels."""

    shape: str
    kind: str
    """Its class in the style sheet."""
    x: str = ""
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0
    opacity: float = 1.0
    text: str = ""
    """Of a text what it says, of a rectangle what it says when pointed at, of a path its steps."""


class Layout(NamedTuple):
    """A picture's size in pixels, and its marks."""

    width: int
    height: int
    marks: Sequence[Mark]


def stacked(intervals: Sequence[SomeInterval]) -> list[list[SomeInterval]]:
    """Spread intervals over as few rows as keep them from overlapping, left to right.

    Examples
    --------
    >>> [len(row) for row in stacked([Box(0, 4, "a"), Box(2, 6, "b"), Box(4, 8, "c")])]
    [2, 1]
    """
    rows: list[list[SomeInterval]] = []
    for interval in sorted(intervals, key=lambda interval: (interval.start, interval.end)):
        free = next((row for row in rows if row[-1].end <= interval.start), None)
        if free is None:
            rows.append([interval])
        else:
            free.append(interval)
    return rows


class _Line:
    """A line of a drawing: the bases from ``start`` to ``end``, with all that lies there."""

    def __init__(self, drawing: Drawing, bound: float, start: int, end: int) -> None:
        self.drawing, self.bound, self.start, self.end = drawing, bound, start, end

    def draw(self, marks: list[Mark], top: float) -> float:
        """Add the marks of this line below ``top``; returns where they end."""
        if self.drawing.bars is not None:
            marks += self._bars(self.drawing.bars, top)
            top += _BARS_PX + 4
        marks.append(_name(f"{self.start:,}", top + 10))
        marks += self._letters(top + 10)
        top += _ROW_PX
        for number, track in enumerate(self.drawing.tracks):
            boxes = [box for box in track.boxes if self._holds(box.start, box.end)]
            if boxes:
                marks.append(_name(track.name, top + 11))
            for row in stacked(boxes):
                for box in row:
                    marks += self._box(box, track, _PLAIN[number % len(_PLAIN)], top)
                top += _ROW_PX
        return top

    def _holds(self, start: int, end: int) -> bool:
        return start < self.end and end > self.start

    def _x(self, base: int) -> int:
        """Where a base begins, or where the line does that it lies beyond."""
        return _LEFT_PX + (min(max(base, self.start), self.end) - self.start) * _BASE_PX

    def _letters(self, y: float) -> Iterator[Mark]:
        """One text a letter, with the place of each of its occurrences: small files."""
        letters = self.drawing.sequence[self.start : self.end]
        for letter in sorted(set(letters)):
            places = [i for i, other in enumerate(letters) if other == letter]
            x = " ".join(f"{_LEFT_PX + i * _BASE_PX + _BASE_PX // 2}" for i in places)
            yield Mark("text", letter, x, y, text=letter * len(places))

    def _box(self, box: Box, track: Track, plain: str, top: float) -> Iterator[Mark]:
        x, stop = self._x(box.start), self._x(box.end)
        kind, share = plain, 1.0
        if box.value is not None:
            kind = "up" if box.value > 0 else "down"
            share = abs(box.value) / (self.bound or 1.0)
        numbers = (
            f"{name} {value:+.4f}" if isinstance(value, float) else f"{name} {value}"
            for name, value in zip(track.columns, box.values, strict=True)
        )
        hover = "\n".join([f"{box.label} {box.start}-{box.end}", *numbers])
        depth = round(0.06 + 0.94 * share, 3)
        yield Mark("rect", kind, f"{x}", top + 1, stop - x, _ROW_PX - 2, depth, hover)
        if len(box.label) * _LETTER_PX < stop - x:
            kind = "strong" if box.value is not None and share > 0.6 else "label"
            yield Mark("text", kind, f"{(x + stop) / 2:g}", top + 11, text=box.label)

    def _bars(self, bars: Bars, top: float) -> Iterator[Mark]:
        """Bars and line, all lines of a drawing on one scale."""
        widths = [end - start for start, end in bars.intervals]
        heights = [value / width for value, width in zip(bars.values, widths, strict=True)]
        steps = [value / width for value, width in zip(bars.line, widths, strict=False)]
        high, low = max(0.0, *heights, *steps), min(0.0, *heights, *steps)
        scale = _BARS_PX / (high - low or 1.0)
        zero = top + high * scale
        path = ""
        for i, (start, end) in enumerate(bars.intervals):
            if not self._holds(start, end):
                continue
            x, stop = self._x(start), self._x(end)
            y = round(zero - max(heights[i], 0) * scale, 1)
            kind = "up" if heights[i] > 0 else "down"
            yield Mark("rect", kind, f"{x}", y, stop - x, round(abs(heights[i]) * scale, 1))
            if steps:
                path += f"{'L' if path else 'M'}{x} {zero - steps[i] * scale:.1f}H{stop}"
        yield Mark("path", "zero", text=f"M{_LEFT_PX} {zero:.1f}H{self._x(self.end)}")
        if path:
            yield Mark("path", "line", text=path)
        yield _name(f"{high:+.2g}", top + 9)
        if low:
            yield _name(f"{low:+.2g}", top + _BARS_PX)


def shade(value: float, bound: float) -> tuple[int, int, int]:
    """Red, green and blue of a value: near white at 0, red at ``bound``, blue at its negative."""
    depth = 0.06 + 0.94 * min(1.0, abs(value) / (bound or 1.0))
    red, green, blue = (round(255 - depth * (255 - c)) for c in (UP if value > 0 else DOWN))
    return red, green, blue


def _name(text: str, y: float) -> Mark:
    return Mark("text", "name", f"{_LEFT_PX - 8}", y, text=text)
