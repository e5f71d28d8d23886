"""Labelled sequences: tables of sequences and labels, and the tasks they set.

Three tasks, under Hugging Face's names: ``single_label_classification`` (one class of several),
``multi_label_classification`` (any subset of the labels) and ``regression`` (one number or more).
A table is held in memory whole.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from ..records import InputFile
from .alphabet import AMBIGUOUS, NUCLEOTIDES
from .settings import ProblemType

Label = int | list[float]
"""A class number; or one number per label: 0 or 1 (multi-label), or the target (regression)."""

LABEL_SEPARATOR = ";"
SPLIT_NAMES = {"train": ("train",), "dev": ("dev", "valid", "val", "validation"), "test": ("test",)}
"""How each split may be called, in a split column and as a file's stem."""

_SEQUENCE_COLUMNS = (("sequence",), ("sequence_1", "sequence_2"))
_LETTERS = NUCLEOTIDES + NUCLEOTIDES.lower()
_CSV_FIELD_LIMIT = 1 << 30  # the csv module's own limit of 131,072 is less than a BAC


class Task(NamedTuple):
    """What is to be predicted."""

    problem_type: ProblemType
    label_names: tuple[str, ...]
    """Classes, labels or targets by number. Classes stand in numeric order if all are whole
    numbers, else sorted; columns stand as asked for."""


class Row(NamedTuple):
    """One example of a table, its labels still as text."""

    line: int
    """1-based line in the file, the header being 1."""
    name: str
    """Column ``name`` or ``id``, else the row's 1-based number without the header."""
    sequences: tuple[bytes, ...]
    """One sequence, or two, as letters in either case; each holds an A, C, G or T."""
    labels: tuple[str, ...]
    """A text per label column."""
    split: str | None
    """``train``, ``dev`` or ``test``, where the table says so."""


class Labelled(NamedTuple):
    """A table of labelled sequences, or some of its rows."""

    source: InputFile
    columns: tuple[str, ...]
    """Label columns."""
    rows: list[Row]


def read_labelled(
    path: Path, *, label_columns: Sequence[str] = ("label",), split_column: str | None = None
) -> Labelled:
    """Read a table of labelled sequences; plain, gzip or bgzip.

    Columns are found by the header, in any order, case aside: ``sequence``, or ``sequence_1`` and
    ``sequence_2``; the label columns; optionally ``name`` or ``id``, and the split column. Fields
    are parted by tabs if the header has one, else by commas.

    Raises
    ------
    InputError
        Naming file, line and column, if the file is absent, damaged, no such table, has no rows,
        or has a field that cannot be what its column says.
    """
    data, source = _stored(path)
    lines = io.StringIO(_text(path, data), newline="")
    delimiter = "\t" if "\t" in lines.readline() else ","
    lines.seek(0)
    csv.field_size_limit(_CSV_FIELD_LIMIT)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    rows: list[Row] = []
    try:
        header = [column.strip() for column in next(reader, [])]
        places = _places(path, header, label_columns, split_column)
        for fields in reader:
            if not fields:
                continue
            line = reader.line_num
            if len(fields) != len(header):
                raise InputError(
                    f"{len(fields)} fields", path=path, line=line, expected=f"{len(header)}"
                )
            name = str(len(rows) + 1) if places.name is None else fields[places.name].strip()
            sequences = tuple(_letters(path, line, header[i], fields[i]) for i in places.bases)
            labels = tuple(fields[i].strip() for i in places.labels)
            split = None if places.split is None else _split(path, line, fields[places.split])
            rows.append(Row(line, name, sequences, labels, split))
    except csv.Error as error:
        raise InputError(
            f"not a readable table ({error})", path=path, line=reader.line_num
        ) from None
    if not rows:
        raise InputError("no rows", path=path, expected="labelled sequences below the header")
    return Labelled(source, tuple(header[i] for i in places.labels), rows)


