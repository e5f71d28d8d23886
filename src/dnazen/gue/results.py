"""What a run of ``dnazen gue run`` has found so far: predictions of its cells, as arrays."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from ..errors import InputError
from ..records import read_json
from .cell import CELL_FILE, PREDICTIONS_FILE
from .density import strata
from .grid import CHOICES_FILE, DENSITY_FILE, LEAKAGE_FILE, RUN_FILE
from .statistics import scores_of
from .tasks import TASK_FILE, TASKS, GueTask, Metric, find_tasks

Classes = Int[np.ndarray, "rows"]

_SAME_SCORE = 1e-6  # between predictions and the record of their cell


class Finished(NamedTuple):
    """The finished seeds of a model on a task, at the learning rate that dev chose."""

    learning_rate: float
    seeds: tuple[int, ...]
    """In rising order."""
    predictions: Int[np.ndarray, "seeds rows"]
    records: tuple[dict[str, Any], ...]
    """What the cells tell of themselves, in the order of the seeds."""

    @property
    def collapsed(self) -> Bool[np.ndarray, "seeds"]:
        """Whether a seed's model calls all test sequences the same, or gives no numbers."""
        return np.array([record["test"]["collapsed"] for record in self.records], dtype=np.bool_)

    def of(self, seeds: tuple[int, ...]) -> Finished:
        """The part of some of the seeds."""
        places = [self.seeds.index(seed) for seed in seeds]
        return Finished(
            self.learning_rate,
            seeds,
            self.predictions[places],
            tuple(self.records[i] for i in places),
        )


class TaskResults(NamedTuple):
    """A task, and what the models predict of its test rows."""

    task: GueTask
    data_state: str
    """The state of its data, to stand beside every number."""
    rows: dict[str, int]
    """Rows of the splits as they were used."""
    label_names: tuple[str, ...]
    labels: Classes
    strata: Classes | None
    """Of each test row, its place in ``density.STRATA``; ``None`` where no model has G-grams."""
    ggrams_of: str
    """The model whose G-grams tell the strata."""
    models: dict[str, Finished]
    """The models that have a finished cell."""

    def scores(self, model: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The score of each finished seed of a model."""
        metric: Metric = self.task.metric
        predictions = self.models[model].predictions
        return scores_of(self.labels, predictions, len(self.label_names), metric)


class Missing(NamedTuple):
    """A cell that the run is to have and has not."""

    model: str
    task: str
    seed: int
    begun: bool
    """Whether there is a log: it failed, or is at work; if not, it is still to come."""


class Run:
    """The directory of a run, read once; nothing in it is changed.

    Parameters
    ----------
    path
        The output of ``dnazen gue run``, finished or not.

    Raises
    ------
    InputError
        If it is no such directory, or a file of it is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / RUN_FILE).is_file():
            raise InputError(
                f"no {RUN_FILE}", path=path, expected="a directory that 'dnazen gue run' wrote"
            )
        self.record = read_json(path / RUN_FILE, "the record of a run")
        settings = self.record.get("settings", {})
        if "arms" not in self.record or "tasks" not in settings:
            raise InputError(
                f"{RUN_FILE} is not of a benchmark",
                path=path,
                expected="a directory that 'dnazen gue run' wrote",
            )
        self.settings: dict[str, Any] = settings
        self.skipped: dict[str, str] = self.record.get("skipped", {})
        self.choices = self._choices()
        self._asked: list[str] = [model["name"] for model in self.record["arms"]]
        self.models: list[str] = list(dict.fromkeys([*self._asked, *self.choices]))
        """Those of the last invocation, then those of earlier ones."""

    @cached_property
    def tasks(self) -> dict[str, TaskResults]:
        """The tasks with a finished cell, in the order of the benchmark."""
        found = {task.name: self._task(task) for task in TASKS.values()}
        return {name: results for name, results in found.items() if results is not None}

    @cached_property
    def missing(self) -> list[Missing]:
        """The cells that are not finished, in the order of tasks, models, seeds."""
        cells = []
        for task in self._names:
            for model in self._asked:
                done = self.tasks[task].models.get(model) if task in self.tasks else None
                for seed in self.settings["seeds"]:
                    if done is None or seed not in done.seeds:
                        folder = self.path / "cells" / model / task
                        begun = any(folder.glob(f"*/seed-{seed}.failed.log"))
                        cells.append(Missing(model, task, seed, begun))
        return cells

    @property
    def expected(self) -> int:
        """The number of cells of the whole run, not counting those that try a learning rate."""
        return len(self._names) * len(self._asked) * len(self.settings["seeds"])

    @cached_property
    def leakage(self) -> list[dict[str, Any]]:
        """What inputs of training share with the test splits, as ``leakage.Leakage``."""
        path = self.path / LEAKAGE_FILE
        inputs: list[dict[str, Any]] = (
            read_json(path, "the leakage of a run")["inputs"] if path.is_file() else []
        )
        return inputs

    @property
    def _names(self) -> list[str]:
        asked = (task.name for task in find_tasks(self.settings["tasks"]))
        return [name for name in asked if name not in self.skipped]

    def _choices(self) -> dict[str, dict[str, Any]]:
        path = self.path / CHOICES_FILE
        return read_json(path, "the choices of a run") if path.is_file() else {}

    def _task(self, task: GueTask) -> TaskResults | None:
        prepared = self.path / "tasks" / task.name
        if not (prepared / TASK_FILE).is_file():
            return None
        told = read_json(prepared / TASK_FILE, "a prepared task")
        tables: dict[str, list[_Table]] = {}
        for model in self.models:
            choice = self.choices.get(model, {}).get(task.name)
            if choice is None:  # its learning rates are still being tried
                continue
            folder = self.path / "cells" / model / task.name / f"lr-{choice['learning_rate']:g}"
            cells = [_read_cell(path) for path in folder.glob(f"seed-*/{CELL_FILE}")]
            if cells:
                tables[model] = sorted(cells, key=lambda cell: cell.seed)
        every = [table for some in tables.values() for table in some]
        if not every:
            return None
        first = every[0]
        for table in every:
            _require_same_rows(first, table)
        results = TaskResults(
            task=task,
            data_state=told["said"],
            rows=told["rows"],
            label_names=first.label_names,
            labels=first.labels,
            strata=None,
            ggrams_of="",
            models={model: _finished(some) for model, some in tables.items()},
        )
        _check_scores(results, tables)
        return _with_strata(results, prepared / DENSITY_FILE)


