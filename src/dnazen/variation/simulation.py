"""Random variants of a class, drawn from a genome, to hold the scores of real ones against."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ..sequences.alphabet import BASES, reverse_complement
from ..sequences.indexed import IndexedGenome, Strand
from .vcf import VcfRow

_MOST_TRIES = 2_000
"""Places that are tried for each variant; a class that a genome hardly has gets fewer variants."""


class VariantClass(NamedTuple):
    """What variants have in common that are compared with each other.

    Lengths are binned by their bits: 1, 2-3, 4-7, 8-15 and so on; bases that both alleles begin or
    end with do not count.
    """

    kind: str
    """SNV, MNV (as many bases as before), insertion, deletion, or replacement."""
    change: str
    """Of an SNV, with the base on either side: ACG>T. Empty of others."""
    lost: int
    """The bits of the number of bases lost."""
    gained: int

    @property
    def name(self) -> str:
        """In words, such as ``SNV ACG>T``, ``deletion 4-7`` or ``replacement 2-3>1``."""
        if self.change:
            return f"{self.kind} {self.change}"
        bins = [f"{1 << bits - 1}-{(1 << bits) - 1}" for bits in (self.lost, self.gained) if bits]
        bins = ["1" if text == "1-1" else text for text in bins]
        return f"{self.kind} {'>'.join(bins if self.kind == 'replacement' else bins[:1])}"


def class_of(genome: IndexedGenome, row: VcfRow, alt: str) -> VariantClass | None:
    """The class of an allele that can be scored.

    Decided here: the genome has two strands, so an SNV and its reverse complement are one class,
    named for the one whose base is C or T.

    Returns
    -------
    ``None`` for an allele that is the reference, and for an SNV beside what is not A, C, G or T.
    """
    before, after = row.ref.upper().encode(), alt.upper().encode()
    left = _in_common(before, after)
    before, after = before[left:], after[left:]
    right = _in_common(before[::-1], after[::-1])
    before, after = before[: len(before) - right], after[: len(after) - right]
    if len(before) == len(after) == 1:
        start = row.start + left
        change = _change(genome.fetch(row.chrom, start - 1, start + 2), after)
        return VariantClass("SNV", change, 1, 1) if change else None
    bits = len(before).bit_length(), len(after).bit_length()
    if before and after:
        kind = "MNV" if len(before) == len(after) else "replacement"
        return VariantClass(kind, "", *bits)
    if before or after:
        return VariantClass("deletion" if before else "insertion", "", *bits)
    return None


def draw_variants(
    genome: IndexedGenome, wanted: VariantClass, count: int, longest_bp: int, seed: int
) -> list[VcfRow]:
    """Random variants of a class: one place of the genome is as likely as another.

    Decided here: bases that are gained are those of another random place, on a random strand, so
    that their composition is the genome's.

    Parameters
    ----------
    longest_bp
        Of REF and ALT.
    seed
        The same seed gives the same variants of a class, whatever was drawn before.

    Returns
    -------
    Fewer than ``count`` where the genome has hardly a place for the class.
    """
    rng = np.random.default_rng([seed, *wanted.name.encode()])
    places = _places(genome, rng)
    tries = itertools.islice(places, count * _MOST_TRIES)
    rows = (_proposed(genome, wanted, chrom, start, places, rng) for chrom, start in tries)
    fitting = (
        row
        for row in rows
        if row is not None
        and max(len(row.ref), len(row.alts[0])) <= longest_bp
        and class_of(genome, row, row.alts[0]) == wanted
    )
    return list(itertools.islice(fitting, count))


def _places(genome: IndexedGenome, rng: np.random.Generator) -> Iterator[tuple[str, int]]:
    """Yield random bases without end, with their contigs."""
    names = genome.names
    ends = np.cumsum(list(genome.lengths.values()))
    while True:
        place = int(rng.integers(ends[-1]))
        contig = int(np.searchsorted(ends, place, "right"))
        yield names[contig], place - int(ends[contig]) + genome.lengths[names[contig]]


def _proposed(
    genome: IndexedGenome,
    wanted: VariantClass,
    chrom: str,
    start: int,
    places: Iterator[tuple[str, int]],
    rng: np.random.Generator,
) -> VcfRow | None:
    """A variant at a place that may be of a class; nothing where it cannot be."""
    if wanted.kind == "SNV":
        around = genome.fetch(chrom, start - 1, start + 2)
        alts = [alt for alt in (b"A", b"C", b"G", b"T") if _change(around, alt) == wanted.change]
        return _row(chrom, start, around[1:2], alts[0]) if alts else None
    lost = _length(wanted.lost, rng)
    gained = lost if wanted.kind == "MNV" else _length(wanted.gained, rng)
    ref = genome.fetch(chrom, start, start + 1 + lost)  # VCF has the base before
    source, first = next(places)
    strand: Strand = "+" if rng.integers(2) else "-"
    put = genome.fetch(source, first, first + gained, strand)
    if (ref + put).translate(None, BASES):
        return None
    return _row(chrom, start, ref, ref[:1] + put)


def _row(chrom: str, start: int, ref: bytes, alt: bytes) -> VcfRow:
    return VcfRow("simulated", chrom, start, ref.decode(), (alt.decode(),), ())


def _length(bits: int, rng: np.random.Generator) -> int:
    """A random number of so many bits."""
    return int(rng.integers(1 << bits - 1, 1 << bits)) if bits else 0


def _change(around: bytes, alt: bytes) -> str:
    """An SNV with its neighbours on the strand that has C or T; empty if it is none."""
    if around.translate(None, BASES) or alt == around[1:2]:
        return ""
    if around[1:2] in (b"A", b"G"):
        around, alt = reverse_complement(around), reverse_complement(alt)
    return f"{around.decode()}>{alt.decode()}"


def _in_common(one: bytes, other: bytes) -> int:
    """Leading letters that two alleles have in common."""
    pairs = zip(one, other, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
