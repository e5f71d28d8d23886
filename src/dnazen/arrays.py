"""Arrays that grow on disk and take no memory of their own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .errors import OutputError


class GrowingArray:
    """A ``.npy`` file of rows of one shape, written piece by piece; it is whole once closed.

    Parameters
    ----------
    path
        The file; None: one without a name in Python's folder for temporary files (``TMPDIR``),
        which lives as long as it is open or mapped.
    """

    def __init__(
        self, path: Path | None, kind: np.dtype[Any] | type[np.generic], *shape: int
    ) -> None:
        self.path = path
        self.kind = np.dtype(kind)
        self.shape = shape
        self.length = 0

    def __enter__(self) -> GrowingArray:
        with self._failures_explained():
            self.file: BinaryIO = (
                tempfile.TemporaryFile() if self.path is None else self.path.open("w+b")
            )
        self._write_header()
        return self

    def __exit__(self, *_: object) -> None:
        if self.path is None:
            with suppress(OSError):  # a full disk: it was said when it mattered
                self.file.close()
            return
        with self.file:
            self._write_header()

    def append(self, rows: np.ndarray[Any, Any] | Sequence[Any]) -> None:
        """Write rows after those before.

        Raises
        ------
        OutputError
            If the folder for temporary files is full; of a file with a name, OSError.
        """
        with self._failures_explained():
            self.file.write(np.ascontiguousarray(rows, dtype=self.kind).data)
        self.length += len(rows)

    def mapped(self) -> np.ndarray:
        """All rows, as pages of the file, which live on when it is closed."""
        if not self.length:
            return np.zeros((0, *self.shape), dtype=self.kind)
        with self._failures_explained():
            end = self.file.tell()
            self._write_header()
            start = self.file.tell()
            self.file.seek(end)
            self.file.flush()
        shape = (self.length, *self.shape)
        return np.memmap(self.file, dtype=self.kind, mode="r", offset=start, shape=shape)

    def _write_header(self) -> None:
        # numpy pads a header so that the final length fits where the first one stood
        self.file.seek(0)
        header = {
            "descr": np.lib.format.dtype_to_descr(self.kind),
            "fortran_order": False,
            "shape": (self.length, *self.shape),
        }
        np.lib.format.write_array_header_1_0(self.file, header)

    @contextmanager
    def _failures_explained(self) -> Iterator[None]:
        """Name the folder for temporary files, of which the user may not know."""
        try:
            yield
        except OSError as error:
            if self.path is not None:
                raise
            raise OutputError(
                f"{tempfile.tempdir or 'temporary files'}: cannot be written "
                f"({error.strerror or error}); set TMPDIR to a folder with space for them"
            ) from error
