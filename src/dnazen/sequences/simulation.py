"""A synthetic genome and a labelled promoter-like task whose truth is known.

The generating model, all of it:

- *Background*: a second-order Markov chain over ACGT whose 16 rows of transition probabilities are
  drawn from a Dirichlet distribution around 40 % GC. Stretches of 1,000 bases are chains of their
  own.
- *Motifs*: ``M1`` and ``M2``, each one random consensus; every base of an instance is the
  consensus base with probability ``conservation``, else one of the other three.
- *Arrangement*: an instance of M1, a gap of ``min_gap_bp`` to ``max_gap_bp`` bases of background,
  an instance of M2.
- *Genome*: background; arrangements and diverged copies of repeat families stand at random places
  on both strands, without overlap.
- *Task*: every sequence is background with an instance of both motifs, so the words in it tell
  nothing: only their order and spacing do. A **positive** has, with probability ``strength``, the
  arrangement at a random place; otherwise it is drawn as a negative. Half of the **negatives** have
  the motifs in the other order at the arrangement's distance, half in its order but apart, with a
  gap of ``far_gap_bp`` or more.

Half of each split is positive. Whoever knows every site calls a sequence positive when it has the
arrangement, which is right for every negative and for ``strength`` of the positives; that is the
best that can be done (``ceiling_mcc``).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Int64, UInt8

from ..errors import ConfigError
from .settings import SimulateConfig

_ORDER = 2
_COMPOSITION = np.array([0.3, 0.2, 0.2, 0.3])
_CONCENTRATION = 20.0  # of the transition rows around it: neither uniform nor periodic
_STRETCH_BP = 1000

Codes = UInt8[np.ndarray, "bases"]
"""Bases as 0 to 3 for A, C, G, T, so that 3 - x is the complement of x."""


class Truth(NamedTuple):
    """What the genome and the task are drawn from."""

    transitions: Float[np.ndarray, "contexts 4"]
    """P(base | the two before), rows in the order AA, AC, ... TT."""
    motifs: tuple[Codes, Codes]
    """Consensus of M1 and of M2."""
    repeats: UInt8[np.ndarray, "families repeat_bp"]


class Feature(NamedTuple):
    """A planted stretch, as a row of BED: 0-based half-open, named, on a strand."""

    chrom: str
    start: int
    end: int
    name: str
    identity: float
    """Fraction of its bases that equal the consensus."""
    strand: str


class LabelledSequences(NamedTuple):
    """Labelled sequences and the motifs planted in them."""

    sequences: UInt8[np.ndarray, "rows bases"]
    labels: Int[np.ndarray, "rows"]
    starts: Int64[np.ndarray, "rows 2"]
    """Where the site of each motif begins."""
    arranged: Bool[np.ndarray, "rows"]
    """Whether they stand in the arrangement."""


def ceiling_mcc(strength: float) -> float:
    """The MCC of whoever knows the truth of every site, on endlessly many sequences.

    Of the positives a fraction ``strength`` is found, and no negative is called:
    MCC = sqrt(strength / (2 - strength)).

    Examples
    --------
    >>> ceiling_mcc(1.0)
    1.0
    >>> round(ceiling_mcc(0.95), 3)
    0.951
    """
    return math.sqrt(strength / (2 - strength))


def draw_truth(rng: np.random.Generator, config: SimulateConfig) -> Truth:
    """Draw background, motifs and repeat families.

    A motif's consensus is a random order of the four bases in equal parts.
    """
    transitions = rng.dirichlet(_CONCENTRATION * _COMPOSITION, size=4**_ORDER)
    even = np.resize(np.arange(4, dtype=np.uint8), config.motif_bp)
    motifs = (rng.permutation(even), rng.permutation(even))
    repeats = draw_background(rng, transitions, config.repeat_families, config.repeat_bp)
    return Truth(transitions, motifs, repeats)


def draw_background(
    rng: np.random.Generator,
    transitions: Float[np.ndarray, "contexts 4"],
    rows: int,
    length: int,
) -> UInt8[np.ndarray, "rows length"]:
    """Draw ``rows`` independent chains, each begun in a random context."""
    bounds = np.cumsum(transitions, axis=1)[:, :3]
    context = rng.integers(len(transitions), size=rows)
    codes = np.empty((rows, length), dtype=np.uint8)
    for place in range(length):
        base = (rng.random(rows)[:, None] >= bounds[context]).sum(axis=1)
        codes[:, place] = base
        context = (context * 4 + base) % len(transitions)
    return codes


def substitute(
    rng: np.random.Generator, codes: UInt8[np.ndarray, "*shape"], rate: float
) -> UInt8[np.ndarray, "*shape"]:
    """A copy in which each base is, with chance ``rate``, one of the other three."""
    hit = rng.random(codes.shape) < rate
    shift = np.where(hit, rng.integers(1, 4, size=codes.shape), 0)
    return ((codes + shift) % 4).astype(np.uint8)


def place(
    rng: np.random.Generator, lengths: Int[np.ndarray, "n"], space: int
) -> Int64[np.ndarray, "n"]:
    """Random starts of stretches that follow each other in the order given, without overlap.

    Raises
    ------
    ConfigError
        If they do not fit into ``space``.
    """
    free = space - int(lengths.sum())
    if free < 0:
        raise ConfigError(
            f"planted stretches of {int(lengths.sum())} bases do not fit into a chromosome of "
            f"{space}; lower repeat_fraction or raise arrangement_every_bp or genome_bp"
        )
    gaps = np.sort(rng.integers(free + 1, size=len(lengths)))
    starts: Int64[np.ndarray, "n"] = gaps + np.cumsum(lengths) - lengths
    return starts


def draw_chromosome(
    rng: np.random.Generator, truth: Truth, config: SimulateConfig, name: str, length: int
) -> tuple[Codes, list[Feature]]:
    """Draw a chromosome and what is planted in it, from left to right."""
    stretches = draw_background(
        rng, truth.transitions, math.ceil(length / _STRETCH_BP), _STRETCH_BP
    )
    codes = stretches.reshape(-1)[:length].copy()
    copies = round(config.repeat_fraction * length / config.repeat_bp)
    arrangements = length // config.arrangement_every_bp
    families = rng.integers(config.repeat_families, size=copies)
    gaps = rng.integers(config.min_gap_bp, config.max_gap_bp + 1, size=arrangements)
    plans = [_repeat(rng, truth, config, int(family)) for family in families]
    plans += [_arrangement(rng, truth, config, int(gap)) for gap in gaps]
    plans = [plans[i] for i in rng.permutation(len(plans))]
    starts = place(rng, np.array([_extent(plan) for plan in plans], dtype=np.int64), length)
    features = []
    for plan, start in zip(plans, starts.tolist(), strict=True):
        forward = bool(rng.random() < 0.5)
        features += _plant(codes, name, plan, start, forward)
    return codes, sorted(features)


def draw_task(
    rng: np.random.Generator, truth: Truth, config: SimulateConfig, rows: int
) -> LabelledSequences:
    """Draw labelled sequences, half of them (rounded down) positive, in random order."""
    labels = rng.permutation(np.arange(rows) < rows // 2).astype(np.int64)
    arranged = (labels == 1) & (rng.random(rows) < config.strength)
    apart = ~arranged & (rng.random(rows) < 0.5)
    near = rng.integers(config.min_gap_bp, config.max_gap_bp + 1, size=rows)
    widest = config.sequence_bp - 2 * config.motif_bp
    far = rng.integers(config.far_gap_bp, widest + 1, size=rows)
    distance = config.motif_bp + np.where(apart, far, near)
    first = rng.integers(config.sequence_bp - distance - config.motif_bp + 1)
    starts = np.stack([first, first + distance], axis=1)
    swapped = ~arranged & ~apart
    starts[swapped] = starts[swapped][:, ::-1]
    sequences = draw_background(rng, truth.transitions, rows, config.sequence_bp)
    for motif, consensus in enumerate(truth.motifs):
        sites = substitute(rng, np.tile(consensus, (rows, 1)), 1 - config.conservation)
        columns = starts[:, motif, None] + np.arange(config.motif_bp)
        np.put_along_axis(sequences, columns, sites, axis=1)
    return LabelledSequences(sequences, labels, starts, arranged)


def task_features(split: str, task: LabelledSequences, truth: Truth) -> list[Feature]:
    """The motifs of a split; the seventh row of train lies on a contig ``train/7``."""
    features = []
    for row, motif in np.ndindex(task.starts.shape):
        consensus = truth.motifs[motif]
        start = int(task.starts[row, motif])
        site = task.sequences[row, start : start + len(consensus)]
        identity = float(np.mean(site == consensus))
        features.append(
            Feature(f"{split}/{row + 1}", start, start + len(site), f"M{motif + 1}", identity, "+")
        )
    return features


class _Part(NamedTuple):
    """A named stretch of something to plant, at an offset from its start."""

    name: str
    offset: int
    codes: Codes
    consensus: Codes


def _repeat(
    rng: np.random.Generator, truth: Truth, config: SimulateConfig, family: int
) -> list[_Part]:
    consensus = truth.repeats[family]
    copy = substitute(rng, consensus, config.repeat_divergence)
    return [_Part(f"repeat{family + 1}", 0, copy, consensus)]


def _arrangement(
    rng: np.random.Generator, truth: Truth, config: SimulateConfig, gap: int
) -> list[_Part]:
    offsets = (0, config.motif_bp + gap)
    return [
        _Part(f"M{i + 1}", offsets[i], substitute(rng, motif, 1 - config.conservation), motif)
        for i, motif in enumerate(truth.motifs)
    ]


def _extent(plan: list[_Part]) -> int:
    return plan[-1].offset + len(plan[-1].codes)


def _plant(codes: Codes, chrom: str, plan: list[_Part], start: int, forward: bool) -> list[Feature]:
    """Write a plan's parts into ``codes``, mirrored on the reverse strand, and tell where."""
    features = []
    for part in plan:
        size = len(part.codes)
        offset = part.offset if forward else _extent(plan) - part.offset - size
        left = start + offset
        codes[left : left + size] = part.codes if forward else 3 - part.codes[::-1]
        identity = float(np.mean(part.codes == part.consensus))
        features.append(
            Feature(chrom, left, left + size, part.name, identity, "+" if forward else "-")
        )
    return features
