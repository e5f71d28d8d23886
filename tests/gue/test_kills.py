"""A run or a report that is killed at any file operation: the same command goes on."""

from __future__ import annotations

import builtins
import io
import os

from benchmark_runs import MadeUpRun
from dnazen import cli
from dnazen.gue import findings
from tiny_gue import make_gue

CALLS = ("replace", "rename", "unlink", "rmdir", "mkdir", "open")


def killed(words, at: int) -> bool:
    """Run a command in a fork that dies, cleaning nothing up, at its n-th change of a file."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _die_at(at)
            status = cli.main(words)
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 77), f"at {at}"
    return os.waitstatus_to_exitcode(status) == 77


def _die_at(at: int) -> None:
    left = [at]

    def count() -> None:
        left[0] -= 1
        if left[0] == 0:
            os._exit(77)

    def wrapped(real, changes):
        def call(*arguments, **named):
            result = real(*arguments, **named)
            if changes(*arguments):
                count()
            return result

        return call

    for name in CALLS:
        writes = (lambda _, flags=0, *__: flags & os.O_CREAT) if name == "open" else (lambda *_: 1)
        setattr(os, name, wrapped(getattr(os, name), writes))
    opened = wrapped(io.open, lambda _, mode="r", *__: set(mode) & set("wax"))
    io.open = builtins.open = opened


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_run_killed_anywhere_goes_on(tmp_path, capsys):
    data = make_gue(tmp_path / "gue")
    base = ["gue", "run", "--data", str(data), "--models", "k: kmer", "--tasks", "mouse/3"]
    base += ["--seeds", "0", "--jobs", "0", "--device", "cpu", "-o"]
    assert cli.main([*base, str(tmp_path / "whole")]) == 0
    expected = set(files(tmp_path / "whole"))
    at, alive = 0, False
    while not alive:
        at += 1
        place = tmp_path / f"run-{at}" / "run"
        alive = not killed([*base, str(place)], at)
        assert cli.main([*base, str(place)]) == 0, capsys.readouterr().err
        assert set(files(place)) == expected, f"at {at}"
        assert [path.name for path in place.parent.iterdir()] == ["run"], f"at {at}"
    assert at > 10


def test_a_report_killed_anywhere_leaves_the_old_one_or_the_new(tmp_path, monkeypatch, capsys):
    made = MadeUpRun(tmp_path / "run", {"a": "dnazen", "b": "cnn"}, ["mouse"], seeds=(0, 1))
    made.task("mouse/2", 60)
    for model in ("a", "b"):
        for seed in (0, 1):
            made.cell(model, "mouse/2", seed)
    monkeypatch.setattr(  # pictures are slow to draw
        "dnazen.gue.report._sections",
        lambda run, analysis, model, config: [findings.summary(run, analysis, model)],
    )
    output = tmp_path / "reports" / "report"
    words = ["gue", "report", str(made.path), "-o", str(output), "--draws", "100"]
    assert cli.main(words) == 0
    names = set(files(output))
    at, alive = 0, False
    while not alive:
        at += 1
        alive = not killed(words, at)
        assert set(files(output)) == names, f"at {at}"  # whole: the old one, or the new
        assert cli.main(words) == 0, capsys.readouterr().err
        assert set(files(output)) == names
        assert [path.name for path in output.parent.iterdir()] == ["report"], f"at {at}"
    assert at > 5
