"""Speed and memory of the G-gram engine: mining pass by pass, loading, matching, batches.

    python benchmarks/ggrams.py --corpus CORPUS -o ggrams.json

prints a table and writes JSON with the machine and the versions. Compile time is left out: every
measurement is preceded by a small one of the same kind. Two rates are given: by the clock, and by
the processor time spent, which is the better guide where the machine is shared.
"""

from __future__ import annotations

import contextlib
import json
import platform
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import numpy as np
import tyro
from numba import njit

from dnazen.ggrams.masking import sequence_keys
from dnazen.ggrams.matching import Matcher
from dnazen.ggrams.mining.candidates import candidates, count_occurrences
from dnazen.ggrams.mining.mine import GGrams, mine
from dnazen.ggrams.mining.pairs import strong_pairs
from dnazen.ggrams.mining.sequences import MinedSequences
from dnazen.ggrams.settings import MaskingConfig, MiningConfig
from dnazen.ggrams.vocabulary import GGramVocabulary
from dnazen.model.batches import Collator, Example
from dnazen.outputs import new_file
from dnazen.tokens.corpus import Corpus
from dnazen.workers.cluster import Workers

RELEASED_SIZE = 162_708
"""G-grams of the public release: the size that loading and matching are measured at."""

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Measure the G-gram engine on a corpus."""

    corpus: Path | None = None
    """Corpus directory; None makes up one of 4 million tokens."""
    min_pmi: tuple[float, ...] = (1.0, 2.0, 5.0)
    """Thresholds to mine at, in bits."""
    sizes: tuple[int, ...] = ()
    """Sizes to mine at, in million tokens: the head of the corpus, or the corpus over and over,
    each copy mutated anew. None given: the corpus as it is."""
    mutated: float = 0.1
    """Fraction of the tokens that a copy draws anew from the corpus."""
    turns: int = 3
    """Times that each thing is measured; the fastest counts."""
    threads: int = 2
    """Threads for mining and matching."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """JSON file to write."""


@dataclass
class Cost:
    """What a call took."""

    wall_s: float
    cpu_s: float
    anonymous_mb: float | None
    """Growth of the memory that belongs to no file, at its highest."""


def measured(call: Callable[[], Result], turns: int) -> tuple[Result, Cost]:
    """The result of a call, and the cost of the fastest of some turns."""
    costs = []
    for _ in range(turns):
        with _peak_memory() as peak:
            wall, cpu = time.perf_counter(), time.process_time()
            result = call()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        costs.append(Cost(wall, cpu, peak[0]))
    return result, min(costs, key=lambda cost: cost.wall_s)


@contextlib.contextmanager
def _peak_memory() -> Iterator[list[float | None]]:
    """Sample the process's anonymous memory every 20 ms (Linux; None elsewhere)."""
    before, peak = _anonymous_mb(), [_anonymous_mb()]
    done = threading.Event()

    def sample() -> None:
        while not done.wait(0.02):
            now = _anonymous_mb()
            if now is not None and peak[0] is not None:
                peak[0] = max(peak[0], now)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield peak
    finally:
        done.set()
        sampler.join()
        if before is not None and peak[0] is not None:
            peak[0] = round(peak[0] - before, 1)


def _anonymous_mb() -> float | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) / 1024
    return None


def row(
    name: str, items: int, cost: Cost, threads: int = 1, bytes_each: int | None = None
) -> dict[str, Any]:
    """One line of the table; rates in millions of items a second.

    ``bytes_each`` is what must be read of an item at the least: with it, the row says what part of
    the memory's bandwidth the work came to.
    """
    share = None if bytes_each is None else items * bytes_each / cost.wall_s / memory().read_bytes_s
    return {
        "name": name,
        "items": items,
        "wall_s": round(cost.wall_s, 4),
        "cpu_s": round(cost.cpu_s, 4),
        "million_per_s": round(items / cost.wall_s / 1e6, 2),
        "million_per_s_by_cpu": round(items * threads / max(cost.cpu_s, 1e-9) / 1e6, 2),
        "peak_mb": cost.anonymous_mb,
        "of_bandwidth": share,
    }


