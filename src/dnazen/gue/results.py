"""The results of a run so far: the records and predictions of its cells, damaged ones left out."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from ..errors import ConfigError, InputError
from ..overrides import require_name
from ..records import read_json
from .cell import CELL_FILE, PREDICTIONS_FILE
from .data import TASK_FILE
from .density import strata
from .forms import CHOICES_FORM, DENSITY_FORM, LEAKAGE_FORM, RESULT_FORM, RUN_FORM, TASK_FORM
from .grid import CHOICES_FILE, DENSITY_FILE, LEAKAGE_FILE, RUN_FILE
from .settings import rate_folder
from .statistics import scores_of
from .tasks import TASKS, GueTask, Metric, find_tasks

Classes = Int[np.ndarray, "rows"]

_SAME_SCORE = 1e-6  # between predictions and the record of their cell

_RATE = re.compile(r"auto|\d[\d.e+-]*")


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

    A damaged cell is left out, and named in ``damaged``; so are damaged densities and leakages.

    Parameters
    ----------
    path
        The output of ``dnazen gue run``, finished or not.

    Raises
    ------
    InputError
        If it is no such directory, or its record or its choices are damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / RUN_FILE).is_file():
            raise InputError(
                f"no {RUN_FILE}", path=path, expected="a directory that 'dnazen gue run' wrote"
            )
        self.record = read_json(path / RUN_FILE, "the record of a 'dnazen gue run'", RUN_FORM)
        self.settings: dict[str, Any] = self.record["settings"]
        self.skipped: dict[str, str] = self.record.get("skipped") or {}
        self.choices = self._choices()
        self._planned: list[str] = [model["name"] for model in self.record["arms"]]
        self.models: list[str] = list(dict.fromkeys([*self._planned, *self.choices]))
        """Those of the last invocation, then those of earlier ones."""
        for name in self.models:
            try:
                require_name(name, "a model")
            except ConfigError as error:
                raise InputError(str(error), path=path) from None
        self.damaged: list[str] = []
        """What is wrong with files that were left out; whole once ``tasks`` and ``leakage`` are."""

    @cached_property
    def tasks(self) -> dict[str, TaskResults]:
        """The tasks with a finished cell, in the order of the benchmark."""
        results = {task.name: self._task(task) for task in TASKS.values()}
        return {name: task for name, task in results.items() if task is not None}

    @cached_property
    def missing(self) -> list[Missing]:
        """The cells that are not finished, in the order of tasks, models, seeds."""
        cells = []
        for task in self._names:
            for model in self._planned:
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
        return len(self._names) * len(self._planned) * len(self.settings["seeds"])

    @cached_property
    def leakage(self) -> list[dict[str, Any]]:
        """What inputs of training share with the test splits, as ``leakage.Leakage``."""
        path = self.path / LEAKAGE_FILE
        record: dict[str, Any] = {"inputs": []}
        if path.is_file():
            with self._damage_noted():
                record = read_json(path, "the leakage of a run", LEAKAGE_FORM)
        inputs: list[dict[str, Any]] = record["inputs"]
        return inputs

    @property
    def _names(self) -> list[str]:
        tasks = (task.name for task in find_tasks(self.settings["tasks"]))
        return [name for name in tasks if name not in self.skipped]

    @contextmanager
    def _damage_noted(self) -> Iterator[None]:
        """Go on after the block without what is damaged."""
        try:
            yield
        except InputError as error:
            self.damaged.append(str(error))

    def _choices(self) -> dict[str, dict[str, Any]]:
        path = self.path / CHOICES_FILE
        if not path.is_file():
            return {}
        choices = read_json(path, "the choices of a run", CHOICES_FORM)
        for by_task in choices.values():
            for choice in by_task.values():  # a folder is named by it
                if not _RATE.fullmatch(choice["learning_rate"]):
                    rate = choice["learning_rate"]
                    raise InputError(f"{rate!r} is no learning rate", path=path)
        return choices

    def _task(self, task: GueTask) -> TaskResults | None:
        prepared = self.path / "tasks" / task.name
        if not (prepared / TASK_FILE).is_file():
            return None
        record: dict[str, Any] = {}
        with self._damage_noted():
            record = read_json(prepared / TASK_FILE, "a prepared task", TASK_FORM)
        if not record:
            return None
        cells = list(self._cells(task))
        if not cells:
            return None
        common = Counter(cell.rows for cell in cells).most_common(1)[0][0]
        by_model: dict[str, list[_Cell]] = {}
        for cell in cells:
            if cell.rows == common:
                by_model.setdefault(cell.model, []).append(cell)
            else:
                self.damaged.append(f"{cell.path}: has other test labels than the other cells")
        first = next(iter(by_model.values()))[0]
        results = TaskResults(
            task=task,
            data_state=record["said"],
            rows=record["rows"],
            label_names=first.label_names,
            labels=first.labels,
            strata=None,
            ggrams_of="",
            models={model: _finished(cells) for model, cells in by_model.items()},
        )
        if (prepared / DENSITY_FILE).is_file():
            with self._damage_noted():
                results = _with_strata(results, prepared / DENSITY_FILE)
        return results

    def _cells(self, task: GueTask) -> Iterator[_Cell]:
        """The whole cells of a task, models as in the run, seeds rising."""
        for model in self.models:
            choice = self.choices.get(model, {}).get(task.name)
            if choice is None:  # its learning rates are still being tried
                continue
            folder = self.path / "cells" / model / task.name / rate_folder(choice["learning_rate"])
            whole = []
            for path in folder.glob(f"seed-*/{CELL_FILE}"):
                with self._damage_noted():
                    whole.append(_read_cell(path, model, task.metric))
            yield from sorted(whole, key=lambda cell: cell.seed)


class _Cell(NamedTuple):
    """A cell's record and predictions."""

    path: Path
    model: str
    record: dict[str, Any]
    label_names: tuple[str, ...]
    labels: Classes
    predictions: Classes

    @property
    def seed(self) -> int:
        return int(self.record["seed"])

    @property
    def rows(self) -> tuple[tuple[str, ...], bytes]:
        """The test rows by their labels, to be compared."""
        return self.label_names, self.labels.tobytes()


