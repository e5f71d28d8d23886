"""``dnazen gue run``: models x tasks x seeds, each fine-tuned and scored in a cell of its own."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro

from ..errors import ConfigError, DnazenError, InputError
from ..model.directory import open_directory
from ..outputs import new_file
from ..records import read_json, run_record, write_json
from ..runs import growing_directory
from ..sequences.reader import read_records
from ..training.settings import FinetuneConfig, OptimizerConfig, RunConfig
from .cell import CELL_FILE, Cell
from .density import densities
from .dispatch import run_cells
from .leakage import leakages
from .models import BenchmarkModel, model_sha256, parse_models
from .settings import BenchmarkConfig, Plan, plan_tasks, rates_of
from .tasks import TASKS, TaskData, check, prepare

RUN_FILE = "run.json"
CHOICES_FILE = "choices.json"
DENSITY_FILE = "density.json"
LEAKAGE_FILE = "leakage.json"


@dataclass(frozen=True, kw_only=True)
class GueRunConfig(BenchmarkConfig):
    """Fine-tune models on tasks of GUE with several seeds, and score them.

    Writes OUTPUT/: a directory for each finished cell, below cells/. A run that is started again
    goes on with the cells that are missing or failed; more models, tasks or seeds may be added.
    """

    models: tuple[str, ...]
    """Models as 'NAME: KIND SOURCE': dnazen DIR (ours, released, DNABERT-2), e4bu DIR (its G-grams
    left out), random DIR (from random weights), hf DIR_OR_NAME (Hugging Face), cnn, kmer."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write, or to go on with."""

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_models(self.models)


def gue_run(config: GueRunConfig) -> None:
    """Run ``dnazen gue run``: print the score of each model on each task, mean over seeds.

    Raises
    ------
    DnazenError
        If the models, the data or the output cannot be used, or, when all is done, if cells failed.
    """
    models = parse_models(config.models)
    failures = run_grid(config, models, config.output)
    print("task\tmodel\tmetric\tseeds\tmean\tsd\tcollapsed")
    for task, model, metric, scores, collapsed in _summary(config.output):
        sd = f"{statistics.stdev(scores):.4f}" if len(scores) > 1 else "NA"
        mean = statistics.fmean(scores)
        print(f"{task}\t{model}\t{metric}\t{len(scores)}\t{mean:.4f}\t{sd}\t{collapsed}")
    if failures:
        raise DnazenError(
            f"{len(failures)} cells failed, the first as {failures[0]} tells; run the same command "
            "again to try them again"
        )


def run_grid(config: BenchmarkConfig, models: Sequence[BenchmarkModel], output: Path) -> list[Path]:
    """Run all cells of models x tasks x seeds that are not done; finished cells are kept.

    Where a task has several learning rates, the first seed is run with each of them, and the one
    with the best dev score (the first of equals) is that of all seeds.

    Returns
    -------
    The logs of the cells that failed.

    Raises
    ------
    InputError
        If models or data cannot be read, or no task is there.
    OutputError
        If ``output`` holds something else, or cells that were run with other settings.
    """
    hashes = {model.name: model_sha256(model) for model in models}
    dense = _dense_model(config, models)
    present, skipped = _present(config)
    record = run_record("gue run", config, arms=models, skipped=skipped, torch=torch.__version__)
    with growing_directory(output, RUN_FILE, "dnazen gue run"):
        _rewrite(output / RUN_FILE, record)
        for plan, found in present:
            said = prepare(
                found,
                output / "tasks" / plan.task.name,
                max_train_rows=plan.max_train_rows,
                max_dev_rows=plan.max_dev_rows,
                train_from_dev=config.train_from_dev,
            )
            print(f"{plan.task.name}: {said}", file=sys.stderr)
        plans = [plan for plan, _ in present]
        _describe(dense, models, plans, output)
        return _run_all(config, models, plans, output, hashes)


def _run_all(
    config: BenchmarkConfig,
    models: Sequence[BenchmarkModel],
    plans: Sequence[Plan],
    output: Path,
    hashes: dict[str, str | None],
) -> list[Path]:
    """Run the cells, the trials of learning rates first; the logs of those that failed."""

    def cell(model: BenchmarkModel, plan: Plan, seed: int, rate: float) -> Cell:
        settings = FinetuneConfig(
            epochs=plan.epochs,
            batch_size=plan.batch_size,
            pooling=config.pooling,
            best_metric=plan.task.metric,
            patience=config.patience,
            max_tokens=config.max_tokens,
            optimizer=OptimizerConfig(learning_rate=rate, warmup_steps=plan.warmup_steps),
            run=RunConfig(seed=seed, precision=config.precision, device=config.device),
        )
        name = plan.task.name
        place = output / "cells" / model.name / name / f"lr-{rate:g}" / f"seed-{seed}"
        return Cell(model, name, output / "tasks" / name, place, settings, hashes[model.name])

    first = config.seeds[0]
    tried = {
        (model, plan): {rate: cell(model, plan, first, rate) for rate in rates_of(model, plan)}
        for plan in plans
        for model in models
    }
    _choose(tried, output)  # where there is but one, nothing is to be tried
    trials = [trial for cells in tried.values() for trial in cells.values()]
    failed = run_cells(trials, jobs=config.jobs, ray=config.ray)
    chosen = _choose(tried, output)
    rest = [
        cell(model, plan, seed, rate)
        for seed in config.seeds[1:]
        for (model, plan), rate in chosen.items()
    ]
    return failed + run_cells(rest, jobs=config.jobs, ray=config.ray)


