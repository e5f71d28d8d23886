"""Explanations as one HTML page: attributions over sequence, tokens, G-grams and motif hits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..ggrams.motifs.meme import Motif
from ..ggrams.motifs.similarity import Hit
from ..report.document import Document, Section, Table, Text, files_section, to_html
from ..report.tracks import Bars, Box, Drawing, Track
from .explanation import Explanation
from .files import Effects

_TOP = 20  # G-grams of the table
_DESCRIPTION = (
    "Bars: integrated gradients, a base.{line} Boxes: attribution of tokens, removal of G-grams."
)
_LINE = " Line: occlusion, a base."


class Drawn(NamedTuple):
    """An explanation and the motif hits of its sequence."""

    explanation: Explanation
    hits: Sequence[Hit]


def explanation_page(
    title: str,
    message: str,
    drawn: Sequence[Drawn],
    effects: Sequence[Effects],
    motifs: Sequence[Motif],
    files: Mapping[str, Sequence[Path]],
) -> str:
    """The whole page.

    Parameters
    ----------
    message
        What was done and found, in a sentence or two.
    effects
        What each G-gram did over the set, those that mattered most first.
    files
        What was read, by what it is.
    """
    sections = [_effects_section(effects)] if effects else []
    text = Text(
        "Numbers are in the unit of the output: log-odds of the explained label in nats, or the "
        "predicted number. Red raises the output, blue lowers it. Bars show integrated gradients, "
        "those of the G-grams over a base included. Point at a box for its numbers; the tables "
        "below each drawing have them too."
    )
    parts = [Section(one.explanation.record.name, [*_blocks(one, motifs)]) for one in drawn]
    sections += [Section("Sequences", [text, *parts]), files_section(files)]
    return to_html(Document(title, sections, [message]))


def _effects_section(effects: Sequence[Effects]) -> Section:
    words = (
        "Removal is the output with the G-gram less that without it, in the output's unit. "
        f"The {_TOP} whose removals sum to the most, of {len(effects):,}; all stand in "
        "ggram_summary.tsv."
    )
    rows: list[list[str | float]] = [
        [e.bases, e.target, e.sequences, e.mean, e.sd, e.removal] for e in effects[:_TOP]
    ]
    header = ["G-gram", "target", "sequences", "mean removal", "SD", "sum"]
    return Section("G-grams over all sequences", [Text(words), Table(header, rows, names=2)])


def _blocks(drawn: Drawn, motifs: Sequence[Motif]) -> Iterator[Text | Drawing]:
    e = drawn.explanation
    attribution = e.attribution
    chance = "" if math.isnan(e.probability) else f", probability {e.probability:.3f}"
    yield Text(
        f"Predicted {e.prediction or 'no label'}; explained: {e.target}{chance}. Output "
        f"{attribution.output:.3f}, at the baseline {attribution.baseline:.3f}; tokens add "
        f"{attribution.tokens.sum():+.3f}, G-grams {attribution.ggrams.sum():+.3f}, "
        f"bases and k-mers {attribution.bases.sum():+.3f}, gap "
        f"{attribution.gap:+.1e}. Without any G-gram the output is "
        f"{attribution.output - e.removal.together:.3f}."
    )
    line = [] if e.occlusion is None else e.occlusion.tolist()
    yield Drawing(
        e.record.name,
        _DESCRIPTION.format(line=_LINE if line else ""),
        e.sequence,
        [_token_track(e), _ggram_track(e)] + ([_motif_track(drawn.hits, motifs)] if motifs else []),
        Bars(e.spans, e.by_token.tolist(), line),
    )


def _token_track(e: Explanation) -> Track:
    columns = {
        "attribution": e.by_token.tolist(),
        "of the token": e.attribution.tokens.tolist(),
        "of its G-grams": e.from_ggrams.tolist(),
    }
    if e.attribution.bases.any():
        columns["of its bases"] = e.attribution.bases.tolist()
    if e.occlusion is not None:
        columns["occlusion"] = e.occlusion.tolist()
    boxes = (
        Box(start, end, text, values, values[0])
        for (start, end), text, values in zip(
            e.spans, e.texts, zip(*columns.values(), strict=True), strict=True
        )
    )
    return Track("tokens", list(boxes), tuple(columns))


def _ggram_track(e: Explanation) -> Track:
    boxes = [
        Box(start, end, g.bases, (f"{g.ggram_id} {g.strand}", g.removal, g.attribution), g.removal)
        for g in e.ggrams
        for start, end in g.intervals
    ]
    return Track("G-grams", boxes, ("id", "removal", "attribution"))


def _motif_track(hits: Sequence[Hit], motifs: Sequence[Motif]) -> Track:
    boxes = []
    for hit in hits:
        motif = motifs[hit.motif]
        label = f"{motif.alternate or motif.name} {hit.strand}"
        boxes.append(Box(hit.start, hit.end, label, (motif.title, f"{hit.p_value:.2g}")))
    return Track("motifs", boxes, ("motif", "p"))
