"""Cells of a benchmark, several at a time: each in a process of its own, or on a Ray cluster."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from ..records import read_json
from ..runs import require_same
from ..workers.processes import Job, in_a_line, run_jobs
from .cell import CELL_FILE, Cell, run_cell
from .data import TASK_FILE
from .forms import CELL_FORM

LOG_FILE = "log.txt"
"""What the process of a cell said, in the cell's directory."""


def run_cells(cells: Sequence[Cell], *, jobs: int, ray: str | None = None) -> list[Path]:
    """Run the cells that are not done, saying how each came out on stderr.

    A cell that fails, or whose process dies, stops no other.

    Parameters
    ----------
    jobs
        Cells at a time, each in a process with its share of the threads, GPUs one after the other;
        0 runs them in this process.
    ray
        Address of a Ray cluster to run them on, one thread each.

    Returns
    -------
    The logs of the cells that failed.

    Raises
    ------
    ConfigError
        If a cell was run with other settings.
    """
    missing = [cell for cell in cells if not is_done(cell)]
    done = len(cells) - len(missing)
    failed = []
    if missing:
        at_a_time = f", {jobs} at a time" if jobs > 1 and ray is None else ""
        print(f"{len(missing):,} of {len(cells):,} cells to run{at_a_time}", file=sys.stderr)
    with tqdm(total=len(cells), initial=done, unit="cell", disable=None) as bar:
        for number, (cell, problem) in enumerate(_outcomes(missing, jobs, ray), done + 1):
            bar.update()
            outcome = _in_words(cell) if problem is None else f"FAILED: {problem}"
            name = f"{cell.model.name} on {cell.task}, seed {cell.config.run.seed}"
            tqdm.write(f"{number}/{len(cells)} {name}: {outcome}", file=sys.stderr)
            if problem is not None:
                failed.append(log_of(cell))
    return failed


def is_done(cell: Cell) -> bool:
    """Whether a cell is finished.

    A setting that is newer than the cell is not compared: the cell had its default.

    Raises
    ------
    ConfigError
        If it was run with other settings, or on other data.
    InputError
        If its record is damaged.
    """
    path = cell.output / CELL_FILE
    if not path.is_file() or not (cell.data / TASK_FILE).is_file():
        return False
    before = read_json(path, "a cell; remove its folder to run it again", CELL_FORM)["settings"]
    require_same(
        path, before, cell.identity, ignore_new=True, fix="name another output, or remove the cell"
    )
    return True


def log_of(cell: Cell) -> Path:
    """Where a cell that did not come to its end tells why."""
    return cell.output.with_name(f"{cell.output.name}.failed.log")


def run_here(cell: Cell) -> str | None:
    """Run a cell in this process; what went wrong, in a line."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            run_cell(cell)
    except Exception as error:
        log_of(cell).parent.mkdir(parents=True, exist_ok=True)
        log_of(cell).write_text(traceback.format_exc(), encoding="utf-8")
        return in_a_line(error)
    log_of(cell).unlink(missing_ok=True)
    return None


def run_apart(cell: Cell) -> str | None:
    """Run a cell in a process of its own with all threads; what went wrong, in a line."""
    [(_, problem)] = _apart([cell], 1)
    return problem


def _outcomes(
    cells: Sequence[Cell], jobs: int, ray: str | None
) -> Iterator[tuple[Cell, str | None]]:
    """Each cell as it is done, and what went wrong with it."""
    if ray is not None:
        from ..workers.cluster import spread

        anywhere = [_from_anywhere(cell) for cell in cells]
        yield from zip(cells, spread(run_apart, anywhere, ray), strict=True)
    elif jobs == 0:
        yield from ((cell, run_here(cell)) for cell in cells)
    else:
        yield from _apart(cells, jobs)


def _apart(cells: Sequence[Cell], jobs: int) -> Iterator[tuple[Cell, str | None]]:
    """Run cells in processes of their own."""
    work = [Job(run_cell, cell, log_of(cell), cell.config.run.device == "auto") for cell in cells]
    for job, problem in run_jobs(work, jobs):
        if problem is None:
            os.replace(job.log, job.argument.output / LOG_FILE)
        yield job.argument, problem


def _from_anywhere(cell: Cell) -> Cell:
    """The cell with paths that hold whatever the working directory."""
    model = cell.model
    if model.source and Path(model.source).is_dir():
        model = replace(model, source=str(Path(model.source).absolute()))
    return cell._replace(model=model, data=cell.data.absolute(), output=cell.output.absolute())


def _in_words(cell: Cell) -> str:
    """The scores of a finished cell in a few words."""
    record = read_json(cell.output / CELL_FILE, "a cell", CELL_FORM)
    metric = cell.config.metric("single_label_classification")
    score = record["test"].get(metric)
    value = "none" if score is None else f"{score:.4f}"
    collapsed = ", COLLAPSED" if record["test"]["collapsed"] else ""
    return f"test {metric} {value}{collapsed} ({record['cost']['seconds']:.0f} s)"
