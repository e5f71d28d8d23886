"""Models x tasks x seeds, each fine-tuned and scored in a cell of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ..errors import ConfigError, InputError
from ..model.directory import open_directory
from ..model.source import find_model
from ..records import read_json, run_record, write_json
from ..runs import growing_directory
from ..sequences.reader import read_records
from ..training.settings import FinetuneConfig, OptimizerConfig, RunConfig
from .cell import CELL_FILE, Cell
from .data import TaskData, check, prepare, require_same_data
from .density import densities
from .dispatch import is_done, run_cells
from .forms import CELL_FORM, CHOICES_FORM, DENSITY_FORM, LEAKAGE_FORM
from .leakage import leakages
from .models import model_sha256
from .settings import (
    BenchmarkConfig,
    BenchmarkModel,
    PlannedTask,
    Rate,
    plan_tasks,
    rate_folder,
    rates_of,
    spelt_rate,
)
from .tasks import TASKS

RUN_FILE = "run.json"
CHOICES_FILE = "choices.json"
DENSITY_FILE = "density.json"
LEAKAGE_FILE = "leakage.json"

_WORSE_THAN_ANY = -2.0
"""Stands for the dev score of a trial that diverged and has none."""


class TaskScores(NamedTuple):
    """The scores of a model on a task, at the learning rate that dev chose."""

    task: str
    model: str
    metric: str
    scores: list[float]
    """Of each seed; that of a diverged model, which has none, counts as 0."""
    collapsed: int


def run_grid(config: BenchmarkConfig, models: Sequence[BenchmarkModel], output: Path) -> list[Path]:
    """Run all cells of models x tasks x seeds that are not done; finished cells are kept.

    Where a task has several learning rates, the first seed is run with each of them, and the one
    with the best dev score (the first of equals) is that of all seeds. What cannot be run is
    refused before anything is written.

    Returns
    -------
    The logs of the cells that failed.

    Raises
    ------
    InputError
        If models or data cannot be read, or no task is there.
    ConfigError
        If settings contradict each other, or cells or data there were made with others.
    OutputError
        If ``output`` holds something else.
    """
    if not models:
        raise ConfigError("models: none given; expected one or more")
    models = [replace(model, source=_pinned(model.source)) for model in models]
    hashes = {model.name: model_sha256(model) for model in models}
    dense = _dense_model(config, models)
    present, skipped = present_tasks(config)
    for name, state in skipped.items():
        fix = " (set train_from_dev to train on part of dev)" if state == "no train" else ""
        print(f"SKIPPED: {name}: {state}{fix}", file=sys.stderr)
    grid = _Grid(config, models, [task for task, _ in present], hashes, output)
    record = run_record("gue run", config, arms=models, skipped=skipped, torch=torch.__version__)
    with growing_directory(output, RUN_FILE, "dnazen gue run"):
        _require_same_run(grid, dict(present))
        write_json(output / RUN_FILE, record)
        for planned, files in present:
            state = prepare(files, grid.data_of(planned), **_rows(config, planned))
            print(f"{planned.task.name}: {state}", file=sys.stderr)
        _describe(dense, models, grid)
        return _run_all(grid)


def _pinned(source: str) -> str:
    """A source that is the same model in every cell, on whatever machine."""
    return find_model(source).pinned if source else ""


class _Grid(NamedTuple):
    """What makes the cells."""

    config: BenchmarkConfig
    models: Sequence[BenchmarkModel]
    tasks: Sequence[PlannedTask]
    hashes: dict[str, str | None]
    output: Path

    def data_of(self, planned: PlannedTask) -> Path:
        """The directory of a task's splits."""
        return self.output / "tasks" / planned.task.name

    def cell(self, model: BenchmarkModel, planned: PlannedTask, seed: int, rate: Rate) -> Cell:
        task, config = planned.task, self.config
        place = self.output / "cells" / model.name / task.name / rate_folder(rate) / f"seed-{seed}"
        settings = FinetuneConfig(
            epochs=planned.epochs,
            batch_size=planned.batch_size,
            pooling=config.pooling,
            kmers=config.kmers,
            base_channels=config.base_channels,
            strands=config.strands,
            best_metric=task.metric,
            patience=config.patience,
            max_tokens=config.max_tokens,
            optimizer=OptimizerConfig(learning_rate=rate, warmup_steps=planned.warmup_steps),
            run=RunConfig(seed=seed, precision=config.precision, device=config.device),
        )
        return Cell(
            model, task.name, self.data_of(planned), place, settings, self.hashes[model.name]
        )

    def trials(self) -> dict[tuple[BenchmarkModel, PlannedTask], dict[Rate, Cell]]:
        """The cells of the first seed, by learning rate."""
        first = self.config.seeds[0]
        return {
            (model, planned): {
                rate: self.cell(model, planned, first, rate) for rate in rates_of(model, planned)
            }
            for planned in self.tasks
            for model in self.models
        }


def _require_same_run(grid: _Grid, present: dict[PlannedTask, TaskData]) -> None:
    """Raise, before anything is changed, if data or cells there were made with other settings."""
    for planned, files in present.items():
        require_same_data(files, grid.data_of(planned), **_rows(grid.config, planned))
    for (model, planned), cells in grid.trials().items():
        for seed in grid.config.seeds:
            for rate in cells:
                is_done(grid.cell(model, planned, seed, rate))


def _rows(config: BenchmarkConfig, planned: PlannedTask) -> dict[str, Any]:
    return {
        "max_train_rows": planned.max_train_rows,
        "max_dev_rows": planned.max_dev_rows,
        "train_from_dev": config.train_from_dev,
    }


