"""Motif files in MEME format."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from ...errors import InputError
from ...sequences.alphabet import BASES
from ...sequences.lines import read_lines
from ...tables import printable

_EXPECTED = "a MEME motif file of DNA"
_MOST_OFF = 0.05  # by which a rounded row of probabilities may miss a sum of 1
_WIDEST = 1000  # columns of a motif; the widest that are known have about 100
_NUMBER = re.compile(
    r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?(?!\S)|[+-]?(?:nan|inf)(?!\S)", re.ASCII
)


class Motif(NamedTuple):
    """A position probability matrix and where it comes from."""

    database: str
    """Its file, without folder and suffix."""
    name: str
    """Identifier, such as ``MA0004.1``."""
    alternate: str
    """Second name, such as ``Arnt``; empty where it has none."""
    matrix: Float64[np.ndarray, "width 4"]
    """Probabilities of A, C, G, T; every row sums to 1."""

    @property
    def title(self) -> str:
        """Both names."""
        return f"{self.name} {self.alternate}".strip()

    @property
    def consensus(self) -> str:
        """The likeliest base of each column; of ties the first in the alphabet."""
        return "".join(chr(BASES[base]) for base in self.matrix.argmax(axis=1))

    @property
    def bits(self) -> Float64[np.ndarray, "width 4"]:
        """Letter heights of its logo: probability times the column's information in bits."""
        logs = np.log2(self.matrix, out=np.zeros_like(self.matrix), where=self.matrix > 0)
        information = 2 + (self.matrix * logs).sum(axis=1, keepdims=True)
        heights: Float64[np.ndarray, "width 4"] = self.matrix * information
        return heights


def read_motifs(path: Path) -> list[Motif]:
    """The motifs of a file in MEME format, in file order; columns are scaled to sum to 1.

    The minimal format, and the text that MEME, STREME and DREME write (``meme.txt``), plain or
    gzip. Log-odds matrices and everything else beside the probabilities are passed over. Names
    keep no character that is not printable.

    Raises
    ------
    InputError
        Naming file and line, if the file is absent, of another format, or of other letters than
        ACGT, or a motif has no name or no matrix of probabilities.
    """
    lines = _text_lines(path)
    begin = next((i for i, line in enumerate(lines) if line.startswith("MEME version")), None)
    if begin is None:
        raise InputError(
            f"no line 'MEME version'{_other_format(lines)}", path=path, line=1, expected=_EXPECTED
        )
    motifs: list[Motif] = []
    title: tuple[int, list[str]] | None = None  # of the motif whose matrix is still to come
    for number, line in enumerate(lines[begin:], begin + 1):
        if line.startswith("ALPHABET") and _alphabet(lines, number) != BASES.decode():
            raise InputError("another alphabet", path=path, line=number, expected="ALPHABET= ACGT")
        if line.split()[:1] == ["MOTIF"]:
            _require_no_title(title, path)
            title = number, _names(line)
            if not title[1]:
                raise InputError("motif without a name", path=path, line=number)
        elif line.startswith("letter-probability matrix") and title is not None:
            names = [*title[1], ""]
            matrix = _matrix(lines, number, path)
            database = path.name.removesuffix(".gz").removesuffix(".meme")
            motifs.append(Motif(printable(database), names[0], names[1], matrix))
            title = None
    _require_no_title(title, path)
    if not motifs:
        raise InputError("no motif", path=path, expected=_EXPECTED)
    return motifs


def _text_lines(path: Path) -> list[str]:
    """The lines of a text file, whatever ends them."""
    text = b"".join(line.text for line in read_lines(path, _EXPECTED))
    try:
        return text.decode().replace("\r\n", "\n").replace("\r", "\n").split("\n")
    except UnicodeDecodeError:
        raise InputError("not UTF-8 text", path=path, expected=_EXPECTED) from None


def _other_format(lines: Sequence[str]) -> str:
    """What the file is instead, as far as its first line tells."""
    first = next((line.strip() for line in lines if line.strip()), "")
    if first.startswith("<"):
        return "; it is HTML or XML: take the text that MEME writes beside it"
    if first.startswith(">"):
        return "; JASPAR's and HOMER's matrices: convert them with jaspar2meme or by hand"
    if first[:2] in ("AC", "ID", "VV", "XX", "DE", "P0", "PO", "NA") and not first[2:3].strip():
        return "; TRANSFAC's matrices: convert them with transfac2meme of the MEME Suite"
    return ""


def _alphabet(lines: Sequence[str], header: int) -> str:
    """The letters, each with a column, that the 1-based line ``header`` and those below define.

    ``ALPHABET= ACGT``, or a line for each letter, with names and colours, until 'END ALPHABET'.
    A line with '=' outside quotation marks gives another name to letters defined before.
    """
    _, equals, letters = lines[header - 1].partition("=")
    if equals:
        return letters.strip()
    core = []
    for line in lines[header:]:
        if line.startswith(("END ALPHABET", "MOTIF")):
            break
        bare = re.sub(r'"[^"]*"', "", line).split()
        if bare and "=" not in bare:
            core += bare[:1] + (bare[bare.index("~") + 1 :][:1] if "~" in bare else [])
    return "".join(sorted(core))


def _names(line: str) -> list[str]:
    """Identifier and second name of a motif; MEME's own text goes on with its width."""
    words = re.split(r"\swidth\s*=", line, maxsplit=1)[0].split()
    return list(map(printable, words[1:3]))


def _require_no_title(title: tuple[int, list[str]] | None, path: Path) -> None:
    if title is not None:
        raise InputError(
            f"motif {' '.join(title[1])} has no letter-probability matrix",
            path=path,
            line=title[0],
            expected="'letter-probability matrix:' and its rows",
        )


def _matrix(lines: Sequence[str], header: int, path: Path) -> Float64[np.ndarray, "width 4"]:
    """The rows below the 1-based line ``header``, up to one that does not begin with a number."""
    rows: list[list[float]] = []
    for number, line in enumerate(lines[header:], header + 1):
        if not _NUMBER.match(line.strip()):
            break
        words = line.split()
        row = [float(word) if _NUMBER.fullmatch(word) else np.nan for word in words]
        if len(row) != len(BASES) or not (min(row) >= 0 and abs(sum(row) - 1) <= _MOST_OFF):
            raise InputError(
                "not a row of probabilities",
                path=path,
                line=number,
                expected="four numbers, of A, C, G and T, that sum to 1",
            )
        rows.append(row)
    stated = re.search(r"\bw=\s*(\d+)", lines[header - 1], re.ASCII)
    width = stated[1].lstrip("0") if stated else str(len(rows))
    if not rows or width != str(len(rows)):
        raise InputError(
            f"{len(rows)} rows",
            path=path,
            line=header,
            expected=f"{width[:20] or 0}, as it says" if stated else "at least one",
            fix="is the file cut short?",
        )
    if len(rows) > _WIDEST:
        raise InputError(
            f"a motif of {len(rows)} columns", path=path, line=header, expected=f"at most {_WIDEST}"
        )
    matrix = np.array(rows)
    scaled: Float64[np.ndarray, "width 4"] = matrix / matrix.sum(axis=1, keepdims=True)
    return scaled
