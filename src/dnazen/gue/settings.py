"""The settings of a benchmark: models, tasks, seeds; imports nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from ..errors import ConfigError
from ..model.settings import MOST_BASE_CHANNELS, MOST_KMERS, ClassifierPooling
from ..overrides import from_words, named_tables, override, require_name, words_of
from ..settings import FLAT, require_choices, require_fractions, require_numbers
from .tasks import TASKS, GueTask, find_tasks, published

Kind = Literal["dnazen", "e4bu", "random", "hf", "cnn", "kmer"]

KINDS: dict[Kind, str] = {
    "dnazen": "a DNAZEN or DNABERT-2 directory, ours or released",
    "e4bu": "the same, its G-grams left out",
    "random": "the same, from random weights",
    "hf": "a directory or name of a Hugging Face sequence classifier or encoder",
    "cnn": "a small CNN on bases",
    "kmer": "logistic regression on k-mers",
}
"""Kinds of models; the last two need no source."""

DRAWS = 2000
"""Bootstrap resamples."""

Rate = float | Literal["auto"]
"""A learning rate, or found by trials in each cell."""

MOST_JOBS = 4096


@dataclass(frozen=True)
class BenchmarkModel:
    """A model that is compared with others."""

    name: str
    """Of letters, digits and -_., for it names folders."""
    kind: Kind
    """dnazen, e4bu, random, hf, cnn or kmer."""
    source: str = ""
    """Directory, or name; empty for the baselines."""
    pooling: ClassifierPooling | None = None
    """In place of the benchmark's; so the next three."""
    kmers: int | None = None
    base_channels: int | None = None
    strands: Literal["auto", "average", "forward"] | None = None

    def __post_init__(self) -> None:
        require_choices(self)
        require_numbers(self, names="kmers", least=0, most=MOST_KMERS)
        require_numbers(self, names="base_channels", least=0, most=MOST_BASE_CHANNELS)
        require_name(self.name, "models")
        place = f"models.{self.name}"
        if self.kind not in KINDS:
            raise ConfigError(f"{place}: kind must be one of {', '.join(KINDS)}")
        if bool(self.source.strip()) != (self.kind not in ("cnn", "kmer")):
            wrong = "takes no source" if self.source else "needs a source, a directory or name"
            raise ConfigError(f"{place}: {self.kind} {wrong}")

    @property
    def has_directory(self) -> bool:
        """Whether the source is a DNAZEN model directory."""
        return self.kind in ("dnazen", "e4bu", "random")


def parse_models(words: Sequence[str]) -> tuple[BenchmarkModel, ...]:
    """Read models of different names, each ``NAME: KIND SOURCE`` or ``NAME={JSON}``.

    Raises
    ------
    ConfigError
        If one is of another form, or two have one name.

    Examples
    --------
    >>> [model.kind for model in parse_models(["base: kmer", "ours: dnazen DIR"])]
    ['kmer', 'dnazen']
    """
    models = []
    for word in words:
        name, _, text = word.partition(":")
        if "={" in name:
            [(name, table)] = named_tables([word], "models").items()
        else:
            kind, *source = text.split(maxsplit=1) if text.strip() else [""]
            table = {"kind": kind, "source": "".join(source).strip()}
        shape = BenchmarkModel(name.strip(), "kmer")
        if table.get("kind") not in tuple(KINDS):
            raise ConfigError(
                f"models: {word!r} is no model; expected 'NAME: KIND SOURCE', KIND one of "
                f"{', '.join(KINDS)} (cnn and kmer without a source)"
            )
        models.append(override(shape, table, f"models.{shape.name}"))
    require_different(models)
    return tuple(models)


def require_different(models: Sequence[BenchmarkModel]) -> None:
    """Raise ConfigError if two models have one name."""
    names = [model.name for model in models]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"models: two are called {twice[0]!r}; expected different names")


def _spelt(models: Sequence[BenchmarkModel]) -> list[str]:
    return [f"{model.name}: {model.kind} {model.source}".strip() for model in models]


Models = Annotated[
    tuple[BenchmarkModel, ...], from_words(parse_models, _spelt, "'NAME: KIND SOURCE'")
]
"""Models on the command line; tables ``[models.NAME]`` in recipes."""


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """How models are fine-tuned on tasks; None leaves what is set elsewhere."""

    learning_rates: tuple[float, ...] | None = None
    """Of several, dev chooses one for each model and task, with the first seed. By default short
    trials find one in each cell, on dev. The CNN and the k-mers have their own."""
    epochs: int | None = None
    """Passes over train; by default as in 'dnazen finetune'."""
    batch_size: int | None = None
    """Examples per batch; by default 32."""
    warmup_steps: float | None = None
    """Optimizer steps of linear rise of the learning rate, or below 1 a share of all steps; by
    default 0.06."""
    max_train_rows: int | None = None
    """Train on a sample of at most so many rows."""
    max_dev_rows: int | None = None
    """Choose the epoch, and the learning rate, on a sample of at most so many rows of dev."""

    def __post_init__(self) -> None:
        require_numbers(self, names="epochs batch_size max_train_rows max_dev_rows", least=1)
        require_numbers(self, names="warmup_steps", least=0)
        rates = self.learning_rates
        if rates is not None and not (rates and all(0 < rate <= 1 for rate in rates)):
            raise ConfigError(f"learning_rates must be one or more in 0 < x <= 1, got {rates}")
        if rates is not None and len(set(rates)) < len(rates):
            raise ConfigError(f"learning_rates must differ, got {rates}")


def _task_tables(words: Sequence[str]) -> dict[str, TaskSettings]:
    tables = named_tables(words, "task_settings")
    return {n: override(TaskSettings(), t, f"task_settings.{n}") for n, t in tables.items()}


