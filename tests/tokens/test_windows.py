"""Windows tile every sequence; tokens stand where their bases are."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnazen.errors import ConfigError
from dnazen.inference.settings import require_overlap
from dnazen.sequences.alphabet import normalise
from dnazen.tokens.encoding import Length, encode_examples
from dnazen.tokens.special import UNK
from dnazen.tokens.tokenizer import load_tokenizer, token_lengths, token_strings
from dnazen.tokens.windows import token_starts, token_windows


@given(st.integers(0, 400), st.integers(1, 60), st.integers(0, 59))
def test_windows_tile_a_sequence_with_the_overlap_asked_for(tokens, size, overlap):
    overlap = min(overlap, size - 1)
    windows = list(token_windows(tokens, size, overlap))
    cores = [place for w in windows for place in range(w.core_start, w.core_end)]
    assert cores == list(range(tokens))  # each token once, in order
    for window in windows:
        assert 0 <= window.start <= window.core_start < window.core_end <= window.end <= tokens
        assert window.end - window.start == min(size, tokens)
    for one, other in pairwise(windows):
        shared = one.end - other.start
        assert shared >= overlap
        left, right = other.core_start - other.start, one.end - one.core_end
        assert abs(left - right) <= 1  # cores meet in the middle
    fewer = len(windows) - 1
    if fewer >= 1 and tokens > size:  # one window less could not cover it
        assert fewer * (size - overlap) + overlap < tokens


def test_windows_by_hand():
    assert list(token_windows(0, 6, 2)) == []
    assert [tuple(w) for w in token_windows(6, 6, 2)] == [(0, 6, 0, 6)]
    assert [tuple(w) for w in token_windows(14, 6, 2)] == [
        (0, 6, 0, 5),
        (4, 10, 5, 9),
        (8, 14, 9, 14),
    ]


@pytest.mark.parametrize(
    ("overlap", "max_tokens", "message"),
    [
        (-1, None, "overlap must be 0 tokens or more, got -1"),
        (8, 10, "overlap must leave a token of a window of 10, .* so be at most 7, got 8"),
    ],
)
def test_overlaps_out_of_range(overlap, max_tokens, message):
    with pytest.raises(ConfigError, match=message):
        require_overlap(overlap, max_tokens)
    require_overlap(7, 10)
    require_overlap(None, 5)


@given(st.lists(st.sampled_from(["ACGTTGCA", "nnN", "R", "acgu", "GATTACA" * 5, "N"]), max_size=12))
def test_tokens_stand_where_their_bases_are(ground, pieces):
    tokenizer = load_tokenizer(ground.tokenizer)
    letters = "".join(pieces).encode()
    clean, _ = normalise(letters)
    unlimited = Length(10**6, "refuse")
    (tokens,) = encode_examples(tokenizer, [(letters,)], unlimited, []).tokens
    starts = token_starts(tokens, clean, token_lengths(tokenizer)).tolist()
    if not re.search(rb"[ACGT]", clean):
        assert len(tokens) == 0
        return
    assert starts[-1] == len(clean)
    strings = token_strings(tokenizer)
    for token, start, end in zip(tokens.tolist(), starts, starts[1:], strict=False):
        bases = clean[start:end].decode()
        assert set(bases) == {"N"} if token == UNK else bases == strings[token]


def test_token_starts_of_nothing():
    assert token_starts(np.empty(0, dtype=np.uint16), b"NN", np.zeros(5, dtype=int)).tolist() == [0]
