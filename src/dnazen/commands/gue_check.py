"""``dnazen gue check``: what a data directory holds of GUE's 28 tasks."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True, kw_only=True)
class GueCheckCommand:
    """Say what a data directory holds of the 28 tasks of GUE."""

    data: tyro.conf.Positional[Path]
    """Directory in GUE's layout: EMP/H3/train.csv, ..., virus/covid/test.csv."""


def run(settings: GueCheckCommand) -> None:
    """Print a row a task: rows of each split, and whether they are the official ones."""
    from ..gue.data import check
    from ..gue.tasks import TASKS, Rows
    from ..tables import new_table

    states = []
    with new_table(Path("-")) as write:
        write(["task", "group", "metric", "train", "dev", "test", "state"])
        for task in TASKS.values():
            files = check(settings.data, task)
            counts = (files.rows.get(split, "-") for split in Rows._fields)
            write([task.name, task.group, task.metric, *counts, files.data_state])
            states.append(files.state)
    numbers = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    print(f"{len(TASKS)} tasks: {numbers}", file=sys.stderr)