def _run_all(grid: _Grid) -> list[Path]:
    """Run the cells, the trials of learning rates first; the logs of those that failed."""
    config, trials = grid.config, grid.trials()
    _choose(trials, grid.output)  # where there is but one, nothing is to be tried
    first = [cell for cells in trials.values() for cell in cells.values()]
    failed = run_cells(first, jobs=config.jobs, ray=config.ray)
    chosen = _choose(trials, grid.output)
    rest = [
        grid.cell(model, planned, seed, rate)
        for seed in config.seeds[1:]
        for (model, planned), rate in chosen.items()
    ]
    return failed + run_cells(rest, jobs=config.jobs, ray=config.ray)


def present_tasks(
    config: BenchmarkConfig,
) -> tuple[list[tuple[PlannedTask, TaskData]], dict[str, str]]:
    """The tasks that can be run, with their data, and why the others cannot.

    Raises
    ------
    InputError
        If none can.
    """
    present: list[tuple[PlannedTask, TaskData]] = []
    skipped: dict[str, str] = {}
    for planned in plan_tasks(config):
        files = check(config.data, planned.task)
        untrained = "train" not in files.rows and config.train_from_dev == 0
        if files.state == "absent" or untrained:
            skipped[planned.task.name] = "absent" if files.state == "absent" else "no train"
        else:
            present.append((planned, files))
    if not present:
        raise InputError("none of the tasks is here", path=config.data)
    return present, skipped


def _describe(dense: BenchmarkModel | None, models: Sequence[BenchmarkModel], grid: _Grid) -> None:
    """Write the G-gram density and the leakage of the test splits, unless they are there."""
    tests = {planned.task.name: grid.data_of(planned) / "test.csv" for planned in grid.tasks}
    if dense is not None:
        parts = open_directory(find_model(dense.source).directory)
        for test in tests.values():
            target = test.with_name(DENSITY_FILE)
            if parts.vocabulary is None or _is_density_of(target, dense):
                continue
            sequences = [record.sequence for record in read_records(test)]
            density = densities(parts.vocabulary, parts.tokenizer, sequences)
            write_json(target, {"ggrams_of": dense.name, "density": density.round(6).tolist()})
    target, before = grid.output / LEAKAGE_FILE, []
    if target.is_file():
        before = read_json(target, "the leakage of a run", LEAKAGE_FORM)["inputs"]
    write_json(target, {"inputs": leakages(models, tests, before)})


def _is_density_of(path: Path, model: BenchmarkModel) -> bool:
    if not path.is_file():
        return False
    return bool(read_json(path, "densities", DENSITY_FORM)["ggrams_of"] == model.name)


def _dense_model(
    config: BenchmarkConfig, models: Sequence[BenchmarkModel]
) -> BenchmarkModel | None:
    """The model whose G-grams measure density."""
    if config.density_of is None:
        return next((model for model in models if model.kind == "dnazen"), None)
    named = next((model for model in models if model.name == config.density_of), None)
    if named is None or not named.has_directory:
        raise ConfigError(f"density_of: {config.density_of!r} is no model with G-grams of this run")
    return named


def _choose(
    trials: dict[tuple[BenchmarkModel, PlannedTask], dict[Rate, Cell]], output: Path
) -> dict[tuple[BenchmarkModel, PlannedTask], Rate]:
    """Choose a learning rate for each model and task, by dev alone, and write it down.

    It is the one with the best dev score, the first of equals. Where there is but one it is taken
    as it is; where there are more and no trial is done, there is no choice.
    """
    path = output / CHOICES_FILE
    written = read_json(path, "the choices of a run", CHOICES_FORM) if path.is_file() else {}
    chosen = {}
    for (model, planned), cells in trials.items():
        metric = planned.task.metric
        records = {rate: cell.output / CELL_FILE for rate, cell in cells.items()}
        scores: dict[Rate, float | None] = {
            rate: read_json(path, "a cell", CELL_FORM)["dev"].get(metric)
            for rate, path in records.items()
            if path.is_file()
        }
        worth = {rate: _WORSE_THAN_ANY if v is None else v for rate, v in scores.items()}
        tried = cells if len(cells) == 1 else sorted(worth, key=lambda rate: -worth.get(rate, 0.0))
        best = next(iter(tried), None)
        if best is not None:
            chosen[model, planned] = best
            spelt = {spelt_rate(rate): value for rate, value in scores.items()}
            choice = {"learning_rate": spelt_rate(best), f"dev_{metric}": spelt}
            written.setdefault(model.name, {})[planned.task.name] = choice
    write_json(path, written)
    return chosen


def scores_of_run(output: Path) -> Iterator[TaskScores]:
    """The scores of each model on each task, of the cells that are finished."""
    choices = read_json(output / CHOICES_FILE, "the choices of a run", CHOICES_FORM)
    for name, task in TASKS.items():
        for model, chosen in choices.items():
            if name not in chosen:
                continue
            folder = rate_folder(chosen[name]["learning_rate"])
            files = (output / "cells" / model / name / folder).glob(f"*/{CELL_FILE}")
            tests = [read_json(path, "a cell", CELL_FORM)["test"] for path in sorted(files)]
            if tests:
                values = (test.get(task.metric) for test in tests)
                scores = [0.0 if value is None else value for value in values]
                collapsed = sum(test["collapsed"] for test in tests)
                yield TaskScores(name, model, task.metric, scores, collapsed)
