"""Jobs in processes of their own: their ends, their logs, their threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch

from dnazen.workers import processes
from dnazen.workers.processes import Job, run_jobs


def work(path: Path) -> None:
    """Does what the name of the path asks."""
    print(f"working on {path.name}", flush=True)
    if path.name == "fails":
        raise ValueError("no such\nthing")
    if path.name == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if path.name == "waits":
        print(os.getpid(), flush=True)
        time.sleep(600)
    if path.name == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        path.with_name("ready").touch()
        time.sleep(600)
    if path.name == "cleans":
        path.with_name("ready").touch()
        try:
            time.sleep(600)
        finally:
            path.with_name("cleaned").touch()
    path.write_text(f"{os.getpid()} {torch.get_num_threads()}")


def jobs_of(folder: Path, *names: str) -> list[Job]:
    return [Job(work, folder / name, folder / f"{name}.log", gpu=False) for name in names]


def test_one_that_fails_or_dies_stops_no_other(tmp_path):
    names = ("good", "fails", "dies", "late")
    found = {job.argument.name: problem for job, problem in run_jobs(jobs_of(tmp_path, *names), 2)}
    assert found.keys() == set(names)
    assert found["good"] is None
    assert found["late"] is None
    assert found["fails"] == "ValueError: no such thing"
    assert found["dies"].startswith("killed by signal 9; out of memory? see")
    assert all((tmp_path / f"{name}.log").read_text().startswith("working on") for name in names)
    process, threads = (tmp_path / "good").read_text().split()
    assert int(process) != os.getpid()
    assert int(threads) == max(1, torch.get_num_threads() // 2)


def test_jobs_at_work_end_when_the_caller_leaves(tmp_path):
    running = run_jobs(jobs_of(tmp_path, "good", "waits"), 2)
    next(running)
    running.close()
    assert not (tmp_path / "waits").exists()


def test_jobs_at_work_may_clean_up(tmp_path):
    running = run_jobs(jobs_of(tmp_path, "good", "cleans"), 2)
    next(running)
    while not (tmp_path / "ready").exists():
        time.sleep(0.02)
    running.close()
    assert (tmp_path / "cleaned").exists()
    assert (tmp_path / "cleans.log").read_text() == "working on cleans\nterminated\n"


def test_a_job_that_does_not_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.1)
    running = run_jobs(jobs_of(tmp_path, "good", "stubborn"), 2)
    next(running)
    while not (tmp_path / "ready").exists():
        time.sleep(0.02)
    running.close()
    assert not (tmp_path / "stubborn").exists()


def test_jobs_end_with_the_process_that_started_them(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pathlib import Path;"
        "from workers.test_processes import jobs_of, run_jobs;"
        "list(run_jobs(jobs_of(Path(sys.argv[2]), 'waits'), 1))"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", script, str(Path(__file__).parents[1]), str(tmp_path)]
    )
    log = tmp_path / "waits.log"
    while not (log.exists() and log.read_text().count("\n") == 2):
        assert parent.poll() is None
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    child = Path("/proc", log.read_text().split()[-1])
    for _ in range(600):
        if not child.exists() or "Z" in (child / "stat").read_text().split()[2]:
            return
        time.sleep(0.05)
    raise AssertionError("the job outlived its parent")
