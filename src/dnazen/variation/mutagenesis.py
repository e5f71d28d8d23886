"""Every single-base change of a sequence or of a region of a genome, scored by a model."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..errors import ConfigError, InputError
from ..inference.opened import OpenedModel, opened
from ..sequences.alphabet import BASES, foreign, normalise, reverse_complement
from ..sequences.contigs import ContigNames
from ..sequences.indexed import IndexedGenome
from ..sequences.inputs import letters_of
from ..sequences.regions import Region, parse_region
from ..settings import settings_or_default
from .alignment import AllelePair
from .rows import window_start
from .scores import score_pairs, scores_of
from .settings import ScoringConfig

MOST_BP = 20_000
"""The longest region: each base of it costs three changes."""

_CHUNK_BP = 64
_LITERAL = "sequence"


class MutatedRegion(NamedTuple):
    """What is mutated, and what the model reads around it."""

    place: Region
    fetch: Callable[[int, int], bytes]
    """The letters from one base of the region's contig to another, on the forward strand."""
    inside: int | None
    """Windows stay inside this many bases; ``None``: they may lie off the contig, on N."""
    file: Path | None = None
    """What it was taken from; none of letters that were given."""

    @property
    def letters(self) -> bytes:
        """Those to mutate, on the forward strand."""
        return self.fetch(self.place.start, self.place.end)

    def window(self, position: int, window_bp: int) -> tuple[int, bytes]:
        """Where the window around a base begins, and its letters.

        Those of ``dnazen variants``; in a whole sequence moved to lie inside it.
        """
        first = window_start(position, position + 1, window_bp)
        if self.inside is None:
            return first, self.fetch(first, first + window_bp)
        first = max(0, min(first, self.inside - window_bp))
        return first, self.fetch(first, min(first + window_bp, self.inside))


def score_mutations(
    model: str | Path | OpenedModel, sequence: str | bytes, config: ScoringConfig | None = None
) -> Float[np.ndarray, "bases 4 scores"]:
    """The scores of every base of a sequence changed to A, C, G and T, in this order.

    Parameters
    ----------
    model
        A directory with a pre-trained or fine-tuned model, or what ``dnazen.load`` gives;
        ``scores_of`` names the scores.
    sequence
        Nucleotide letters. Where one is not A, C, G or T the scores are NaN; 0 where nothing is
        changed. A sequence no longer than a window is read whole.

    Raises
    ------
    InputError
        If the model cannot be read, it is no sequence, or a letter is no nucleotide.
    """
    model = opened(model)
    config = settings_or_default(config, ScoringConfig)
    letters = letters_of(sequence, "the sequence")
    parts = list(region_scores(model, _whole(letters), config))
    return np.concatenate([np.zeros((0, 4, len(scores_of(model)))), *parts])


def region_scores(
    model: OpenedModel, region: MutatedRegion, config: ScoringConfig
) -> Iterator[Float[np.ndarray, "part 4 scores"]]:
    """Yield the scores of a region, some bases at a time; memory is that of these."""
    _, start, end, strand = region.place
    for first in range(start, end, _CHUNK_BP):
        last = min(first + _CHUNK_BP, end)
        scores = np.full((last - first, 4, len(scores_of(model))), np.nan)
        pairs: list[AllelePair] = []
        rows: list[int] = []
        for position in range(first, last):
            origin, letters = region.window(position, config.window_bp)
            window, _ = normalise(letters)
            offset = position - origin
            if window[offset] not in BASES:
                continue
            rows.append(position - first)
            for base in BASES:
                pair = AllelePair(window, window[:offset] + bytes([base]) + window[offset + 1 :])
                on_strand = pair if strand == "+" else AllelePair(*map(reverse_complement, pair))
                pairs.append(on_strand)
        if pairs:
            scores[rows] = score_pairs(model, pairs, config).reshape(len(rows), 4, -1)
        yield scores


@contextmanager
def open_region(
    sequence: str, region: str | None, contig_names: Path | None = None
) -> Iterator[MutatedRegion]:
    """What is to be mutated, its file open.

    Parameters
    ----------
    sequence
        Letters, or a file: FASTA, plain or bgzip, or 2bit.
    region
        The part of the file, as ``regions.parse_region`` reads it; by default its one sequence.
    contig_names
        As for ``sequences.contigs.ContigNames``.

    Raises
    ------
    ConfigError
        If a region is asked of letters.
    InputError
        If the file cannot be read, there is no such region, or it is too long or empty.
    """
    if _is_literal(sequence):
        if region is not None or contig_names is not None:
            raise ConfigError("--region goes with a file; of letters give those to be mutated")
        yield _of_fair_length(_whole(sequence.encode()))
        return
    with IndexedGenome(sequence) as genome:
        names = ContigNames(contig_names, genome)
        yield _of_fair_length(_part(genome, region, names))


def _is_literal(sequence: str) -> bool:
    """Letters, and no file of that name; ``Path.exists`` fails on names that are too long."""
    return not foreign(os.fsencode(sequence)) and not os.path.exists(sequence)


def _part(genome: IndexedGenome, text: str | None, names: ContigNames) -> MutatedRegion:
    """A whole contig, read as it stands, or a part of one, read with what lies around it."""
    if text is None:
        if len(genome.names) > 1:
            raise InputError(
                f"holds {len(genome.names):,} sequences",
                path=genome.path,
                expected="one, or --region CHROM or CHROM:FIRST-LAST with it",
            )
        text = genome.names[0]
    region = parse_region(text, genome.lengths, names.of_genome)
    own = names.of_genome(region.chrom)
    if own not in genome.lengths:
        raise genome.unknown(region.chrom, at=f"--region {text}")
    if own != region.chrom:
        print(f"note: {genome.path} calls {region.chrom} {own} (--contig-names)", file=sys.stderr)
    length = genome.lengths[own]
    if region.end > length:
        raise InputError(f"region {text!r} lies off its contig", expected=f"1 to {length:,}")
    whole = (region.start, region.end) == (0, length)
    return MutatedRegion(
        region,
        lambda first, last: genome.fetch(own, first, last),
        length if whole else None,
        genome.path,
    )


def _whole(letters: bytes) -> MutatedRegion:
    place = Region(_LITERAL, 0, len(letters))
    return MutatedRegion(place, lambda first, last: letters[first:last], len(letters))


def _of_fair_length(region: MutatedRegion) -> MutatedRegion:
    bases = region.place.end - region.place.start
    if not 1 <= bases <= MOST_BP:
        raise InputError(
            f"{bases:,} bases", expected=f"1 to {MOST_BP:,}", fix="choose a part by --region"
        )
    return region
