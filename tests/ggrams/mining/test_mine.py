"""Mining against a word-for-word, slow reading of method.md section 3."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from itertools import pairwise
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen.errors import ConfigError
from dnazen.ggrams.mining import candidates, pairs
from dnazen.ggrams.mining import mine as mining
from dnazen.ggrams.mining.mine import GGrams, mine
from dnazen.ggrams.settings import MiningConfig

FIRST = 5  # the first token id that is no special token


def ragged(sequences):
    flat = np.array([t for s in sequences for t in s], dtype=np.uint16)
    return flat, np.cumsum([0, *map(len, sequences)]).astype(np.int64)


def listed(found: GGrams):
    """[(G-gram, count), ...] in the order of the ids."""
    cuts = pairwise(found.offsets)
    return [
        (tuple(found.tokens[a:b].tolist()), int(c))
        for (a, b), c in zip(cuts, found.counts, strict=True)
    ]


def strong_by_hand(sequences, config):
    """{pair: ratio} of the strong pairs."""
    ones = Counter(t for s in sequences for t in s)
    pairs = Counter(p for s in sequences for p in pairwise(s))
    n1, n2 = ones.total(), pairs.total()
    strong = {}
    for (a, b), c in pairs.items():
        ratio = (c / n2) / ((ones[a] / n1) * (ones[b] / n1))
        if (
            ratio >= 2.0**config.min_pmi
            and c >= config.min_pair_count
            and min(ones[a], ones[b]) >= config.min_token_count
            and min(a, b) >= FIRST
        ):
            strong[a, b] = ratio
    return strong


def occurrences_by_hand(sequences, gram):
    return sum(tuple(s[i : i + len(gram)]) == gram for s in sequences for i in range(len(s)))


def ordered_by_hand(sequences, grams, config):
    counted = [(g, occurrences_by_hand(sequences, g)) for g in grams]
    counted = [gc for gc in counted if gc[1] >= config.min_count]
    counted.sort(key=lambda gc: (-gc[1], len(gc[0]), gc[0]))
    return counted[: config.max_size]


def mined_by_hand(sequences, config):
    strong = strong_by_hand(sequences, config)
    sighted = Counter()
    for s in sequences:
        run = list(s[:1])
        for token in [*s[1:], None]:
            if token is not None and (run[-1], token) in strong:
                run.append(token)
                continue
            for i in range(0, len(run), config.max_len):
                piece = tuple(run[i : i + config.max_len])
                if len(piece) >= 2:
                    sighted[piece] += 1
            run = [token]
    grams = [g for g, c in sighted.items() if c >= config.min_count]
    return ordered_by_hand(sequences, grams, config)


# Few kinds of tokens, special ones among them, and repeats: runs, ties and thresholds all occur.
sequences = st.lists(
    st.one_of(
        st.lists(st.integers(3, 9), max_size=40),
        st.builds(
            lambda unit, n: unit * n, st.lists(st.integers(5, 8), max_size=3), st.integers(0, 12)
        ),
    ),
    max_size=12,
)
configs = st.builds(
    MiningConfig,
    min_pmi=st.sampled_from([-2.0, 0.0, 0.5, 1.0, 2.0]),
    min_pair_count=st.integers(1, 4),
    min_token_count=st.integers(1, 4),
    min_count=st.integers(1, 4),
    max_len=st.integers(2, 16),
    max_size=st.sampled_from([None, None, 1, 5]),
)


@settings(max_examples=300, deadline=None)
@given(sequences, configs, st.sampled_from([10, 300]), st.integers(1, 3))
def test_mining_is_the_method_word_for_word(sequences, config, vocab_size, threads):
    found = mine(*ragged(sequences), vocab_size, config, threads=threads)
    assert listed(found) == mined_by_hand(sequences, config)
    strong = strong_by_hand(sequences, config)
    weakest = [min(strong[p] for p in pairwise(g)) for g, _ in listed(found)]
    np.testing.assert_allclose(found.pmi, np.log2(weakest), atol=5.1e-5)


@settings(max_examples=100, deadline=None)
@given(sequences, configs, st.sampled_from([10, 300]), st.integers(1, 3))
def test_the_tightest_memory_gives_the_same(sequences, config, vocab_size, threads):
    """Tables of one row and of one piece, and occurrences counted a G-gram at a time."""
    with tightest():
        found = mine(*ragged(sequences), vocab_size, config, threads=threads)
    assert listed(found) == mined_by_hand(sequences, config)


@pytest.mark.parametrize("memory_gb", [1e-9, 1e-6, 3])
def test_the_memory_allowed_changes_nothing(markov, memory_gb):
    plain = mine(*markov, 60, MiningConfig(min_pmi=0.5))
    for a, b in zip(
        plain, mine(*markov, 60, MiningConfig(min_pmi=0.5), memory_gb=memory_gb), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@contextmanager
def tightest():
    with (
        mock.patch.object(pairs, "PAIR_CELLS", 1),
        mock.patch.object(candidates, "TABLE_SLOTS", 1),
        mock.patch.object(candidates, "TRIE_TOKENS", 1),
        mock.patch.object(mining, "_TOKENS_AT_A_TIME", 1),
    ):
        yield


@pytest.mark.parametrize("method", ["pmi", "frequency"])
def test_pieces_of_one_pair_are_parted_by_their_hash(method):
    """One pair begins them all, so there is no first token nor pair to part them by."""
    rng = np.random.default_rng(1)
    sequences = [[5, 6, *rng.integers(5, 9, 4).tolist()] for _ in range(800)]
    config = MiningConfig(min_pmi=-9, min_count=2, max_len=6, method=method)
    plain = mine(*ragged(sequences), 300, config)
    with mock.patch.object(candidates, "TABLE_SLOTS", 256):
        parted = mine(*ragged(sequences), 300, config, threads=2)
    assert len(plain.counts) > 200
    for a, b in zip(plain, parted, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_head_of_the_vocabulary_is_that_of_the_whole(markov):
    whole = listed(mine(*markov, 60, MiningConfig()))
    for size in (1, 7, 100, len(whole), len(whole) + 1):
        assert listed(mine(*markov, 60, MiningConfig(max_size=size))) == whole[:size]


@settings(max_examples=100, deadline=None)
@given(sequences, configs)
def test_frequency_control_is_all_ngrams_by_count(sequences, config):
    config = MiningConfig(
        method="frequency", min_count=config.min_count, max_len=config.max_len,
        max_size=config.max_size,
    )  # fmt: skip
    grams = {
        tuple(s[i : i + n])
        for s in sequences
        for n in range(2, config.max_len + 1)
        for i in range(len(s) - n + 1)
        if min(s[i : i + n]) >= FIRST
    }
    found = mine(*ragged(sequences), 10, config)
    assert listed(found) == ordered_by_hand(sequences, grams, config)
    assert np.isnan(found.pmi).all()


@pytest.fixture(scope="module")
def markov():
    """A corpus with structure: each token likes one successor."""
    rng = np.random.default_rng(0)
    tokens = rng.integers(5, 60, 20_000).astype(np.uint16)
    follow = rng.random(20_000) < 0.4
    for i in range(1, len(tokens)):
        if follow[i]:
            tokens[i] = 5 + (tokens[i - 1] * 7) % 55
    offsets = np.unique([0, *rng.integers(0, 20_000, 100), 20_000]).astype(np.int64)
    return tokens, offsets


@pytest.mark.parametrize("method", ["pmi", "frequency", "random", "shuffled"])
def test_any_number_of_threads_gives_the_same(markov, method):
    config = MiningConfig(method=method)
    one = mine(*markov, 4096, config)
    assert len(one.counts) > 50
    for threads in (2, 3, 7):
        for a, b in zip(one, mine(*markov, 4096, config, threads=threads), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("vocab_size", [60, 4096, 65536])
def test_table_limits_and_vocabulary_size_change_nothing(markov, vocab_size, monkeypatch):
    whole = mine(*markov, 60, MiningConfig(min_pmi=0.5))
    monkeypatch.setattr(pairs, "PAIR_CELLS", 1 << 20)
    monkeypatch.setattr(candidates, "TABLE_SLOTS", 1 << 12)  # the smallest: parts split to the end
    parts = mine(*markov, vocab_size, MiningConfig(min_pmi=0.5))
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(a, b)


def test_largest_token_id_is_like_any_other(markov):
    tokens, offsets = markov
    shifted = mine(tokens + np.uint16(65535 - 59), offsets, 65536, MiningConfig())
    plain = mine(tokens, offsets, 60, MiningConfig())
    np.testing.assert_array_equal(shifted.tokens - (65535 - 59), plain.tokens)
    np.testing.assert_array_equal(shifted.counts, plain.counts)


def test_random_control_has_the_mined_lengths_and_true_counts(markov):
    mined = mine(*markov, 60, MiningConfig())
    found = mine(*markov, 60, MiningConfig(method="random", seed=3))
    np.testing.assert_array_equal(
        np.bincount(np.diff(found.offsets)), np.bincount(np.diff(mined.offsets))
    )
    tokens, offsets = markov
    sequences = [s.tolist() for s in np.split(tokens, offsets[1:-1])]
    for gram, count in listed(found)[::25]:
        assert count == occurrences_by_hand(sequences, gram) > 0
    other = mine(*markov, 60, MiningConfig(method="random", seed=4))
    assert listed(found) != listed(other)


def test_shuffled_control_permutes_the_mined(markov):
    mined = [g for g, _ in listed(mine(*markov, 60, MiningConfig()))]
    found = listed(mine(*markov, 60, MiningConfig(method="shuffled")))
    assert {g for g, _ in found}.isdisjoint(mined)
    left = Counter(tuple(sorted(g)) for g in mined)
    left.subtract(tuple(sorted(g)) for g, _ in found)
    assert min(left.values()) >= 0
    assert len(found) > 0.9 * len(mined)


def test_repeats_are_cut_from_the_left_and_the_rest_is_kept():
    # One run of 12 equal tokens: pieces of 5, 5 and 2.
    found = mine(
        *ragged([[5] * 12]), 10,
        MiningConfig(min_pmi=-1, min_pair_count=1, min_token_count=1, min_count=1),
    )  # fmt: skip
    assert listed(found) == [((5, 5), 11), ((5, 5, 5, 5, 5), 8)]


def test_counts_go_far_beyond_a_byte():
    many = [5] * 100_002  # cut into pieces of five, and one of two
    config = MiningConfig(min_pmi=-1, min_count=2)
    found = mine(*ragged([many, many[:70_002]]), 10, config)
    assert listed(found) == [((5, 5), 100_001 + 70_001), ((5,) * 5, 99_998 + 69_998)]
    assert found.pmi.tolist() == [0, 0]


@pytest.mark.parametrize("sequences", [[], [[]], [[7]], [[], [7], []]])
def test_nothing_to_mine_is_an_empty_result(sequences):
    for method in ("pmi", "frequency", "random", "shuffled"):
        assert listed(mine(*ragged(sequences), 10, MiningConfig(method=method))) == []


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_len": 17}, "max_len must be 2 to 16"),
        ({"max_len": 10**400}, "max_len must be 2 to 16"),
        ({"min_count": 0}, "min_count must be 1 to 2147483647"),
        ({"min_count": 2**31}, "min_count must be 1 to 2147483647"),
        ({"min_pair_count": 0}, "min_pair_count must be 1 to"),
        ({"min_token_count": -1}, "min_token_count must be 1 to"),
        ({"max_size": 0}, "max_size must be at least 1"),
        ({"min_pmi": float("nan")}, "min_pmi must be -64 to 64, got nan"),
        ({"min_pmi": float("inf")}, "min_pmi must be -64 to 64, got inf"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"method": "PMI"}, "method must be one of pmi, frequency, random, shuffled, got 'PMI'"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        MiningConfig(**wrong)
