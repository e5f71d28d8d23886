"""The GUE benchmark: its 28 tasks and published scores.

Source of the tasks, their official splits and metrics: DNABERT-2, arXiv 2306.15006.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from importlib import resources
from typing import Literal, NamedTuple

from ..errors import ConfigError

Metric = Literal["mcc", "f1"]


class Rows(NamedTuple):
    """Rows of the official splits."""

    train: int
    dev: int
    test: int


class GueTask(NamedTuple):
    """A task of GUE."""

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

# Beginning of the name: group, classes, length in bases.
_KINDS: dict[str, tuple[str, int, int]] = {
    "EMP/": ("epigenetic marks (yeast)", 2, 500),
    "mouse/": ("TF binding (mouse)", 2, 101),
    "prom/prom_300": ("promoter (human)", 2, 300),
    "prom/prom_core": ("core promoter (human)", 2, 70),
    "splice/": ("splice sites (human)", 3, 400),
    "tf/": ("TF binding (human)", 2, 101),
    "virus/": ("covid variants", 9, 1000),
}


def _task(line: str) -> GueTask:
    name, *numbers = line.split()
    group, classes, length_bp = next(
        kind for start, kind in _KINDS.items() if name.startswith(start)
    )
    return GueTask(
        name=name,
        group=group,
        classes=classes,
        length_bp=length_bp,
        rows=None if numbers[0] == "-" else Rows(*map(int, numbers)),
        metric="f1" if name.startswith("virus/") else "mcc",
    )


TASKS: dict[str, GueTask] = {
    task.name: task for line in _ROWS.strip().splitlines() for task in [_task(line)]
}
"""All 28 tasks by name."""


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
    tasks: dict[str, GueTask] = {}
    for name in names:
        matching = [t for t in TASKS.values() if t.name == name or t.name.split("/")[0] == name]
        if not matching:
            raise ConfigError(
                f"{name!r} is no task of GUE; expected some of {', '.join(TASKS)}, or a folder of "
                "them such as EMP"
            )
        tasks |= {task.name: task for task in matching}
    return list(tasks.values())
