"""``dnazen ggrams motifs``: which G-grams resemble known motifs, with tables, logos and a page."""

from __future__ import annotations

import csv
import math
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from matplotlib.figure import Figure

from ...errors import ConfigError
from ...outputs import new_directory
from ...records import hash_file, run_record, write_json
from ...report.page import figure, heading, page, paragraph, table
from ...sequences.alphabet import reverse_complement
from ..vocabulary import GGramVocabulary
from .enrichment import Comparison, Enrichment, EnrichmentConfig, compare_with_motifs
from .meme import Motif, draw_logo, read_motifs

LOGOS = 12
"""Motifs that are drawn, those that set G-grams apart most."""

_BESIDE_A_LOGO = 4  # G-grams
_BP_A_BIN = 4


@dataclass(frozen=True, kw_only=True)
class MotifsConfig(EnrichmentConfig):
    """Find the known motifs that G-grams resemble, and test whether controls resemble as many."""

    vocabulary: tyro.conf.Positional[Path]
    """G-gram vocabulary."""
    database: tuple[Path, ...]
    """Motif files in MEME format."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """New directory for matches.tsv, motifs.tsv, summary.json, index.html and logos/."""
    random: Path | None = None
    """Vocabulary of random G-grams, as 'dnazen ggrams mine --method random' writes it: one more
    control, of G-grams with the same length and number of G and C."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.database:
            raise ConfigError("no database given; expected one or more MEME files")


def motifs_command(config: MotifsConfig) -> None:
    """Run ``dnazen ggrams motifs``.

    Raises
    ------
    InputError
        If a file is not what it should be, or no G-gram has the right length.
    OutputError
        If the directory cannot be written.
    """
    vocabulary = GGramVocabulary.load(config.vocabulary)
    random = None if config.random is None else GGramVocabulary.load(config.random)
    motifs = [motif for path in config.database for motif in read_motifs(path)]
    with new_directory(config.output) as directory:
        found = compare_with_motifs(vocabulary, motifs, config, random=random)
        paths = (config.vocabulary, *config.database, *filter(None, [config.random]))
        inputs = [hash_file(path) for path in paths]
        results = summary(found, motifs)
        write_json(
            directory / "summary.json", run_record("ggrams motifs", config, inputs, **results)
        )
        _write_matches(directory / "matches.tsv", found, motifs)
        _write_motifs(directory / "motifs.tsv", found, motifs)
        (directory / "logos").mkdir()
        parts = _page_parts(found, motifs, directory / "logos")
        (directory / "index.html").write_text(
            page(f"G-grams of {config.vocabulary} and known motifs", parts), encoding="utf-8"
        )
    print(f"{config.output}: {_told(found, motifs)}", file=sys.stderr)


def summary(found: Comparison, motifs: Sequence[Motif]) -> dict[str, Any]:
    """The numbers of a comparison as JSON values; ``fold`` is None where nothing was expected."""
    return {
        "motifs": len(motifs),
        "ggrams_compared": len(found.compared.ids),
        "ggrams_matching": len(np.unique(found.matches.sequence)),
        "motifs_matched": len(np.unique(found.matches.motif)),
        "controls": {
            name: {
                **control.overall._asdict(),
                "fold": None if math.isnan(control.overall.fold) else control.overall.fold,
                "motifs_with_q_below_0.05": sum(q < 0.05 for q in control.q_values.values()),
            }
            for name, control in found.controls.items()
        },
    }


def ranked(found: Comparison) -> list[int]:
    """Numbers of the matched motifs, by the p-value beside the last control, then by matches.

    The last control is the strictest.
    """
    last = list(found.controls.values())[-1].motifs
    matches = np.bincount(found.matches.motif)
    return sorted(
        np.flatnonzero(matches).tolist(),
        key=lambda m: (last[m].p_value if m in last else 1.0, -matches[m], m),
    )


def _told(found: Comparison, motifs: Sequence[Motif]) -> str:
    numbers = summary(found, motifs)
    beside = ", ".join(
        f"{c.overall.fold:.2f} times '{name}' (p = {c.overall.p_value:.2g})"
        for name, c in found.controls.items()
    )
    return (
        f"{numbers['ggrams_matching']:,} of {numbers['ggrams_compared']:,} G-grams match "
        f"{numbers['motifs_matched']:,} of {len(motifs):,} motifs; {beside}"
    )


def _write_matches(path: Path, found: Comparison, motifs: Sequence[Motif]) -> None:
    header = ["id", "bases", "database", "motif", "name"]
    header += ["p_value", "e_value", "strand", "offset", "overlap"]
    rows = (
        [
            found.compared.ids[sequence],
            found.compared.sequences[sequence],
            motifs[motif].database,
            motifs[motif].name,
            motifs[motif].alternate,
            f"{p_value:.4g}",
            f"{p_value * len(motifs):.4g}",
            "+" if forward else "-",
            offset,
            overlap,
        ]
        for sequence, motif, p_value, forward, offset, overlap in zip(*found.matches, strict=True)
    )
    _write_tsv(path, header, rows)


