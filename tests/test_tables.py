"""Tables and text as other programs read them: gzip, csv, and plain eyes."""

from __future__ import annotations

import csv
import gzip
import io
import os
import resource
import subprocess
import sys
from pathlib import Path

import pysam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnazen.errors import ConfigError, InputError, OutputError
from dnazen.tables import new_table, new_text, printable

ROWS = [("name", "score"), ("a b", 0.5), ("x,y", None), ("tab\tin", 1), ('"', -2)]
CELLS = [["name", "score"], ["a b", "0.5"], ["x,y", "None"], [r"tab\tin", "1"], ['"', "-2"]]


def write(path: Path, rows=ROWS) -> bytes:
    with new_table(path) as write_row:
        for row in rows:
            write_row(row)
    return path.read_bytes()


@pytest.mark.parametrize(
    "name", ["x.tsv", "x.csv", "x", "x.bed", "x.tsv.gz", "x.csv.gz", "x.gz", "x\udcff.tsv.gz"]
)
def test_the_name_tells_the_form(tmp_path, name):
    data = write(tmp_path / name)
    if name.endswith(".gz"):
        assert pysam.BGZFile(os.fsencode(tmp_path / name)).read() == gzip.decompress(data)
        data = gzip.decompress(data)
    delimiter = "," if ".csv" in name else "\t"
    assert list(csv.reader(io.StringIO(data.decode()), delimiter=delimiter)) == CELLS
    assert data.count(b"\n") == len(ROWS)


def test_standard_output_has_tabs(capsys):
    with new_table(Path("-")) as write_row:
        write_row(("a,b", 1))
    assert capsys.readouterr().out == "a,b\t1\n"


def test_on_standard_output_a_header_waits_for_its_first_row(capsys):
    def fail_behind_the_header():
        with new_table(Path("-")) as write_row:
            write_row(["name"])
            raise InputError("no such file")

    with pytest.raises(InputError):
        fail_behind_the_header()
    assert capsys.readouterr().out == ""
    with new_table(Path("-")) as write_row:
        for name in ("name", "a", "b"):
            write_row([name])
            assert capsys.readouterr().out == {"name": "", "a": "name\na\n", "b": "b\n"}[name]
    with new_table(Path("-")) as write_row:
        write_row(["name"])
    assert capsys.readouterr().out == "name\n"


@pytest.mark.parametrize("suffix", [".xz", ".zip", ".bz2", ".zst", ".parquet", ".xlsx", ".tsv.xz"])
def test_other_forms_are_refused_by_name_before_work(tmp_path, suffix):
    message = rf"x{suffix}: tables are not written as .*; expected a name that ends in \.tsv"
    with pytest.raises(ConfigError, match=message), new_table(tmp_path / f"x{suffix}"):
        pass
    assert list(tmp_path.iterdir()) == []


@given(st.text())
def test_printable_text_is_one_line_without_control_characters(text):
    shown = printable(text)
    assert shown.isprintable()
    assert text.isprintable() == (shown == text)
    shown.encode()


def test_control_characters_and_raw_bytes_are_escaped():
    assert printable("\x1b]0;x\x07chr\udcff\u202e") == r"\x1b]0;x\x07chr\xff\u202e"
    assert printable(Path("µ é ü")) == "µ é ü"


@pytest.mark.parametrize("name", ["x.tsv", "x.tsv.gz"])
def test_a_full_disk_is_told_with_its_cause(tmp_path, name):
    text = "".join(f"{number * 7919 % 104729}\n" for number in range(200_000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        with (
            pytest.raises(OutputError, match=rf"{name}: cannot be written \(File too large\)"),
            new_text(tmp_path / name) as write,
        ):
            write(text)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_the_tables_import_nothing_heavy():
    script = "import sys, dnazen.tables; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert not {"numpy", "pysam"} & set(done.stdout.split())
