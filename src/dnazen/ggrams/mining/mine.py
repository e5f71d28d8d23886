"""G-gram mining: runs of tokens that pointwise mutual information holds together, by count."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int, Int64, UInt16

from ...arrays import GrowingArray
from ...errors import InputError
from ...records import package_version, plain
from ...tokens.corpus import Corpus
from ...tokens.special import MAX_VOCAB_SIZE, UNK
from ...tokens.tokenizer import token_strings
from ...workers.cluster import Workers, connected
from ..kernels import require_sequences, require_tokens
from ..leakage import in_words, sharing_sequences
from ..settings import MiningConfig
from ..vocabulary import SPECIAL, GGramVocabulary, order_of_ids, padded, spell
from .candidates import TokenNGrams, bounds, candidates, count_occurrences
from .pairs import StrongPairs, strong_pairs
from .sequences import MinedSequences

_TOKENS_AT_A_TIME = 1 << 20


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

    Raises
    ------
    InputError
        If ``offsets`` leave the tokens, or a token is none of the vocabulary's.
    """
    require_sequences(tokens, offsets)
    if not SPECIAL < vocab_size <= MAX_VOCAB_SIZE:
        raise InputError(f"a vocabulary of {vocab_size} tokens", expected="6 to 65,536")
    if keep is None:
        keep = np.ones(len(offsets) - 1, dtype=np.bool_)
    if len(keep) != len(offsets) - 1:
        raise ValueError(f"{len(keep)} flags for {len(offsets) - 1} sequences")
    sequences = MinedSequences(require_tokens(tokens), offsets.astype(np.int64, copy=False), keep)
    with connected(ray):
        return _mined(sequences, vocab_size, config, Workers(threads, ray, memory_gb))


def _mined(
    sequences: MinedSequences, vocab_size: int, config: MiningConfig, workers: Workers
) -> GGrams:
    if config.method == "frequency":
        pairs = strong_pairs(sequences, vocab_size, workers, min_pair_count=config.min_count)
    else:
        pairs = strong_pairs(
            sequences,
            vocab_size,
            workers,
            min_pmi=config.min_pmi,
            min_pair_count=config.min_pair_count,
            min_token_count=config.min_token_count,
        )
    grams = candidates(
        sequences,
        pairs,
        vocab_size,
        workers,
        max_len=config.max_len,
        min_count=config.min_count,
        all_ngrams=config.method == "frequency",
    )
    grams, counts = _ordered(sequences, grams, config.max_size, workers)
    if config.method == "pmi":
        return GGrams(*grams, counts, _weakest_pmi(grams, pairs, vocab_size))
    if config.method == "random":
        drawn = _drawn(sequences, np.diff(grams.offsets), config.seed)
        grams, counts = _ordered(sequences, drawn, config.max_size, workers)
    elif config.method == "shuffled":
        shuffled = _shuffled(grams, config.seed)
        grams, counts = _ordered(sequences, shuffled, config.max_size, workers)
    return GGrams(*grams, counts, np.full(len(counts), np.nan))


class MinedCorpus(NamedTuple):
    """What was mined from a corpus."""

    vocabulary: GGramVocabulary
    excluded: int
    """Sequences that were left out."""


def mine_corpus(
    corpus: Corpus,
    config: MiningConfig,
    *,
    exclude: Sequence[Path] = (),
    exclude_overlap_bp: int = 50,
    skip_repeats: bool = False,
    threads: int | None = None,
    ray: str | None = None,
    memory_gb: float = 1.0,
) -> MinedCorpus:
    """Mine a corpus to a vocabulary with a record of all that it was made from.

    Parameters
    ----------
    exclude
        Sequence files, such as a benchmark's dev and test sets. Corpus sequences that share a
        stretch of ``exclude_overlap_bp`` bases with them, on either strand, are not mined.
    skip_repeats
        Take the tokens of repeats for unknown, so that no G-gram holds one.
    threads
        None takes one a core.

    Raises
    ------
    InputError
        If a file of ``exclude`` cannot be read, or nothing in it can be excluded; or repeats are
        to be skipped in a corpus that does not tell them.
    """
    tokens = _without_repeats(corpus) if skip_repeats else corpus.tokens
    if threads is None:
        threads = os.cpu_count() or 1
    keep = np.ones(len(corpus), dtype=np.bool_)
    excluded: dict[str, Any] = {"files": [], "overlap_bp": exclude_overlap_bp}
    if exclude:
        sharing = sharing_sequences(corpus, exclude, exclude_overlap_bp, threads)
        keep = ~sharing.sequences
        excluded["files"] = [file.identity for file in sharing.files]
        print(f"excluded: {in_words(sharing.files, exclude_overlap_bp)}", file=sys.stderr)
    left_out = np.diff(corpus.offsets)[~keep]
    excluded |= {"sequences": len(left_out), "tokens": int(left_out.sum())}
    print(f"mining {len(corpus.tokens) - excluded['tokens']:,} tokens", file=sys.stderr)
    mined = mine(
        tokens,
        corpus.offsets,
        corpus.vocab_size,
        config,
        keep=keep,
        threads=threads,
        ray=ray,
        memory_gb=memory_gb,
    )
    vocabulary = GGramVocabulary(
        tokens=mined.tokens.astype(np.uint16),
        offsets=mined.offsets,
        counts=mined.counts,
        pmi=mined.pmi.astype(np.float32),
        vocab_size=corpus.vocab_size,
        tokenizer_sha256=corpus.tokenizer_sha256,
        provenance=_provenance(corpus, config, excluded) | {"skip_repeats": skip_repeats},
        bases=spell(mined.tokens, mined.offsets, token_strings(corpus.tokenizer)),
    )
    return MinedCorpus(vocabulary, len(left_out))


