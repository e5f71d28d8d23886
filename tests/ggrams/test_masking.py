"""The laws of whole-G-gram masking (method.md section 6)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen.errors import ConfigError
from dnazen.ggrams.masking import mask, sequence_keys
from dnazen.ggrams.matching import Matcher
from dnazen.ggrams.settings import MaskingConfig
from dnazen.ggrams.vocabulary import GGramVocabulary

MASK = 4
VOCAB = 40


def ragged(sequences):
    flat = np.array([t for s in sequences for t in s], dtype=np.int64)
    return flat, np.cumsum([0, *map(len, sequences)]).astype(np.int64)


def matcher_of(grams):
    tokens, offsets = ragged(grams)
    return Matcher(
        GGramVocabulary(
            tokens=tokens, offsets=offsets, vocab_size=VOCAB, tokenizer_sha256="",
            counts=np.ones(len(grams), np.int64), pmi=np.zeros(len(grams), np.float32),
        )
    )  # fmt: skip


def random_text(size, seed=0):
    """Sequences with G-grams enough: every pair of an even token and its successor is one."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 200, size)
    tokens = rng.integers(6, VOCAB, lengths.sum())
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens[offsets[:-1][lengths > 0]] = 1  # [CLS]
    return tokens, offsets


PAIRS = matcher_of([(a, b) for a in range(6, VOCAB, 2) for b in range(6, VOCAB)])

sequences_ = st.lists(
    st.lists(st.sampled_from([0, 1, 2, 3, 5, 6, 7, 8]), max_size=60), min_size=1, max_size=4
)
gram_sets = st.lists(
    st.lists(st.integers(5, 8), min_size=2, max_size=5).map(tuple), max_size=12, unique=True
)
configs = st.builds(
    MaskingConfig,
    rate=st.floats(0.01, 0.99),
    ggram_share=st.sampled_from([0.0, 0.3, 0.8, 1.0]),
    mask_share=st.just(1.0),
    random_share=st.just(0.0),
)


@settings(max_examples=400, deadline=None)
@given(sequences_, gram_sets, configs, st.integers(0, 2**64 - 1))
def test_chosen_tokens_split_into_whole_units_and_meet_the_rate(sequences, grams, config, seed):
    tokens, offsets = ragged(sequences)
    keys = sequence_keys(seed, 0, np.arange(len(sequences)))
    corrupted, labels = mask(tokens, offsets, matcher_of(grams), keys, config, VOCAB)
    chosen = labels != -100
    np.testing.assert_array_equal(labels[chosen], tokens[chosen])
    np.testing.assert_array_equal(corrupted[~chosen], tokens[~chosen])
    assert (tokens[chosen] >= 5).all()
    assert (corrupted[chosen] == MASK).all()
    longest = max(map(len, grams), default=1)
    for a, b in pairwise(offsets):
        maskable = (tokens[a:b] >= 5).sum()
        taken = chosen[a:b].sum()
        assert taken >= min(maskable, 1)
        assert abs(taken - config.rate * maskable) < max(longest, 1) + 1
        assert taken > config.rate * maskable - 1


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**64 - 1))
def test_a_unit_is_hidden_wholly_and_shares_one_fate(seed):
    # 20 G-grams side by side and an even budget: no single token is needed.
    config = MaskingConfig(rate=0.5, ggram_share=1.0, mask_share=0.5, random_share=0.5)
    tokens, offsets = ragged([(5, 6) * 20] * 3)
    keys = sequence_keys(seed, 1, np.arange(3))
    corrupted, labels = mask(tokens, offsets, matcher_of([(5, 6)]), keys, config, VOCAB)
    hidden = (labels != -100).reshape(-1, 2)
    assert (hidden[:, 0] == hidden[:, 1]).all()
    masked = (corrupted == MASK).reshape(-1, 2)
    assert (masked[:, 0] == masked[:, 1]).all()


def test_shares_are_met_in_the_long_run():
    tokens, offsets = random_text(3000)
    keys = sequence_keys(7, 0, np.arange(3000))
    corrupted, labels = mask(tokens, offsets, PAIRS, keys, MaskingConfig(), VOCAB)
    chosen = labels != -100
    maskable = (tokens >= 5).sum()
    assert chosen.sum() / maskable == pytest.approx(0.15, abs=0.003)
    assert (corrupted == MASK).sum() / chosen.sum() == pytest.approx(0.8, abs=0.01)
    # A random token equals the true one once in 35 times.
    changed = (corrupted != tokens) & (corrupted != MASK)
    assert changed.sum() / chosen.sum() == pytest.approx(0.1 * 34 / 35, abs=0.01)
    drawn = np.bincount(corrupted[changed], minlength=VOCAB)
    assert (drawn[:5] == 0).all()
    assert drawn[5:].min() > 0.6 * drawn[5:].mean()


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.8])
def test_ggrams_take_their_share(share):
    # One G-gram kind, of three tokens that are nothing else: hidden tokens tell their unit.
    rng = np.random.default_rng(0)
    text = [t for _ in range(4000) for t in ((5, 6, 7) if rng.random() < 0.3 else (8,))]
    tokens, offsets = np.array(text), np.arange(0, len(text), 40)
    keys = sequence_keys(0, 0, np.arange(len(offsets) - 1))
    config = MaskingConfig(ggram_share=share, mask_share=1.0, random_share=0.0)
    _, labels = mask(tokens, offsets, matcher_of([(5, 6, 7)]), keys, config, VOCAB)
    hidden = (labels != -100)[: offsets[-1]]
    # Single tokens fall on 5, 6 and 7 too; a whole triple hidden by chance is rare.
    whole = 0
    for a, b in pairwise(offsets):
        piece = tokens[a:b]
        for i in range(a, b - 2):
            if piece[i - a] == 5 and b - i >= 3:
                whole += 3 * hidden[i : i + 3].all()
    assert whole / hidden.sum() == pytest.approx(share, abs=0.04)


