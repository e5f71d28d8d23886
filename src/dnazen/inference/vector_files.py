"""Rows of vectors with their labels, written as they come: .npy, .npz, .parquet or .h5ad.

Memory is ``BLOCK_BYTES`` of vectors, however many the rows.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from ..arrays import GrowingArray
from ..errors import InputError
from ..outputs import new_file, new_files
from ..tables import printable
from .settings import require_vector_suffix

BLOCK_BYTES = 8 << 20
"""What is collected before it is written."""

_LABEL_BYTES = 1000
"""About what the labels of a row take, and those of a block."""

Columns = Mapping[str, type[str] | type[int]]
"""Labels of each row by name, and their kind."""


class Block(NamedTuple):
    """Some rows."""

    labels: Mapping[str, Sequence[Any]]
    """Under the names of the file's columns, an entry a row; there may be more."""
    vectors: Float32[np.ndarray, "rows width"]


Append = Callable[[Block], None]


def files_of(path: Path) -> tuple[Path, ...]:
    """What is written for an output: ``x.npy`` has its labels beside it."""
    return (path, path.with_suffix(".rows.tsv")) if path.suffix == ".npy" else (path,)


@contextmanager
def vector_file(
    path: Path, width: int, columns: Columns, about: Mapping[str, Any]
) -> Iterator[Append]:
    """Yield a function that appends blocks of rows to a new file; it is whole or absent.

    ====================  =====================================================================
    ``.npy``              the vectors; the labels are a table beside it, ``x.rows.tsv`` of ``x.npy``
    ``.npz``              ``vectors``, each label under its name, ``about`` as JSON text
    ``.parquet``          a row each: the labels, and ``vector``, a list of fixed size
    ``.h5ad``             vectors are ``X``, labels ``obs``, ``about`` is ``uns["dnazen"]``
    ====================  =====================================================================

    In ``.h5ad`` the names of observations are row numbers, since names need not be unique. Control
    characters in labels are escaped: no form holds all of them.

    Parameters
    ----------
    width
        Length of a vector.
    about
        What made the vectors, as JSON values.

    Raises
    ------
    ConfigError
        If the name ends otherwise.
    InputError
        If the format needs a package that is not there, or a label holds a NUL character.
    OutputError
        If the file cannot be written.
    """
    require_vector_suffix(path)
    waiting: list[Block] = []
    size = 0
    with _FORMATS[path.suffix](path, width, columns, json.dumps(about)) as write:

        def append(block: Block) -> None:
            nonlocal size
            waiting.append(block)
            size += block.vectors.nbytes + (1 + len(block.vectors)) * _LABEL_BYTES
            if size >= BLOCK_BYTES:
                flush()

        def flush() -> None:
            nonlocal size
            if waiting:
                write(_joined(waiting, columns))
                waiting.clear()
                size = 0

        yield append
        flush()


@contextmanager
def _npy(path: Path, width: int, columns: Columns, about: str) -> Iterator[Append]:
    with (
        new_files(*files_of(path)) as (temporary, table),
        GrowingArray(temporary, np.float32, width) as vectors,
        table.open("w", encoding="utf-8", newline="") as handle,
    ):
        rows = csv.writer(handle, delimiter="\t", lineterminator="\n")
        rows.writerow(columns)

        def append(block: Block) -> None:
            vectors.append(block.vectors)
            rows.writerows(zip(*(block.labels[name] for name in columns), strict=True))

        yield append


@contextmanager
def _npz(path: Path, width: int, columns: Columns, about: str) -> Iterator[Append]:
    """Members grow as files of their own and are packed, not compressed, at the end."""
    with (
        new_file(path) as temporary,
        tempfile.TemporaryDirectory(".partial", f".{path.name}.", temporary.parent) as name,
        ExitStack() as stack,
    ):
        folder = Path(name)
        vectors = stack.enter_context(GrowingArray(folder / "vectors.npy", np.float32, width))
        labels: dict[str, _Texts | GrowingArray] = {}
        for column, kind in columns.items():
            place = folder / f"{column}.npy"
            if kind is str:
                labels[column] = stack.enter_context(_Texts(place))
            else:
                labels[column] = stack.enter_context(GrowingArray(place, np.int64))

        def append(block: Block) -> None:
            vectors.append(block.vectors)
            for column, grown in labels.items():
                grown.append(block.labels[column])

        yield append
        stack.close()
        np.save(folder / "about.npy", np.array(about))
        with zipfile.ZipFile(temporary, "w") as archive:
            for member in ("vectors", *columns, "about"):
                archive.write(folder / f"{member}.npy", f"{member}.npy")


