"""The scores of all changes of a region as a table, tracks and heat maps."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

import numpy as np
from jaxtyping import Float

from ..inference.opened import OpenedModel
from ..report.charts import save_png
from ..report.heatmap import draw_heatmap
from ..sequences.alphabet import BASES
from ..sequences.regions import Region
from ..tables import printable
from .scores import head_scores, scores_of


def write_mutations(
    folder: Path,
    model: OpenedModel,
    region: Region,
    letters: bytes,
    scores: Float[np.ndarray, "bases 4 scores"],
) -> None:
    """Write ``scores.tsv`` and, for each score of the head, a bedGraph track and a heat map.

    Parameters
    ----------
    letters
        The region's, on the forward strand: A, C, G, T and N.
    """
    region = region._replace(chrom=printable(region.chrom))
    with (folder / "scores.tsv").open("w", encoding="utf-8") as table:
        names = [score.name for score in scores_of(model)]
        print("chrom", "pos", "ref", "alt", *names, sep="\t", file=table)
        _write_rows(table, region, letters, scores)
    for number, score in enumerate(head_scores(model)):
        values = scores[..., number]
        with (folder / f"{score.name}.bedgraph").open("w", encoding="utf-8") as track:
            _write_track(track, score.name, region, values)
        figure = draw_heatmap(letters.decode(), values, region.start + 1, score.meaning)
        save_png(figure, folder / f"{score.name}.png", dpi=150)


def _write_rows(
    table: TextIO,
    region: Region,
    letters: bytes,
    scores: Float[np.ndarray, "bases 4 scores"],
) -> None:
    """A row for each base and each other base, both on the forward strand; POS is 1-based."""
    rows = zip(letters, scores, strict=True)
    for pos, (letter, of_base) in enumerate(rows, region.start + 1):
        for base, values in zip(BASES, of_base, strict=True):
            if base != letter and letter in BASES:
                cells = (f"{value + 0.0:.6g}" for value in values)  # no -0
                print(region.chrom, pos, chr(letter), chr(base), *cells, sep="\t", file=table)


def _write_track(
    track: TextIO, name: str, region: Region, values: Float[np.ndarray, "bases 4"]
) -> None:
    """The mean over the three changes of each base; bases that are not A, C, G or T have none."""
    print(f'track type=bedGraph name="{name}" description="mean of three changes"', file=track)
    for start, mean in enumerate(values.sum(axis=1) / 3, region.start):
        if not np.isnan(mean):
            print(region.chrom, start, start + 1, f"{mean:.6g}", sep="\t", file=track)