def _without_repeats(corpus: Corpus) -> UInt16[np.ndarray, "tokens"]:
    """The tokens, [UNK] where one is of a repeat; kept in a temporary file."""
    if corpus.repeat is None:
        raise InputError(
            "does not tell repeats", path=corpus.directory, fix="build the corpus anew"
        )
    with GrowingArray(None, np.uint16) as tokens:
        for start in range(0, len(corpus.tokens), _TOKENS_AT_A_TIME):
            part = slice(start, start + _TOKENS_AT_A_TIME)
            tokens.append(np.where(corpus.repeat[part], UNK, corpus.tokens[part]))
        return tokens.mapped()


def _provenance(corpus: Corpus, config: MiningConfig, excluded: dict[str, Any]) -> dict[str, Any]:
    """What the vocabulary was made from; nothing in it depends on who did the work."""
    source = {
        "path": corpus.directory,
        "sequences": len(corpus),
        "tokens": len(corpus.tokens),
        "settings": {key: value for key, value in corpus.settings.items() if key != "ray"},
        "inputs": corpus.inputs,
    }
    record = {
        "dnazen": package_version(),
        "mining": config,
        "corpus": source,
        "excluded": excluded,
    }
    return {key: plain(value) for key, value in record.items()}


def _ordered(
    sequences: MinedSequences, grams: TokenNGrams, max_size: int | None, workers: Workers
) -> tuple[TokenNGrams, Int64[np.ndarray, "ggrams"]]:
    """The most frequent G-grams: by count descending, length ascending, tokens ascending."""
    counts = count_occurrences(sequences, grams, workers)
    if max_size is not None and max_size < len(counts):
        least = np.partition(counts, -max_size)[-max_size]
        grams, counts = grams.where(counts >= least), counts[counts >= least]
    lengths, rows = np.diff(grams.offsets), padded(*grams)
    order = order_of_ids(rows, lengths, counts)[:max_size]
    lengths, rows = lengths[order], rows[order]
    tokens = rows[np.arange(rows.shape[1]) < lengths[:, None]]
    return TokenNGrams(tokens, bounds(lengths)), counts[order]


def _weakest_pmi(
    grams: TokenNGrams, pairs: StrongPairs, vocab_size: int
) -> Float64[np.ndarray, "ggrams"]:
    groups = grams.groups(_TOKENS_AT_A_TIME)
    return np.concatenate([np.zeros(0), *(_weakest(group, pairs, vocab_size) for group in groups)])


def _weakest(
    grams: TokenNGrams, pairs: StrongPairs, vocab_size: int
) -> Float64[np.ndarray, "ggrams"]:
    tokens, offsets = grams
    keys = tokens[:-1].astype(np.int64) * vocab_size + tokens[1:]
    # The pair that straddles two G-grams is no pair of either.
    keys = np.delete(keys, offsets[1:-1] - 1)
    ratios = pairs.ratios[np.searchsorted(pairs.keys, keys)]
    starts = offsets[:-1] - np.arange(len(offsets) - 1)
    return np.round(np.log2(np.minimum.reduceat(ratios, starts)), 4)


def _drawn(
    sequences: MinedSequences, lengths: Int64[np.ndarray, "ggrams"], seed: int
) -> TokenNGrams:
    """Distinct stretches at random places of the corpus, as many of each length as asked.

    Fewer where the corpus does not offer as many (after a number of fruitless draws).
    """
    rng = np.random.default_rng(seed)
    before, begin = bounds(sequences.lengths), sequences.offsets[:-1][sequences.keep]
    end = begin + sequences.lengths
    drawn: list[Int64[np.ndarray, "some length"]] = []
    for length, wanted in zip(*np.unique(lengths, return_counts=True), strict=True):
        rows = np.zeros((0, length), dtype=np.int64)
        for _ in range(64):
            place = rng.integers(0, before[-1], 2 * wanted)
            sequence = np.searchsorted(before, place, side="right") - 1
            start = begin[sequence] + place - before[sequence]
            start = start[start + length <= end[sequence]]
            fresh = sequences.tokens[start[:, None] + np.arange(length)].astype(np.int64)
            rows = np.concatenate([rows, fresh[(fresh >= SPECIAL).all(axis=1)]])
            _, first = np.unique(rows, axis=0, return_index=True)
            rows = rows[np.sort(first)][:wanted]
            if len(rows) == wanted:
                break
        drawn.append(rows)
    flat = [np.zeros(0, dtype=np.int64), *(rows.reshape(-1) for rows in drawn)]
    return TokenNGrams(
        np.concatenate(flat), bounds([rows.shape[1] for rows in drawn for _ in rows])
    )


def _shuffled(mined: TokenNGrams, seed: int) -> TokenNGrams:
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
    return TokenNGrams(flat, bounds([len(gram) for gram in kept]))
