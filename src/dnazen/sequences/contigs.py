"""What a genome calls the contigs of another file."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from .indexed import IndexedGenome
from .lines import read_lines

RULE = "chr"
"""Stands for the built-in rule in place of a file."""
_EXPECTED = "a file of two columns, the other name and the genome's, with a tab between"


class ContigNames:
    """Other names of a genome's contigs.

    Parameters
    ----------
    source
        A file of two columns, the other name and the genome's, with a tab between, and comments
        after ``#``; or ``chr`` for a rule: ``chr`` before a name is put there or taken away, and
        MT is chrM, where that makes it a contig of the genome; or None: names are the same.

    Raises
    ------
    InputError
        If the file cannot be read, a name stands in it twice, or the genome lacks a contig.
    """

    def __init__(self, source: Path | None, genome: IndexedGenome) -> None:
        self._lengths = genome.lengths
        self._by_rule = source is not None and str(source) == RULE
        self._genome_names: dict[str, str] = {}
        if source is None or self._by_rule:
            return
        for number, text in read_lines(source, _EXPECTED):
            line = text.decode("utf-8", "surrogateescape").rstrip("\r\n")
            if not line.strip() or line.startswith("#"):
                continue
            problem, columns = "", line.split("\t")
            if len(columns) != 2:
                problem = f"{len(columns)} columns"
            elif columns[0] in self._genome_names:
                problem = f"{columns[0]!r} stands there a second time"
            elif columns[1] not in self._lengths:
                problem = f"{genome.path} has no contig {columns[1]!r}"
            if problem:
                raise InputError(problem, path=source, line=number, expected=_EXPECTED)
            self._genome_names[columns[0]] = columns[1]

    def of_genome(self, name: str) -> str:
        """The genome's name of a contig; the name itself if it is the genome's, or none is known.

        A name that a file gives goes before.
        """
        if name in self._genome_names:
            return self._genome_names[name]
        if name in self._lengths or not self._by_rule:
            return name
        others = (name.removeprefix("chr"), f"chr{name}", {"chrM": "MT", "MT": "chrM"}.get(name))
        return next((other for other in others if other in self._lengths), name)
