"""Every format opens in the program that its users have, with what was put in."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dnazen.errors import ConfigError, InputError, OutputError
from dnazen.inference.vector_files import Block, require_vector_suffix, vector_file

COLUMNS = {"name": str, "start": int, "token": str}
ABOUT = {"command": "embed", "settings": {"layer": None}}
SUFFIXES = [".npy", ".npz", ".parquet", ".h5ad"]


def some_rows(rows: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = {
        "name": ["é", 'a "quoted" name', "it's"][:rows] + [f"r{i}" for i in range(3, rows)],
        "start": rng.integers(0, 2**40, rows).tolist(),
        "token": ["ACGT"[: 1 + i % 4] for i in range(rows)],
    }
    return labels, rng.normal(size=(rows, 6)).astype(np.float32)


def written(path: Path, labels, vectors, step: int) -> Path:
    with vector_file(path, vectors.shape[1], COLUMNS, ABOUT) as append:
        for start in range(0, len(vectors), step):
            part = slice(start, start + step)
            more = {"unwanted": [0] * len(vectors[part])}
            append(Block({name: some[part] for name, some in labels.items()} | more, vectors[part]))
    return path


def opened(path: Path):
    """Labels and vectors, as another program sees them."""
    if path.suffix == ".npy":
        pandas = pytest.importorskip("pandas")
        table = pandas.read_csv(path.with_suffix(".rows.tsv"), sep="\t", keep_default_na=False)
        return {name: table[name].tolist() for name in table}, np.load(path, mmap_mode="r")
    if path.suffix == ".npz":
        with np.load(path) as archive:
            assert json.loads(str(archive["about"])) == ABOUT
            labels = {n: archive[n].tolist() for n in archive if n not in ("vectors", "about")}
            return labels, archive["vectors"]
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        table = parquet.read_table(path)
        assert json.loads(table.schema.metadata[b"dnazen"]) == ABOUT
        frame = table.to_pandas()
        vectors = np.stack(frame["vector"]) if len(frame) else np.empty((0, 6), dtype=np.float32)
        return {name: frame[name].tolist() for name in frame if name != "vector"}, vectors
    anndata = pytest.importorskip("anndata")
    data = anndata.read_h5ad(path)
    assert json.loads(data.uns["dnazen"]) == ABOUT
    assert data.obs_names.tolist() == [str(number) for number in range(data.n_obs)]
    assert data.var_names.tolist() == [str(number) for number in range(data.n_vars)]
    return {name: data.obs[name].tolist() for name in data.obs}, data.X


@pytest.mark.parametrize("block_bytes", [100, 1 << 20])
@pytest.mark.parametrize("rows", [1, 57])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_back_what_was_put_in(tmp_path, monkeypatch, suffix, rows, block_bytes):
    monkeypatch.setattr("dnazen.inference.vector_files.BLOCK_BYTES", block_bytes)
    labels, vectors = some_rows(rows)
    found, rows_found = opened(written(tmp_path / f"new/x{suffix}", labels, vectors, step=5))
    assert rows_found.dtype == np.float32
    assert np.array_equal(rows_found, vectors)
    assert found == {name: some[:rows] for name, some in labels.items()}
    assert list(found) == list(COLUMNS)
    beside = {f"x{suffix}", "x.rows.tsv"} if suffix == ".npy" else {f"x{suffix}"}
    assert {path.name for path in (tmp_path / "new").iterdir()} == beside


@pytest.mark.parametrize("blocks", [0, 2])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_rows_are_a_file_too(tmp_path, suffix, blocks):
    path = tmp_path / f"x{suffix}"
    nothing = Block({name: [] for name in COLUMNS}, np.empty((0, 6), dtype=np.float32))
    with vector_file(path, 6, COLUMNS, ABOUT) as append:
        for _ in range(blocks):
            append(nothing)
    found, vectors = opened(path)
    assert vectors.shape == (0, 6)
    assert found == {name: [] for name in COLUMNS}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_failed_run_leaves_what_was_there(tmp_path, suffix):
    labels, vectors = some_rows(9)
    path = written(tmp_path / f"x{suffix}", labels, vectors, step=9)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}

    def failing():
        with vector_file(path, 6, COLUMNS, ABOUT) as append:
            append(Block(labels, vectors))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        failing()
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_numbers_of_a_nan_row_are_nan(tmp_path, suffix):
    labels, vectors = some_rows(4)
    vectors[2] = np.nan
    _, found = opened(written(tmp_path / f"x{suffix}", labels, vectors, step=2))
    assert np.isnan(found[2]).all()
    assert not np.isnan(found[[0, 1, 3]]).any()


@pytest.mark.parametrize(("suffix", "package"), [(".parquet", "pyarrow"), (".h5ad", "h5py")])
def test_without_the_extra_a_format_names_it(tmp_path, monkeypatch, suffix, package):
    real = builtins.__import__

    def without(name, *more, **keys):
        if name.split(".")[0] == package:
            raise ImportError(name)
        return real(name, *more, **keys)

    monkeypatch.setattr(builtins, "__import__", without)
    message = rf"writing {suffix} needs another package; pip install 'dnazen\[anndata\]', or"
    with (
        pytest.raises(InputError, match=message),
        vector_file(tmp_path / f"x{suffix}", 6, COLUMNS, ABOUT),
    ):
        pass
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_written_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"x\.csv: expected a name that ends in \.npy, \.npz"):
        require_vector_suffix(Path("x.csv"))
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(OutputError, match="cannot be written"),
        vector_file(tmp_path / "file" / "x.npy", 6, COLUMNS, ABOUT),
    ):
        pass


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_that_no_form_can_hold_are_escaped(tmp_path, suffix):
    _, vectors = some_rows(4)
    names = ["a\a", "two\nlines\r", "\x1b[31m", "x\udcff"]
    labels = {"name": names, "start": [1, 2, 3, 4], "token": ["A\tC", "", "C", "G"]}
    found, numbers = opened(written(tmp_path / f"x{suffix}", labels, vectors, 2))
    assert found["name"] == [r"a\x07", r"two\nlines\r", r"\x1b[31m", r"x\xff"]
    assert found["token"] == [r"A\tC", "", "C", "G"]
    np.testing.assert_array_equal(numbers, vectors)
    labels["name"][2] = "a\0b"
    with pytest.raises(InputError, match=r"'a\\x00b' holds a NUL character, .*; rename the record"):
        written(tmp_path / f"y{suffix}", labels, vectors, 2)
    assert not list(tmp_path.glob("y*"))


FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from dnazen.errors import OutputError
from dnazen.inference import vector_files
vector_files.BLOCK_BYTES = 100_000
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
block = vector_files.Block({"name": ["x" * 500] * 50}, np.ones((50, 300), np.float32))
for limit in range(0, 7_000_000, 230_001):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        with vector_files.vector_file(Path(sys.argv[1]), 300, {"name": str}, {}) as append:
            for _ in range(100):
                append(block)
    except OutputError as error:
        assert "x.h5ad: cannot be written (File too large)" in str(error), error
    else:
        raise SystemExit(f"written in spite of {limit}")
"""


def test_a_disk_that_is_full_at_any_byte_is_told_by_h5ad_too(tmp_path):
    pytest.importorskip("h5py")
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "x.h5ad")], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not list(tmp_path.iterdir())


def test_a_file_of_hdf5_ends_where_hdf5_ends(tmp_path):
    pytest.importorskip("h5py")
    labels, vectors = some_rows(57)
    path = written(tmp_path / "x.h5ad", labels, vectors, 8)
    assert path.stat().st_size < 1_000_000
    with path.open("rb") as handle:
        handle.seek(0x28)  # the superblock (version 0) tells the end of the file there
        assert int.from_bytes(handle.read(8), "little") == path.stat().st_size