def _write_motifs(path: Path, found: Comparison, motifs: Sequence[Motif]) -> None:
    """A row for each motif that any G-gram matches, beside each control."""
    header = ["database", "motif", "name", "ggrams"]
    header += [f"{x}_{c}" for c in found.controls for x in ("expected", "fold", "p", "q")]
    matches = np.bincount(found.matches.motif, minlength=len(motifs))
    rows = (
        [
            motifs[m].database,
            motifs[m].name,
            motifs[m].alternate,
            matches[m],
            *(
                cell
                for c in found.controls.values()
                for cell in _cells(c.motifs.get(m), c.q_values.get(m))
            ),
        ]
        for m in ranked(found)
    )
    _write_tsv(path, header, rows)


def _cells(result: Enrichment | None, q_value: float | None) -> list[str]:
    if result is None or q_value is None:
        return ["NA"] * 4
    fold = "NA" if math.isnan(result.fold) else f"{result.fold:.3g}"
    return [f"{result.expected:g}", fold, f"{result.p_value:.4g}", f"{q_value:.4g}"]


def _write_tsv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _page_parts(found: Comparison, motifs: Sequence[Motif], logos: Path) -> list[str]:
    overall = [
        [name, c.sets, c.matching, c.expected, c.fold, f"{c.p_value:.2g}", f"{c.p_depleted:.2g}"]
        for name, c in ((name, control.overall) for name, control in found.controls.items())
    ]
    parts = [
        paragraph(_told(found, motifs) + "."),
        paragraph(
            "A control has sequences of the G-gram's own length and composition: 'bases' and "
            "'dinucleotides' are shuffles, 'random' are G-grams drawn from a genome without "
            "regard to PMI. Only what stands out beside all of them is due to the mining."
        ),
        table(
            ["control", "G-grams", "matching", "expected", "fold", "p", "p of fewer"],
            overall,
        ),
        figure(_lengths_picture(found), "G-grams that match any motif, by their length."),
        heading("Motifs"),
        paragraph(
            f"The {LOGOS} that stand out most beside '{list(found.controls)[-1]}', with the "
            "G-grams likest to them."
        ),
    ]
    for m in ranked(found)[:LOGOS]:
        drawing = _logo_picture(found, motifs, m)
        drawing.savefig(logos / f"{re.sub(r'[^A-Za-z0-9._-]', '_', motifs[m].name)}.png", dpi=150)
        parts.append(figure(drawing, _caption(found, motifs, m)))
    return parts


def _caption(found: Comparison, motifs: Sequence[Motif], m: int) -> str:
    count = int(np.count_nonzero(found.matches.motif == m))
    beside = (
        f"expected beside '{name}' {c.motifs[m].expected:g} (q = {c.q_values[m]:.2g})"
        for name, c in found.controls.items()
        if m in c.motifs
    )
    motif = motifs[m]
    return f"{motif.title} of {motif.database}: {count} G-grams; {'; '.join(beside)}"


def _lengths_picture(found: Comparison) -> Figure:
    """Fractions with one standard error, in bins of ``_BP_A_BIN`` bases."""
    lengths = np.array([len(s) for s in found.compared.sequences])
    matching = np.zeros((len(lengths), 1), dtype=bool)
    matching[found.matches.sequence] = True
    curves = {"G-grams": (np.arange(len(lengths)), matching)}
    curves |= {name: (c.ggrams, c.matching) for name, c in found.controls.items()}
    drawing = Figure(figsize=(8, 3.5), layout="constrained")
    axes = drawing.subplots()
    for name, (places, some) in curves.items():
        bins = lengths[places] // _BP_A_BIN
        some_bins = np.unique(bins)
        shares = np.array([some[bins == b].mean() for b in some_bins])
        drawn = np.array([some[bins == b].size for b in some_bins])
        axes.errorbar(
            (some_bins + 0.5) * _BP_A_BIN,
            shares,
            np.sqrt(shares * (1 - shares) / drawn),
            marker="o",
            markersize=4,
            capsize=2,
            label=name,
        )
    axes.set(xlabel="bases", ylabel="fraction that matches", ylim=(0, None))
    axes.legend(fontsize="small", frameon=False)
    return drawing


def _logo_picture(found: Comparison, motifs: Sequence[Motif], m: int) -> Figure:
    """The motif's logo, and below it the likest G-grams in its frame."""
    mine = np.flatnonzero(found.matches.motif == m)
    mine = mine[np.argsort(found.matches.p_value[mine], kind="stable")][:_BESIDE_A_LOGO]
    lines = []
    for pair in mine.tolist():
        bases = found.compared.sequences[found.matches.sequence[pair]]
        if not found.matches.forward[pair]:
            bases = reverse_complement(bases.encode()).decode()
        lines.append((int(found.matches.offset[pair]), bases))
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
