"""``dnazen mutagenesis``: every single-base change of a sequence, scored by a model."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TextIO

import numpy as np
import torch
import tyro
from jaxtyping import Float
from tqdm import tqdm

from ..errors import ConfigError, InputError
from ..inference.settings import TOKENS_PER_BATCH
from ..outputs import new_directory, refuse_existing
from ..records import hash_file, run_record, write_json
from ..report.charts import save_png
from ..report.heatmap import draw_heatmap
from ..sequences.alphabet import BASES, foreign, normalise, reverse_complement
from ..sequences.indexed import IndexedGenome
from ..sequences.regions import Region, parse_region
from .alleles import window_start
from .effects import Change, Scorer, Strands, open_scorer

MOST_BP = 20_000
"""The longest stretch: each base of it costs three changes."""

_CHUNK_BP = 64
_LITERAL = "sequence"


@dataclass(frozen=True, kw_only=True)
class MutagenesisConfig:
    """Score every single-base change of a sequence or region.

    Writes scores.tsv, and of a masked LM's log-likelihood ratio, or each change of a fine-tuned
    model's output, a heat map (PNG) and the mean over the three changes of each base (bedGraph).
    """

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL_DIR")]
    """Directory that 'dnazen pretrain' or 'dnazen finetune' wrote, or a released one."""
    sequence: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SEQUENCE")]
    """Letters (ACGT...), or a file: FASTA, plain or bgzip, or 2bit."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """New directory to write."""
    region: str | None = None
    """The part of the file to mutate, CHROM:FIRST-LAST (1-based, both ends) or CHROM; '(-)' after
    it for the reverse strand. Needed unless the file holds one sequence."""
    window_bp: int = 512
    """Bases that the model reads around a change."""
    strands: Strands = "forward"
    """average: the mean of the scores on both strands, in twice the time."""
    tokens_per_batch: int = TOKENS_PER_BATCH
    """Bound on sequences x longest of a batch; changes memory and speed, not the scores."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: a GPU where there is one."""

    def __post_init__(self) -> None:
        if not 16 <= self.window_bp <= 100_000:
            raise ConfigError(f"window_bp must be 16 to 100000, got {self.window_bp}")
        if self.tokens_per_batch < 1:
            raise ConfigError(f"tokens_per_batch must be at least 1, got {self.tokens_per_batch}")


class Stretch(NamedTuple):
    """What is mutated, and what the model reads around it."""

    region: Region
    fetch: Callable[[int, int], bytes]
    """The letters from one base of the region's contig to another, on the forward strand."""
    inside: int | None
    """Windows stay inside this many bases; ``None``: they may lie off the contig, on N."""

    def window(self, place: int, window_bp: int) -> tuple[int, bytes]:
        """Where the window around a base begins, and its letters.

        Those of ``dnazen variants``; in a whole sequence moved to lie inside it.
        """
        first = window_start(place, place + 1, window_bp)
        if self.inside is None:
            return first, self.fetch(first, first + window_bp)
        first = max(0, min(first, self.inside - window_bp))
        return first, self.fetch(first, min(first + window_bp, self.inside))


def score_mutations(
    model: str | Path | Scorer, sequence: str | bytes, window_bp: int = 512
) -> Float[np.ndarray, "bases 4 columns"]:
    """The scores of every base of a sequence changed to A, C, G and T, in this order.

    Parameters
    ----------
    model
        A directory with a pre-trained or fine-tuned model, or what ``open_scorer`` gives, whose
        ``columns`` name the scores.
    sequence
        Nucleotide letters. Where one is not A, C, G or T the scores are NaN; 0 where nothing is
        changed.
    window_bp
        Bases that the model reads around a change; the whole of a sequence no longer than this.

    Raises
    ------
    InputError
        If the model cannot be read, or a letter is no nucleotide.
    """
    scorer = model if isinstance(model, Scorer) else open_scorer(model)
    letters = sequence.encode() if isinstance(sequence, str) else sequence
    if bad := foreign(letters):
        raise InputError(f"character {bad!r} is no nucleotide", expected="A C G T")
    parts = list(score_stretch(scorer, _whole(_LITERAL, letters), window_bp))
    return np.concatenate(parts) if parts else np.zeros((0, 4, len(scorer.columns)))


def score_stretch(
    scorer: Scorer, stretch: Stretch, window_bp: int
) -> Iterator[Float[np.ndarray, "some 4 columns"]]:
    """Yield the scores of a stretch, some bases at a time; memory is that of these."""
    _, start, end, strand = stretch.region
    for first in range(start, end, _CHUNK_BP):
        last = min(first + _CHUNK_BP, end)
        scores = np.full((last - first, 4, len(scorer.columns)), np.nan)
        changes: list[Change] = []
        rows: list[int] = []
        for place in range(first, last):
            origin, letters = stretch.window(place, window_bp)
            window, _ = normalise(letters)
            here = place - origin
            if window[here] not in BASES:
                continue
            rows.append(place - first)
            for base in BASES:
                changed = window[:here] + bytes([base]) + window[here + 1 :]
                sides = (window, changed) if strand == "+" else _other_strand(window, changed)
                changes.append(Change(*sides))
        if changes:
            scores[rows] = scorer.score(changes).reshape(len(rows), 4, -1)
        yield scores