def _task_words(tables: dict[str, TaskSettings]) -> list[str]:
    return words_of({name: _set(settings) for name, settings in tables.items()})


def _set(settings: TaskSettings) -> dict[str, Any]:
    """The settings that are not None."""
    values = {one.name: getattr(settings, one.name) for one in fields(settings)}
    return {name: value for name, value in values.items() if value is not None}


TaskTables = Annotated[
    dict[str, TaskSettings], from_words(_task_tables, _task_words, "TASK={JSON}")
]


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Tasks, seeds and settings of a benchmark."""

    data: Path
    """Directory in GUE's layout: EMP/H3/train.csv, ..., virus/covid/test.csv."""
    tasks: tuple[str, ...] = tuple(dict.fromkeys(name.split("/")[0] for name in TASKS))
    """Tasks, such as EMP/H3, or folders of tasks, such as EMP; run in this order."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Seeds of fine-tuning; all tasks are run with the first one, then all with the next."""
    common: Annotated[TaskSettings, FLAT] = field(default_factory=TaskSettings)
    """How models are fine-tuned on all tasks."""
    task_settings: TaskTables = field(default_factory=dict)
    """Other settings for some tasks or folders of tasks, in a recipe tables such as
    [task-settings.EMP]; on the command line 'EMP={"epochs": 2}'. A later one wins."""
    pooling: ClassifierPooling = "mean"
    """What the classifier on a DNAZEN model reads: the mean of the tokens, or [CLS]."""
    kmers: int = 6
    """Longest k-mers of the regression beside a DNAZEN model's deep head; 0 for none."""
    base_channels: int | None = None
    """Channels of a DNAZEN model's base view; 0 for none; by default those that it has, or 64."""
    strands: Literal["auto", "average", "forward"] = "auto"
    """Read both strands of every sequence, or the one given; auto: both, unless k-mers show on dev
    that labels depend on the strand."""
    patience: int | None = 5
    """Stop after so many epochs without a better dev score; None: never."""
    train_from_dev: float = 0.0
    """Of tasks without a train split, the fraction of dev to train on; 0 skips them."""
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
        require_choices(self)
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ConfigError("seeds must be one or more different numbers")
        if not all(0 <= seed < 1 << 32 for seed in self.seeds):  # what numpy's generator takes
            raise ConfigError(f"seeds must lie in 0 to {(1 << 32) - 1}, got {self.seeds}")
        require_numbers(self, names="patience", least=1)
        require_numbers(self, names="kmers", least=0, most=MOST_KMERS)
        require_numbers(self, names="base_channels", least=0, most=MOST_BASE_CHANNELS)
        require_numbers(self, names="max_tokens", least=3)
        require_numbers(self, names="jobs", least=0, most=MOST_JOBS)
        require_fractions(self, names="train_from_dev")
        if self.train_from_dev == 1:
            raise ConfigError("train_from_dev must be below 1, or nothing is left of dev")
        plan_tasks(self)


class PlannedTask(NamedTuple):
    """A task and the settings it is run with."""

    task: GueTask
    learning_rates: tuple[Rate, ...]
    epochs: int | Literal["auto"]
    batch_size: int
    warmup_steps: float
    max_train_rows: int | None
    max_dev_rows: int | None


def plan_tasks(config: BenchmarkConfig) -> list[PlannedTask]:
    """The tasks of a benchmark, each with its settings.

    Raises
    ------
    ConfigError
        If a task is unknown.
    """
    named = [
        ({task.name for task in find_tasks([name])}, settings)
        for name, settings in config.task_settings.items()
    ]
    planned = []
    for task in find_tasks(config.tasks):
        own: dict[str, Any] = {
            "learning_rates": ("auto",),
            "epochs": "auto",
            "batch_size": 32,
            "warmup_steps": 0.06,
            "max_train_rows": None,
            "max_dev_rows": None,
        }
        own |= _set(config.common)
        for tasks, settings in named:
            own |= _set(settings) if task.name in tasks else {}
        planned.append(PlannedTask(task, **own))
    return planned


def rates_of(model: BenchmarkModel, task: PlannedTask) -> tuple[Rate, ...]:
    """The learning rates to try; the baselines have one of their own, whatever is set."""
    return task.learning_rates[:1] if model.kind in ("cnn", "kmer") else task.learning_rates


def spelt_rate(rate: Rate) -> str:
    """A learning rate as files name it."""
    return rate if rate == "auto" else f"{rate:g}"


def rate_folder(rate: Rate | str) -> str:
    """The folder of the cells of a learning rate, a number or as ``spelt_rate`` spells it."""
    return f"lr-{rate if isinstance(rate, str) else spelt_rate(rate)}"


PUBLISHED_MODELS = (
    "dnabert-2",
    "dnabert-2-further-pretrained",
    "nt-2.5b-multispecies",
    "nt-v2-500m",
    "caduceus",
    "hyenadna",
    "cnn",
)


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What a report compares, and how."""

    reference: str | None = None
    """The model that all others are compared with; by default the first e4bu, else the first."""
    model: str | None = None
    """The model that is compared with the reference task by task; by default the first other."""
    draws: int = DRAWS
    """Resamples of the test rows, 100 to 1,000,000."""
    published: tuple[str, ...] = PUBLISHED_MODELS
    """Published models to show beside; published.csv has all."""

    def __post_init__(self) -> None:
        require_numbers(self, names="draws", least=100, most=1_000_000)
        names = list(dict.fromkeys(row.model for row in published()))
        if unknown := [name for name in self.published if name not in names]:
            raise ConfigError(
                f"published: no scores of {unknown[0]!r}; expected some of {', '.join(names)}"
            )
