"""Labelled sequences: tables of sequences and labels, and the tasks they set.

Three tasks, under Hugging Face's names: ``single_label_classification`` (one class of several),
``multi_label_classification`` (any subset of the labels) and ``regression`` (one number or more).
A fourth is ``base_classification``, a class for every base (``base_labels``): what Hugging Face
calls token classification, but a token of ours is several bases. A table is held in memory whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from ..errors import InputError
from ..records import InputFile
from .alphabet import AMBIGUOUS
from .base_labels import (
    LABEL_SEPARATOR,
    MOST_CLASSES,
    NOT_LABELLED,
    Classes,
    class_names,
    is_base,
    numbered,
    spelt_classes,
)
from .indexed import Strand
from .lines import read_lines
from .regions import Region, whole_number
from .settings import LabelConfig, ProblemType
from .tables import cell_letters, cell_name, name_column, read_table

Label = int | list[float] | Classes
"""A class number; or one number per label: 0 or 1 (multi-label), or the target (regression); or
the class number of each letter."""

SPLIT_NAMES = {"train": ("train",), "dev": ("dev", "valid", "val", "validation"), "test": ("test",)}
"""How each split may be called, in a split column and as a file's stem."""

_PLACE_COLUMNS = ("chrom", "start", "end")
_BACKGROUNDS = ("background", "0")
_SEQUENCE_COLUMNS = (("sequence",), ("sequence_1", "sequence_2"))
_INDICATORS = {"0": 0.0, "0.0": 0.0, "false": 0.0, "1": 1.0, "1.0": 1.0, "true": 1.0}
"""How a label column says no and yes, case aside; as pandas and R write them."""


class Task(NamedTuple):
    """What is to be predicted."""

    problem_type: ProblemType
    label_names: tuple[str, ...]
    """Classes, labels or targets by number. Classes stand in numeric order if all are whole
    numbers, else sorted; columns stand as asked for. Of classes of bases the background is 0."""
    background: str | None = None
    """Of classes of bases, the one that is nothing, if any is."""


class Row(NamedTuple):
    """One example of a table, its labels still as text."""

    line: int
    """1-based line in the file, the header being 1."""
    name: str
    """Column ``name`` or ``id``, whole; else the row's 1-based number without the header."""
    sequences: tuple[bytes, ...]
    """One sequence, or two, as letters in either case; each holds an A, C, G or T."""
    labels: tuple[str, ...]
    """A text per label column."""
    split: str | None
    """``train``, ``dev`` or ``test``, where the table says so."""
    place: Region | None = None
    """Where the sequence is from, if that was asked for."""


class Labelled(NamedTuple):
    """A table of labelled sequences, or some of its rows."""

    source: InputFile
    columns: tuple[str, ...]
    """Label columns."""
    rows: list[Row]


def read_labelled(
    path: Path,
    *,
    label_columns: Sequence[str] = ("label",),
    split_column: str | None = None,
    with_places: bool = False,
) -> Labelled:
    """Read a table of labelled sequences, in any packing that ``lines`` reads.

    Columns are found by the header, in any order, case aside: ``sequence``, or ``sequence_1`` and
    ``sequence_2``; the label columns; optionally ``name`` or ``id``, and the split column. Fields
    are parted as ``tables.read_table`` tells.

    Parameters
    ----------
    with_places
        Read where each sequence is from too: ``chrom``, ``start``, ``end`` and, if it is there,
        ``strand``.

    Raises
    ------
    InputError
        Naming file, line and column, if the file is absent, damaged, no such table, has no rows,
        or has a field that cannot be what its column says.
    """
    sources: list[InputFile] = []
    table = read_table(path, read_lines(path, "a CSV or TSV table", identify=sources.append))
    header = table.header
    wanted = (*label_columns, *(_PLACE_COLUMNS if with_places else ()))
    places = _places(path, header, label_columns, split_column, wanted)
    rows: list[Row] = []
    for ordinal, (line, fields) in enumerate(table.rows, 1):
        name = str(ordinal)
        if places.name is not None:
            name = cell_name(fields[places.name], ordinal, path, line)
        sequences = tuple(_letters(path, line, header[i], fields[i]) for i in places.bases)
        labels = tuple(fields[i].strip() for i in places.labels)
        split = None if places.split is None else _split(path, line, fields[places.split])
        place = _place(path, line, header, fields, sequences) if with_places else None
        rows.append(Row(line, name, sequences, labels, split, place))
    if not rows:
        raise InputError("no rows", path=path, expected="labelled sequences below the header")
    return Labelled(sources[0], tuple(header[i] for i in places.labels), rows)


