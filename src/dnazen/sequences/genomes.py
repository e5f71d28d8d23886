"""Whole genomes, one file after the other, whatever their format: 2bit too."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..errors import InputError
from ..records import InputFile, hash_file
from .alphabet import Counts, normalise
from .indexed import IndexedGenome, is_twobit
from .reader import Record, read_records


def file_records(
    path: Path, *, identify: Callable[[InputFile], object] | None = None
) -> Iterator[Record]:
    """Yield the records of a sequence file, or the contigs of a 2bit genome, in file order.

    As ``genome.read_records`` does; memory is one record.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    if not is_twobit(path):
        yield from read_records(path, identify=identify)
        return
    with IndexedGenome(path) as genome:
        for name, length in genome.lengths.items():
            yield Record(name, genome.fetch(name, 0, length))
    if identify is not None:
        identify(hash_file(path))


class Genomes:
    """The records of several files, normalised, one after the other, with an account of them.

    Iterate it once; the account is complete when the iteration is. Each item is the file it comes
    from and a ``Record`` of ``A C G T N``.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.inputs: list[InputFile] = []
        """What identifies each file."""
        self.counts = Counts()
        """What normalisation changed."""
        self.records = 0
        """Records yielded."""

    def __iter__(self) -> Iterator[tuple[Path, Record]]:
        for path in self.paths:
            for name, letters in file_records(path, identify=self.inputs.append):
                clean, counts = normalise(letters)
                self.counts = self.counts.plus(counts)
                self.records += 1
                yield path, Record(name, clean)
        if self.counts.bases == self.counts.ambiguous:
            raise InputError(
                "no A, C, G or T in the input",
                path=self.paths[0] if len(self.paths) == 1 else None,
                expected="at least one base",
            )