def task_of(train: Labelled, problem_type: ProblemType) -> Task:
    """The task that a training table sets: its classes, labels or targets.

    Raises
    ------
    InputError
        If there are fewer than two classes, or no label at all.
    """
    if problem_type == "regression" or len(train.columns) > 1:
        return Task(problem_type, train.columns)
    if problem_type == "single_label_classification":
        for row in train.rows:
            if not row.labels[0]:
                raise _bad_label(train, row, 0, "a class")
        found = {row.labels[0] for row in train.rows}
        if len(found) < 2:
            raise InputError(
                f"only one class, {found.pop()!r}", path=train.source.path, expected="two or more"
            )
    else:
        found = set().union(*(_names(row.labels[0]) for row in train.rows))
        if not found:
            raise InputError("no row has a label", path=train.source.path, expected="label names")
    return Task(problem_type, _ordered(found))


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
    known = ", ".join(task.label_names[:10]) + (", ..." if len(number) > 10 else "")
    labels: list[Label] = []
    for row in table.rows:
        text = row.labels[0]
        if task.problem_type == "multi_label_classification":
            if not _names(text) <= number.keys():
                raise _bad_label(table, row, 0, f"labels of train ({known}) joined by ';'")
            labels.append([float(name in _names(text)) for name in task.label_names])
        else:
            if text not in number:
                fix = "add such rows to train, remove these, or set --labels.problem-type"
                raise _bad_label(table, row, 0, f"a class of train ({known})", fix)
            labels.append(number[text])
    return labels


def spelt(task: Task, label: Label) -> str:
    """A label as text, the inverse of ``labels_of``: several names or numbers joined by ';'."""
    if isinstance(label, int):
        return task.label_names[label]
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
        raise _bad_label(table, row, column, "a finite number")
    return value


class _Places(NamedTuple):
    """Column numbers."""

    bases: list[int]
    labels: list[int]
    name: int | None
    split: int | None


def _places(
    path: Path, header: list[str], label_columns: Sequence[str], split_column: str | None
) -> _Places:
    place = {column.lower(): number for number, column in reversed(list(enumerate(header)))}
    found = [names for names in _SEQUENCE_COLUMNS if set(names) <= place.keys()]
    missing = [] if found else ["sequence"]
    missing += [column for column in label_columns if column.lower() not in place]
    if missing:
        seen = ", ".join(header)
        raise InputError(
            f"no column {missing[0]!r} among {seen[:80]}" if header else "empty file",
            path=path,
            line=1,
            expected=f"a header line such as sequence,{','.join(label_columns)}",
        )
    return _Places(
        bases=[place[name] for name in found[0]],
        labels=[place[column.lower()] for column in label_columns],
        name=next((place[key] for key in ("name", "id") if key in place), None),
        split=None if split_column is None else place.get(split_column.lower()),
    )


def _stored(path: Path) -> tuple[bytes, InputFile]:
    """A file's bytes, decompressed where they are gzip, and its identity as stored."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError("no such file", path=path, expected="a CSV or TSV table") from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", path=path) from None
    source = InputFile(str(path), len(data), hashlib.sha256(data).hexdigest())
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(
                f"gzip data ends early or is damaged ({error})",
                path=path,
                fix="copy or compress the file anew",
            ) from None
    return data, source


def _text(path: Path, data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError("not UTF-8 text", path=path, line=line) from None


def _letters(path: Path, line: int, column: str, text: str) -> bytes:
    letters = "".join(text.split()).encode()
    bad = letters.translate(None, _LETTERS).decode()
    if bad:
        raise InputError(
            f"column {column!r}: character {bad[0]!r} is no nucleotide",
            path=path,
            line=line,
            expected="A C G T U, N or another IUPAC code",
        )
    if not letters.upper().translate(None, AMBIGUOUS):
        raise InputError(
            f"column {column!r}: no A, C, G or T",
            path=path,
            line=line,
            expected="a sequence",
            fix="remove the row",
        )
    return letters


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
    for column, text in enumerate(row.labels):
        if text not in ("0", "1"):
            raise _bad_label(table, row, column, "0 or 1")
    return [float(text) for text in row.labels]


def _bad_label(table: Labelled, row: Row, column: int, expected: str, fix: str = "") -> InputError:
    return InputError(
        f"column {table.columns[column]!r}: label {row.labels[column]!r}",
        path=table.source.path,
        line=row.line,
        expected=expected,
        fix=fix,
    )