class _Texts:
    """A ``.npy`` file of texts, whose common length is known only at the end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = path.with_suffix(".txt")
        self.longest = 1
        self.length = 0

    def __enter__(self) -> _Texts:
        self.file = self.lines.open("w", encoding="utf-8", newline="\n")
        return self

    def append(self, texts: Sequence[str]) -> None:
        """Write texts after those before; none holds a line end."""
        self.file.writelines(f"{text}\n" for text in texts)
        self.longest = max(self.longest, max(map(len, texts), default=0))
        self.length += len(texts)

    def __exit__(self, *_: object) -> None:
        self.file.close()
        kind = np.dtype(f"<U{self.longest}")
        with (
            self.lines.open(encoding="utf-8", newline="\n") as lines,
            GrowingArray(self.path, kind) as texts,
        ):
            rows = BLOCK_BYTES // kind.itemsize + 1
            while chunk := [line[:-1] for line in itertools.islice(lines, rows)]:
                texts.append(np.array(chunk, dtype=kind))
        self.lines.unlink()


@contextmanager
def _parquet(path: Path, width: int, columns: Columns, about: str) -> Iterator[Append]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise _missing(".parquet") from None
    kinds = {str: pa.string(), int: pa.int64()}
    fields = [(name, kinds[kind]) for name, kind in columns.items()]
    schema = pa.schema(
        [*fields, ("vector", pa.list_(pa.float32(), width))], metadata={"dnazen": about}
    )
    with new_file(path) as temporary, parquet.ParquetWriter(str(temporary), schema) as writer:

        def append(block: Block) -> None:
            flat = pa.array(block.vectors.ravel())
            arrays = [pa.array(block.labels[name], kind) for name, kind in fields]
            arrays.append(pa.FixedSizeListArray.from_arrays(flat, width))
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))

        yield append


@contextmanager
def _h5ad(path: Path, width: int, columns: Columns, about: str) -> Iterator[Append]:
    """AnnData's file format 0.1.0, written by hand: its own writer wants all rows in memory."""
    try:
        import h5py
    except ImportError:
        raise _missing(".h5ad") from None
    text = h5py.string_dtype()
    with new_file(path) as temporary, _hdf5_file(temporary) as (file, reserve):
        _encode(file, "anndata", "0.1.0")
        for name in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            _encode(file.create_group(name), "dict", "0.1.0")
        _encode(file["uns"].create_dataset("dnazen", data=about, dtype=text), "string", "0.2.0")
        vectors = file.create_dataset(
            "X", (0, width), np.float32, maxshape=(None, width), chunks=(-(-65536 // width), width)
        )
        _encode(vectors, "array", "0.2.0")
        var, obs = file.create_group("var"), file.create_group("obs")
        for frame, names in ((var, []), (obs, list(columns))):
            _encode(frame, "dataframe", "0.2.0")
            frame.attrs["_index"] = "_index"
            frame.attrs.create("column-order", names, dtype=text)
        dimensions = var.create_dataset("_index", data=list(map(str, range(width))), dtype=text)
        _encode(dimensions, "string-array", "0.2.0")
        labels = {}
        for name, kind in {"_index": str, **columns}.items():
            dtype, encoding = (text, "string-array") if kind is str else (np.int64, "array")
            labels[name] = obs.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(4096,))
            _encode(labels[name], encoding, "0.2.0")

        def append(block: Block) -> None:
            start, end = len(vectors), len(vectors) + len(block.vectors)
            letters = sum(len(str(label)) for column in block.labels.values() for label in column)
            reserve(
                block.vectors.nbytes + letters + _HDF5_LABEL_BYTES * (end - start) * len(labels)
            )
            numbered = {"_index": list(map(str, range(start, end))), **block.labels}
            for name, grown in ("X", vectors), *labels.items():
                grown.resize(end, axis=0)
                grown[start:] = block.vectors if name == "X" else numbered[name]
            file.flush()

        yield append


_HDF5_SPARE_BYTES = 4 << 20
"""More than HDF5 needs for its own tables and the rest of its chunks, beside the data."""
_HDF5_LABEL_BYTES = 64
"""What a label takes beside its letters."""


@contextmanager
def _hdf5_file(path: Path) -> Iterator[tuple[Any, Callable[[int], None]]]:
    """A new HDF5 file, and a function that makes room on the disk for so many bytes more.

    HDF5 crashes the process when a write finds no room, so room is made before it writes. What is
    flushed before that is safe.

    Raises
    ------
    OSError
        If there is no room.
    """
    import h5py

    with path.open("rb+") as handle:
        os.posix_fallocate(handle.fileno(), 0, _HDF5_SPARE_BYTES)
        with h5py.File(path, "w") as file:

            def reserve(size: int) -> None:
                end = file.id.get_filesize() + size + _HDF5_SPARE_BYTES
                os.posix_fallocate(handle.fileno(), 0, end)

            reserve(0)
            yield file, reserve
            file.flush()
            size = file.id.get_filesize()
        os.truncate(path, size)


def _encode(element: Any, kind: str, version: str) -> None:
    element.attrs["encoding-type"] = kind
    element.attrs["encoding-version"] = version


def _joined(blocks: Sequence[Block], columns: Columns) -> Block:
    """Blocks as one, with the labels of the file's columns."""
    labels: dict[str, Sequence[Any]] = {}
    for name, kind in columns.items():
        joined = list(itertools.chain.from_iterable(block.labels[name] for block in blocks))
        labels[name] = list(map(_printable, joined)) if kind is str else joined
    return Block(labels, np.concatenate([block.vectors for block in blocks]))


def _printable(label: str) -> str:
    if "\0" in label:
        raise InputError(
            f"{label!r} holds a NUL character, which files of vectors cannot hold",
            fix="rename the record",
        )
    return printable(label)


def _missing(suffix: str) -> InputError:
    return InputError(
        f"writing {suffix} needs another package",
        fix="pip install 'dnazen[anndata]', or write .npy or .npz",
    )


_FORMATS: dict[str, Callable[..., AbstractContextManager[Append]]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".parquet": _parquet,
    ".h5ad": _h5ad,
}
