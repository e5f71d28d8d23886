"""Whole genomes, one file after the other, with an account of what was read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ..records import InputFile
from .alphabet import Counts, normalise
from .reader import Record, no_bases, read_records


class Genomes:
    """The records of several files, normalised, one after the other, with an account of them.

    Iterate it once; the account is complete when the iteration is. Each item is the file it comes
    from and a ``Record`` of ``A C G T N``, with ``keep_case`` of ``a c g t`` too.
    """

    def __init__(self, paths: Sequence[Path], *, keep_case: bool = False) -> None:
        self.paths = paths
        self.keep_case = keep_case
        self.inputs: list[InputFile] = []
        """What identifies each file."""
        self.counts = Counts()
        """What normalisation changed."""
        self.records = 0
        """Records yielded."""

    def __iter__(self) -> Iterator[tuple[Path, Record]]:
        for path in self.paths:
            for name, letters in read_records(path, identify=self.inputs.append):
                clean, counts = normalise(letters, keep_case=self.keep_case)
                self.counts = self.counts.plus(counts)
                self.records += 1
                yield path, Record(name, clean)
        if self.counts.bases == self.counts.ambiguous:
            raise no_bases(self.paths)
