"""Examples as tokens: what breaks a sequence, pairs, and what is too long."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen.errors import ConfigError, InputError
from dnazen.tokens.encoding import TILE_BP, Length, cut_to, encode_examples
from dnazen.tokens.settings import require_max_tokens
from dnazen.tokens.special import SEP, UNK
from dnazen.tokens.tokenizer import encode, load_tokenizer

ROOMY = Length(10_000, "refuse")


@pytest.fixture(scope="module")
def tokenizer(ground):
    return load_tokenizer(ground.tokenizer)


def tokens_of(tokenizer, *examples, length=ROOMY):
    places = [f"f.csv:{i + 2}" for i in range(len(examples))]
    return encode_examples(tokenizer, examples, length, places)


def by_hand(tokenizer, letters):
    """Each run of ACGT on its own, an [UNK] for each stretch of anything else."""
    text = letters.decode().upper().replace("U", "T")
    tokens = []
    for run, gap in re.findall("([ACGT]+)|([^ACGT]+)", text):
        tokens += [UNK] if gap else encode(tokenizer, [run]).tokens.tolist()
    return tokens


@settings(deadline=None)
@given(st.lists(st.text("ACGTacgtuNnRy", max_size=40).map(str.encode), max_size=6))
def test_runs_of_bases_are_tokenised_apart(tokenizer, sequences):
    found = tokens_of(tokenizer, *[(letters,) for letters in sequences])
    for letters, tokens in zip(sequences, found.tokens, strict=True):
        expected = by_hand(tokenizer, letters)
        assert tokens.tolist() == (expected if set(expected) - {UNK} else [])
    assert found.counts.bases == sum(map(len, sequences))
    assert found.cut == 0


def test_a_pair_is_joined_by_sep(tokenizer):
    pair = tokens_of(tokenizer, (b"ACGTT", b"NGGA")).tokens[0]
    assert pair.tolist() == [*by_hand(tokenizer, b"ACGTT"), SEP, *by_hand(tokenizer, b"NGGA")]
    assert len(tokens_of(tokenizer, (b"ACGTT", b"NN")).tokens[0]) == 0


def test_the_tokens_decode_to_the_bases(tokenizer):
    rng = np.random.default_rng(0)
    letters = "".join(rng.choice(list("ACGT"), 2 * TILE_BP + 5))
    (tokens,) = tokens_of(tokenizer, (letters.encode(),), length=Length(10**6, "refuse")).tokens
    assert tokenizer.decode(tokens.tolist()) == letters


def test_a_longer_example_is_refused_or_cut_and_counted(tokenizer):
    whole = tokens_of(tokenizer, (b"ACGTACGGTCA",), (b"A",)).tokens[0]
    size = len(whole) + 2
    assert tokens_of(tokenizer, (b"ACGTACGGTCA",), length=Length(size, "refuse")).cut == 0
    with pytest.raises(InputError) as caught:
        tokens_of(tokenizer, (b"A",), (b"ACGTACGGTCA",), length=Length(size - 1, "refuse"))
    assert str(caught.value) == (
        f"f.csv:3: {size} tokens; expected at most {size - 1}; raise --max-tokens (memory grows "
        "with its square), or set --too-long cut"
    )
    cut = tokens_of(tokenizer, (b"A",), (b"ACGTACGGTCA",), length=Length(size - 1, "cut"))
    assert cut.cut == 1
    assert cut.tokens[1].tolist() == whole[:-1].tolist()


def test_a_pair_that_is_cut_fits(tokenizer):
    pair = (b"ACGTACGGTCAGGATTAC" * 3, b"ACGG")
    (tokens,) = tokens_of(tokenizer, pair, length=Length(12, "cut")).tokens
    second = by_hand(tokenizer, pair[1])
    assert len(tokens) == 10
    assert tokens.tolist()[-len(second) - 1 :] == [SEP, *second]


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(2, 40))
def test_the_longer_of_a_pair_is_cut_first(first, second, total):
    kept = [len(part) for part in cut_to([np.zeros(first), np.zeros(second)], total)]
    lengths = [first, second]
    was_shorter = 1 if first > second else 0
    while sum(lengths) > total:
        lengths[was_shorter if lengths[0] == lengths[1] else lengths.index(max(lengths))] -= 1
    assert kept == lengths


def test_max_tokens_has_a_least():
    require_max_tokens(5)
    with pytest.raises(ConfigError, match="max_tokens must be 5 to 1048576, got 4"):
        require_max_tokens(4)
