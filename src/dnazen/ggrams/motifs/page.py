"""The page of a comparison of G-grams with motifs: tables, curves and logos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...errors import DnazenError
from ...report.charts import save_png, styles
from ...report.document import Block, Document, Picture, Section, Table, Text, to_html
from ...report.text import file_name
from ...sequences.alphabet import BASES, reverse_complement
from .comparison import in_words, ranked
from .enrichment import Comparison
from .meme import Motif

LOGOS = 12
"""Motifs that are drawn, those that set G-grams apart most."""

_BESIDE_A_LOGO = 4  # G-grams
_BP_A_BIN = 4


def motifs_page(title: str, comparison: Comparison, motifs: Sequence[Motif], logos: Path) -> str:
    """The whole page; the logos on it are written to the folder ``logos`` as PNG too."""
    overall: list[list[str | float]] = [
        [name, c.sets, c.matching, c.expected, c.fold, f"{c.p_value:.2g}", f"{c.p_depleted:.2g}"]
        for name, c in ((name, control.overall) for name, control in comparison.controls.items())
    ]
    controls: list[Block] = [
        Text(
            "A control has sequences of the G-gram's own length and composition: 'bases' and "
            "'dinucleotides' are shuffles, 'random' are G-grams drawn from a genome without "
            "regard to PMI. Only what stands out beside all of them is due to the mining."
        ),
        Table(["control", "G-grams", "matching", "expected", "fold", "p", "p of fewer"], overall),
        Picture(
            "lengths",
            _lengths_picture(comparison),
            "G-grams that match any motif, by their length.",
        ),
    ]
    drawn = ranked(comparison)[:LOGOS]
    names = [motifs[m].name for m in drawn]
    pictures = [
        Picture(
            _logo_name(motifs[m], names),
            _logo_picture(comparison, motifs, m),
            _caption(comparison, motifs, m),
        )
        for m in drawn
    ]
    for picture in pictures:
        save_png(picture.figure, logos / f"{picture.name}.png", dpi=150)
    text = Text(
        f"The {len(drawn)} that stand out most beside '{list(comparison.controls)[-1]}', with the "
        "G-grams likest to them."
    )
    sections = [Section("G-grams and controls", controls), Section("Motifs", [text, *pictures])]
    return to_html(Document(title, sections, [f"{in_words(comparison, motifs)}."]))


def _logo_name(motif: Motif, names: Sequence[str]) -> str:
    """The motif's name, behind that of its database where motifs of several bear it."""
    several = names.count(motif.name) > 1
    return file_name(f"{motif.database}.{motif.name}" if several else motif.name)


def _caption(comparison: Comparison, motifs: Sequence[Motif], m: int) -> str:
    count = int(np.count_nonzero(comparison.matches.motif == m))
    beside = (
        f"expected beside '{name}' {c.motifs[m].expected:g} (q = {c.q_values[m]:.2g})"
        for name, c in comparison.controls.items()
        if m in c.motifs
    )
    motif = motifs[m]
    return f"{motif.title} of {motif.database}: {count} G-grams; {'; '.join(beside)}"


def _lengths_picture(comparison: Comparison) -> Figure:
    """Fractions with one standard error, in bins of ``_BP_A_BIN`` bases."""
    lengths = np.array([len(s) for s in comparison.compared.sequences])
    matching = np.zeros((len(lengths), 1), dtype=bool)
    matching[comparison.matches.sequence] = True
    curves = {"G-grams": (np.arange(len(lengths)), matching)}
    curves |= {name: (c.ggrams, c.matching) for name, c in comparison.controls.items()}
    looks = styles(dict.fromkeys(curves, "control"))
    drawing = Figure(figsize=(8, 3.5), layout="constrained")
    axes = drawing.subplots()
    for name, (places, matching_rows) in curves.items():
        bins = lengths[places] // _BP_A_BIN
        some_bins = np.unique(bins)
        shares = np.array([matching_rows[bins == b].mean() for b in some_bins])
        drawn = np.array([matching_rows[bins == b].size for b in some_bins])
        axes.errorbar(
            (some_bins + 0.5) * _BP_A_BIN,
            shares,
            np.sqrt(shares * (1 - shares) / drawn),
            capsize=2,
            label=name,
            **looks[name],
        )
    axes.set(xlabel="bases", ylabel="fraction that matches", ylim=(0, None))
    axes.legend(fontsize="small", frameon=False)
    return drawing


def _logo_picture(comparison: Comparison, motifs: Sequence[Motif], m: int) -> Figure:
    """The motif's logo, and below it the likest G-grams in its frame."""
    mine = np.flatnonzero(comparison.matches.motif == m)
    mine = mine[np.argsort(comparison.matches.p_value[mine], kind="stable")][:_BESIDE_A_LOGO]
    lines = []
    for pair in mine.tolist():
        bases = comparison.compared.sequences[comparison.matches.sequence[pair]]
        if not comparison.matches.forward[pair]:
            bases = reverse_complement(bases.encode()).decode()
        lines.append((int(comparison.matches.offset[pair]), bases))
    first = min(0, *(offset for offset, _ in lines)) if lines else 0
    last = max(len(motifs[m].matrix), *(offset + len(bases) for offset, bases in lines))
    drawing = Figure(figsize=(0.25 * (last - first) + 0.8, 1.2 + 0.22 * len(lines)))
    top, bottom = drawing.subplots(2, 1, sharex=True, height_ratios=[5, max(1, len(lines))])
    draw_logo(top, motifs[m])
    bottom.axis("off")
    bottom.set_ylim(len(lines), 0)
    for row, (offset, bases) in enumerate(lines):
        for place, base in enumerate(bases, offset):
            bottom.text(
                place, row + 0.5, base, ha="center", va="center", family="monospace", fontsize=9
            )
    top.set_xlim(first - 0.7, last - 0.3)
    drawing.subplots_adjust(
        left=0.45 / drawing.get_figwidth(), right=0.98, top=0.95, bottom=0.02, hspace=0.1
    )
    return drawing


def draw_logo(axes: Axes, motif: Motif) -> None:
    """Draw a motif's logo, in bits, its first column at 0.

    Raises
    ------
    DnazenError
        If the extra ``motifs`` is not installed.
    """
    try:
        from logomaker import Logo
        from pandas import DataFrame
    except ModuleNotFoundError:
        raise DnazenError(
            "logomaker is not installed; it draws motifs; pip install 'dnazen[motifs]'"
        ) from None
    Logo(DataFrame(motif.bits, columns=list(BASES.decode())), ax=axes, show_spines=False)
    axes.set(ylim=(0, 2), yticks=(0, 2), xticks=())
    axes.set_ylabel("bits", fontsize=8)
    axes.tick_params(labelsize=8)
