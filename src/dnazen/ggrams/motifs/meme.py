"""Known motifs: MEME files in, likeness to a motif (TOMTOM) and hits in a sequence (FIMO) out.

The two algorithms are memelite's; it comes with the extra ``motifs`` and compiles itself on first
use, which takes about a minute once.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64
from tqdm import tqdm

from ...errors import DnazenError, InputError
from ...sequences.alphabet import BASES
from ...sequences.lines import read_lines
from ...tables import printable
from ..kernels import import_kernels
from ..settings import LONGEST_BP

_EXPECTED = "a MEME motif file of DNA"
_MOST_OFF = 0.05  # by which a rounded row of probabilities may miss a sum of 1
_WIDEST = 1000  # columns of a motif; the widest that are known have about 100
_NUMBER = re.compile(
    r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?(?!\S)|[+-]?(?:nan|inf)(?!\S)", re.ASCII
)
_AT_ONCE = 1000  # sequences compared together, against thousands of motifs


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


class Similar(NamedTuple):
    """Pairs of a sequence and a motif that resemble each other, in the order of both."""

    sequence: Int64[np.ndarray, "pairs"]
    """Number of the sequence."""
    motif: Int64[np.ndarray, "pairs"]
    """Number of the motif."""
    p_value: Float64[np.ndarray, "pairs"]
    """Of the best alignment over both strands, for one sequence and one motif."""
    forward: Bool[np.ndarray, "pairs"]
    """False where the sequence's reverse complement resembles the motif."""
    offset: Int64[np.ndarray, "pairs"]
    """Column of the motif at which the sequence, on that strand, begins; may be negative."""
    overlap: Int64[np.ndarray, "pairs"]
    """Aligned columns."""


class Hit(NamedTuple):
    """A place in a sequence that a motif matches, 0-based and half-open."""

    sequence: int
    start: int
    end: int
    motif: int
    strand: str
    p_value: float
    """Chance of a score as high at one place, all bases being equally likely."""


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


def similar_motifs(sequences: Sequence[str], motifs: Sequence[Motif], max_p: float) -> Similar:
    """Every pair of a sequence and a motif whose TOMTOM p-value is at most ``max_p``.

    A sequence is compared as a motif of certain bases. The p-value is of the best alignment on
    either strand, overhangs allowed; it rests on the columns of all ``motifs``, so that fewer
    than about 50 give poor ones. Time is about 1 ms for a sequence and a thousand motifs.
    Source: Gupta and others 2007, Genome Biology 8:R24; memelite's complete scores.

    Parameters
    ----------
    sequences
        Upper-case ACGT, 1 to ``LONGEST_BP`` bases each.

    Raises
    ------
    ValueError
        If a sequence is empty or too long.
    DnazenError
        If the extra ``motifs`` is not installed.
    """
    if any(not 1 <= len(sequence) <= LONGEST_BP for sequence in sequences):
        raise ValueError(f"sequences must have 1 to {LONGEST_BP} bases")
    tomtom = _memelite().tomtom
    targets = [motif.matrix.T for motif in motifs]
    batches = []
    starts = range(0, len(sequences), _AT_ONCE)
    for start in tqdm(starts, desc="comparing with motifs", disable=None):
        queries = [_one_hot(sequence) for sequence in sequences[start : start + _AT_ONCE]]
        with warnings.catch_warnings():  # of few targets, which the contract speaks of
            warnings.simplefilter("ignore", UserWarning)
            p, _, offset, overlap, strand = tomtom(queries, targets)
        rows, columns = np.nonzero(p <= max_p)
        alike = (rows, columns)
        batches.append(
            (rows + start, columns, p[alike], strand[alike], offset[alike], overlap[alike])
        )
    if not batches:
        batches = [(np.empty(0, dtype=np.int64),) * 6]
    sequence, motif, p_value, strands, offsets, overlaps = map(
        np.concatenate, zip(*batches, strict=True)
    )
    forward = strands == 0
    begins = offsets.astype(np.int64)
    # Of a reverse match the offset counts from the motif's end, and the sequence is turned too.
    widths = np.array([len(m.matrix) for m in motifs], dtype=np.int64)[motif]
    lengths = np.array([len(s) for s in sequences], dtype=np.int64)[sequence]
    begins = np.where(forward, begins, widths - begins - lengths)
    return Similar(sequence, motif, p_value, forward, begins, overlaps.astype(np.int64))


def scan(sequences: Sequence[str], motifs: Sequence[Motif], max_p: float = 1e-4) -> list[Hit]:
    """Every place on either strand that a motif matches with a p-value of at most ``max_p``.

    Sorted by sequence, start and end. Places with an N match nothing. Source: Grant and others
    2011, Bioinformatics 27:1017 (FIMO).

    Parameters
    ----------
    sequences
        Upper-case ACGT and N.

    Raises
    ------
    DnazenError
        If the extra ``motifs`` is not installed.
    """
    joined = "N".join(sequences)  # of one length for all, as FIMO takes them
    if not joined:
        return []
    starts = np.cumsum([0, *(len(sequence) + 1 for sequence in sequences)])
    unknown = np.cumsum([0, *(base == "N" for base in joined)])
    # Shorter than the longest motif FIMO has no place to look at.
    longest = max(len(motif.matrix) for motif in motifs)
    one_hot = _one_hot(joined + "N" * longest).astype(np.int8)[None]
    weights = {str(number): motif.matrix.T for number, motif in enumerate(motifs)}
    tables = _memelite().fimo(weights, one_hot, dim=1, threshold=max_p)
    if not tables:  # no hit at all
        return []
    (table,) = tables
    hits = []
    for motif, start, end, strand, p_value in zip(
        table["motif_idx"],
        table["start"],
        table["end"],
        table["strand"],
        table["p-value"],
        strict=True,
    ):
        if end <= len(joined) and unknown[end] == unknown[start]:
            number = int(np.searchsorted(starts, start, side="right")) - 1
            left = int(starts[number])
            hits.append(
                Hit(number, int(start) - left, int(end) - left, int(motif), strand, float(p_value))
            )
    return sorted(hits)


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


def _one_hot(sequence: str) -> Float[np.ndarray, "4 bases"]:
    """1 where a base stands; an N has none."""
    letters = np.frombuffer(sequence.encode(), dtype=np.uint8)
    one_hot: Float[np.ndarray, "4 bases"] = (
        letters == np.frombuffer(BASES, dtype=np.uint8)[:, None]
    ).astype(np.float64)
    return one_hot


def _memelite() -> Any:
    try:
        return import_kernels("memelite")
    except ModuleNotFoundError:
        raise DnazenError(
            "memelite is not installed; it compares with motifs; pip install 'dnazen[motifs]'"
        ) from None
