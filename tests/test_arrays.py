"""Growing arrays are what numpy reads, whole or mapped."""

from __future__ import annotations

from functools import partial
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen.arrays import GrowingArray
from dnazen.errors import OutputError


def test_a_growing_array_keeps_its_header_s_length(tmp_path):
    path = tmp_path / "x.npy"
    with GrowingArray(path, np.int64) as grown:
        empty = path.stat().st_size if grown.file.flush() is None else 0
        for number in range(1000):
            grown.append([number])
    assert path.stat().st_size == empty + 8000
    assert np.load(path).tolist() == list(range(1000))


@pytest.mark.parametrize("named", [True, False])
@settings(max_examples=30, deadline=None)
@given(pieces=st.lists(st.lists(st.integers(0, 65535), max_size=20), max_size=6))
def test_pieces_make_the_whole(pieces, named, tmp_path_factory):
    path = tmp_path_factory.mktemp("arrays") / "x.npy" if named else None
    with GrowingArray(path, np.uint16) as grown:
        for number, piece in enumerate(pieces):
            grown.append(piece)
            # It may be mapped at any time, and goes on to grow.
            so_far = list(chain.from_iterable(pieces[: number + 1]))
            assert grown.mapped().tolist() == so_far
        mapped = grown.mapped()
    assert mapped.tolist() == list(chain.from_iterable(pieces))
    assert mapped.dtype == np.uint16
    if path is not None:
        assert np.load(path).tolist() == list(chain.from_iterable(pieces))


def test_rows_have_a_shape(tmp_path):
    with GrowingArray(tmp_path / "x.npy", np.float32, 3) as grown:
        assert grown.mapped().shape == (0, 3)
        grown.append(np.ones((2, 3)))
        assert grown.mapped().shape == (2, 3)
    assert np.load(tmp_path / "x.npy").shape == (2, 3)


def test_a_full_folder_for_temporary_files_is_named(monkeypatch):
    full = partial(open, "/dev/full", "w+b")
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    monkeypatch.setattr("tempfile.tempdir", "/small")
    message = r"/small: cannot be written \(No space left on device\); set TMPDIR"

    def grow(rows):
        with GrowingArray(None, np.int64) as grown:
            grown.append(rows)
            return grown.mapped()

    for rows in (range(3), range(100_000)):  # kept back by the buffer, and not
        with pytest.raises(OutputError, match=message):
            grow(rows)


def test_no_folder_for_temporary_files_is_said(monkeypatch):
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: ["/proc/nowhere"])
    monkeypatch.setattr("tempfile.tempdir", None)
    with pytest.raises(OutputError, match=r"temporary files: cannot be written .*; set TMPDIR"):
        GrowingArray(None, np.int64).__enter__()
