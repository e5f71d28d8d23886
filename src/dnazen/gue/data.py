"""What a data directory holds of a task of GUE, and the splits that a run uses of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ..errors import InputError
from ..outputs import new_directory
from ..records import hash_file, read_json, write_json
from ..runs import require_same
from ..sequences.labelled import Labelled, Row, read_labelled
from ..sequences.settings import LabelConfig, SplitConfig
from ..sequences.splits import draw_splits
from .forms import TASK_FORM
from .tasks import GueTask, Rows

State = Literal["complete", "partial train", "no train", "other rows", "absent"]

TRAIN, PARTIAL_TRAIN = "train.csv", "train_partial.csv"
TASK_FILE = "task.json"


class TaskData(NamedTuple):
    """What a data directory holds of a task, by its number of rows."""

    task: GueTask
    directory: Path
    state: State
    rows: dict[str, int]
    """Rows of the files that are there: ``train``, ``dev``, ``test``."""
    partial: bool
    """Whether the train rows are those of ``PARTIAL_TRAIN``."""

    @property
    def data_state(self) -> str:
        """The state in words, to stand beside every number that comes of it."""
        train = self.rows.get("train")
        if self.state == "partial train" and self.task.rows is not None:
            return f"partial train: {train:,} of {self.task.rows.train:,} rows"
        if self.state == "other rows":
            return f"not the official splits: {_counts(self.rows)} rows"
        if self.state == "complete" and self.task.rows is None:
            return f"row counts not checked: {_counts(self.rows)}"
        return self.state


def check(data: Path, task: GueTask) -> TaskData:
    """Compare the files of a task with the official splits, by their number of rows.

    Raises
    ------
    InputError
        If the data directory is missing.
    """
    if not data.is_dir():
        raise InputError(
            "no such data directory", path=data, expected=f"a folder with {task.name}/test.csv"
        )
    directory = data / task.name
    rows = {
        split: _rows(directory / file)
        for split, file in (("train", TRAIN), ("dev", "dev.csv"), ("test", "test.csv"))
        if (directory / file).is_file()
    }
    partial = "train" not in rows and (directory / PARTIAL_TRAIN).is_file()
    if partial:
        rows = {"train": _rows(directory / PARTIAL_TRAIN), **rows}
    return TaskData(task, directory, _state(task, rows, partial), rows, partial)


def _state(task: GueTask, rows: dict[str, int], partial: bool) -> State:
    if not {"dev", "test"} <= rows.keys():
        return "absent"
    if task.rows is not None:
        held_out = (rows["dev"], rows["test"])
        too_many = rows.get("train", 0) > task.rows.train
        if held_out != task.rows[1:] or too_many:
            return "other rows"
        partial = partial or rows.get("train", 0) < task.rows.train
    if "train" not in rows:
        return "no train"
    return "partial train" if partial else "complete"


def prepare(
    files: TaskData,
    target: Path,
    *,
    max_train_rows: int | None = None,
    max_dev_rows: int | None = None,
    train_from_dev: float = 0.0,
) -> str:
    """Write the splits that a run uses of a task into a directory, in GUE's layout, once.

    Parameters
    ----------
    max_train_rows, max_dev_rows
        Train, and choose the epoch, on samples of at most so many rows, the same in every run
        (Decided here: drawn with seed 0, whatever the seed of training).
    train_from_dev
        Of a task without train, the fraction of dev that becomes train; the rest stays dev, and
        equal sequences are not parted. Test is as it is.

    Returns
    -------
    What was done to the data, in words; also in ``task.json``.

    Raises
    ------
    InputError
        If a file cannot be read, or there is nothing to train on.
    ConfigError
        If the directory holds data that were prepared otherwise, or other data.
    OutputError
        If the directory holds something else, or cannot be written.
    """
    settings = _settings(max_train_rows, max_dev_rows, train_from_dev)
    if (state := require_same_data(files, target, **settings)) is not None:
        return state
    tables = {split: read_labelled(path) for split, path in _paths(files).items()}
    rows = {split: table.rows for split, table in tables.items()}
    states = [files.data_state]
    if "train" not in rows:
        if train_from_dev == 0:
            raise InputError("no train.csv", path=files.directory, fix="set train_from_dev")
        train, dev = _parted(tables["dev"], train_from_dev)
        rows |= {"train": train, "dev": dev}
        states.append(
            f"trained on {len(train):,} rows of dev, the other {len(dev):,} choose the epoch"
        )
    for split, most in (("train", max_train_rows), ("dev", max_dev_rows)):
        present = len(rows[split])
        if most is not None and present > most:
            states.append(f"a sample of {most:,} of {present:,} {split} rows")
            drawn = np.random.default_rng(0).choice(present, most, replace=False)
            rows[split] = [rows[split][i] for i in np.sort(drawn)]
    in_words = "; ".join(states)
    with new_directory(target) as directory:
        for split, drawn_rows in rows.items():
            _write(directory / f"{split}.csv", drawn_rows)
        record: dict[str, object] = {
            "task": files.task.name,
            "state": files.state,
            "said": in_words,
            "rows": {split: len(rows[split]) for split in Rows._fields},
            "settings": settings,
            "sources": [table.source for table in tables.values()],
        }
        write_json(directory / TASK_FILE, record)
    return in_words


def require_same_data(
    files: TaskData,
    target: Path,
    *,
    max_train_rows: int | None = None,
    max_dev_rows: int | None = None,
    train_from_dev: float = 0.0,
) -> str | None:
    """What was done to the data of a task that is prepared; ``None`` where it is not.

    Raises
    ------
    ConfigError
        If it was prepared with other settings, or from other data.
    """
    path = target / TASK_FILE
    if not path.is_file():
        return None
    record = read_json(path, "a prepared task", TASK_FORM)
    before = {"data": [source["sha256"] for source in record["sources"]]}
    before |= record.get("settings") or {}
    now = _settings(max_train_rows, max_dev_rows, train_from_dev)
    now["data"] = [hash_file(source).sha256 for source in _paths(files).values()]
    require_same(target, before, now)
    return str(record["said"])


def _settings(
    max_train_rows: int | None, max_dev_rows: int | None, train_from_dev: float
) -> dict[str, Any]:
    return {
        "max_train_rows": max_train_rows,
        "max_dev_rows": max_dev_rows,
        "train_from_dev": train_from_dev,
    }


def _paths(files: TaskData) -> dict[str, Path]:
    """The files of the splits that are there."""
    names = {"train": PARTIAL_TRAIN if files.partial else TRAIN}
    return {
        split: files.directory / names.get(split, f"{split}.csv")
        for split in Rows._fields
        if split in files.rows
    }


def _parted(dev: Labelled, fraction: float) -> tuple[list[Row], list[Row]]:
    """Rows to train on and rows to choose by; equal sequences, on either strand, stay together."""
    half = (1 - fraction) / 2
    drawn = draw_splits(dev, LabelConfig(), SplitConfig(dev_fraction=half, test_fraction=half))
    parts: tuple[list[Row], list[Row]] = ([], [])
    for row, split in zip(dev.rows, drawn, strict=True):
        parts[split != "train"].append(row)
    return parts


def _write(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", encoding="utf-8") as handle:
        handle.write("sequence,label\n")
        handle.writelines(f"{row.sequences[0].decode()},{row.labels[0]}\n" for row in rows)


def _rows(path: Path) -> int:
    """Lines with anything in them, without the header."""
    with path.open("rb") as handle:
        return max(0, sum(1 for line in handle if line.strip()) - 1)


def _counts(rows: dict[str, int]) -> str:
    return ", ".join(f"{number:,} {split}" for split, number in rows.items())
