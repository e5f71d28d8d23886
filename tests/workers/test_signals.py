"""Signals: what is unwound, and what becomes of children."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SCRIPT = """
import multiprocessing, os, sys, time
from pathlib import Path
from dnazen.errors import Terminated
from dnazen.workers.signals import unwind_on_sigterm

def child(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)

unwind_on_sigterm()
folder = Path(sys.argv[1])
process = multiprocessing.get_context("fork").Process(target=child, args=(folder / "child",))
process.start()
try:
    time.sleep(600)
except KeyboardInterrupt as stop:
    print(type(stop).__name__, flush=True)
    if sys.argv[2] == "slow":
        time.sleep(1)
    print("cleaned", flush=True)
    process.terminate()
    process.join()
    print(process.exitcode, flush=True)
"""


def started(tmp_path, *words: str) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    note = tmp_path / "child"
    while not (note.exists() and note.read_text()):
        assert process.poll() is None
        time.sleep(0.02)
    return process, Path("/proc", note.read_text())


def has_ended(process: Path) -> bool:
    try:
        return "Z" in (process / "stat").read_text().split()[2]
    except OSError:
        return True


def test_sigterm_unwinds_and_a_second_one_does_not_disturb(tmp_path):
    process, _ = started(tmp_path, "slow")
    process.terminate()
    assert process.stdout.readline() == "Terminated\n"
    process.terminate()
    out, err = process.communicate()
    assert (out, err, process.returncode) == (f"cleaned\n{-signal.SIGTERM}\n", "", 0)


def test_ctrl_c_to_all_processes_reaches_the_parent_alone(tmp_path):
    process, child = started(tmp_path, "slow")
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.readline() == "KeyboardInterrupt\n"
    assert not has_ended(child)
    out, err = process.communicate()
    assert (out, err) == (f"cleaned\n{-signal.SIGTERM}\n", "")


def test_children_end_with_a_killed_parent(tmp_path):
    process, child = started(tmp_path, "")
    process.kill()
    process.communicate()
    for _ in range(600):
        if has_ended(child):
            return
        time.sleep(0.05)
    raise AssertionError("the child outlived its parent")
