"""The GUE benchmark: its 28 tasks, what a data directory holds of them, and published scores.

Source of the tasks, their official splits and metrics: DNABERT-2, arXiv 2306.15006.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import tyro

from ..errors import ConfigError, InputError, OutputError
from ..outputs import new_directory
from ..records import hash_file, read_json, write_json
from ..sequences.labelled import Labelled, Row, read_labelled
from ..sequences.settings import LabelConfig, SplitConfig
from ..sequences.splits import draw_splits

Metric = Literal["mcc", "f1"]
State = Literal["complete", "partial train", "no train", "other rows", "absent"]

TRAIN, PARTIAL_TRAIN = "train.csv", "train_partial.csv"
TASK_FILE = "task.json"


class Rows(NamedTuple):
    """Rows of the official splits."""

    train: int
    dev: int
    test: int


class GueTask(NamedTuple):
    """A task of GUE, with the settings that its fine-tuning starts from."""

    name: str
    """Folder below the data directory, such as ``EMP/H3``."""
    group: str
    classes: int
    length_bp: int
    rows: Rows | None
    """``None`` where they are not known for sure: the paper's numbers for covid (77,669, 7,000 and
    7,000) do not go with the sizes of the files that go round."""
    metric: Metric
    """Macro F1 for covid, MCC for all others."""
    epochs: int
    """As in the scripts of the DNABERT-2 authors."""
    learning_rate: float = 5e-5
    batch_size: int = 32


_ROWS = """
EMP/H3 11971 1497 1497
EMP/H3K14ac 26438 3305 3305
EMP/H3K36me3 27904 3488 3488
EMP/H3K4me1 25341 3168 3168
EMP/H3K4me2 24545 3069 3069
EMP/H3K4me3 29439 3680 3680
EMP/H3K79me3 23069 2884 2884
EMP/H3K9ac 22224 2779 2779
EMP/H4 11679 1461 1461
EMP/H4ac 27275 3410 3410
mouse/0 6478 810 810
mouse/1 53952 6745 6745
mouse/2 2620 328 328
mouse/3 1904 239 239
mouse/4 15064 1883 1883
prom/prom_300_all 47356 5920 5920
prom/prom_300_notata 42452 5307 5307
prom/prom_300_tata 4904 613 613
prom/prom_core_all 47356 5920 5920
prom/prom_core_notata 42452 5307 5307
prom/prom_core_tata 4904 613 613
splice/reconstructed 36496 4562 4562
tf/0 32378 1000 1000
tf/1 30672 1000 1000
tf/2 19000 1000 1000
tf/3 27294 1000 1000
tf/4 19000 1000 1000
virus/covid - - -
"""

# Beginning of the name: group, classes, length in bases, epochs.
_KINDS: dict[str, tuple[str, int, int, int]] = {
    "EMP/": ("epigenetic marks (yeast)", 2, 500, 3),
    "mouse/": ("TF binding (mouse)", 2, 101, 5),
    "prom/prom_300": ("promoter (human)", 2, 300, 4),
    "prom/prom_core": ("core promoter (human)", 2, 70, 4),
    "splice/": ("splice sites (human)", 3, 400, 5),
    "tf/": ("TF binding (human)", 2, 101, 3),
    "virus/": ("covid variants", 9, 1000, 8),
}


def _task(line: str) -> GueTask:
    name, *numbers = line.split()
    group, classes, length_bp, epochs = next(
        kind for start, kind in _KINDS.items() if name.startswith(start)
    )
    return GueTask(
        name=name,
        group=group,
        classes=classes,
        length_bp=length_bp,
        rows=None if numbers[0] == "-" else Rows(*map(int, numbers)),
        metric="f1" if name.startswith("virus/") else "mcc",
        epochs=10 if name.endswith("_tata") else epochs,
    )


TASKS: dict[str, GueTask] = {
    task.name: task for line in _ROWS.strip().splitlines() for task in [_task(line)]
}
"""All 28 tasks by name."""


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


class Published(NamedTuple):
    """A published score, times 100."""

    task: str
    metric: str
    model: str
    score: float
    sd: float | None
    seeds: str
    source: str


def published() -> list[Published]:
    """Published GUE scores (MCC x 100; covid: macro F1 x 100), each with its source."""
    text = resources.files("dnazen.gue").joinpath("published.csv").read_text(encoding="utf-8")
    rows = list(csv.reader(text.splitlines()))[1:]
    return [
        Published(task, metric, model, float(score), float(sd) if sd else None, seeds, source)
        for task, metric, model, score, sd, seeds, source in rows
    ]


def find_tasks(names: Iterable[str]) -> list[GueTask]:
    """The tasks of these names; a group's folder (``EMP``) names all of its tasks.

    Raises
    ------
    ConfigError
        If a name is no task of GUE.
    """
    found: dict[str, GueTask] = {}
    for name in names:
        these = [t for t in TASKS.values() if t.name == name or t.name.split("/")[0] == name]
        if not these:
            raise ConfigError(
                f"{name!r} is no task of GUE; expected some of {', '.join(TASKS)}, or a folder of "
                "them such as EMP"
            )
        found |= {task.name: task for task in these}
    return list(found.values())


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
    found: TaskData,
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
    OutputError
        If the directory holds something else, or other data, or cannot be written.
    """
    settings = {
        "max_train_rows": max_train_rows,
        "max_dev_rows": max_dev_rows,
        "train_from_dev": train_from_dev,
    }
    files = {
        "train": PARTIAL_TRAIN if found.partial else TRAIN,
        "dev": "dev.csv",
        "test": "test.csv",
    }
    paths = {split: found.directory / files[split] for split in Rows._fields if split in found.rows}
    if (target / TASK_FILE).is_file():
        return _require_the_same(target / TASK_FILE, settings, paths.values())
    tables = {split: read_labelled(path) for split, path in paths.items()}
    rows = {split: table.rows for split, table in tables.items()}
    said = [found.data_state]
    if "train" not in rows:
        if not train_from_dev:
            raise InputError("no train.csv", path=found.directory, fix="set train_from_dev")
        train, dev = _parted(tables["dev"], train_from_dev)
        rows |= {"train": train, "dev": dev}
        said.append(
            f"trained on {len(train):,} rows of dev, the other {len(dev):,} choose the epoch"
        )
    for split, most in (("train", max_train_rows), ("dev", max_dev_rows)):
        there = len(rows[split])
        if most is not None and there > most:
            said.append(f"a sample of {most:,} of {there:,} {split} rows")
            drawn = np.random.default_rng(0).choice(there, most, replace=False)
            rows[split] = [rows[split][i] for i in np.sort(drawn)]
    in_words = "; ".join(said)
    with new_directory(target) as directory:
        for split, some in rows.items():
            _write(directory / f"{split}.csv", some)
        record: dict[str, object] = {
            "task": found.task.name,
            "state": found.state,
            "said": in_words,
            "rows": {split: len(rows[split]) for split in Rows._fields},
            "settings": settings,
            "sources": [table.source for table in tables.values()],
        }
        write_json(directory / TASK_FILE, record)
    return in_words


