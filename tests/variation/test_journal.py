"""A journal against a plain list: what is kept of it after a kill at any byte."""

from __future__ import annotations

import json

import pytest

from dnazen.errors import ConfigError, OutputError
from dnazen.variation.journal import Journal

SETTINGS = {"model": "m", "window_bp": 64}


def open_journal(tmp_path, resume=False, **changes):
    return Journal(tmp_path / "out.vcf", SETTINGS | changes, resume=resume)


def test_lines_come_back_as_they_were_put_in(tmp_path):
    journal = open_journal(tmp_path)
    journal.append(["a\tb", "", "µ"])
    journal.append([])
    journal.append(["c\rd"])
    assert list(journal) == ["a\tb", "", "µ", "c\rd"]
    assert (tmp_path / "out.vcf.unfinished").is_dir()
    journal.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_kill_at_any_byte_leaves_whole_blocks(tmp_path):
    lines = ["one", "22", "", "4444", "five"]
    journal = open_journal(tmp_path)
    journal.append(lines)
    path = tmp_path / "out.vcf.unfinished" / "lines"
    whole = path.read_bytes()
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        again = open_journal(tmp_path, resume=True)
        expected = whole[:size].count(b"\n") // 2 * 2
        assert again.keep(2) == expected
        assert list(again) == lines[:expected]
        again.append(lines[expected:])
        assert list(again) == lines


def test_going_on_has_to_be_asked_for(tmp_path):
    open_journal(tmp_path)
    with pytest.raises(
        OutputError, match=r"out\.vcf\.unfinished: an interrupted run; add --resume"
    ):
        open_journal(tmp_path)


def test_going_on_with_other_settings_is_refused(tmp_path):
    open_journal(tmp_path)
    message = "another window_bp: 64, now 128; give it the same, or remove this folder"
    with pytest.raises(ConfigError, match=message):
        open_journal(tmp_path, resume=True, window_bp=128)
    with pytest.raises(ConfigError, match="another strands: None, now average"):
        open_journal(tmp_path, resume=True, strands="average")


def test_nothing_to_go_on_with_is_a_new_run(tmp_path, capsys):
    journal = open_journal(tmp_path, resume=True)
    assert "is not there: starting anew" in capsys.readouterr().err
    assert list(journal) == []
    assert json.loads((journal.folder / "run.json").read_text()) == SETTINGS


def test_a_run_killed_before_it_had_settings_is_a_new_run(tmp_path):
    folder = tmp_path / "out.vcf.unfinished"
    folder.mkdir()
    (folder / "lines").write_text("of whom?\n")
    assert list(open_journal(tmp_path)) == []