def _read_cell(path: Path, model: str, metric: Metric) -> _Cell:
    """A cell whose record goes with its predictions."""
    fix = "remove the cell's folder and run it again"
    record = read_json(path, f"a cell; {fix}", RESULT_FORM)
    if path.parent.name != f"seed-{record['seed']}":
        raise InputError(f"is of seed {record['seed']}", path=path, expected=path.parent.name)
    names = tuple(record["label_names"])
    labels, predictions = _read_predictions(path.with_name(PREDICTIONS_FILE), names)
    if not len(labels):
        raise InputError("no predictions", path=path.with_name(PREDICTIONS_FILE), fix=fix)
    recorded = record["test"].get(metric)
    score = float(scores_of(labels, predictions[None], len(names), metric)[0])
    if recorded is not None and abs(recorded - score) > _SAME_SCORE:
        raise InputError(
            f"tells {metric} {recorded:.6f}, its predictions give {score:.6f}", path=path, fix=fix
        )
    return _Cell(path, model, record, names, labels, predictions)


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
    except (ValueError, KeyError, IndexError, csv.Error):
        raise InputError(
            "damaged predictions",
            path=path,
            expected=f"columns label and prediction of {', '.join(names)}",
            fix="remove the cell and run it again",
        ) from None
    table = np.array(pairs, dtype=np.int16).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _finished(cells: list[_Cell]) -> Finished:
    return Finished(
        learning_rate=float(cells[0].record["learning_rate"]),
        seeds=tuple(cell.seed for cell in cells),
        predictions=np.stack([cell.predictions for cell in cells]),
        records=tuple(cell.record for cell in cells),
    )


def _with_strata(results: TaskResults, path: Path) -> TaskResults:
    record = read_json(path, "the G-gram density of a test split", DENSITY_FORM)
    density = np.array(record["density"], dtype=np.float64)
    if len(density) != len(results.labels):
        raise InputError(
            f"{len(density):,} densities of {len(results.labels):,} test rows",
            path=path,
            fix="remove this file and run again",
        )
    return results._replace(strata=strata(density), ggrams_of=record["ggrams_of"])


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
