"""The classes of bases out of a BED file: each base has the class of the feature that covers it."""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path

import numpy as np
from jaxtyping import Int

from ..errors import InputError
from .base_labels import LABEL_SEPARATOR
from .labelled import Labelled, Row
from .regions import BedRow, Region, read_bed_rows
from .settings import LabelConfig

BACKGROUND = "background"
"""The class of what no feature covers, by default."""
UNNAMED = "feature"
"""The class of features without a name."""


def label_by_features(tables: Mapping[str, Labelled], labels: LabelConfig) -> dict[str, Labelled]:
    """The tables with the classes that the features of ``labels.bed`` give to their bases.

    Decided here: where features of different classes overlap, the one further down the file
    counts, and a note says of how many bases that is so.

    Raises
    ------
    InputError
        Naming file and line, if the file is no BED file, a name cannot be a class, or no feature
        lies on any of the sequences.
    """
    assert labels.bed is not None
    features = Features(labels.bed)
    background = labels.background or BACKGROUND
    covered = overlaps = 0
    labelled = {}
    for split, table in tables.items():
        rows = []
        for row in table.rows:
            codes, overlapping = features.over(_place(table, row), labels.bed_strand == "same")
            names = [background, *features.names]
            text = LABEL_SEPARATOR.join(names[code] for code in codes.tolist())
            rows.append(row._replace(labels=(text,)))
            covered += int((codes > 0).sum())
            overlaps += overlapping
        labelled[split] = table._replace(rows=rows)
    if not covered:
        raise features.nowhere(tables)
    if overlaps:
        print(
            f"note: features of different classes overlap in {overlaps:,} bases, which have the "
            f"class of the one further down {labels.bed}",
            file=sys.stderr,
        )
    return labelled


class Features:
    """The features of a BED file, found by place.

    Raises
    ------
    InputError
        Naming file and line, if it is no BED file, has no feature, or a name cannot be a class.
    """

    names: list[str]
    """The classes, in the order in which they first come."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._on: dict[str, list[tuple[int, BedRow]]] = {}
        for number, feature in enumerate(read_bed_rows(path)):
            name = feature.name or UNNAMED
            if LABEL_SEPARATOR in name:
                raise InputError(
                    f"name {name!r} holds a ';'",
                    path=feature.source,
                    expected="the class of the bases that it covers",
                )
            self._on.setdefault(feature.region.chrom, []).append(
                (number, feature._replace(name=name))
            )
        of_name = dict.fromkeys(f.name for lines in self._on.values() for _, f in lines)
        self.names = list(of_name)
        if not self.names:
            raise InputError("no feature in it", path=path, expected="a BED file of features")
        self._code = {name: code for code, name in enumerate(self.names, 1)}
        self._starts, self._furthest = {}, {}
        for chrom, lines in self._on.items():
            lines.sort(key=lambda line: line[1].region.start)
            self._starts[chrom] = [feature.region.start for _, feature in lines]
            self._furthest[chrom] = list(accumulate((f.region.end for _, f in lines), max))

    def over(self, place: Region, same_strand: bool) -> tuple[Int[np.ndarray, "bases"], int]:
        """The class of each base of a place, as it is read: 0 for none, else its number in
        ``names`` from 1; and how many bases features of different classes cover."""
        codes = np.zeros(place.end - place.start, dtype=np.int64)
        twice = np.zeros(len(codes), dtype=np.bool_)
        for _, feature in sorted(self._near(place)):
            if same_strand and feature.strand not in (None, place.strand):
                continue
            covered = slice(
                max(0, feature.region.start - place.start), max(0, feature.region.end - place.start)
            )
            code = self._code[feature.name]
            twice[covered] |= (codes[covered] != 0) & (codes[covered] != code)
            codes[covered] = code
        return codes if place.strand == "+" else codes[::-1], int(twice.sum())

    def nowhere(self, tables: Mapping[str, Labelled]) -> InputError:
        """The error that no feature lies on a sequence."""
        contigs = dict.fromkeys(
            row.place.chrom for table in tables.values() for row in table.rows if row.place
        )
        return InputError(
            f"no feature lies on a sequence of the table, on {_some(contigs)}",
            path=self.path,
            expected=f"features there; these are on {_some(self._on)}",
        )

    def _near(self, place: Region) -> list[tuple[int, BedRow]]:
        """The features that may overlap a place, with their number in the file."""
        lines = self._on.get(place.chrom, [])
        if not lines:
            return []
        first = bisect_right(self._furthest[place.chrom], place.start)
        return lines[first : bisect_left(self._starts[place.chrom], place.end)]


def _place(table: Labelled, row: Row) -> Region:
    if row.place is None or len(row.sequences) > 1:
        raise InputError(
            "a sequence without a place",
            path=table.source.path,
            line=row.line,
            expected="columns chrom, start and end beside 'sequence'",
        )
    return row.place


def _some(names: Mapping[str, object], most: int = 5) -> str:
    return ", ".join(list(names)[:most]) + (", ..." if len(names) > most else "")