def _present(config: BenchmarkConfig) -> tuple[list[tuple[Plan, TaskData]], dict[str, str]]:
    """The tasks that can be run, with their data, and why the others cannot."""
    present: list[tuple[Plan, TaskData]] = []
    skipped: dict[str, str] = {}
    for plan in plan_tasks(config):
        found = check(config.data, plan.task)
        untrained = "train" not in found.rows and not config.train_from_dev
        if found.state == "absent" or untrained:
            why = "absent" if found.state == "absent" else "no train"
            fix = " (set train_from_dev to train on part of dev)" if why == "no train" else ""
            skipped[plan.task.name] = why
            print(f"SKIPPED: {plan.task.name}: {why}{fix}", file=sys.stderr)
        else:
            present.append((plan, found))
    if not present:
        raise InputError("none of the tasks is here", path=config.data)
    return present, skipped


def _describe(
    dense: BenchmarkModel | None,
    models: Sequence[BenchmarkModel],
    plans: Sequence[Plan],
    output: Path,
) -> None:
    """Write the G-gram density and the leakage of the test splits, unless they are known."""
    tests = {plan.task.name: output / "tasks" / plan.task.name / "test.csv" for plan in plans}
    if dense is not None:
        parts = open_directory(Path(dense.source))
        for test in tests.values():
            target = test.with_name(DENSITY_FILE)
            known = target.is_file() and read_json(target, "densities")["ggrams_of"] == dense.name
            if parts.vocabulary is None or known:
                continue
            sequences = [record.sequence for record in read_records(test)]
            found = densities(parts.vocabulary, parts.tokenizer, sequences)
            _rewrite(target, {"ggrams_of": dense.name, "density": found.round(6).tolist()})
    target = output / LEAKAGE_FILE
    known = read_json(target, "the leakage of a run")["inputs"] if target.is_file() else []
    _rewrite(target, {"inputs": leakages(models, tests, known)})


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
    tried: dict[tuple[BenchmarkModel, Plan], dict[float, Cell]], output: Path
) -> dict[tuple[BenchmarkModel, Plan], float]:
    """Choose a learning rate for each model and task, by dev alone, and write it down.

    It is the one with the best dev score, the first of equals. Where there is but one it is taken
    as it is; where there are more and no trial is done, there is no choice.
    """
    path = output / CHOICES_FILE
    told = read_json(path, "the choices of a run") if path.is_file() else {}
    chosen = {}
    for (model, plan), cells in tried.items():
        metric = plan.task.metric
        done = {rate: cell.output / CELL_FILE for rate, cell in cells.items()}
        scores: dict[float, float | None] = {
            rate: read_json(file, "a cell")["dev"][metric]
            for rate, file in done.items()
            if file.is_file()
        }
        # A diverged trial has no score: it is below any.
        worth = {rate: -2.0 if value is None else value for rate, value in scores.items()}
        best = (
            next(iter(cells))
            if len(cells) == 1
            else max(worth, key=worth.__getitem__, default=None)
        )
        if best is not None:
            chosen[model, plan] = best
            spelt = {f"{rate:g}": value for rate, value in scores.items()}
            choice = {"learning_rate": best, f"dev_{metric}": spelt}
            told.setdefault(model.name, {})[plan.task.name] = choice
    _rewrite(path, told)
    return chosen


def _summary(output: Path) -> Iterator[tuple[str, str, str, list[float], int]]:
    """Task, model, metric, scores of the seeds, collapsed seeds; of the chosen learning rates.

    A seed without a score, that of a diverged model, counts as 0.
    """
    choices = read_json(output / CHOICES_FILE, "the choices of a run")
    for name, task in TASKS.items():
        for model, chosen in choices.items():
            if name not in chosen:
                continue
            rate = chosen[name]["learning_rate"]
            files = (output / "cells" / model / name / f"lr-{rate:g}").glob(f"*/{CELL_FILE}")
            tests = [read_json(path, "a cell")["test"] for path in sorted(files)]
            if tests:
                scores = [test[task.metric] or 0.0 for test in tests]
                yield name, model, task.metric, scores, sum(test["collapsed"] for test in tests)


def _rewrite(path: Path, value: Any) -> None:
    """Write JSON in place of what was there, at no time half of it."""
    with new_file(path) as temporary:
        write_json(temporary, value)
