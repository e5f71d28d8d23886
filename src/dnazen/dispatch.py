"""Cells of a benchmark, several at a time: each in a process of its own, here or on a Ray cluster.

A process of its own has its own threads, GPU and peak memory, and its end is nobody else's. It is
forked from a server that has imported what a cell needs, so it costs no start-up.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from .cell import CELL_FILE, Cell, run_cell
from .config import plain, read_json
from .errors import OutputError

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
    OutputError
        If a cell was run with other settings.
    """
    missing = [cell for cell in cells if not is_done(cell)]
    done = len(cells) - len(missing)
    failed = []
    with tqdm(total=len(cells), initial=done, unit="cell", disable=None) as bar:
        for number, (cell, problem) in enumerate(_outcomes(missing, jobs, ray), done + 1):
            bar.update()
            told = _told(cell) if problem is None else f"FAILED: {problem}"
            name = f"{cell.arm.name} on {cell.task}, seed {cell.config.run.seed}"
            tqdm.write(f"{number}/{len(cells)} {name}: {told}", file=sys.stderr)
            if problem is not None:
                failed.append(log_of(cell))
    return failed


def is_done(cell: Cell) -> bool:
    """Whether a cell is finished.

    Raises
    ------
    OutputError
        If it was run with other settings.
    """
    path = cell.config.output / CELL_FILE
    if not path.is_file():
        return False
    before = _flat(read_json(path, "a cell")["settings"])
    now = _flat(plain(cell.identity))
    for key in {**now, **before}:
        was, will = before.get(key), now.get(key)
        if was != will:
            raise OutputError(
                f"{path}: was run with another {key} ({was}, now {will}); name another output, or "
                "remove the cell"
            )
    return True


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
        return _line(error)
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
        from .cluster import spread

        here = [_from_anywhere(cell) for cell in cells]
        yield from zip(cells, spread(run_apart, here, ray), strict=True)
    elif jobs == 0:
        yield from ((cell, run_here(cell)) for cell in cells)
    else:
        yield from _apart(cells, jobs)


def _apart(cells: Sequence[Cell], jobs: int) -> Iterator[tuple[Cell, str | None]]:
    """Run cells in processes of their own; when this is left, those at work are ended."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["dnazen.cell"])
    threads = max(1, torch.get_num_threads() // jobs)
    waiting = iter(cells)
    slots = list(range(jobs))
    running: dict[int, tuple[ForkServerProcess, Cell, int]] = {}
    try:
        while True:
            while slots and (cell := next(waiting, None)) is not None:
                slot = slots.pop(0)
                process = context.Process(target=_work, args=(cell, threads, _gpu(cell, slot)))
                process.start()
                running[process.sentinel] = (process, cell, slot)
            if not running:
                return
            for sentinel in wait(list(running)):
                assert isinstance(sentinel, int)
                process, cell, slot = running.pop(sentinel)
                process.join()
                slots.append(slot)
                yield cell, _problem(cell, process.exitcode)
    finally:
        for process, _, _ in running.values():
            process.kill()
            process.join()


def _work(cell: Cell, threads: int, gpu: str | None) -> None:
    """What the process of a cell does: all it says goes to the cell's log."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    log = log_of(cell)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as handle:
        os.dup2(handle.fileno(), 1)
        os.dup2(handle.fileno(), 2)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    torch.set_num_threads(threads)
    try:
        run_cell(cell)
    except Exception as error:
        traceback.print_exc()
        print(_line(error), file=sys.stderr, flush=True)
        sys.exit(1)
    os.replace(log, cell.config.output / LOG_FILE)


def _end_with_parent() -> None:
    """Leave no process at work behind a run that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _problem(cell: Cell, status: int | None) -> str | None:
    if status == 0:
        return None
    log = log_of(cell)
    if status is not None and status < 0:
        return f"killed by signal {-status}; out of memory? see {log}"
    said = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.is_file() else []
    return next((line for line in reversed(said) if line.strip()), f"exit status {status}")


def _gpu(cell: Cell, slot: int) -> str | None:
    """The one GPU that a cell's process sees, of those that this one sees."""
    gpus = torch.cuda.device_count() if cell.config.run.device == "auto" else 0
    if not gpus:
        return None
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = seen.split(",") if seen else [str(number) for number in range(gpus)]
    return names[slot % gpus]


def _from_anywhere(cell: Cell) -> Cell:
    """The cell with paths that hold whatever the working directory."""
    arm, config = cell.arm, cell.config
    if arm.source and Path(arm.source).is_dir():
        arm = arm._replace(source=str(Path(arm.source).absolute()))
    config = replace(config, data=config.data.absolute(), output=config.output.absolute())
    return cell._replace(arm=arm, config=config)


def _told(cell: Cell) -> str:
    """A finished cell in a few words."""
    found = read_json(cell.config.output / CELL_FILE, "a cell")
    metric = cell.config.chosen_metric
    score = found["test"][metric]
    value = "none" if score is None else f"{score:.4f}"
    collapsed = ", COLLAPSED" if found["test"]["collapsed"] else ""
    return f"test {metric} {value}{collapsed} ({found['cost']['seconds']:.0f} s)"


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted names."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        inner = isinstance(value, dict)
        flat |= _flat(value, f"{prefix}{key}.") if inner else {f"{prefix}{key}": value}
    return flat


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
