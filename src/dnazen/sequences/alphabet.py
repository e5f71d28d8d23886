"""DNA as bytes: the alphabet, normalisation with counts, reverse complement, windows.

Four bases, ``A C G T``. Everything else that a file may hold is turned into them, or breaks the
sequence, and is counted (method.md section 2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

BASES = b"ACGT"
AMBIGUOUS = b"NRYSWKMBDHV"
"""IUPAC codes that stand for more than one base: they break a sequence."""

NUCLEOTIDES = BASES + b"U" + AMBIGUOUS
"""Every upper-case letter that a nucleotide sequence may hold."""

_CLEAN = bytes.maketrans(
    NUCLEOTIDES + NUCLEOTIDES.lower(), (BASES + b"T" + b"N" * len(AMBIGUOUS)) * 2
)
_CLEAN_IN_CASE = bytes.maketrans(
    b"Uu" + AMBIGUOUS + AMBIGUOUS.lower(), b"Tt" + b"N" * (2 * len(AMBIGUOUS))
)
_COMPLEMENT = bytes.maketrans(
    b"ACGTUNRYSWKMBDHV" + b"acgtunryswkmbdhv", b"TGCAANYRSWMKVHDB" + b"tgcaanyrswmkvhdb"
)
_STRETCH = re.compile(rb"N+|[^N]+")


class Counts(NamedTuple):
    """What normalisation met, in letters; counts add up with ``plus``."""

    bases: int = 0
    """Letters in all, those dropped included."""
    lower_case: int = 0
    """Letters raised to upper case (soft-masked stretches), dropped ones included."""
    uracil: int = 0
    """``U`` turned to ``T``."""
    ambiguous: int = 0
    """``N`` and other IUPAC codes dropped; each breaks the sequence it stood in."""

    def plus(self, other: Counts) -> Counts:
        """The counts of both."""
        return Counts(*(a + b for a, b in zip(self, other, strict=True)))

    def summary(self) -> str:
        """What was changed, in words for a note."""
        return (
            f"{self.lower_case:,} lower-cased, {self.uracil:,} U, "
            f"{self.ambiguous:,} N or ambiguous dropped"
        )


def normalise(letters: bytes, *, keep_case: bool = False) -> tuple[bytes, Counts]:
    """Upper-case, turn U to T and every ambiguous code to N, keeping each letter's position.

    Parameters
    ----------
    letters
        Nucleotide letters in either case and nothing else, as ``reader.read_records`` yields
        them.
    keep_case
        Leave soft-masked bases, those of repeats, in lower case.

    Returns
    -------
    clean
        As long as ``letters``; holds ``A C G T N`` only, or with ``keep_case`` ``a c g t`` too.
    counts
        What was changed.

    Examples
    --------
    >>> normalise(b"acGURtN")
    (b'ACGTNTN', Counts(bases=7, lower_case=3, uracil=1, ambiguous=2))
    """
    rest = letters.translate(None, BASES)  # usually little: what follows scans only this
    counts = Counts(
        bases=len(letters),
        lower_case=_number_of(NUCLEOTIDES.lower(), rest),
        uracil=_number_of(b"Uu", rest),
        ambiguous=_number_of(AMBIGUOUS + AMBIGUOUS.lower(), rest),
    )
    return letters.translate(_CLEAN_IN_CASE if keep_case else _CLEAN), counts


def foreign(letters: bytes) -> str:
    """The first character that is no nucleotide; empty if there is none.

    Examples
    --------
    >>> foreign(b"acgu-RN*")
    '-'
    """
    return letters.translate(None, NUCLEOTIDES + NUCLEOTIDES.lower())[:1].decode("latin-1")


def reverse_complement(letters: bytes) -> bytes:
    """The other strand, read 5' to 3'; IUPAC codes and case are kept, U pairs to A.

    Examples
    --------
    >>> reverse_complement(b"AACGTNr")
    b'yNACGTT'
    """
    return letters.translate(_COMPLEMENT)[::-1]


def stretches(clean: bytes) -> list[bytes]:
    """Runs of ACGT and runs of N, in turn, as they make up a sequence.

    Examples
    --------
    >>> stretches(b"NACNNG")
    [b'N', b'AC', b'NN', b'G']
    """
    return _STRETCH.findall(clean)


def runs(clean: bytes) -> Iterator[tuple[int, int]]:
    """Yield 0-based half-open ``(start, end)`` of each maximal run of ACGT, left to right.

    Examples
    --------
    >>> list(runs(b"NACNNG"))
    [(1, 3), (5, 6)]
    """
    return (match.span() for match in _STRETCH.finditer(clean) if match[0][:1] != b"N")


def windows(clean: bytes, window_bp: int) -> Iterator[tuple[int, bytes]]:
    """Yield ``(start, bases)`` of the windows that tile each run of ACGT.

    Every window but the last of a run is ``window_bp`` long, so windows neither overlap nor
    leave a base out, and none holds an N (method.md section 2).

    Examples
    --------
    >>> list(windows(b"ACGTANNC", 2))
    [(0, b'AC'), (2, b'GT'), (4, b'A'), (7, b'C')]
    """
    for run_start, run_end in runs(clean):
        for start in range(run_start, run_end, window_bp):
            yield start, clean[start : min(start + window_bp, run_end)]


def _number_of(kinds: bytes, letters: bytes) -> int:
    return len(letters) - len(letters.translate(None, kinds))
