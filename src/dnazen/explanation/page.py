"""Explanations as one HTML page: attributions over sequence, tokens, G-grams and motif hits."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..ggrams.motifs.meme import Hit, Motif
from ..inference.predict import MISSING
from ..report.page import heading, page, paragraph, table
from ..report.tracks import stacked
from .explanation import Explanation
from .files import Effects

LINE_BP = 100
"""Bases in a line of a drawing."""

_BASE_PX = 10.4
_LEFT_PX = 76
_BARS_PX = 64
_ROW_PX = 16
_GAP_PX = 14  # between lines
_LETTER_PX = 5.6  # of a label
_LETTER = {"A": "#1a8f3c", "C": "#2458c5", "G": "#d58a00", "T": "#c9302c", "N": "#999999"}
_UP, _DOWN = (178, 24, 43), (33, 102, 172)  # of a diverging palette that the colour-blind can read
_NO_VALUE = "#cfe3cf"
_TOP = 20  # G-grams of the table
_STYLE = """<style>
svg.line text { font: 9px ui-monospace, monospace; }
svg.line text.name { font: 10px system-ui, sans-serif; fill: #666; }
svg.line .occlusion { fill: none; stroke: #222; stroke-width: 1; }
svg.line rect.box { stroke: #fff; stroke-width: 1; }
</style>"""


class Drawn(NamedTuple):
    """An explanation and the motif hits of its sequence."""

    explanation: Explanation
    hits: Sequence[Hit]


class _Box(NamedTuple):
    """A rectangle in a row below the sequence."""

    start: int
    end: int
    label: str
    hover: str
    share: float | None = None
    """Of the largest value in its row, -1 to 1, as its colour; ``None`` where it has none."""


def explanation_page(
    title: str,
    told: str,
    drawn: Sequence[Drawn],
    effects: Sequence[Effects],
    motifs: Sequence[Motif],
) -> str:
    """The whole page.

    Parameters
    ----------
    told
        What was done and found, in a sentence or two.
    effects
        What each G-gram did over the set, those that mattered most first.
    """
    parts = [_STYLE, paragraph(told)]
    if effects:
        parts += [
            heading("G-grams over all sequences"),
            paragraph(
                "Removal is the output with the G-gram less that without it, in the output's unit. "
                f"The {_TOP} whose removals sum to the most, of {len(effects):,}; all stand in "
                "ggram_summary.tsv."
            ),
            table(
                ["G-gram", "target", "sequences", "mean removal", "SD", "sum"],
                [
                    [
                        *(e.bases, e.target, e.sequences, e.mean),
                        MISSING if math.isnan(e.sd) else e.sd,
                        e.removal,
                    ]
                    for e in effects[:_TOP]
                ],
                numbers=range(2, 6),
            ),
        ]
    parts += [
        heading("Sequences"),
        paragraph(
            "Bars: integrated gradients of each base, those of the G-grams over it included; red "
            "raises the output, blue lowers it. Black line: occlusion, the output less that with "
            "the token hidden, on the same scale. Tokens are coloured by their attribution, "
            "G-grams by what their removal takes away, on one scale a sequence; point at a box "
            "for its numbers."
        ),
    ]
    for some in drawn:
        parts += _sequence_parts(some, motifs)
    return page(title, parts)


def _sequence_parts(drawn: Drawn, motifs: Sequence[Motif]) -> Iterator[str]:
    e = drawn.explanation
    found = e.attribution
    yield f"<h3>{html.escape(e.record.name)}</h3>"
    chance = "" if math.isnan(e.probability) else f", probability {e.probability:.3f}"
    yield paragraph(
        f"Predicted {e.prediction or 'no label'}; explained: {e.target}{chance}. Output "
        f"{found.output:.3f}, at the baseline {found.baseline:.3f}; tokens add "
        f"{found.tokens.sum():+.3f}, G-grams {found.ggrams.sum():+.3f}, gap {found.gap:+.1e}. "
        f"Without any G-gram the output is {found.output - e.removal.together:.3f}."
    )
    rows = [("tokens", _token_boxes(e)), ("G-grams", _ggram_boxes(e))]
    if motifs:
        rows.append(("motifs", _motif_boxes(drawn.hits, motifs)))
    yield from (_line(e, rows, start) for start in range(0, len(e.sequence), LINE_BP))


def _token_boxes(e: Explanation) -> list[_Box]:
    most = _most(e)
    boxes = []
    for i, ((start, end), text) in enumerate(zip(e.spans, e.texts, strict=True)):
        hover = (
            f"{text} {start}-{end}\ntoken {e.attribution.tokens[i]:+.4f}, "
            f"its G-grams {e.from_ggrams[i]:+.4f}"
        )
        if e.occlusion is not None:
            hover += f"\nocclusion {e.occlusion[i]:+.4f}"
        boxes.append(_Box(start, end, text, hover, float(e.by_token[i]) / most))
    return boxes


def _ggram_boxes(e: Explanation) -> list[_Box]:
    most = _most(e)
    return [
        _Box(
            start,
            end,
            g.bases,
            f"{g.bases} {start}-{end} (G-gram {g.ggram_id})\n"
            f"removal {g.removal:+.4f}, attribution {g.attribution:+.4f}",
            g.removal / most,
        )
        for g in e.ggrams
        for start, end in g.places
    ]


def _most(e: Explanation) -> float:
    """What the colours of tokens and G-grams are measured by, so that both can be compared."""
    values = [*e.by_token.tolist(), *(g.removal for g in e.ggrams)]
    return max(map(abs, values)) or 1.0


def _motif_boxes(hits: Sequence[Hit], motifs: Sequence[Motif]) -> list[_Box]:
    return [
        _Box(
            hit.start,
            hit.end,
            f"{motifs[hit.motif].alternate or motifs[hit.motif].name} {hit.strand}",
            f"{motifs[hit.motif].title} {hit.start}-{hit.end} ({hit.strand})\np {hit.p_value:.2g}",
        )
        for hit in hits
    ]


def _line(e: Explanation, rows: Sequence[tuple[str, Sequence[_Box]]], start: int) -> str:
    """One line of a drawing: ``LINE_BP`` bases from ``start``, with all that lies there."""
    end = min(start + LINE_BP, len(e.sequence))
    parts = [*_bars(e, start, end)]
    top = _BARS_PX + 4.0
    parts.append(_text(_LEFT_PX - 8, top + 10, f"{start:,}", "name", "end"))
    for place, base in enumerate(e.sequence[start:end]):
        x = _LEFT_PX + (place + 0.5) * _BASE_PX
        parts.append(_text(x, top + 10, base, fill=_LETTER[base], weight="bold"))
    top += _ROW_PX
    for name, boxes in rows:
        here = [box for box in boxes if box.start < end and box.end > start]
        if here:
            parts.append(_text(_LEFT_PX - 8, top + 11, name, "name", "end"))
        for row in stacked(here):
            parts += [_drawn_box(box, start, end, top) for box in row]
            top += _ROW_PX
    width = _LEFT_PX + LINE_BP * _BASE_PX + 4
    height = top + _GAP_PX
    return (
        f'<svg class="line" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'role="img">{"".join(parts)}</svg>'
    )


def _bars(e: Explanation, start: int, end: int) -> Iterator[str]:
    """Bars of integrated gradients and the line of occlusion, per base, on the sequence's scale."""
    widths = np.diff(e.starts)
    bars = e.by_token / widths
    steps = np.zeros(0) if e.occlusion is None else e.occlusion / widths
    high, low = max(0.0, *bars, *steps), min(0.0, *bars, *steps)
    scale = _BARS_PX / (high - low or 1.0)
    zero = high * scale
    path = ""
    for i, (left, right) in enumerate(e.spans):
        if right <= start or left >= end:
            continue
        x, stop = _x(left, start, end), _x(right, start, end)
        y = zero - max(bars[i], 0) * scale
        yield (
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{stop - x:.1f}" '
            f'height="{abs(bars[i]) * scale:.1f}" fill="{_shade(float(np.sign(bars[i])))}"/>'
        )
        if len(steps):
            path += f"{'L' if path else 'M'}{x:.1f} {zero - steps[i] * scale:.1f}H{stop:.1f}"
    yield f'<path d="M{_LEFT_PX} {zero:.1f}H{_x(end, start, end):.1f}" stroke="#aaa" fill="none"/>'
    yield f'<path class="occlusion" d="{path}"/>' if path else ""
    yield _text(_LEFT_PX - 8, 9, f"{high:+.2g}", "name", "end")
    if low:
        yield _text(_LEFT_PX - 8, _BARS_PX, f"{low:+.2g}", "name", "end")


def _x(base: int, start: int, end: int) -> float:
    """Where a base begins in the line from ``start`` to ``end``, or where the line does."""
    return _LEFT_PX + (min(max(base, start), end) - start) * _BASE_PX


def _drawn_box(box: _Box, start: int, end: int, top: float) -> str:
    x, stop = _x(box.start, start, end), _x(box.end, start, end)
    label = box.label if len(box.label) * _LETTER_PX < stop - x else ""
    strong = box.share is not None and abs(box.share) > 0.6
    return (
        f"<g><title>{html.escape(box.hover)}</title>"
        f'<rect class="box" x="{x:.1f}" y="{top + 1:.1f}" width="{stop - x:.1f}" '
        f'height="{_ROW_PX - 2}" rx="2" fill="{_shade(box.share)}"/>'
        f"{_text((x + stop) / 2, top + 11, label, fill='#fff' if strong else '#222')}</g>"
    )


def _text(
    x: float,
    y: float,
    text: str,
    kind: str = "",
    anchor: str = "middle",
    *,
    fill: str = "",
    weight: str = "",
) -> str:
    more = "".join(
        f' {name}="{value}"'
        for name, value in (("class", kind), ("fill", fill), ("font-weight", weight))
        if value
    )
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{more}>{html.escape(text)}</text>'


def _shade(share: float | None) -> str:
    """From near white at 0 to red at 1 and blue at -1."""
    if share is None:
        return _NO_VALUE
    depth = 0.06 + 0.94 * min(1.0, abs(share))
    parts = (round(255 - depth * (255 - part)) for part in (_UP if share > 0 else _DOWN))
    return "#{:02x}{:02x}{:02x}".format(*parts)