def test_spans_have_the_lengths_of_ggrams_and_stand_anywhere():
    """Triples stand in the first half alone; as spans they are hidden in both alike."""
    rng = np.random.default_rng(5)
    halves = [[6, 7, 8] * 10 + rng.integers(9, VOCAB, 30).tolist() + [0] for _ in range(2000)]
    tokens, offsets = ragged(halves)
    keys = sequence_keys(1, 0, np.arange(len(halves)))
    config = {"ggram_share": 1.0, "mask_share": 1.0, "random_share": 0.0, "rate": 0.1}
    hidden = {}
    for units in ("ggrams", "spans"):
        settings = MaskingConfig(units=units, **config)
        _, labels = mask(tokens, offsets, matcher_of([(6, 7, 8)]), keys, settings, VOCAB)
        hidden[units] = (labels != -100).reshape(len(halves), -1)
    assert hidden["ggrams"][:, 30:].mean() < 0.002  # what tops up the budget
    first, second = hidden["spans"][:, :30].mean(), hidden["spans"][:, 30:60].mean()
    assert first == pytest.approx(0.1, abs=0.005) == second
    assert not hidden["spans"][:, 60].any()  # no special token
    runs = np.diff(np.flatnonzero(np.diff(np.pad(hidden["spans"], ((0, 0), (1, 1))).ravel())))[::2]
    assert np.isin(runs, [3, 6, 9]).mean() > 0.95
    np.testing.assert_allclose(hidden["spans"].mean(), hidden["ggrams"].mean(), rtol=0.05)


@settings(max_examples=50, deadline=None)
@given(st.permutations(range(12)), st.integers(0, 1000))
def test_a_sequence_is_masked_alike_in_any_batch(order, epoch):
    tokens, offsets = random_text(12, seed=epoch)
    keys = sequence_keys(3, epoch, np.arange(12))
    together = mask(tokens, offsets, PAIRS, keys, MaskingConfig(), VOCAB)
    pieces = [tokens[offsets[s] : offsets[s + 1]] for s in order]
    shuffled = mask(
        np.concatenate(pieces), np.cumsum([0, *map(len, pieces)]), PAIRS,
        keys[list(order)], MaskingConfig(), VOCAB,
    )  # fmt: skip
    for whole, part in zip(together, shuffled, strict=True):
        expected = np.concatenate([whole[offsets[s] : offsets[s + 1]] for s in order])
        np.testing.assert_array_equal(part, expected)


def test_keys_differ_by_seed_epoch_and_index():
    keys = [sequence_keys(s, e, np.arange(50)) for s in range(20) for e in range(20)]
    assert len(np.unique(keys)) == 20 * 20 * 50
    assert sequence_keys(1, 2, np.array([7]))[0] == sequence_keys(1, 2, np.arange(9))[7]


def test_no_visible_match_overlaps_a_mask_token():
    tokens, offsets = random_text(200)
    keys = sequence_keys(0, 0, np.arange(200))
    corrupted, _ = mask(tokens, offsets, PAIRS, keys, MaskingConfig(), VOCAB)
    assert (corrupted[PAIRS.match(corrupted, offsets).cover_token] != MASK).all()


def test_types_are_kept_and_the_input_is_left_alone():
    tokens, offsets = random_text(5)
    tokens = tokens.astype(np.uint16)
    before = tokens.copy()
    masked = mask(tokens, offsets, None, sequence_keys(0, 0, np.arange(5)), MaskingConfig(), VOCAB)
    assert masked.tokens.dtype == np.uint16
    assert masked.labels.dtype == np.int64
    np.testing.assert_array_equal(tokens, before)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rate": 0.0}, "rate must lie strictly between 0 and 1"),
        ({"rate": float("nan")}, "rate must lie strictly between 0 and 1"),
        ({"ggram_share": 1.5}, "ggram_share must lie in 0 to 1"),
        ({"random_share": float("nan")}, "random_share must lie in 0 to 1"),
        ({"matches": "all"}, "matches must be one of corrupted, unhidden, got 'all'"),
        ({"mask_share": 0.9, "random_share": 0.2}, "must not exceed 1"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        MaskingConfig(**wrong)
