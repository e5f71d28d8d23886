"""G-gram mining: runs of tokens that pointwise mutual information holds together, by count."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import tyro
from jaxtyping import Bool, Float64, Int, Int64

from ...errors import ConfigError
from ...records import plain
from ...tokens.corpus import Corpus
from ...tokens.tokenizer import token_strings
from ...workers.cluster import Workers, connected
from ..leakage import SHORTEST_OVERLAP_BP, sharing_sequences
from ..spans import Spans
from ..vocabulary import MAX_LENGTH, SPECIAL, GGramVocabulary, order_of_ids, padded, spell
from .candidates import GramTokens, bounds, candidates, count_occurrences
from .pairs import StrongPairs, strong_pairs
from .sightings import MOST_SIGHTINGS

Method = Literal["pmi", "frequency", "random", "shuffled"]

_TOKENS_AT_A_TIME = 1 << 20


@dataclass(frozen=True, kw_only=True)
class MiningConfig:
    """What makes a G-gram (method.md section 3)."""

    min_pmi: float = 1.0
    """Least PMI of a strong pair, in bits."""
    min_pair_count: int = 5
    """Least count of a strong pair."""
    min_token_count: int = 5
    """Least count of each token of a strong pair."""
    min_count: int = 5
    """Least count of a G-gram."""
    max_len: int = 5
    """Longest G-gram in tokens, 2 to 16."""
    max_size: int | None = None
    """Keep at most this many G-grams, the most frequent; None keeps all."""
    method: Method = "pmi"
    """``pmi`` mines; the others are its controls: ``frequency`` takes all token n-grams by count,
    ``random`` n-grams drawn from the corpus with the mined lengths, ``shuffled`` the mined
    G-grams with their tokens permuted."""
    seed: int = 0
    """Seed of the ``random`` and ``shuffled`` controls."""

    def __post_init__(self) -> None:
        if not np.isfinite(self.min_pmi):
            raise ConfigError(f"min_pmi must be a number of bits, got {self.min_pmi}")
        for name in ("min_pair_count", "min_token_count", "min_count"):
            if not 1 <= getattr(self, name) <= MOST_SIGHTINGS:
                raise ConfigError(
                    f"{name} must lie in 1..{MOST_SIGHTINGS}, got {getattr(self, name)}"
                )
        if not 2 <= self.max_len <= MAX_LENGTH:
            raise ConfigError(f"max_len must lie in 2..{MAX_LENGTH}, got {self.max_len}")
        if self.max_size is not None and self.max_size < 1:
            raise ConfigError(f"max_size must be at least 1, got {self.max_size}")


@dataclass(frozen=True, kw_only=True)
class MineConfig(MiningConfig):
    """Mine a G-gram vocabulary from a corpus."""

    corpus: tyro.conf.Positional[Path]
    """Corpus directory that 'dnazen corpus build' wrote."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Vocabulary file to write."""
    exclude: tuple[Path, ...] = ()
    """Sequence files, such as a benchmark's dev and test sets. Corpus sequences that share a
    stretch with them, on either strand, are not mined."""
    exclude_overlap_bp: int = 50
    """Shortest shared stretch that counts, in bases (Decided here)."""
    threads: int | None = None
    """Threads; None takes one a core. The result does not depend on it."""
    ray: str | None = None
    """Mine on a Ray cluster: its address HOST:PORT, or 'local'. Its machines must see the corpus
    under the same path. The result does not depend on it."""
    memory_gb: float = 1.0
    """What the working tables may take on one machine; the corpus is read more often where they
    must be small. The result does not depend on it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be at least 1, got {self.threads}")
        if not 0 < self.memory_gb < np.inf:
            raise ConfigError(f"memory_gb must be more than 0, got {self.memory_gb}")
        if self.exclude_overlap_bp < SHORTEST_OVERLAP_BP:
            raise ConfigError(
                f"exclude_overlap_bp must be at least {SHORTEST_OVERLAP_BP}, "
                f"got {self.exclude_overlap_bp}"
            )


class GGrams(NamedTuple):
    """Mined G-grams in the order of their ids 1, 2, ..."""

    tokens: Int[np.ndarray, "total"]
    offsets: Int64[np.ndarray, "ggrams+1"]
    counts: Int64[np.ndarray, "ggrams"]
    """Occurrences anywhere in the corpus, overlapping ones too."""
    pmi: Float64[np.ndarray, "ggrams"]
    """PMI in bits of the weakest adjacent pair, to 4 decimals; NaN for controls."""


def mine(
    tokens: Int[np.ndarray, "tokens"],
    offsets: Int[np.ndarray, "sequences+1"],
    vocab_size: int,
    config: MiningConfig,
    *,
    keep: Bool[np.ndarray, "sequences"] | None = None,
    threads: int = 1,
    ray: str | None = None,
    memory_gb: float = 1.0,
) -> GGrams:
    """Mine the G-grams of a corpus (method.md section 3), or a control of the same form.

    Exact, and the same for any number of threads and on any cluster. Time O(tokens).

    Parameters
    ----------
    tokens
        All sequences, one after the other; may be memory-mapped. Special tokens (ids 0-4) count
        as tokens and stand in no G-gram.
    keep
        Which sequences to mine; None mines all.
    ray
        Address of the Ray cluster that does it, or ``local``; None: threads of this process.
    memory_gb
        What the working tables may take on one machine.
    """
    if keep is None:
        keep = np.ones(len(offsets) - 1, dtype=np.bool_)
    spans = Spans(tokens, offsets.astype(np.int64, copy=False), keep)
    with connected(ray):
        return _mined(spans, vocab_size, config, Workers(threads, ray, memory_gb))


def _mined(spans: Spans, vocab_size: int, config: MiningConfig, workers: Workers) -> GGrams:
    if config.method == "frequency":
        pairs = strong_pairs(spans, vocab_size, workers, min_pair_count=config.min_count)
    else:
        pairs = strong_pairs(
            spans,
            vocab_size,
            workers,
            min_pmi=config.min_pmi,
            min_pair_count=config.min_pair_count,
            min_token_count=config.min_token_count,
        )
    grams = candidates(
        spans,
        pairs,
        vocab_size,
        workers,
        max_len=config.max_len,
        min_count=config.min_count,
        every=config.method == "frequency",
    )
    grams, counts = _ordered(spans, grams, config.max_size, workers)
    if config.method == "pmi":
        return GGrams(*grams, counts, _weakest_pmi(grams, pairs, vocab_size))
    if config.method == "random":
        drawn = _drawn(spans, np.diff(grams.offsets), config.seed)
        grams, counts = _ordered(spans, drawn, config.max_size, workers)
    elif config.method == "shuffled":
        shuffled = _shuffled(grams, config.seed)
        grams, counts = _ordered(spans, shuffled, config.max_size, workers)
    return GGrams(*grams, counts, np.full(len(counts), np.nan))


def mine_command(config: MineConfig) -> None:
    """Mine a corpus and write the vocabulary with a record of all that it was made from."""
    corpus = Corpus.open(config.corpus)
    threads = config.threads or os.cpu_count() or 1
    keep = np.ones(len(corpus), dtype=np.bool_)
    excluded: dict[str, Any] = {"files": [], "overlap_bp": config.exclude_overlap_bp}
    if config.exclude:
        sharing = sharing_sequences(corpus, config.exclude, config.exclude_overlap_bp, threads)
        keep = ~sharing.sequences
        excluded["files"] = sharing.inputs
    left_out = np.diff(corpus.offsets)[~keep]
    excluded |= {"sequences": len(left_out), "tokens": int(left_out.sum())}
    print(f"mining {len(corpus.tokens) - excluded['tokens']:,} tokens", file=sys.stderr)
    found = mine(
        corpus.tokens,
        corpus.offsets,
        corpus.vocab_size,
        config,
        keep=keep,
        threads=threads,
        ray=config.ray,
        memory_gb=config.memory_gb,
    )
    GGramVocabulary(
        tokens=found.tokens.astype(np.uint16),
        offsets=found.offsets,
        counts=found.counts,
        pmi=found.pmi.astype(np.float32),
        vocab_size=corpus.vocab_size,
        tokenizer_sha256=corpus.tokenizer_sha256,
        provenance=_provenance(corpus, config, excluded),
        bases=spell(found.tokens, found.offsets, token_strings(corpus.tokenizer)),
    ).save(config.output)
    print(
        f"{config.output}: {len(found.counts):,} G-grams; "
        f"{excluded['sequences']:,} of {len(corpus):,} sequences excluded",
        file=sys.stderr,
    )
    if not len(found.counts):
        print("note: none found; lower --min-pmi or the least counts", file=sys.stderr)


def _provenance(corpus: Corpus, config: MineConfig, excluded: dict[str, Any]) -> dict[str, Any]:
    """What the vocabulary was made from; nothing in it depends on who did the work."""
    settings = {f.name: getattr(config, f.name) for f in fields(MiningConfig)}
    source = {
        "path": config.corpus,
        "sequences": len(corpus),
        "tokens": len(corpus.tokens),
        "settings": {key: value for key, value in corpus.settings.items() if key != "ray"},
        "inputs": corpus.inputs,
    }
    record = {
        "dnazen": version("dnazen"),
        "mining": settings,
        "corpus": source,
        "excluded": excluded,
    }
    return {key: plain(value) for key, value in record.items()}


def _ordered(
    spans: Spans, grams: GramTokens, max_size: int | None, workers: Workers
) -> tuple[GramTokens, Int64[np.ndarray, "ggrams"]]:
    """The most frequent G-grams: by count descending, length ascending, tokens ascending."""
    counts = count_occurrences(spans, grams, workers)
    if max_size is not None and max_size < len(counts):
        least = np.partition(counts, -max_size)[-max_size]
        grams, counts = grams.where(counts >= least), counts[counts >= least]
    lengths, rows = np.diff(grams.offsets), padded(*grams)
    order = order_of_ids(rows, lengths, counts)[:max_size]
    lengths, rows = lengths[order], rows[order]
    tokens = rows[np.arange(rows.shape[1]) < lengths[:, None]]
    return GramTokens(tokens, bounds(lengths)), counts[order]


def _weakest_pmi(
    grams: GramTokens, pairs: StrongPairs, vocab_size: int
) -> Float64[np.ndarray, "ggrams"]:
    groups = grams.groups(_TOKENS_AT_A_TIME)
    return np.concatenate([np.zeros(0), *(_weakest(group, pairs, vocab_size) for group in groups)])


def _weakest(
    grams: GramTokens, pairs: StrongPairs, vocab_size: int
) -> Float64[np.ndarray, "ggrams"]:
    tokens, offsets = grams
    keys = tokens[:-1].astype(np.int64) * vocab_size + tokens[1:]
    # The pair that straddles two G-grams is no pair of either.
    keys = np.delete(keys, offsets[1:-1] - 1)
    ratios = pairs.ratios[np.searchsorted(pairs.keys, keys)]
    starts = offsets[:-1] - np.arange(len(offsets) - 1)
    return np.round(np.log2(np.minimum.reduceat(ratios, starts)), 4)


def _drawn(spans: Spans, lengths: Int64[np.ndarray, "ggrams"], seed: int) -> GramTokens:
    """Distinct stretches at random places of the corpus, as many of each length as asked.

    Fewer where the corpus does not offer as many (after a number of fruitless draws).
    """
    rng = np.random.default_rng(seed)
    before, begin = bounds(spans.lengths), spans.offsets[:-1][spans.keep]
    end = begin + spans.lengths
    drawn: list[Int64[np.ndarray, "some length"]] = []
    for length, wanted in zip(*np.unique(lengths, return_counts=True), strict=True):
        rows = np.zeros((0, length), dtype=np.int64)
        for _ in range(64):
            place = rng.integers(0, before[-1], 2 * wanted)
            sequence = np.searchsorted(before, place, side="right") - 1
            start = begin[sequence] + place - before[sequence]
            start = start[start + length <= end[sequence]]
            fresh = spans.tokens[start[:, None] + np.arange(length)].astype(np.int64)
            rows = np.concatenate([rows, fresh[(fresh >= SPECIAL).all(axis=1)]])
            _, first = np.unique(rows, axis=0, return_index=True)
            rows = rows[np.sort(first)][:wanted]
            if len(rows) == wanted:
                break
        drawn.append(rows)
    flat = [np.zeros(0, dtype=np.int64), *(rows.reshape(-1) for rows in drawn)]
    return GramTokens(np.concatenate(flat), bounds([rows.shape[1] for rows in drawn for _ in rows]))


def _shuffled(mined: GramTokens, seed: int) -> GramTokens:
    """Each G-gram with its tokens permuted to one that is new; left out where none is found."""
    rng = np.random.default_rng(seed)
    grams = [tuple(g.tolist()) for g in np.split(mined.tokens, mined.offsets[1:-1]) if len(g)]
    taken = set(grams)
    kept: list[tuple[int, ...]] = []
    for gram in grams:
        for _ in range(16):
            permuted = tuple(rng.permutation(gram).tolist())
            if permuted not in taken:
                taken.add(permuted)
                kept.append(permuted)
                break
    flat = np.array([t for gram in kept for t in gram], dtype=np.int64)
    return GramTokens(flat, bounds([len(gram) for gram in kept]))
