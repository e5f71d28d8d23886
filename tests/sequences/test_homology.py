"""Near-equal sequences against sets of plain strings, over all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen.sequences.homology import K, NearEqual, canonical_kmers, leaking

PAIR = str.maketrans("ACGT", "TGCA")


def other_strand(text: str) -> str:
    return text[::-1].translate(PAIR)


def words(text: str) -> set[str]:
    own = {text[i : i + K] for i in range(len(text) - K + 1)}
    return {min(word, other_strand(word)) for word in own if set(word) <= set("ACGT")}


def share(one: str, other: str) -> float:
    """The shared fraction of the smaller set of 16-mers; 0 where there is none."""
    a, b = words(one), words(other)
    return len(a & b) / min(len(a), len(b)) if a and b else 0.0


def relatives(rng: np.random.Generator) -> list[str]:
    """Sequences of 40 to 120 bases, many of them mutated, shifted or turned copies of others."""
    texts: list[str] = []
    for _ in range(40):
        if texts and rng.random() < 0.7:
            text = list(texts[rng.integers(len(texts))])
            for place in np.flatnonzero(rng.random(len(text)) < rng.choice([0, 0.02, 0.1])):
                text[place] = str(rng.choice(list("ACGTN")))
            text = text[rng.integers(20) :] + list(rng.choice(list("ACGT"), rng.integers(20)))
            texts.append("".join(text) if rng.random() < 0.5 else other_strand("".join(text)))
        else:
            texts.append("".join(rng.choice(list("ACGT"), rng.integers(40, 120))))
    return texts


@given(st.text("ACGTN", max_size=60))
def test_words_are_those_of_plain_strings(text):
    value = {base: number for number, base in enumerate("ACGT")}
    numbers = {sum(value[b] << 2 * (K - 1 - i) for i, b in enumerate(w)) for w in words(text)}
    assert canonical_kmers(text.encode()).tolist() == sorted(numbers)
    assert canonical_kmers(other_strand(text).encode()).tolist() == sorted(numbers)
    assert canonical_kmers(text.lower().encode()).tolist() == sorted(numbers)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_found_is_what_all_pairs_give(seed, fraction):
    texts = relatives(np.random.default_rng(seed))
    index = NearEqual([text.encode() for text in texts], fraction)
    pairs = 0
    for text in [*texts, "ACGT", "", "N" * 50]:
        expected = [n for n, other in enumerate(texts) if share(text, other) >= fraction > 0]
        assert index.find(text.encode()).tolist() == expected
        pairs += len(expected)
    assert pairs > len(texts)  # each finds itself; some find others


def test_nothing_is_found_among_none():
    assert NearEqual([], 0.5).find(b"ACGT" * 10).tolist() == []


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.sampled_from([0.1, 0.5]))
def test_no_pair_across_splits_is_left(seed, fraction):
    rng = np.random.default_rng(seed)
    texts = relatives(rng)
    splits = rng.choice(["train", "dev", "test"], len(texts)).tolist()
    gone = leaking([text.encode() for text in texts], splits, fraction)
    near = [
        (a, b)
        for a in range(len(texts))
        for b in range(len(texts))
        if splits[a] != splits[b] and share(texts[a], texts[b]) >= fraction
    ]
    assert not [pair for pair in near if not gone[list(pair)].any()]
    rank = {"train": 0, "test": 1, "dev": 2}
    for number in np.flatnonzero(gone):  # each for a reason that is left itself
        reasons = {b for a, b in near if a == number and not gone[b]}
        assert any(rank[splits[b]] < rank[splits[number]] for b in reasons)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6))
def test_what_may_not_go_stays(seed):
    rng = np.random.default_rng(seed)
    texts = relatives(rng)
    splits = rng.choice(["train", "dev", "test"], len(texts)).tolist()
    sequences = [text.encode() for text in texts]
    first = leaking(sequences, splits, 0.25)
    order = np.concatenate([np.flatnonzero(~first), np.flatnonzero(first)])
    kept = int((~first).sum())  # these have no pairs among themselves
    sequences, splits = [sequences[n] for n in order], [splits[n] for n in order]
    texts = [texts[n] for n in order]
    gone = leaking(sequences, splits, 0.25, removable=np.arange(len(order)) >= kept)
    assert not gone[:kept].any()
    for a in np.flatnonzero(~gone):
        for b in np.flatnonzero(~gone):
            assert splits[a] == splits[b] or share(texts[a], texts[b]) < 0.25
