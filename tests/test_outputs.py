"""Outputs are whole or absent, whatever ends the block that writes them."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from dnazen.errors import InputError, OutputError
from dnazen.outputs import growing_directory, new_directory, new_file, refuse_existing


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
        place / "run.json" / "below": "cannot be made",
    }.items():
        with (
            pytest.raises(OutputError, match=message),
            growing_directory(path, "run.json", "dnazen x"),
        ):
            pass
