"""Matching against the obvious search, and against the release's own slots."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen.ggrams import matching
from dnazen.ggrams.matching import Matcher
from dnazen.ggrams.vocabulary import GGramVocabulary
from dnazen.model.released import read_released_ggrams

SHARED = Path(__file__).parents[3] / "shared"


def ragged(sequences, dtype=np.int64):
    flat = np.array([t for s in sequences for t in s], dtype=dtype)
    return flat, np.cumsum([0, *map(len, sequences)]).astype(np.int64)


def vocabulary(grams, vocab_size=65536):
    tokens, offsets = ragged(grams)
    return GGramVocabulary(
        tokens=tokens.astype(np.uint16), offsets=offsets, vocab_size=vocab_size,
        counts=np.ones(len(grams), np.int64), pmi=np.zeros(len(grams), np.float32),
        tokenizer_sha256="",
    )  # fmt: skip


def slots_by_hand(sequence, grams, cap):
    """[(id, {covered positions})] by first occurrence, ties: shorter first."""
    slots = {}
    for i in range(len(sequence)):
        for length in range(2, 17):
            gram = tuple(sequence[i : i + length])
            if gram in grams and len(gram) == length:
                if gram not in slots and cap is not None and len(slots) >= cap:
                    continue
                slots.setdefault(gram, set()).update(range(i, i + length))
    return [(1 + grams.index(g), positions) for g, positions in slots.items()]


token = st.sampled_from([0, 1, 4, 5, 6, 7, 65534, 65535])
known = st.sampled_from([5, 6, 7, 65534, 65535])
sequences_ = st.lists(st.lists(token, max_size=50), max_size=5)
gram_sets = st.lists(
    st.one_of(
        st.lists(known, min_size=2, max_size=4).map(tuple),
        st.tuples(known, st.integers(2, 16)).map(lambda tn: (tn[0],) * tn[1]),
    ),
    max_size=30, unique=True,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(sequences_, gram_sets)
def test_occurrences_agree_with_the_obvious_search(sequences, grams):
    expected = []
    base = 0
    for s in sequences:
        for i in range(len(s)):
            for gram in sorted(grams, key=len):
                if tuple(s[i : i + len(gram)]) == gram:
                    expected.append((base + i, 1 + grams.index(gram)))
        base += len(s)
    found = Matcher(vocabulary(grams)).occurrences(*ragged(sequences))
    assert list(zip(found.start.tolist(), found.ggram_id.tolist(), strict=True)) == expected


@settings(max_examples=300, deadline=None)
@given(sequences_, gram_sets, st.sampled_from([None, None, 1, 3, 0]))
def test_slots_and_cover_agree_with_the_obvious_search(sequences, grams, cap):
    found = Matcher(vocabulary(grams)).match(*ragged(sequences), cap)
    pairs, ids, bounds = [], [], [0]
    base = 0
    for s in sequences:
        for gram_id, positions in slots_by_hand(s, grams, cap):
            pairs += [(base + p, len(ids)) for p in positions]
            ids.append(gram_id)
        bounds.append(len(ids))
        base += len(s)
    assert found.ggram_ids.tolist() == ids
    assert found.slot_offsets.tolist() == bounds
    pairs_found = zip(found.cover_token.tolist(), found.cover_slot.tolist(), strict=True)
    assert list(pairs_found) == sorted(pairs)


@settings(max_examples=50, deadline=None)
@given(sequences_, gram_sets)
def test_a_batch_is_its_sequences_side_by_side(sequences, grams):
    matcher = Matcher(vocabulary(grams))
    together = matcher.match(*ragged(sequences, np.uint16))
    alone = [pickle.loads(pickle.dumps(matcher)).match(*ragged([s])) for s in sequences]
    assert together.ggram_ids.tolist() == [i for m in alone for i in m.ggram_ids.tolist()]
    assert len(together.cover_token) == sum(len(m.cover_token) for m in alone)


@settings(max_examples=50, deadline=None)
@given(sequences_, gram_sets, st.integers(1, 3))
def test_blocks_and_threads_change_nothing(sequences, grams, threads):
    matcher = Matcher(vocabulary(grams))
    whole = matcher.match(*ragged(sequences), 3)
    with mock.patch.object(matching, "_BATCH_TOKENS", 16):
        blocks = matcher.match(*ragged(sequences), 3, threads=threads)
    for a, b in zip(whole, blocks, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


def test_slots_of_the_release_are_reproduced():
    fixture = SHARED / "fixtures" / "released_format_tiny"
    if not fixture.is_dir():
        pytest.skip("the shared fixtures are not beside this checkout")
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    expected = load_file(fixture / "expected.safetensors")
    tokenizer = Tokenizer.from_file(str(fixture / "checkpoint" / "tokenizer.json"))
    released = fixture / "checkpoint" / "ngram.json"
    matcher = Matcher(read_released_ggrams(released, tokenizer))
    cap = json.loads(released.read_text())["max_ngram_count"]
    for row, ids in enumerate(expected["input_ids"]):
        found = matcher.match(ids, np.array([0, len(ids)]), cap)
        slots = int(expected["ggram_mask"][row].sum())
        assert found.ggram_ids.tolist() == expected["ggram_ids"][row, :slots].tolist()
        cover = np.zeros_like(expected["position_matrix"][row])
        cover[found.cover_token, found.cover_slot] = 1
        np.testing.assert_array_equal(cover, expected["position_matrix"][row])