def _require_the_same(path: Path, settings: Mapping[str, object], sources: Iterable[Path]) -> str:
    """What was done to the data of a prepared task, which must be as it would be now."""
    record = read_json(path, "a prepared task")
    for name, value in settings.items():
        before = record["settings"].get(name)
        if before != value:
            raise OutputError(
                f"{path}: was prepared with another {name} ({before}, now {value}); name another "
                "output"
            )
    hashes = [source["sha256"] for source in record["sources"]]
    if hashes != [hash_file(source).sha256 for source in sources]:
        raise OutputError(f"{path}: was prepared from other data; name another output")
    return str(record["said"])


@dataclass(frozen=True, kw_only=True)
class GueCheckConfig:
    """Say what a data directory holds of the 28 tasks of GUE."""

    data: tyro.conf.Positional[Path]
    """Directory in GUE's layout: EMP/H3/train.csv, ..., virus/covid/test.csv."""


def check_command(config: GueCheckConfig) -> None:
    """Print a row a task: rows of each split, and whether they are the official ones."""
    print("task\tgroup\tmetric\ttrain\tdev\ttest\tstate")
    states = []
    for task in TASKS.values():
        found = check(config.data, task)
        counts = (str(found.rows.get(split, "-")) for split in Rows._fields)
        print(task.name, task.group, task.metric, *counts, found.data_state, sep="\t")
        states.append(found.state)
    told = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    print(f"{len(TASKS)} tasks: {told}", file=sys.stderr)


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
