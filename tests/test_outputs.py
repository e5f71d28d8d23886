"""Outputs are whole or absent, whatever ends the block that writes them."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from dnazen import outputs
from dnazen.errors import InputError, OutputError
from dnazen.outputs import new_directory, new_file, new_files, refuse_existing, refuse_inputs
from dnazen.runs import growing_directory


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_takes_its_name_when_whole(tmp_path):
    target = tmp_path / "new" / "folder" / "out.txt"
    with new_file(target) as partial:
        partial.write_text("half")
        assert not target.exists()
        partial.write_text("whole")
    assert target.read_text() == "whole"
    assert names(target.parent) == {"out.txt"}


@pytest.mark.parametrize("error", [InputError("bad"), KeyboardInterrupt(), ZeroDivisionError()])
def test_a_failed_block_leaves_the_file_as_it_was(tmp_path, error):
    target = tmp_path / "out.txt"
    target.write_text("before")
    with pytest.raises(type(error)), new_file(target) as partial:  # noqa: PT012
        partial.write_text("half")
        raise error
    assert target.read_text() == "before"
    assert names(tmp_path) == {"out.txt"}


def test_a_file_name_that_is_a_directory_is_refused(tmp_path):
    with pytest.raises(OutputError, match="is a directory; expected a file name"):
        new_file(tmp_path).__enter__()


def test_a_pipe_is_written_in_place(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with new_file(pipe) as place, open(place, "w") as handle:
        handle.write("through")
    assert os.read(reader, 100) == b"through"
    assert pipe.is_fifo()
    os.close(reader)


def test_a_directory_takes_its_name_when_whole(tmp_path):
    target = tmp_path / "new" / "out"
    with new_directory(target) as partial:
        (partial / "a").write_text("1")
        assert not target.exists()
    assert (target / "a").read_text() == "1"
    assert names(target.parent) == {"out"}


@pytest.mark.parametrize("error", [InputError("bad"), KeyboardInterrupt(), ZeroDivisionError()])
def test_a_failed_block_leaves_no_directory(tmp_path, error):
    with pytest.raises(type(error)), new_directory(tmp_path / "out") as partial:  # noqa: PT012
        (partial / "a").write_text("1")
        raise error
    assert names(tmp_path) == set()


def test_an_empty_directory_may_be_filled_by_any_of_its_names(tmp_path, monkeypatch):
    folder = tmp_path / "empty"
    folder.mkdir()
    link = tmp_path / "link"
    link.symlink_to(folder)
    with new_directory(link) as partial:
        (partial / "a").write_text("1")
    assert (folder / "a").read_text() == "1"
    assert link.is_symlink()

    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    with new_directory(Path(".")) as partial:
        (partial / "a").write_text("1")
    assert (here / "a").read_text() == "1"


def test_an_occupied_output_is_refused_before_work_starts(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("mine")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="not empty; expected a new or empty one; name another"):
        new_directory(tmp_path / "full").__enter__()
    with pytest.raises(OutputError, match="exists and is not a directory; name another output"):
        refuse_existing(tmp_path / "file")
    assert (tmp_path / "full" / "a").read_text() == "mine"
    refuse_existing(tmp_path / "absent")


def test_of_two_runs_to_one_place_the_first_wins_and_the_second_is_told(tmp_path):
    target = tmp_path / "out"
    with (  # noqa: PT012
        pytest.raises(OutputError, match="cannot be written"),
        new_directory(target) as second,
    ):
        (second / "a").write_text("second")
        script = (
            "import sys; from pathlib import Path; from dnazen.outputs import new_directory\n"
            "with new_directory(Path(sys.argv[1])) as d: (d / 'a').write_text('first')"
        )
        subprocess.run([sys.executable, "-c", script, str(target)], check=True)
    assert (target / "a").read_text() == "first"
    assert names(tmp_path) == {"out"}


@pytest.mark.parametrize("manager", [new_file, new_directory])
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path, manager):
    # A limit on file sizes makes the system refuse a write as a full disk does.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(OutputError, match=r"out: cannot be written \(File too large\); free some"):  # noqa: PT012, SIM117
        with manager(tmp_path / "out") as partial:
            place = partial / "a" if partial.is_dir() else partial
            try:
                resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
                place.write_bytes(b"x" * 5000)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == set()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_device_that_is_full_is_one_line():
    with (
        pytest.raises(OutputError, match=r"/dev/full: cannot be written \(No space left"),
        new_file(Path("/dev/full")) as place,
        open(place, "w") as handle,
    ):
        handle.write("x" * 100_000)


@pytest.mark.parametrize("manager", [new_file, new_directory])
def test_a_parent_that_cannot_be_made_is_one_line(tmp_path, manager):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError, match="cannot be written"),
        manager(tmp_path / "file" / "below" / "out"),
    ):
        pass


@pytest.mark.parametrize("manager", [new_file, new_directory])
@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file", "input.fa"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        OSError("Not a gzipped file"),
    ],
)
def test_failures_of_other_files_are_not_taken_for_the_outputs(tmp_path, manager, error):
    with pytest.raises(type(error)) as caught, manager(tmp_path / "out"):
        raise error
    assert caught.value is error


def test_temporary_names_are_random_and_follow_no_link(tmp_path):
    seen = set()
    for _ in range(3):
        with new_file(tmp_path / "out.tsv") as partial:
            seen.add(partial)
            assert partial.stat().st_size == 0
    assert len(seen) == 3
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "out.txt").symlink_to(tmp_path / "precious")
    with new_file(tmp_path / "out.txt") as partial:
        partial.write_text("new")
    assert (tmp_path / "precious").read_text() == "mine"
    assert (tmp_path / "out.txt").read_text() == "new"


LEAVE = """
import os, sys
from pathlib import Path
from dnazen.outputs import new_directory, new_file
with new_file(Path(sys.argv[1], "out.tsv")) as file, new_directory(Path(sys.argv[1], "out")) as d:
    file.write_text("half")
    (d / "a").write_text("half")
    os.kill(os.getpid(), int(sys.argv[2]))
    print(file, flush=True)
    sys.stdin.read()