def task_of(train: Labelled, problem_type: ProblemType, *, background: str | None = None) -> Task:
    """The task that a training table sets: its classes, labels or targets.

    Parameters
    ----------
    background
        Of classes of bases, the one that is nothing; by default ``background`` or ``0``.

    Raises
    ------
    InputError
        If there are fewer than two classes, or no label at all.
    """
    if problem_type == "base_classification":
        return _base_task(train, background)
    if problem_type == "regression" or len(train.columns) > 1:
        return Task(problem_type, train.columns)
    if problem_type == "single_label_classification":
        for row in train.rows:
            if not row.labels[0]:
                raise _bad_label(train, row, 0, "a class")
        names = {row.labels[0] for row in train.rows}
        if len(names) < 2:
            raise InputError(
                f"only one class, {names.pop()!r}", path=train.source.path, expected="two or more"
            )
    else:
        names = set().union(*(_names(row.labels[0]) for row in train.rows))
        if not names:
            raise InputError("no row has a label", path=train.source.path, expected="label names")
    return Task(problem_type, _ordered(names))


def classes_of(table: Labelled, row: Row, labels: LabelConfig) -> set[str]:
    """The classes or labels that an example stands for, by name; none in regression.

    Raises
    ------
    InputError
        Naming line and column, if classes of bases do not fit the bases.
    """
    if labels.problem_type == "regression":
        return set()
    if labels.problem_type == "base_classification":
        return _base_names(table, row)
    if len(labels.columns) > 1:
        values = zip(labels.columns, row.labels, strict=True)
        return {column for column, text in values if _INDICATORS.get(text.lower())}
    if labels.problem_type == "multi_label_classification":
        return _names(row.labels[0])
    return {row.labels[0]}


def labels_of(table: Labelled, task: Task) -> list[Label]:
    """The labels of a table as the numbers of a task.

    Raises
    ------
    InputError
        Naming line and column, if a label does not parse or is none of the task's.
    """
    if task.problem_type == "regression":
        columns = range(len(table.columns))
        return [[number_of(table, row, column) for column in columns] for row in table.rows]
    if len(table.columns) > 1:
        return [_indicators(table, row) for row in table.rows]
    number = {name: i for i, name in enumerate(task.label_names)}
    shown = ", ".join(task.label_names[:10]) + (", ..." if len(number) > 10 else "")
    if task.problem_type == "base_classification":
        return [_base_classes(table, row, number, shown) for row in table.rows]
    labels: list[Label] = []
    for row in table.rows:
        text = row.labels[0]
        if task.problem_type == "multi_label_classification":
            if not _names(text) <= number.keys():
                raise _bad_label(table, row, 0, f"labels of train ({shown}) joined by ';'")
            labels.append([float(name in _names(text)) for name in task.label_names])
        else:
            if text not in number:
                fix = "add such rows to train, remove these, or set --labels.problem-type"
                raise _bad_label(table, row, 0, f"a class of train ({shown})", fix)
            labels.append(number[text])
    return labels


def spelt(task: Task, label: Label) -> str:
    """A label as text, the inverse of ``labels_of``: several names or numbers joined by ';'."""
    if isinstance(label, int):
        return task.label_names[label]
    if isinstance(label, np.ndarray):
        return spelt_classes(label, task.label_names)
    if task.problem_type == "regression":
        return LABEL_SEPARATOR.join(f"{value:.7g}" for value in label)
    named = zip(task.label_names, label, strict=True)
    return LABEL_SEPARATOR.join(name for name, present in named if present)


