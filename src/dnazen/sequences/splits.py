"""Train, dev and test: three tables of a directory, or one table that is split."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from ..errors import InputError
from ..records import InputFile, hash_file
from .alphabet import normalise, reverse_complement
from .feature_labels import label_by_features
from .labelled import (
    SPLIT_NAMES,
    Label,
    Labelled,
    Row,
    Task,
    classes_of,
    labels_of,
    number_of,
    read_labelled,
    task_of,
)
from .settings import LabelConfig, SplitConfig

_TABLE_SUFFIXES = tuple(
    table + packing
    for table in (".csv", ".tsv")
    for packing in ("", ".gz", ".bgz", ".xz", ".bz2", ".zip")
)


class Split(NamedTuple):
    """Rows with their labels as numbers."""

    table: Labelled
    labels: list[Label]

    def reverse_complement(self) -> Split:
        """The same rows on the other strand; the classes of bases stay with their bases."""
        rows = [
            row._replace(sequences=tuple(map(reverse_complement, row.sequences)))
            for row in self.table.rows
        ]
        labels: list[Label] = [
            label[::-1] if isinstance(label, np.ndarray) else label for label in self.labels
        ]
        return Split(self.table._replace(rows=rows), labels)


class Splits(NamedTuple):
    """A task and its three splits."""

    task: Task
    train: Split
    dev: Split
    test: Split
    inputs: tuple[InputFile, ...]
    """The files read."""
    duplicates: dict[str, int]
    """Rows of dev that stand in train (``train_dev``), and so on; see ``shared_rows``."""

    @property
    def parts(self) -> dict[str, Split]:
        """The splits by name."""
        return {"train": self.train, "dev": self.dev, "test": self.test}

    def reverse_complement(self) -> Splits:
        """The same splits, each sequence (of a pair, both) read on the other strand."""
        train, dev, test = (split.reverse_complement() for split in self.parts.values())
        return self._replace(train=train, dev=dev, test=test)


def load_splits(
    path: Path, labels: LabelConfig, splits: SplitConfig, *, with_test: bool = True
) -> Splits:
    """Read train, dev and test: a directory of three tables, or one table that is split.

    A table without a split column is split at random with the labels' distribution kept
    (``draw_splits``); of data with train and test alone, dev is drawn from train likewise. Notes of
    what was drawn go to stderr. Class names are those of train.

    Parameters
    ----------
    with_test
        Without it test is left empty and train and dev are as they are with it: a file of test is
        not opened, and of a single table the rows of test are dropped once it is split.

    Raises
    ------
    InputError
        If a file is missing or cannot be read (see ``read_labelled``), a split has no row, a
        label does not parse, train has fewer than two classes, or dev or test has a class that
        train lacks.
    """
    by_features = labels.bed is not None
    columns = () if by_features else labels.columns
    if path.is_dir():
        names = [split for split in SPLIT_NAMES if with_test or split != "test"]
        files = {split: _split_file(path, split, splits.train_file) for split in names}
        tables = {
            split: read_labelled(file, label_columns=columns, with_places=by_features)
            for split, file in files.items()
            if file is not None
        }
        inputs = tuple(table.source for table in tables.values())
        if by_features:
            tables = label_by_features(tables, labels)
    else:
        whole = read_labelled(
            path, label_columns=columns, split_column=splits.column, with_places=by_features
        )
        if by_features:
            whole = label_by_features({"all": whole}, labels)["all"]
        stated = [row.split for row in whole.rows if row.split is not None]
        tables = _parts(whole, stated or draw_splits(whole, labels, splits))
        inputs = (whole.source,)
    if not with_test and "train" in tables:
        tables["test"] = tables["train"]._replace(rows=[])
    if labels.bed is not None:
        inputs += (hash_file(labels.bed),)
    if "dev" not in tables and {"train", "test"} <= tables.keys():
        before = len(tables["train"].rows)
        tables |= _parts(tables["train"], draw_splits(tables["train"], labels, splits, test=False))
        _note(
            f"{path} has no dev: {before - len(tables['train'].rows)} of {before} rows of train "
            "were drawn for it (--splits.dev-fraction, --splits.seed)"
        )
    for split in SPLIT_NAMES:
        if split not in tables:
            raise InputError(f"no row for {split}", path=path, expected="rows for each split")
    ordered = [tables[split] for split in SPLIT_NAMES]
    if len({len(table.rows[0].sequences) for table in ordered if table.rows}) > 1:
        raise InputError("some files hold pairs, others single sequences", path=path)
    task = task_of(tables["train"], labels.problem_type, background=labels.background)
    train, dev, test = (Split(table, labels_of(table, task)) for table in ordered)
    return Splits(task, train, dev, test, inputs, shared_rows(*ordered))


def draw_splits(
    table: Labelled, labels: LabelConfig, splits: SplitConfig, *, test: bool = True
) -> list[str]:
    """Assign each row to train, dev or test, seeded, with the labels' distribution kept.

    Decided here: examples are put in the order of their labels (numbers in regression), at random
    among equals, and each split takes every n-th, so each class is divided to within one example.
    Rows with the same sequence, or its reverse complement, are one example: what is tested was
    not trained on. An example whose class train would lack goes to train, and a note says how many
    did.

    Parameters
    ----------
    test
        Whether a test set is drawn too.
    """
    keys = [strandless(row.sequences) for row in table.rows]
    first: dict[tuple[bytes, ...], Row] = {}
    for row, key in zip(table.rows, keys, strict=True):
        first.setdefault(key, row)
    rng = np.random.default_rng(splits.seed)
    examples = list(first.items())
    examples = [examples[i] for i in rng.permutation(len(examples))]
    if labels.problem_type == "regression":
        examples.sort(key=lambda example: number_of(table, example[1], 0))
    else:
        examples.sort(key=lambda example: example[1].labels)
    test_fraction = splits.test_fraction if test else 0.0
    in_test = _every_nth(len(examples), test_fraction, rng)
    in_dev = np.zeros_like(in_test)
    dev_share = splits.dev_fraction / (1 - test_fraction)
    in_dev[~in_test] = _every_nth(int((~in_test).sum()), dev_share, rng)
    drawn = np.where(in_test, "test", np.where(in_dev, "dev", "train")).tolist()
    if labels.problem_type != "regression":
        _keep_classes_in_train(drawn, [classes_of(table, row, labels) for _, row in examples])
    split_of = {key: split for (key, _), split in zip(examples, drawn, strict=True)}
    return [split_of[key] for key in keys]


def _keep_classes_in_train(drawn: list[str], classes: Sequence[set[str]]) -> None:
    """Move examples to train until it has every class; a note says how many were moved."""
    pairs = list(zip(drawn, classes, strict=True))
    learnt = set[str]().union(*(names for split, names in pairs if split == "train"))
    rare = set[str]().union(*classes) - learnt
    moved = 0
    for number, (split, names) in enumerate(pairs):
        if split != "train" and not names <= learnt:
            drawn[number] = "train"
            learnt |= names
            moved += 1
    if moved:
        shown = ", ".join(sorted(rare)[:5]) + (", ..." if len(rare) > 5 else "")
        _note(
            f"{len(rare)} rare classes ({shown}) would have been in dev or test alone: {moved} "
            "examples of them were put into train"
        )


def _parts(table: Labelled, assigned: Sequence[str]) -> dict[str, Labelled]:
    """The rows of a table by split; a split without a row is left out."""
    rows: dict[str, list[Row]] = {}
    for row, split in zip(table.rows, assigned, strict=True):
        rows.setdefault(split, []).append(row)
    return {split: table._replace(rows=its_rows) for split, its_rows in rows.items()}


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)


def shared_rows(train: Labelled, dev: Labelled, test: Labelled) -> dict[str, int]:
    """Rows of one split whose sequence, on either strand, stands in another split too.

    ``train_dev`` counts rows of dev, ``train_test`` and ``dev_test`` rows of test.
    """
    of_train, of_dev, of_test = (
        [strandless(row.sequences) for row in table.rows] for table in (train, dev, test)
    )
    in_train, in_dev = set(of_train), set(of_dev)
    return {
        "train_dev": sum(key in in_train for key in of_dev),
        "train_test": sum(key in in_train for key in of_test),
        "dev_test": sum(key in in_dev for key in of_test),
    }


def contradicting_rows(split: Split) -> int:
    """Rows whose sequence, on either strand, stands in the split with another label too.

    The classes of bases are compared base by base.
    """
    labels: dict[tuple[bytes, ...], list[Any]] = {}
    for row, label in zip(split.table.rows, split.labels, strict=True):
        key = strandless(row.sequences)
        if isinstance(label, np.ndarray):
            forward = key[0] == normalise(row.sequences[0])[0]
            labels.setdefault(key, []).append((label if forward else label[::-1]).tolist())
        else:
            labels.setdefault(key, []).append(label)
    return sum(len(group) for group in labels.values() if any(x != group[0] for x in group))


def strandless(sequences: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Sequences as a key that is equal for equal bases on either strand (of both, in a pair)."""
    forward = tuple(normalise(sequence)[0] for sequence in sequences)
    return min(forward, tuple(reverse_complement(sequence) for sequence in forward))


def _split_file(directory: Path, split: str, train_file: str | None) -> Path | None:
    """The table of a split in a directory in GUE's layout; None where there is no dev."""
    if split == "train" and train_file is not None:
        return directory / train_file
    files = [
        file
        for stem in SPLIT_NAMES[split]
        for suffix in _TABLE_SUFFIXES
        if (file := directory / f"{stem}{suffix}").is_file()
    ]
    if len(files) == 1:
        return files[0]
    expected = f"one of {', '.join(f'{stem}.csv' for stem in SPLIT_NAMES[split])} (or .tsv, .gz)"
    if files:
        both = " and ".join(file.name for file in files[:2])
        raise InputError(f"holds {both}", path=directory, expected=expected)
    if split == "dev":
        return None
    raise InputError(
        f"no {split}.csv",
        path=directory,
        expected=expected,
        fix="name the file with --splits.train-file" if split == "train" else "",
    )


def _every_nth(count: int, fraction: float, rng: np.random.Generator) -> Bool[np.ndarray, "count"]:
    """A systematic sample: evenly spaced, from a random start."""
    steps: Int[np.ndarray, "count+1"] = np.floor(np.arange(count + 1) * fraction + rng.random())
    return np.diff(steps) > 0
