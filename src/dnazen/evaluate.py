"""``dnazen gue run``: models x tasks x seeds, each fine-tuned and scored in a cell of its own."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import statistics
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import torch
import tyro
from tqdm import tqdm

from .arms import Arm, parse_arms, weights_sha256
from .cell import CELL_FILE, Cell, run_cell
from .config import plain, read_json, run_record, write_json
from .errors import ConfigError, DnazenError, InputError, OutputError
from .exposure import densities, leakages
from .finetune import FinetuneConfig
from .genome import read_records
from .gue import TASK_FILE, TASKS, GueTask, TaskData, check, find_tasks, prepare
from .model.directory import open_directory
from .training import OptimizerConfig, RunConfig

RUN_FILE = "run.json"
CHOICES_FILE = "choices.json"
DENSITY_FILE = "density.json"
LEAKAGE_FILE = "leakage.json"


@dataclass(frozen=True, kw_only=True)
class GridConfig:
    """Tasks, seeds and settings of a benchmark."""

    data: Path
    """Directory in GUE's layout: EMP/H3/train.csv, ..., virus/covid/test.csv."""
    tasks: tuple[str, ...] = tuple(dict.fromkeys(name.split("/")[0] for name in TASKS))
    """Tasks, such as EMP/H3, or folders of tasks, such as EMP; run in this order."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of fine-tuning; all tasks are run with the first one, then all with the next."""
    learning_rates: tuple[float, ...] = ()
    """Of several, dev chooses one for each model and task, with the first seed. By default the
    task's own. The CNN and the k-mers have their own."""
    epochs: int | None = None
    """Passes over train; by default the task's own."""
    batch_size: int | None = None
    """Examples per batch; by default the task's own."""
    warmup_steps: int = 50
    """Optimizer steps of linear rise of the learning rate."""
    patience: int | None = None
    """Stop after so many epochs without a better dev score; by default never."""
    max_train_rows: int | None = None
    """Train on a sample of at most so many rows."""
    train_from_dev: float = 0.0
    """Of tasks without a train split, the fraction of dev to train on; 0 skips them."""
    task_settings: tuple[str, ...] = ()
    """Other settings for some tasks, such as 'EMP: epochs=2 learning_rates=1e-4,3e-4', of epochs,
    batch_size, learning_rates, warmup_steps and max_train_rows; a later one wins."""
    max_tokens: int = 1024
    """Longest sequence; a longer one is refused, never cut."""
    precision: Literal["auto", "bf16", "float32"] = "auto"
    """Arithmetic of training; auto: bf16 where hardware has it."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: GPUs where there are any, one after the other."""
    density_of: str | None = None
    """The model whose G-grams say how dense a test sequence is; by default the first that has
    G-grams."""
    jobs: int = 1
    """Cells at a time, each a process with its share of the cores; 0 runs them in this process."""
    ray: str | None = None
    """Run the cells on a Ray cluster: its address, or 'local'. Its machines must see all paths."""

    def __post_init__(self) -> None:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError("seeds must be one or more different numbers")
        if self.jobs < 0:
            raise ConfigError(f"jobs must be >= 0, got {self.jobs}")
        if not 0 <= self.train_from_dev < 1:
            raise ConfigError(f"train_from_dev must lie in 0 <= x < 1, got {self.train_from_dev}")
        plan_tasks(self)


@dataclass(frozen=True, kw_only=True)
class GueRunConfig(GridConfig):
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
        parse_arms(self.models)


class Plan(NamedTuple):
    """A task and the settings it is run with."""

    task: GueTask
    learning_rates: tuple[float, ...]
    epochs: int
    batch_size: int
    warmup_steps: int
    max_train_rows: int | None


def gue_run(config: GueRunConfig) -> None:
    """Run ``dnazen gue run``: print the score of each model on each task, mean over seeds.

    Raises
    ------
    DnazenError
        If the models, the data or the output cannot be used, or, when all is done, if cells failed.
    """
    arms = parse_arms(config.models)
    failures = run_grid(config, arms, config.output)
    print("task\tmodel\tmetric\tseeds\tmean\tsd\tcollapsed")
    for task, arm, metric, scores, collapsed in _summary(config.output):
        sd = statistics.stdev(scores) if len(scores) > 1 else float("nan")
        mean = statistics.fmean(scores)
        print(f"{task}\t{arm}\t{metric}\t{len(scores)}\t{mean:.4f}\t{sd:.4f}\t{collapsed}")
    if failures:
        raise DnazenError(
            f"{len(failures)} cells failed, the first as {failures[0]} tells; run the same command "
            "again to try them again"
        )