def mining_rows(
    tokens: np.ndarray,
    offsets: np.ndarray,
    vocab_size: int,
    min_pmi: float,
    threads: int,
    turns: int,
) -> Iterator[dict[str, Any]]:
    """Mining as a whole, then its passes one by one."""
    config, workers = MiningConfig(min_pmi=min_pmi), Workers(threads)
    size = f"{len(tokens) / 1e6:.0f}M tokens, {min_pmi} bits"
    found, cost = measured(
        lambda: mine(tokens, offsets, vocab_size, config, threads=threads), turns
    )
    yield row(f"mine, {size}", len(tokens), cost, threads, 2)
    with tempfile.TemporaryDirectory() as folder:
        vocabulary = vocabulary_of(found, vocab_size)
        _, cost = measured(lambda: vocabulary.save(Path(folder) / "ggrams.tsv"), turns)
    yield row("  write them", len(vocabulary), cost)
    del found, vocabulary
    sequences = MinedSequences(tokens, offsets, np.ones(len(offsets) - 1, dtype=np.bool_))
    pairs, cost = measured(
        lambda: strong_pairs(
            sequences,
            vocab_size,
            workers,
            min_pmi=min_pmi,
            min_pair_count=config.min_pair_count,
            min_token_count=config.min_token_count,
        ),
        turns,
    )
    yield row(f"  pairs: {len(pairs.keys):,} strong", len(tokens), cost, threads, 2)
    grams, cost = measured(
        lambda: candidates(
            sequences, pairs, vocab_size, workers, max_len=5, min_count=5, all_ngrams=False
        ),
        turns,
    )
    yield row(f"  sightings: {len(grams.offsets) - 1:,} G-grams", len(tokens), cost, threads, 2)
    _, cost = measured(lambda: count_occurrences(sequences, grams, workers), turns)
    yield row("  occurrences", len(tokens), cost, threads, 2)


def vocabulary_of(found: GGrams, vocab_size: int) -> GGramVocabulary:
    """What was mined as a vocabulary of no tokenizer."""
    return GGramVocabulary(
        tokens=found.tokens.astype(np.uint16),
        offsets=found.offsets,
        counts=found.counts,
        pmi=found.pmi.astype(np.float32),
        vocab_size=vocab_size,
        tokenizer_sha256="",
    )