def number_of(table: Labelled, row: Row, column: int) -> float:
    """The label of a row in a label column, as a number.

    Raises
    ------
    InputError
        If it is no number, or not finite.
    """
    try:
        value = float(row.labels[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        fix = "write decimal points" if "," in row.labels[column] else ""
        raise _bad_label(table, row, column, "a finite number", fix)
    return value


class _Places(NamedTuple):
    """Column numbers."""

    bases: list[int]
    labels: list[int]
    name: int | None
    split: int | None


def _places(
    path: Path,
    header: list[str],
    label_columns: Sequence[str],
    split_column: str | None,
    wanted: Sequence[str],
) -> _Places:
    place = {column.lower(): number for number, column in reversed(list(enumerate(header)))}
    of_bases = next((names for names in _SEQUENCE_COLUMNS if set(names) <= place.keys()), ())
    missing = [] if of_bases else ["sequence"]
    missing += [column for column in wanted if column.lower() not in place]
    if missing:
        seen = ", ".join(header)
        raise InputError(
            f"no column {missing[0]!r} among {seen[:80]}",
            path=path,
            line=1,
            expected=f"a header line such as sequence,{','.join(wanted)}",
        )
    return _Places(
        bases=[place[name] for name in of_bases],
        labels=[place[column.lower()] for column in label_columns],
        name=name_column(header),
        split=None if split_column is None else place.get(split_column.lower()),
    )


def _letters(path: Path, line: int, column: str, text: str) -> bytes:
    letters = cell_letters(path, line, text, column)
    if not letters.upper().translate(None, AMBIGUOUS):
        raise InputError(
            f"column {column!r}: no A, C, G or T",
            path=path,
            line=line,
            expected="a sequence",
            fix="remove the row",
        )
    return letters


def _place(
    path: Path, line: int, header: list[str], fields: list[str], sequences: tuple[bytes, ...]
) -> Region:
    """Where a row's sequence is from."""
    cells = dict(zip(map(str.lower, header), map(str.strip, fields), strict=True))
    start, end = whole_number(cells["start"]), whole_number(cells["end"])
    strand = cells.get("strand", "+").replace(".", "+") or "+"
    bases = len(sequences[0])
    problem, expected = "", "0-based, half-open start and end, and strand + or -"
    if start is None or end is None or strand not in ("+", "-"):
        problem = f"columns 'start', 'end', 'strand': {cells['start']}, {cells['end']}, {strand}"
    elif end - start != bases:
        problem = f"columns 'start', 'end': {start} to {end} for a sequence of {bases:,} bases"
    if problem or start is None or end is None:
        raise InputError(problem, path=path, line=line, expected=expected)
    return Region(cells["chrom"], start, end, cast(Strand, strand))


def _base_task(train: Labelled, background: str | None) -> Task:
    """The classes of train's bases, the background first."""
    names = set().union(*(_base_names(train, row) for row in train.rows))
    shown = ", ".join(sorted(names)[:10])
    path = train.source.path
    if not names:
        raise InputError("no base is labelled", path=path, expected="classes of bases")
    if len(names) < 2:
        raise InputError(f"only one class, {shown!r}", path=path, expected="two or more")
    if len(names) > MOST_CLASSES:
        raise InputError(
            f"{len(names):,} classes of bases ({shown}, ...)",
            path=path,
            expected=f"at most {MOST_CLASSES}",
            fix="of features (--labels.bed) the name is the class, not the feature's own name",
        )
    if background is not None and background not in names:
        raise InputError(
            f"no base of class {background!r}, which is to be the background",
            path=path,
            expected=f"one of {shown}",
        )
    nothing = background or next((name for name in _BACKGROUNDS if name in names), None)
    first = () if nothing is None else (nothing,)
    return Task("base_classification", (*first, *_ordered(names - set(first))), nothing)


def _base_names(table: Labelled, row: Row) -> set[str]:
    """The classes that stand at an A, C, G or T of a row."""
    if len(row.sequences) > 1:
        raise InputError(
            "pairs of sequences, where bases have classes",
            path=table.source.path,
            expected="a column 'sequence'",
        )
    try:
        names = class_names(row.labels[0], len(row.sequences[0]))
    except ValueError as problem:
        raise InputError(
            f"{_label_column(table)}: {problem}",
            path=table.source.path,
            line=row.line,
            expected="a character a base, or names joined by ';'; '.' where there is no label",
        ) from None
    at_bases = {
        name for name, base in zip(names, is_base(row.sequences[0]).tolist(), strict=True) if base
    }
    return at_bases - {NOT_LABELLED}


def _base_classes(table: Labelled, row: Row, number: Mapping[str, int], shown: str) -> Classes:
    present = _base_names(table, row)
    problem = ""
    if not present:
        problem, expected = "no base is labelled", "a class for an A, C, G or T"
    elif unknown := sorted(present - number.keys()):
        problem, expected = f"class {unknown[0]!r}", f"classes of train ({shown}) or '.'"
    if problem:
        place = f"{_label_column(table)}: {problem}"
        raise InputError(place, path=table.source.path, line=row.line, expected=expected)
    names = class_names(row.labels[0], len(row.sequences[0]))
    # a class that stands at no A, C, G or T has no number
    known = [name if name in number else NOT_LABELLED for name in names]
    return numbered(known, number, row.sequences[0])


def _label_column(table: Labelled) -> str:
    return f"column {table.columns[0]!r}" if table.columns else "features"


def _split(path: Path, line: int, text: str) -> str:
    for split, names in SPLIT_NAMES.items():
        if text.strip().lower() in names:
            return split
    raise InputError(
        f"{text!r} is no split",
        path=path,
        line=line,
        expected="train, dev, test",
    )


def _ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Numeric order if all are whole numbers, else alphabetic."""
    names = sorted(names)
    try:
        return tuple(sorted(names, key=int))
    except ValueError:
        return tuple(names)


def _names(text: str) -> set[str]:
    """The label names of a multi-label cell."""
    return {name for part in text.split(LABEL_SEPARATOR) if (name := part.strip())}


def _indicators(table: Labelled, row: Row) -> list[float]:
    """0 or 1 for each label column."""
    values = [_INDICATORS.get(text.lower()) for text in row.labels]
    if None in values:
        raise _bad_label(table, row, values.index(None), "0 or 1 (or 0.0 or 1.0, True or False)")
    return [value for value in values if value is not None]


def _bad_label(table: Labelled, row: Row, column: int, expected: str, fix: str = "") -> InputError:
    return InputError(
        f"column {table.columns[column]!r}: label {row.labels[column]!r}",
        path=table.source.path,
        line=row.line,
        expected=expected,
        fix=fix,
    )