def plan_tasks(config: GridConfig) -> list[Plan]:
    """The tasks of a grid, each with its settings.

    Raises
    ------
    ConfigError
        If a task or a setting is unknown or out of range.
    """
    plans = {}
    for task in find_tasks(config.tasks):
        own = Plan(
            task,
            config.learning_rates or (task.learning_rate,),
            config.epochs or task.epochs,
            config.batch_size or task.batch_size,
            config.warmup_steps,
            config.max_train_rows,
        )
        plans[task.name] = own
    for text in config.task_settings:
        name, settings = named_settings(text)
        changes = {key: _task_setting(text, key, value) for key, value in settings.items()}
        for task in find_tasks([name]):
            if task.name in plans:
                plans[task.name] = plans[task.name]._replace(**changes)
    for plan in plans.values():
        numbers = (plan.epochs, plan.batch_size, *plan.learning_rates, plan.max_train_rows or 1)
        if min(numbers) <= 0 or plan.warmup_steps < 0:
            raise ConfigError(
                f"{plan.task.name}: epochs, batch_size, learning_rates and max_train_rows must be "
                "> 0, warmup_steps >= 0"
            )
    return list(plans.values())


def named_settings(text: str) -> tuple[str, dict[str, str]]:
    """Read ``NAME: key=value key=value``; the settings may be none.

    Raises
    ------
    ConfigError
        If it is of another form.

    Examples
    --------
    >>> named_settings("EMP: epochs=2 learning_rates=1e-4,3e-4")
    ('EMP', {'epochs': '2', 'learning_rates': '1e-4,3e-4'})
    """
    name, _, rest = text.partition(":")
    pairs = [word.partition("=") for word in rest.split()]
    if not name.strip() or not all(key and equals for key, equals, _ in pairs):
        raise ConfigError(f"{text!r}: expected 'NAME: key=value key=value ...'")
    return name.strip(), {key: value for key, _, value in pairs}


def run_grid(config: GridConfig, arms: Sequence[Arm], output: Path) -> list[Path]:
    """Run all cells of arms x tasks x seeds that are not done; finished cells are kept.

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
    _refuse_foreign(output)
    hashes = {arm.name: weights_sha256(arm) for arm in arms}
    plans, skipped = _prepared(config, output)
    record = run_record("gue run", config, arms=arms, skipped=skipped, torch=torch.__version__)
    write_json(output / RUN_FILE, record)
    _describe(config, arms, plans, output)

    def cell(arm: Arm, plan: Plan, seed: int, rate: float) -> Cell:
        settings = FinetuneConfig(
            data=output / "tasks" / plan.task.name,
            model=Path(),
            output=output / "cells" / arm.name / plan.task.name / f"lr-{rate:g}" / f"seed-{seed}",
            epochs=plan.epochs,
            batch_size=plan.batch_size,
            best_metric=plan.task.metric,
            patience=config.patience,
            max_tokens=config.max_tokens,
            optimizer=OptimizerConfig(learning_rate=rate, warmup_steps=plan.warmup_steps),
            run=RunConfig(seed=seed, precision=config.precision, device=config.device),
        )
        return Cell(arm, plan.task.name, settings, hashes[arm.name])

    pairs = [(arm, plan) for plan in plans for arm in arms]
    first = config.seeds[0]
    trials = [cell(arm, plan, first, rate) for arm, plan in pairs for rate in rates_of(arm, plan)]
    failed = run_cells(trials, config)
    chosen: dict[tuple[str, str], float] = {}
    told: dict[str, dict[str, Any]] = {}
    for arm, plan in pairs:
        tried = {rate: cell(arm, plan, first, rate) for rate in rates_of(arm, plan)}
        rate, scores = _choose(tried, plan.task.metric)
        if rate is not None:
            chosen[arm.name, plan.task.name] = rate
            choice = {"learning_rate": rate, f"dev_{plan.task.metric}": scores}
            told.setdefault(arm.name, {})[plan.task.name] = choice
    write_json(output / CHOICES_FILE, told)
    rest = [
        cell(arm, plan, seed, chosen[arm.name, plan.task.name])
        for seed in config.seeds[1:]
        for arm, plan in pairs
        if (arm.name, plan.task.name) in chosen
    ]
    return failed + run_cells(rest, config)


def rates_of(arm: Arm, plan: Plan) -> tuple[float, ...]:
    """The learning rates to try; the baselines have one of their own, whatever is asked for."""
    return plan.learning_rates[:1] if arm.kind in ("cnn", "kmer") else plan.learning_rates


def run_cells(cells: Sequence[Cell], config: GridConfig) -> list[Path]:
    """Run the cells that are not done, several at a time; the logs of those that failed.

    Raises
    ------
    OutputError
        If a cell was run with other settings.
    """
    missing = [cell for cell in cells if not _is_done(cell)]
    failed = []
    with tqdm(
        total=len(cells), initial=len(cells) - len(missing), unit="cell", disable=None
    ) as bar:
        for cell, problem in zip(missing, _outcomes(missing, config), strict=True):
            bar.update()
            if problem is not None:
                name = f"{cell.arm.name} on {cell.task}, seed {cell.config.run.seed}"
                tqdm.write(f"failed: {name}: {problem}", file=sys.stderr)
                failed.append(log_of(cell))
    return failed


def log_of(cell: Cell) -> Path:
    """Where a cell that did not come to its end tells why."""
    return cell.config.output.with_name(f"{cell.config.output.name}.failed.log")


def run_here(cell: Cell) -> str | None:
    """Run a cell in this process; what went wrong, in a line."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            run_cell(cell)
    except Exception as error:
        log_of(cell).parent.mkdir(parents=True, exist_ok=True)
        log_of(cell).write_text(traceback.format_exc(), encoding="utf-8")
        return _line(f"{type(error).__name__}: {error}")
    log_of(cell).unlink(missing_ok=True)
    return None


