"""What a comparison of G-grams with motifs came to: in numbers, in words, in tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...tables import new_table
from .enrichment import Comparison, Enrichment
from .meme import Motif


def summary(comparison: Comparison, motifs: Sequence[Motif]) -> dict[str, Any]:
    """The numbers of a comparison as JSON values; ``fold`` is None where nothing was expected."""
    return {
        "motifs": len(motifs),
        "ggrams_compared": len(comparison.compared.ids),
        "ggrams_matching": len(np.unique(comparison.matches.sequence)),
        "motifs_matched": len(np.unique(comparison.matches.motif)),
        "controls": {
            name: {
                **control.overall._asdict(),
                "fold": None if math.isnan(control.overall.fold) else control.overall.fold,
                "motifs_with_q_below_0.05": sum(q < 0.05 for q in control.q_values.values()),
            }
            for name, control in comparison.controls.items()
        },
    }


def ranked(comparison: Comparison) -> list[int]:
    """Numbers of the matched motifs, by the p-value beside the last control, then by matches.

    The last control is the strictest.
    """
    last = list(comparison.controls.values())[-1].motifs
    matches = np.bincount(comparison.matches.motif)
    return sorted(
        np.flatnonzero(matches).tolist(),
        key=lambda m: (last[m].p_value if m in last else 1.0, -matches[m], m),
    )


def in_words(comparison: Comparison, motifs: Sequence[Motif]) -> str:
    """The numbers of a comparison in a sentence."""
    numbers = summary(comparison, motifs)
    beside = ", ".join(
        f"{c.overall.fold:.2f} times '{name}' (p = {c.overall.p_value:.2g})"
        for name, c in comparison.controls.items()
    )
    return (
        f"{numbers['ggrams_matching']:,} of {numbers['ggrams_compared']:,} G-grams match "
        f"{numbers['motifs_matched']:,} of {len(motifs):,} motifs; {beside}"
    )


def write_matches(path: Path, comparison: Comparison, motifs: Sequence[Motif]) -> None:
    """A row for each G-gram and motif that match."""
    header = ["id", "bases", "database", "motif", "name"]
    header += ["p_value", "e_value", "strand", "offset", "overlap"]
    rows = (
        [
            comparison.compared.ids[sequence],
            comparison.compared.sequences[sequence],
            motifs[motif].database,
            motifs[motif].name,
            motifs[motif].alternate,
            f"{p_value:.4g}",
            f"{p_value * len(motifs):.4g}",
            "+" if forward else "-",
            offset,
            overlap,
        ]
        for sequence, motif, p_value, forward, offset, overlap in zip(
            *comparison.matches, strict=True
        )
    )
    _write_table(path, header, rows)


def write_motifs(path: Path, comparison: Comparison, motifs: Sequence[Motif]) -> None:
    """A row for each motif that any G-gram matches, beside each control."""
    header = ["database", "motif", "name", "ggrams"]
    header += [f"{x}_{c}" for c in comparison.controls for x in ("expected", "fold", "p", "q")]
    matches = np.bincount(comparison.matches.motif, minlength=len(motifs))
    rows = (
        [
            motifs[m].database,
            motifs[m].name,
            motifs[m].alternate,
            matches[m],
            *(
                cell
                for c in comparison.controls.values()
                for cell in _cells(c.motifs.get(m), c.q_values.get(m))
            ),
        ]
        for m in ranked(comparison)
    )
    _write_table(path, header, rows)


def _cells(result: Enrichment | None, q_value: float | None) -> list[str]:
    if result is None or q_value is None:
        return ["NA"] * 4
    fold = "NA" if math.isnan(result.fold) else f"{result.fold:.3g}"
    return [f"{result.expected:g}", fold, f"{result.p_value:.4g}", f"{q_value:.4g}"]


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with new_table(path) as write:
        write(header)
        for row in rows:
            write(row)
