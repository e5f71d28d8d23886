"""Two runs at one place: the same or not, one at a time, whatever becomes of the first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from dnazen import runs
from dnazen.errors import ConfigError, OutputError
from dnazen.runs import begin_or_go_on, claimed, require_same


@dataclass(frozen=True)
class Run:
    seed: int = 0
    rates: tuple[float, ...] = (0.1, 2e-5)


IDENTITY = {"corpus": "c0ffee", "run": Run(), "model": None}

CLAIM = """
import sys, time
from pathlib import Path
from dnazen.errors import OutputError
from dnazen.runs import claimed
try:
    with claimed(Path(sys.argv[1])):
        print("mine", flush=True)
        time.sleep(float(sys.argv[2]))
except OutputError as error:
    print(error, flush=True)
"""


def claiming(place: Path, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CLAIM, str(place), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_the_first_run_writes_and_the_same_goes_on(tmp_path):
    path = tmp_path / "run" / "identity.json"
    assert begin_or_go_on(path, IDENTITY) is False
    assert begin_or_go_on(path, IDENTITY) is True
    assert [file.name for file in path.parent.iterdir()] == ["identity.json"]
    assert json.loads(path.read_text())["run"] == {"seed": 0, "rates": [0.1, 2e-5]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corpus": "bad"}, "another corpus: c0ffee, now bad"),
        ({"run": Run(seed=1)}, r"another run\.seed: 0, now 1; give it the same, name another"),
        ({"run": Run(rates=(0.1,))}, r"another run\.rates: \[0\.1, 2e-05\], now \[0\.1\]"),
        ({"model": "m" * 500}, r"another model: None, now m{100}\.\.\.;"),
        ({"added": 1}, "another added: not set, now 1"),
    ],
)
def test_another_run_is_refused_with_both_values(tmp_path, change, message):
    path = tmp_path / "identity.json"
    begin_or_go_on(path, IDENTITY)
    with pytest.raises(ConfigError, match=message):
        begin_or_go_on(path, IDENTITY | change)


def test_a_setting_that_is_gone_differs_and_a_new_one_may_pass():
    with pytest.raises(ConfigError, match="another b: 2, now not set"):
        require_same(Path("x"), {"a": 1, "b": 2}, {"a": 1}, ignore_new=True)
    require_same(Path("x"), {"a": 1}, {"a": 1, "b": {"c": 2}}, ignore_new=True)
    with pytest.raises(ConfigError, match=r"another b\.c: not set"):
        require_same(Path("x"), {"a": 1}, {"a": 1, "b": {"c": 2}})


def test_a_claim_is_one_at_a_time_and_leaves_nothing(tmp_path):
    place = tmp_path / "made" / "out"
    (tmp_path / "link").symlink_to(tmp_path / "made")
    with claimed(place):
        for name in (place, tmp_path / "link" / "out", tmp_path / "made" / ".." / "made" / "out"):
            with pytest.raises(OutputError, match="another run is at work here"), claimed(name):
                pass
        with claimed(place.with_name("other")):
            pass
    with claimed(place):
        pass
    assert list(place.parent.iterdir()) == []


def test_a_claim_ends_with_a_killed_process_and_holds_against_others(tmp_path):
    first = claiming(tmp_path / "out", 600)
    assert first.stdout.readline() == "mine\n"
    second = claiming(tmp_path / "out", 0)
    assert "another run is at work here" in second.communicate()[0]
    first.kill()
    first.communicate()
    with claimed(tmp_path / "out"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_of_runs_that_start_at_once_one_is_let_in(tmp_path):
    started = [claiming(tmp_path / "out", 3) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda process: process.communicate()[0], started))
    assert sum(answer == "mine\n" for answer in answers) == 1


def test_a_lock_in_the_form_of_a_link_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / ".out.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(OutputError, match="cannot be written"), claimed(tmp_path / "out"):
        pass
    assert (tmp_path / "precious").read_text() == "mine"


def test_without_locks_of_the_system_a_name_does(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("no locks here")

    monkeypatch.setattr(runs.fcntl, "lockf", refuse)
    with claimed(tmp_path / "out"):
        runs._HELD.clear()  # as for another process
        with pytest.raises(OutputError, match="another run"), claimed(tmp_path / "out"):
            pass
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = runs.socket.gethostname()
    for owner, free in ((f"{host} {dead.pid}", True), (f"{host} {os.getppid()}", False)):
        (tmp_path / ".out.lock").write_text(owner)
        assert (runs._lock_by_name(tmp_path / ".out.lock") is not None) is free


def test_an_output_that_cannot_be_locked_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"), claimed(tmp_path / "file" / "out"):
        pass