def run_apart(cell: Cell, threads: int, gpu: int | None = None) -> str | None:
    """Run a cell in a process of its own; what went wrong, in a line.

    What the process says is kept, in the cell's directory or where ``log_of`` says.
    """
    log = log_of(cell)
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = str(gpu)
    with log.open("wb") as handle:
        child = subprocess.Popen(
            [sys.executable, "-m", "dnazen.cell"],
            stdin=subprocess.PIPE,
            stdout=handle,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        try:
            child.communicate(pickle.dumps(cell))
        finally:
            child.kill()
    if child.returncode == 0:
        os.replace(log, cell.config.output / "log.txt")
        return None
    if child.returncode < 0:
        return f"killed by signal {-child.returncode}; out of memory? see {log}"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return _line(lines[-1]) if lines else f"exit status {child.returncode}"


def _outcomes(cells: Sequence[Cell], config: GridConfig) -> Iterator[str | None]:
    """What went wrong with each cell, in their order."""
    if config.ray is not None:
        from .cluster import spread

        yield from spread(partial(run_apart, threads=1), cells, config.ray)
    elif config.jobs == 0:
        yield from map(run_here, cells)
    else:
        gpus = torch.cuda.device_count() if config.device == "auto" else 0
        threads = max(1, (os.cpu_count() or 1) // config.jobs)
        free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(config.jobs):
            free.put(slot)

        def work(cell: Cell) -> str | None:
            slot = free.get()
            try:
                return run_apart(cell, threads, slot % gpus if gpus else None)
            finally:
                free.put(slot)

        pool = ThreadPoolExecutor(config.jobs)
        try:
            yield from pool.map(work, cells)
        finally:  # what has begun ends; an interrupt reaches the children by itself
            pool.shutdown(cancel_futures=True)


def _refuse_foreign(output: Path) -> None:
    """Raise unless the output is absent, empty, or an earlier part of a run."""
    if output.is_dir() and any(output.iterdir()) and not (output / RUN_FILE).is_file():
        raise OutputError(f"{output}: is no run of 'dnazen gue run'; name a new directory")
    if output.exists() and not output.is_dir():
        raise OutputError(f"{output}: exists and is not a directory; name another output")


def _prepared(config: GridConfig, output: Path) -> tuple[list[Plan], dict[str, str]]:
    """Write the data of each task that is there; the tasks that are not, and why."""
    plans, skipped = [], {}
    for plan in plan_tasks(config):
        found = check(config.data, plan.task)
        if found.state == "absent" or (found.state == "no train" and not config.train_from_dev):
            fix = "" if found.state == "absent" else " (set train_from_dev to train on part of dev)"
            skipped[plan.task.name] = found.state
            print(f"SKIPPED: {plan.task.name}: {found.state}{fix}", file=sys.stderr)
            continue
        said = _prepare_once(config, plan, found, output / "tasks" / plan.task.name)
        print(f"{plan.task.name}: {said}", file=sys.stderr)
        plans.append(plan)
    if not plans:
        raise InputError("none of the tasks is here", path=config.data)
    output.mkdir(parents=True, exist_ok=True)
    return plans, skipped


def _prepare_once(config: GridConfig, plan: Plan, found: TaskData, target: Path) -> str:
    if not (target / TASK_FILE).is_file():
        return prepare(
            found,
            target,
            max_train_rows=plan.max_train_rows,
            train_from_dev=config.train_from_dev,
        )
    return str(read_json(target / TASK_FILE, "a prepared task")["said"])


def _describe(config: GridConfig, arms: Sequence[Arm], plans: list[Plan], output: Path) -> None:
    """Write the G-gram density and the leakage of the test splits, if they are not there."""
    tests = {plan.task.name: output / "tasks" / plan.task.name / "test.csv" for plan in plans}
    dense = _dense_arm(config, arms)
    if dense is not None:
        parts = open_directory(Path(dense.source))
        for test in tests.values():
            target = test.with_name(DENSITY_FILE)
            if parts.vocabulary is None or target.is_file():
                continue
            sequences = [record.sequence for record in read_records(test)]
            found = densities(parts.vocabulary, parts.tokenizer, sequences)
            write_json(target, {"ggrams_of": dense.name, "density": found.round(6).tolist()})
    threads = os.cpu_count() or 1
    told = [entry._asdict() for entry in leakages(arms, tests, threads)]
    write_json(output / LEAKAGE_FILE, {"inputs": told})


def _dense_arm(config: GridConfig, arms: Sequence[Arm]) -> Arm | None:
    """The arm whose G-grams measure density."""
    if config.density_of is None:
        return next((arm for arm in arms if arm.kind == "dnazen"), None)
    named = next((arm for arm in arms if arm.name == config.density_of), None)
    if named is None or not named.has_directory:
        raise ConfigError(f"density_of: {config.density_of!r} is no model with G-grams of this run")
    return named


def _is_done(cell: Cell) -> bool:
    path = cell.config.output / CELL_FILE
    if not path.is_file():
        return False
    before, now = read_json(path, "a cell")["settings"], plain(cell.identity)
    differing = [key for key in now if before.get(key) != now[key]]
    if differing:
        key = differing[0]
        raise OutputError(
            f"{path}: was run with another {key} ({before.get(key)}, now {now[key]}); name another "
            "output, or remove the cell"
        )
    return True


def _choose(tried: dict[float, Cell], metric: str) -> tuple[float | None, dict[str, float | None]]:
    """The learning rate with the best dev score, the first of equals, and all dev scores."""
    scores: dict[str, float | None] = {}
    best: tuple[float, float] | None = None
    for rate, cell in tried.items():
        path = cell.config.output / CELL_FILE
        if path.is_file():
            score = read_json(path, "a cell")["dev"][metric]
            scores[f"{rate:g}"] = score
            worth = -2.0 if score is None else score  # below any: a diverged run has no score
            if best is None or worth > best[0]:
                best = worth, rate
    return (None if best is None else best[1]), scores


def _summary(output: Path) -> Iterator[tuple[str, str, str, list[float], int]]:
    """Task, arm, metric, scores of the seeds, collapsed seeds; of the chosen learning rates."""
    choices = read_json(output / CHOICES_FILE, "the choices of a run")
    for name, task in TASKS.items():
        for arm, chosen in choices.items():
            if name in chosen:
                rate = chosen[name]["learning_rate"]
                cells = [
                    read_json(path, "a cell")
                    for path in (output / "cells" / arm / name / f"lr-{rate:g}").glob(
                        f"*/{CELL_FILE}"
                    )
                ]
                tests = [cell["test"] for cell in cells]
                scores = [test[task.metric] or 0.0 for test in tests]
                yield name, arm, task.metric, scores, sum(t["collapsed"] for t in tests)


_TASK_SETTINGS: dict[str, Callable[[str], Any]] = {
    "epochs": int,
    "batch_size": int,
    "warmup_steps": int,
    "max_train_rows": int,
    "learning_rates": lambda text: tuple(map(float, text.split(","))),
}


def _task_setting(text: str, key: str, value: str) -> Any:
    """A setting of a task from its text."""
    try:
        return _TASK_SETTINGS[key](value)
    except KeyError:
        expected = ", ".join(_TASK_SETTINGS)
        raise ConfigError(f"{text!r}: unknown setting {key!r}; expected {expected}") from None
    except ValueError:
        raise ConfigError(f"{text!r}: {key} cannot be {value!r}") from None


def _line(text: str) -> str:
    return " ".join(text.split())
