"""The settings of a benchmark's grid, and the plan that they make of each task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..errors import ConfigError
from ..model.settings import ClassifierPooling
from .models import BenchmarkModel
from .tasks import TASKS, GueTask, find_tasks


class Plan(NamedTuple):
    """A task and the settings it is run with."""

    task: GueTask
    learning_rates: tuple[float, ...]
    epochs: int
    batch_size: int
    warmup_steps: int
    max_train_rows: int | None
    max_dev_rows: int | None


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
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
    pooling: ClassifierPooling = "cls"
    """What the classifier on a DNAZEN model reads: [CLS], or the mean of the tokens."""
    warmup_steps: int = 50
    """Optimizer steps of linear rise of the learning rate."""
    patience: int | None = None
    """Stop after so many epochs without a better dev score; by default never."""
    max_train_rows: int | None = None
    """Train on a sample of at most so many rows."""
    max_dev_rows: int | None = None
    """Choose the epoch, and the learning rate, on a sample of at most so many rows of dev."""
    train_from_dev: float = 0.0
    """Of tasks without a train split, the fraction of dev to train on; 0 skips them."""
    task_settings: tuple[str, ...] = ()
    """Other settings for some tasks, such as 'EMP: epochs=2 learning_rates=1e-4,3e-4', of epochs,
    batch_size, learning_rates, warmup_steps, max_train_rows and max_dev_rows; a later one wins."""
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


def plan_tasks(config: BenchmarkConfig) -> list[Plan]:
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
            config.max_dev_rows,
        )
        plans[task.name] = own
    for text in config.task_settings:
        name, settings = named_settings(text)
        changes = {key: _task_setting(text, key, value) for key, value in settings.items()}
        for task in find_tasks([name]):
            if task.name in plans:
                plans[task.name] = plans[task.name]._replace(**changes)
    for plan in plans.values():
        rows = [n for n in (plan.max_train_rows, plan.max_dev_rows) if n is not None]
        numbers = (plan.epochs, plan.batch_size, *plan.learning_rates, *rows)
        if min(numbers) <= 0 or plan.warmup_steps < 0:
            raise ConfigError(
                f"{plan.task.name}: epochs, batch_size, learning_rates, max_train_rows and "
                "max_dev_rows must be > 0, warmup_steps >= 0"
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


def rates_of(model: BenchmarkModel, plan: Plan) -> tuple[float, ...]:
    """The learning rates to try; the baselines have one of their own, whatever is asked for."""
    return plan.learning_rates[:1] if model.kind in ("cnn", "kmer") else plan.learning_rates


_TASK_SETTINGS: dict[str, Callable[[str], Any]] = {
    "epochs": int,
    "batch_size": int,
    "warmup_steps": int,
    "max_train_rows": int,
    "max_dev_rows": int,
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