"""


def test_what_a_killed_run_left_is_swept_by_the_next_and_of_a_living_one_is_not(tmp_path):
    subprocess.run([sys.executable, "-c", LEAVE, str(tmp_path), "9"])
    living = subprocess.Popen(
        [sys.executable, "-c", LEAVE, str(tmp_path), "0"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    name = Path(living.stdout.readline().strip()).name
    (tmp_path / ".out.tsv.notes").touch()
    assert len(names(tmp_path)) == 3  # what was left was swept as the living one began
    with new_file(tmp_path / "out.tsv") as partial:
        partial.write_text("whole")
    refuse_existing(tmp_path / "out")
    assert name in names(tmp_path)
    living.communicate("")
    assert names(tmp_path) == {"out.tsv", "out", ".out.tsv.notes"}
    assert (tmp_path / "out.tsv").read_text() == "half"  # the last one wins


def test_a_long_name_has_a_temporary_one_too(tmp_path):
    for name in ("x" * 255, "é" * 127):
        with new_file(tmp_path / name) as partial:
            partial.write_text("1")
        assert (tmp_path / name).read_text() == "1"
    with pytest.raises(OutputError, match="the name is too long"), new_file(tmp_path / ("x" * 256)):
        pass


@pytest.mark.parametrize("manager", [new_file, new_directory])
def test_names_that_cannot_be_are_one_line(tmp_path, manager):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, message in {
        tmp_path / "loop": "a link that leads to itself; name another output",
        tmp_path / "a\0b": "holds a NUL character",
    }.items():
        with pytest.raises(OutputError, match=message), manager(path):
            pass
    assert names(tmp_path) == {"loop"}


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_have_the_permissions_of_the_umask(tmp_path, umask):
    before = os.umask(umask)
    try:
        with new_file(tmp_path / "file") as partial:
            partial.write_text("1")
        with new_directory(tmp_path / "out") as partial:
            (partial / "below").mkdir()
            (partial / "below" / "weights").touch(mode=0o600)
            (partial / "script").touch(mode=0o700)
    finally:
        os.umask(before)
    modes = {
        str(path.relative_to(tmp_path)): path.stat().st_mode & 0o777
        for path in (tmp_path / "file", *(tmp_path / "out").rglob("*"))
    }
    assert modes["file"] == modes["out/below/weights"] == 0o666 & ~umask
    assert modes["out/script"] == 0o700 | (0o666 & ~umask)
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o777 & ~umask


def is_report(path: Path) -> bool:
    return (path / "report.json").is_file()


@pytest.mark.parametrize("in_one_step", [True, False])
def test_an_earlier_output_stands_until_the_new_one_is_whole(tmp_path, monkeypatch, in_one_step):
    if not in_one_step:
        monkeypatch.setattr(outputs, "_EXCHANGE", 1 << 20)  # which no system knows
    target = tmp_path / "report"
    for text in ("old", "new"):
        with new_directory(target, replaceable=is_report) as partial:
            (partial / "report.json").write_text(text)
            (partial / text).touch()
            assert text == "old" or (target / "report.json").read_text() == "old"
    assert names(target) == {"report.json", "new"}
    assert names(tmp_path) == {"report"}
    with pytest.raises(ZeroDivisionError), new_directory(target, replaceable=is_report):
        raise ZeroDivisionError
    assert names(target) == {"report.json", "new"}
    (target / "report.json").unlink()
    with (
        pytest.raises(OutputError, match="not empty"),
        new_directory(target, replaceable=is_report),
    ):
        pass


def test_a_kill_between_the_two_steps_is_mended_by_the_next_run(tmp_path):
    target = tmp_path / "report"
    for after in ("put back", "removed"):
        shutil.rmtree(target, ignore_errors=True)
        (tmp_path / ".report.replaced").mkdir()
        (tmp_path / ".report.replaced" / "report.json").write_text("old")
        if after == "removed":
            target.mkdir()
            (target / "report.json").write_text("new")
        with pytest.raises(ZeroDivisionError), new_directory(target, replaceable=is_report):
            raise ZeroDivisionError
        expected = "old" if after == "put back" else "new"
        assert (target / "report.json").read_text() == expected
        assert names(tmp_path) == {"report"}


def test_an_output_and_its_index_are_never_of_two_runs(tmp_path, monkeypatch):
    out, index = tmp_path / "out.npy", tmp_path / "out.rows.tsv"

    def write(text: str) -> None:
        with new_files(out, index) as places:
            for place in places:
                place.write_text(text)

    write("old")
    real = os.replace
    for killed_after in (0, 1, 2):
        steps = []

        def replace(*paths: Path, last=killed_after, steps=steps) -> None:
            if len(steps) == last:
                raise KeyboardInterrupt
            steps.append(real(*paths))

        monkeypatch.setattr(os, "replace", replace)
        with contextlib.suppress(KeyboardInterrupt):
            write(f"new {killed_after}")
        monkeypatch.setattr(os, "replace", real)
        assert not index.exists() or index.read_text() == out.read_text()
    assert index.read_text() == out.read_text() == "new 2"
    with pytest.raises(ZeroDivisionError), new_files(out, index):
        raise ZeroDivisionError
    assert index.read_text() == "new 2"


def test_an_input_is_no_output(tmp_path):
    (tmp_path / "a.fa").write_text(">a\nACGT\n")
    (tmp_path / "link").symlink_to("a.fa")
    (tmp_path / "hard").hardlink_to(tmp_path / "a.fa")
    (tmp_path / "b.fa").touch()
    for output in ("a.fa", "link", "hard", "../" + tmp_path.name + "/a.fa"):
        with pytest.raises(OutputError, match=r"is an input too \(.*a\.fa\); name another output"):
            refuse_inputs(tmp_path / output, [tmp_path / "b.fa", tmp_path / "a.fa"])
    refuse_inputs(tmp_path / "new", [tmp_path / "a.fa", tmp_path])
    refuse_inputs(Path("-"), [Path("-")])
    refuse_inputs(Path("/dev/null"), [Path("/dev/null")])


def test_a_growing_directory_takes_its_own_and_one_run_at_a_time(tmp_path):
    place = tmp_path / "a" / "run"
    with growing_directory(place, "run.json", "dnazen x"):
        (place / "run.json").touch()
        with (
            pytest.raises(OutputError, match="another run is at work here"),
            growing_directory(place, "run.json", "dnazen x"),
        ):
            pass
    with growing_directory(place, "run.json", "dnazen x"):
        pass
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thing").touch()
    for path, message in {
        tmp_path / "other": "no run of 'dnazen x'",
        place / "run.json": "is not a directory",
        place / "run.json" / "below": "cannot be written",
    }.items():
        with (
            pytest.raises(OutputError, match=message),
            growing_directory(path, "run.json", "dnazen x"),
        ):
            pass