def matching_rows(
    vocabulary: GGramVocabulary,
    tokens: np.ndarray,
    offsets: np.ndarray,
    threads: int,
    turns: int,
) -> Iterator[dict[str, Any]]:
    """Loading, indexing, matching, and training batches of 32 sequences on one core."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ggrams.tsv"
        vocabulary.save(path)
        loaded, cost = measured(lambda: GGramVocabulary.load(path), turns)
    yield row("load vocabulary (G-grams)", len(loaded), cost)
    matcher, cost = measured(lambda: Matcher(loaded), turns)
    yield row("index it", len(loaded), cost)
    matcher.match(tokens, offsets)
    for n in (1, threads):
        _, cost = measured(lambda n=n: matcher.match(tokens, offsets, threads=n), turns)
        yield row(f"match, {n} threads", len(tokens), cost, n)

    size = 32
    batches = range(0, min(len(offsets) - 1, 200 * size) - size + 1, size)
    keys = sequence_keys(0, 0, np.arange(len(offsets)))
    examples = [
        [Example(tokens[offsets[s] : offsets[s + 1]], int(keys[s])) for s in range(b, b + size)]
        for b in batches
    ]
    total = int(offsets[batches[-1] + size])
    for name, collator in (
        ("match + collate", Collator(matcher, vocabulary.vocab_size)),
        (
            "mask + match + collate",
            Collator(matcher, vocabulary.vocab_size, masking=MaskingConfig()),
        ),
    ):
        collator(examples[0])
        _, cost = measured(lambda c=collator: [c(batch) for batch in examples], turns)
        yield row(f"{name}, batches of {size}", total, cost)


def made_up(tokens: int = 4_000_000, vocab_size: int = 4096) -> tuple[np.ndarray, np.ndarray]:
    """Tokens in the manner of Zipf's law, half of them in stretches that recur."""
    rng = np.random.default_rng(0)
    flat = (5 + (vocab_size - 5) * rng.random(tokens) ** 3).astype(np.uint16)
    motifs = flat[: 5 * 20_000].reshape(-1, 5).copy()
    places = rng.integers(0, tokens - 5, tokens // 10)
    chosen = motifs[(len(motifs) * rng.random(len(places)) ** 2).astype(np.int64)]
    flat[places[:, None] + np.arange(5)] = chosen
    return flat, np.append(np.arange(0, tokens, 200), tokens).astype(np.int64)


def of_size(
    tokens: np.ndarray, offsets: np.ndarray, size: int, mutated: float, folder: Path
) -> tuple[np.ndarray, np.ndarray]:
    """About ``size`` tokens in a mapped file: the corpus over and over, later copies mutated."""
    copies = -(-size // len(tokens))
    rng = np.random.default_rng(copies)
    path = folder / "tokens.bin"
    with open(path, "wb") as handle:
        for copy in range(copies):
            for start in range(0, len(tokens), 1 << 22):
                block = np.array(tokens[start : start + (1 << 22)])
                changed = np.flatnonzero(rng.random(len(block)) < (mutated if copy else 0))
                block[changed] = block[rng.integers(0, len(block), len(changed))]
                handle.write(block.data)
    shifts = np.arange(copies)[:, None] * len(tokens)
    offsets = np.append((offsets[:-1] + shifts).reshape(-1), copies * len(tokens))
    offsets = offsets[: int(np.searchsorted(offsets, size)) + 1]
    return np.memmap(path, dtype=tokens.dtype, mode="r", shape=(int(offsets[-1]),)), offsets


class Memory(NamedTuple):
    """What one core's memory can do, at best of five."""

    read_bytes_s: float
    """Reading 256 MiB from one end to the other."""
    updates_s: float
    """Increments of one byte at random places of 8 MiB, about the size of a sketch."""


@cache
def memory() -> Memory:
    """Measure the memory once."""
    block, places = (
        np.ones(1 << 25, np.int64),
        np.random.default_rng(0).integers(0, 1 << 23, 1 << 22),
    )
    small = np.zeros(1 << 23, np.uint8)
    _increment(small, places[:1])
    reading = measured(block.sum, 5)[1].wall_s
    updating = measured(lambda: _increment(small, places), 5)[1].wall_s
    return Memory(block.nbytes / reading, len(places) / updating)


@njit
def _increment(table: np.ndarray, places: np.ndarray) -> None:
    for place in places:
        table[place] += 1


def benchmark(config: BenchmarkConfig) -> None:
    """Run all measurements; print each as it comes."""
    if config.corpus is None:
        vocab_size, (tokens, offsets) = 4096, made_up()
    else:
        corpus = Corpus.open(config.corpus)
        tokens, offsets, vocab_size = corpus.tokens, np.array(corpus.offsets), corpus.vocab_size
    rows: list[dict[str, Any]] = []

    def keep(measurements: Iterator[dict[str, Any]], show: bool = True) -> None:
        for each in measurements:
            if show:
                rows.append(each)
                print(
                    f"{each['name']:<46}{each['wall_s']:>9.3f} s {each['million_per_s']:>8.1f} M/s"
                    f" {each['million_per_s_by_cpu']:>8.1f} M/s by CPU"
                    f" {each['peak_mb'] or 0:>8.0f} MB"
                    + (f" {each['of_bandwidth']:>7.1%}" if each["of_bandwidth"] else ""),
                    flush=True,
                )

    few = min(len(offsets) - 1, 1000)
    small = np.array(tokens[: offsets[few]]), offsets[: few + 1]
    keep(mining_rows(*small, vocab_size, 1.0, config.threads, 1), show=False)
    for size in config.sizes or (None,):
        with tempfile.TemporaryDirectory() as folder:
            large = tokens, offsets
            if size is not None:
                large = of_size(tokens, offsets, size * 10**6, config.mutated, Path(folder))
            for min_pmi in config.min_pmi:
                keep(mining_rows(*large, vocab_size, min_pmi, config.threads, config.turns))

    settings = MiningConfig(min_pmi=0.8, max_size=RELEASED_SIZE)
    found = mine(tokens, offsets, vocab_size, settings, threads=config.threads)
    vocabulary = vocabulary_of(found, vocab_size)
    few = min(len(offsets) - 1, 20_000)
    some = np.array(tokens[: offsets[few]])
    keep(matching_rows(vocabulary, some, offsets[: few + 1], config.threads, config.turns))
    if config.output is not None:
        result = {
            "machine": platform.processor() or platform.machine(),
            "platform": platform.platform(),
            "versions": {name: version(name) for name in ("dnazen", "numpy", "numba", "torch")},
            "threads": config.threads,
            "memory": memory()._asdict(),
            "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "rows": rows,
        }
        with new_file(config.output) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    benchmark(tyro.cli(BenchmarkConfig))
