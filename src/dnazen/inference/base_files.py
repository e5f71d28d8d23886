"""Predictions of bases as files: called segments (BED), and the probabilities of every base.

Places are those of the genome, on its forward strand, 0-based and half-open. A record of a file is
a contig of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..sequences.labelled import Task, spelt
from ..sequences.regions import Region
from ..sequences.splits import Splits
from ..tables import new_table, new_text, printable
from .base_prediction import BasePrediction, Segment
from .labels import MISSING
from .logits import Logits

_MOST_SCORE = 1000  # of BED


def bed_lines(place: Region, segments: Sequence[Segment], *, both_strands: bool) -> Iterator[str]:
    """The segments of a place, from left to right on the genome: BED6.

    The name is the class, the score 1000 times the mean probability of it, the strand that on which
    the place was read, or ``.`` where both were.
    """
    strand = "." if both_strands else place.strand
    for segment in segments if place.strand == "+" else reversed(segments):
        at = place.part(segment.start, segment.end)
        score = round(_MOST_SCORE * segment.probability)
        name = printable(segment.label)
        yield f"{printable(at.chrom)}\t{at.start}\t{at.end}\t{name}\t{score}\t{strand}\n"


class BaseTrack:
    """Writes a row for every A, C, G and T: a table with all probabilities, or those of one class
    as bedGraph."""

    def __init__(
        self, write: Callable[[Sequence[Any]], object], task: Task, bedgraph_class: str | None
    ) -> None:
        self.write_row = write
        self.column = None if bedgraph_class is None else task.label_names.index(bedgraph_class)
        self.task = task
        if self.column is None:
            names = [f"p_{name}" for name in task.label_names]
            write(["chrom", "start", "end", "prediction", *names])

    def write(self, place: Region, prediction: BasePrediction) -> None:
        """Write the bases of a record, from left to right on the genome."""
        letters = np.flatnonzero(~np.isnan(prediction.logits[:, 0])).tolist()
        names = self.task.label_names
        for letter in letters if place.strand == "+" else reversed(letters):
            chrom, start, end, _ = place.part(letter, letter + 1)
            chances = prediction.chances[letter].tolist()
            if self.column is not None:
                self.write_row([chrom, start, end, f"{chances[self.column]:.6g}"])
            else:
                label = names[int(prediction.numbers[letter])]
                self.write_row([chrom, start, end, label, *(f"{p:.6g}" for p in chances)])


def class_of_bedgraph(task: Task, wanted: str | None) -> str:
    """The class whose probabilities a bedGraph file is to hold: the only one beside the background,
    unless one is named.

    Raises
    ------
    ConfigError
        If there is no such class, or there are several.
    """
    signals = [name for name in task.label_names if name != task.background]
    shown = ", ".join(task.label_names)
    if wanted is not None and wanted not in task.label_names:
        raise ConfigError(f"per_base_class {wanted!r}: expected a class of the model ({shown})")
    if wanted is None and len(signals) > 1:
        raise ConfigError(
            f"per_base_class: bedGraph holds one class; expected one of {shown}, or a table "
            "(.tsv), which holds all"
        )
    return signals[0] if wanted is None else wanted


def write_base_predictions(
    directory: Path, splits: Splits, logits: Sequence[Logits | None], *, both_strands: bool
) -> None:
    """Write ``test_predictions.tsv``, the classes of each sequence spelt as labels are, and
    ``test_segments.bed``, the called segments.

    Parameters
    ----------
    logits
        Of each sequence of test, a row each A, C, G and T.
    both_strands
        Whether they are the mean of both.
    """
    task, test = splits.task, splits.test
    with (
        new_table(directory / "test_predictions.tsv") as write,
        new_text(directory / "test_segments.bed") as write_text,
    ):
        write(["name", "label", "prediction"])
        for row, label, rows in zip(test.table.rows, test.labels, logits, strict=True):
            sequence = row.sequences[0]
            if rows is None or not np.isfinite(rows).all():
                write([row.name, spelt(task, label), MISSING])
                continue
            prediction = BasePrediction.of(task, sequence, rows)
            write([row.name, spelt(task, label), prediction.label])
            place = row.place or Region(row.name, 0, len(sequence))
            for line in bed_lines(place, prediction.segments, both_strands=both_strands):
                write_text(line)
