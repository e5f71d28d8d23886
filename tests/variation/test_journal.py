"""A journal against a plain list: what is kept of it after a kill at any byte."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest

from dnazen.errors import ConfigError, OutputError
from dnazen.variation.journal import open_journal

SETTINGS = {"model": "m", "window_bp": 64}


def journal_of(tmp_path, resume=False, **changes):
    return open_journal(tmp_path / "out.vcf", SETTINGS | changes, resume=resume)


class KilledError(Exception):
    """Stands for the end of a process."""


@contextmanager
def killed():
    with pytest.raises(KilledError):  # noqa: PT012
        yield
        raise KilledError


def begin(tmp_path):
    with killed(), journal_of(tmp_path):
        raise KilledError


def test_lines_come_back_as_they_were_put_in(tmp_path):
    with journal_of(tmp_path) as journal:
        journal.append(["a\tb", "", "µ"])
        journal.append([])
        journal.append(["c\rd"])
        assert list(journal) == ["a\tb", "", "µ", "c\rd"]
        assert (tmp_path / "out.vcf.unfinished").is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_kill_at_any_byte_leaves_whole_blocks(tmp_path):
    lines = ["one", "22", "", "4444", "five"]
    with killed(), journal_of(tmp_path) as journal:
        journal.append(lines)
        raise KilledError
    path = tmp_path / "out.vcf.unfinished" / "lines"
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        with killed(), journal_of(tmp_path, resume=True) as again:
            expected = whole[:size].count(b"\n") // 2 * 2
            assert again.keep(2) == expected
            assert list(again) == lines[:expected]
            again.append(lines[expected:])
            assert list(again) == lines
            raise KilledError


def test_going_on_has_to_be_asked_for(tmp_path):
    begin(tmp_path)
    message = r"out\.vcf\.unfinished: an interrupted run; add --resume"
    with pytest.raises(OutputError, match=message), journal_of(tmp_path):
        pass


def test_going_on_with_other_settings_is_refused(tmp_path):
    begin(tmp_path)
    for changes, message in (
        ({"window_bp": 128}, "another window_bp: 64, now 128; give it the same"),
        ({"strands": "average"}, "another strands: not set, now average"),
    ):
        with (
            pytest.raises(ConfigError, match=message),
            journal_of(tmp_path, resume=True, **changes),
        ):
            pass


def test_nothing_to_go_on_with_is_a_new_run(tmp_path, capsys):
    with journal_of(tmp_path, resume=True) as journal:
        assert "is not there: starting anew" in capsys.readouterr().err
        assert list(journal) == []
        identity = tmp_path / "out.vcf.unfinished" / "run.json"
        assert json.loads(identity.read_text()) == SETTINGS


def test_a_run_killed_before_it_had_settings_is_a_new_run(tmp_path):
    folder = tmp_path / "out.vcf.unfinished"
    folder.mkdir()
    (folder / "lines").write_text("of whom?\n")
    with journal_of(tmp_path) as journal:
        assert list(journal) == []


def test_of_two_runs_at_a_time_the_second_is_refused(tmp_path):
    with journal_of(tmp_path) as journal:
        journal.append(["a"])
        for resume in (False, True):
            with (
                pytest.raises(OutputError, match="another run is at work here"),
                journal_of(tmp_path, resume=resume),
            ):
                pass
        assert list(journal) == ["a"]


def test_an_interrupt_tells_how_to_go_on(tmp_path):
    with pytest.raises(KeyboardInterrupt) as stop, journal_of(tmp_path):
        raise KeyboardInterrupt
    assert stop.value.__notes__ == ["add --resume to go on"]