def mutagenesis(config: MutagenesisConfig) -> None:
    """Run ``dnazen mutagenesis``.

    Raises
    ------
    InputError
        If the model or the sequence cannot be read, or there is no such region.
    OutputError
        If the directory exists and holds anything, or cannot be written.
    """
    refuse_existing(config.output)
    cuda = config.device == "auto" and torch.cuda.is_available()
    scorer = open_scorer(
        config.model,
        device="cuda" if cuda else "cpu",
        strands=config.strands,
        tokens_per_batch=config.tokens_per_batch,
    )
    with _stretch(config) as stretch, new_directory(config.output) as folder:
        inputs = [] if _is_literal(config.sequence) else [hash_file(config.sequence)]
        write_json(folder / "run.json", run_record("mutagenesis", config, inputs))
        letters, _ = normalise(stretch.fetch(stretch.region.start, stretch.region.end))
        parts = []
        with tqdm(desc="mutating", unit=" bases", total=len(letters), disable=None) as progress:
            for scores in score_stretch(scorer, stretch, config.window_bp):
                parts.append(scores)
                progress.update(len(scores))
        _write_files(folder, scorer, stretch.region, letters, np.concatenate(parts))
    print(f"{config.output}: {3 * len(letters.replace(b'N', b'')):,} changes", file=sys.stderr)


def _write_files(
    folder: Path,
    scorer: Scorer,
    region: Region,
    letters: bytes,
    scores: Float[np.ndarray, "bases 4 columns"],
) -> None:
    with (folder / "scores.tsv").open("w", encoding="utf-8") as table:
        names = [column.name for column in scorer.columns]
        print("chrom", "pos", "ref", "alt", *names, sep="\t", file=table)
        _write_rows(table, region, letters, scores)
    for number, column in enumerate(scorer.columns[: scorer.targets]):
        values = scores[..., number]
        with (folder / f"{column.name}.bedgraph").open("w", encoding="utf-8") as track:
            _write_track(track, column.name, region, values)
        figure = draw_heatmap(letters.decode(), values, region.start + 1, column.meaning)
        save_png(figure, folder / f"{column.name}.png", dpi=150)


def _is_literal(sequence: str) -> bool:
    """Letters, and no file of that name; ``Path.exists`` fails on names that are too long."""
    return not foreign(os.fsencode(sequence)) and not os.path.exists(sequence)


@contextmanager
def _stretch(config: MutagenesisConfig) -> Iterator[Stretch]:
    """What the settings name, its file open."""
    if _is_literal(config.sequence):
        if config.region is not None:
            raise ConfigError("--region goes with a file; of letters give those to be mutated")
        yield _of_fair_length(_whole(_LITERAL, config.sequence.encode()))
        return
    with IndexedGenome(config.sequence) as genome:
        yield _of_fair_length(_part(genome, config.region))


def _part(genome: IndexedGenome, text: str | None) -> Stretch:
    """A whole contig, read as it stands, or a part of one, read with what lies around it."""
    if text is None:
        if len(genome.names) > 1:
            raise InputError(
                f"holds {len(genome.names):,} sequences",
                path=genome.path,
                expected="one, or --region CHROM or CHROM:FIRST-LAST with it",
            )
        text = genome.names[0]
    region = parse_region(text, genome.lengths)
    if region.chrom not in genome.lengths:
        raise genome.unknown(region.chrom, at=f"--region {text}")
    length = genome.lengths[region.chrom]
    if region.end > length:
        raise InputError(f"region {text!r} lies off its contig", expected=f"1 to {length:,}")
    whole = (region.start, region.end) == (0, length)
    return Stretch(
        region,
        lambda first, last: genome.fetch(region.chrom, first, last),
        length if whole else None,
    )


def _whole(name: str, letters: bytes) -> Stretch:
    return Stretch(
        Region(name, 0, len(letters)), lambda first, last: letters[first:last], len(letters)
    )


def _of_fair_length(stretch: Stretch) -> Stretch:
    bases = stretch.region.end - stretch.region.start
    if not 1 <= bases <= MOST_BP:
        raise InputError(
            f"{bases:,} bases", expected=f"1 to {MOST_BP:,}", fix="choose a part by --region"
        )
    return stretch


def _other_strand(*sides: bytes) -> tuple[bytes, ...]:
    return tuple(map(reverse_complement, sides))


def _write_rows(
    table: TextIO,
    region: Region,
    letters: bytes,
    scores: Float[np.ndarray, "bases 4 columns"],
) -> None:
    """A row for each base and each other base, both on the forward strand; POS is 1-based."""
    rows = zip(letters, scores, strict=True)
    for place, (letter, of_base) in enumerate(rows, region.start + 1):
        for base, values in zip(BASES, of_base, strict=True):
            if base != letter and letter in BASES:
                told = (f"{value + 0.0:.6g}" for value in values)  # no -0
                print(region.chrom, place, chr(letter), chr(base), *told, sep="\t", file=table)


def _write_track(
    track: TextIO, name: str, region: Region, values: Float[np.ndarray, "bases 4"]
) -> None:
    """The mean over the three changes of each base; bases that are not A, C, G or T have none."""
    print(f'track type=bedGraph name="{name}" description="mean of three changes"', file=track)
    for place, mean in enumerate(values.sum(axis=1) / 3, region.start):
        if not np.isnan(mean):
            print(region.chrom, place, place + 1, f"{mean:.6g}", sep="\t", file=track)
