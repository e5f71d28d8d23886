"""Jobs several at a time, each in a process of its own.

A process of its own has its own threads, GPU and peak memory, and its end is nobody else's. It is
forked from a server that has imported what the jobs need, so it costs no start-up, and it ends with
the process that started it: at Ctrl-C or SIGTERM after it has cleaned up (``workers.signals``).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, NamedTuple

from .signals import unwind_on_sigterm

GRACE_SECONDS = 20.0
"""Less than the 30 seconds that schedulers leave between SIGTERM and the end."""


class Job(NamedTuple):
    """A call of a function that leaves its result on disk."""

    function: Callable[[Any], object]
    argument: Any
    log: Path
    """File that takes the stdout and stderr of the process."""
    gpu: bool
    """Whether it may have a GPU."""


def run_jobs(jobs: Iterable[Job], together: int) -> Iterator[tuple[Job, str | None]]:
    """Yield each job as it is done, and what went wrong with it, in a line.

    A job that fails, or whose process dies, stops no other. When this is left, the jobs at work
    are terminated: they have ``GRACE_SECONDS`` to clean up, or to write a checkpoint.

    Parameters
    ----------
    together
        Jobs at a time, each with its share of the threads; GPUs are given one after the other.
    """
    import torch

    jobs = list(jobs)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(sorted({job.function.__module__ for job in jobs}))
    threads = max(1, torch.get_num_threads() // together)
    waiting = iter(jobs)
    slots = list(range(together))
    running: dict[int, tuple[ForkServerProcess, Job, int]] = {}
    try:
        while True:
            while slots and (job := next(waiting, None)) is not None:
                slot = slots.pop(0)
                process = context.Process(target=_work, args=(job, threads, _gpu(job, slot)))
                process.start()
                running[process.sentinel] = (process, job, slot)
            if not running:
                return
            for sentinel in wait(list(running)):
                assert isinstance(sentinel, int)
                process, job, slot = running.pop(sentinel)
                process.join()
                slots.append(slot)
                yield job, _problem(job, process.exitcode)
    finally:
        _end([process for process, _, _ in running.values()])


def _end(processes: Sequence[ForkServerProcess]) -> None:
    """End processes, in their own way if that takes no longer than the grace."""
    for process in processes:
        process.terminate()
    last = time.monotonic() + GRACE_SECONDS
    for process in processes:
        process.join(max(0.0, last - time.monotonic()))
        process.kill()
        process.join()


def in_a_line(error: Exception) -> str:
    """An error's kind and message as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _work(job: Job, threads: int, gpu: str | None) -> None:
    """What the process of a job does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the parent tells us
    unwind_on_sigterm()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("wb") as handle:
        os.dup2(handle.fileno(), 1)
        os.dup2(handle.fileno(), 2)
    if gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    import torch

    torch.set_num_threads(threads)
    try:
        job.function(job.argument)
    except Exception as error:
        traceback.print_exc()
        print(in_a_line(error), file=sys.stderr, flush=True)
        sys.exit(1)
    except KeyboardInterrupt:
        print("terminated", file=sys.stderr, flush=True)
        sys.exit(128 + signal.SIGTERM)


def _end_with_parent() -> None:
    """Leave no process at work behind a run that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _problem(job: Job, status: int | None) -> str | None:
    if status == 0:
        return None
    if status is not None and status < 0:
        return f"killed by signal {-status}; out of memory? see {job.log}"
    text = job.log.read_text(encoding="utf-8", errors="replace") if job.log.is_file() else ""
    lines = reversed(text.split("\n"))
    return next((line for line in lines if line.strip()), f"exit status {status}")


def _gpu(job: Job, slot: int) -> str | None:
    """The one GPU that a job's process sees, of those that this one sees."""
    import torch

    gpus = torch.cuda.device_count() if job.gpu else 0
    if not gpus:
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    names = visible.split(",") if visible else [str(number) for number in range(gpus)]
    return names[slot % gpus]
