"""Predictions as a track that a genome browser shows: bigWig or bedGraph.

Browsers want one value a base. Decided here: where two stretches overlap, the border lies in the
middle of what they share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..errors import ConfigError
from ..outputs import new_file
from ..sequences.labelled import Task
from ..sequences.regions import Region
from ..tables import new_table
from .labels import probabilities
from .settings import BIGWIG_SUFFIXES


class Span(NamedTuple):
    """A stretch of a contig with one value, 0-based and half-open."""

    start: int
    end: int
    value: float


class Track:
    """Gathers the values of a track, in any order, and writes them by contig and place."""

    def __init__(self) -> None:
        self._spans: dict[str, list[Span]] = {}

    def add(self, place: Region, value: float) -> None:
        """Give all bases of a place this value."""
        self._spans.setdefault(place.chrom, []).append(Span(place.start, place.end, value))

    def spans(self, chrom: str) -> Iterator[Span]:
        """Those of a contig, which do not overlap."""
        ordered = sorted(self._spans[chrom])
        borders = [max(0, ordered[0].start)]
        for before, after in pairwise(ordered):
            shared = (after.start + before.end) // 2
            borders.append(shared if after.start < before.end else after.start)
        for number, (_, end, value) in enumerate(ordered):
            begin = borders[number]
            stop = min(end, borders[number + 1]) if number + 1 < len(ordered) else end
            if begin < stop:
                yield Span(begin, stop, value)

    def write(self, path: Path, lengths: Mapping[str, int] | None = None) -> None:
        """Write bigWig or bedGraph, as the file's name asks.

        Parameters
        ----------
        lengths
            Bases of each contig, in the order of the genome; by default contigs are as long as
            what was added, in the order in which it was.

        Raises
        ------
        ConfigError
            If bigWig is asked for and its extra is not installed.
        OutputError
            If the file cannot be written.
        """
        given = {c: bases for c, bases in (lengths or {}).items() if c in self._spans}
        read = {c: max(span.end for span in spans) for c, spans in self._spans.items()}
        present = given | {c: bases for c, bases in read.items() if c not in given}
        if path.suffix in BIGWIG_SUFFIXES:
            self._write_bigwig(path, present)
        else:
            with new_table(path) as write:
                for chrom, bases in present.items():
                    for start, end, value in self.spans(chrom):
                        write([chrom, start, min(end, bases), f"{value:.6g}"])

    def _write_bigwig(self, path: Path, lengths: Mapping[str, int]) -> None:
        require_bigwig(path)
        import pyBigWig

        with new_file(path) as partial:
            file = pyBigWig.open(str(partial), "w")
            file.addHeader(list(lengths.items()))
            for chrom, bases in lengths.items():
                spans = [span for span in self.spans(chrom) if span.start < bases]
                if spans:
                    starts, ends, values = zip(*spans, strict=True)
                    file.addEntries(
                        [chrom] * len(spans),
                        list(starts),
                        ends=[min(end, bases) for end in ends],
                        values=[float(value) for value in values],
                    )
            file.close()


def require_bigwig(path: Path) -> None:
    """Raise ConfigError if bigWig is asked for and cannot be written."""
    if path.suffix in BIGWIG_SUFFIXES:
        try:
            import pyBigWig  # noqa: F401
        except ImportError:
            raise ConfigError(
                f"track {path}: bigWig needs another package; pip install 'dnazen[tracks]', or "
                "name it .bedgraph"
            ) from None


def class_of_track(task: Task, wanted: str | None) -> int:
    """The number of the class whose probability a track holds: of two the second, unless named.

    Raises
    ------
    ConfigError
        If there is no such class, or there are several and none is named.
    """
    names = list(task.label_names)
    if task.problem_type == "regression":
        if wanted is not None:
            raise ConfigError(f"track_class {wanted!r}: the model predicts numbers; leave it out")
        return 0
    if wanted is None and len(names) == 2 and task.problem_type == "single_label_classification":
        return 1
    if wanted not in names:
        given = "a track holds one class" if wanted is None else repr(wanted)
        raise ConfigError(f"track_class: {given}; expected one of {', '.join(names)}")
    return names.index(wanted)


def track_value(task: Task, logits: Float[np.ndarray, "labels"], number: int) -> float:
    """The probability of a class, or the predicted number."""
    if task.problem_type == "regression":
        return float(logits[number])
    return float(probabilities(task.problem_type, logits[None])[0, number])