class _Table(NamedTuple):
    """A cell's record and predictions."""

    path: Path
    record: dict[str, Any]
    label_names: tuple[str, ...]
    labels: Classes
    predictions: Classes

    @property
    def seed(self) -> int:
        return int(self.record["seed"])


def _read_cell(path: Path) -> _Table:
    record = read_json(path, "the record of a cell")
    names = tuple(record["label_names"])
    labels, predictions = _read_predictions(path.with_name(PREDICTIONS_FILE), names)
    return _Table(path, record, names, labels, predictions)


def _read_predictions(path: Path, names: tuple[str, ...]) -> tuple[Classes, Classes]:
    """Label and prediction of each test row, as class numbers."""
    numbers = {name: number for number, name in enumerate(names)}
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            rows = csv.reader(handle, delimiter="\t")
            header = next(rows, [])
            columns = header.index("label"), header.index("prediction")
            pairs = [tuple(numbers[row[column]] for column in columns) for row in rows]
    except FileNotFoundError:
        raise InputError(
            "no such file", path=path, fix="remove the cell and run it again"
        ) from None
    except (ValueError, KeyError, IndexError):
        raise InputError(
            "damaged predictions",
            path=path,
            expected=f"columns label and prediction of {', '.join(names)}",
            fix="remove the cell and run it again",
        ) from None
    table = np.array(pairs, dtype=np.int16).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _require_same_rows(first: _Table, other: _Table) -> None:
    if first.label_names != other.label_names or not np.array_equal(first.labels, other.labels):
        raise InputError(
            f"has other test labels than {first.path}",
            path=other.path,
            expected="cells of one run, on the same test split",
        )


def _finished(tables: list[_Table]) -> Finished:
    return Finished(
        learning_rate=float(tables[0].record["learning_rate"]),
        seeds=tuple(table.seed for table in tables),
        predictions=np.stack([table.predictions for table in tables]),
        records=tuple(table.record for table in tables),
    )


def _check_scores(results: TaskResults, tables: dict[str, list[_Table]]) -> None:
    """Raise where predictions do not give the score that their cell tells."""
    for model, some in tables.items():
        for table, score in zip(some, results.scores(model), strict=True):
            told = table.record["test"][results.task.metric]
            if told is not None and abs(told - score) > _SAME_SCORE:
                raise InputError(
                    f"tells {results.task.metric} {told:.6f}, its predictions give {score:.6f}",
                    path=table.path,
                    fix="remove the cell and run it again",
                )


def _with_strata(results: TaskResults, path: Path) -> TaskResults:
    if not path.is_file():
        return results
    told = read_json(path, "the G-gram density of a test split")
    density = np.array(told["density"], dtype=np.float64)
    if len(density) != len(results.labels):
        raise InputError(
            f"{len(density):,} densities of {len(results.labels):,} test rows",
            path=path,
            fix="remove this file and run again",
        )
    return results._replace(strata=strata(density), ggrams_of=told["ggrams_of"])


def common_seeds(*models: Finished) -> tuple[int, ...]:
    """The seeds that all of them have, in rising order."""
    shared = set(models[0].seeds).intersection(*(model.seeds for model in models[1:]))
    return tuple(sorted(shared))


def cells_of(run: Run) -> Iterator[tuple[TaskResults, str, dict[str, Any], float]]:
    """Every finished cell of a run: its task, model, record and score."""
    for results in run.tasks.values():
        for model, finished in results.models.items():
            for record, score in zip(finished.records, results.scores(model), strict=True):
                yield results, model, record, float(score)
