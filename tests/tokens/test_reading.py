"""The tokenizers library with our rules gives the tokens of our commands, on the text's letters."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from dnazen.tokens.encoding import TILE_BP, Length, encode_examples
from dnazen.tokens.reading import reading_tokenizer
from dnazen.tokens.special import CLS, MASK, SEP, UNK
from dnazen.tokens.tokenizer import load_tokenizer

LETTERS = st.text("ACGTacgtuUNnRyK", min_size=1, max_size=60)


@pytest.fixture(scope="module")
def plain(ground):
    return load_tokenizer(ground.tokenizer)


@pytest.fixture(scope="module")
def reader(plain):
    return reading_tokenizer(plain)


def by_command(plain, *texts, max_tokens=100_000):
    """What commands read; nothing where a sequence has no base."""
    letters = tuple(text.encode() for text in texts)
    (tokens,) = encode_examples(plain, [letters], Length(max_tokens, "cut"), [""]).tokens
    return [CLS, *tokens.tolist(), SEP]


@settings(deadline=None)
@given(LETTERS)
def test_tokens_are_those_of_the_commands(plain, reader, text):
    ids = reader.encode(text).ids
    expected = by_command(plain, text)
    assert ids == (expected if len(expected) > 2 else [CLS, UNK, SEP])


@settings(deadline=None)
@given(LETTERS)
def test_offsets_are_places_in_the_text(plain, reader, text):
    encoding = reader.encode(text, add_special_tokens=False)
    assert "".join(text[start:end] for start, end in encoding.offsets) == text
    clean = text.upper().replace("U", "T")
    for token, (start, end) in zip(encoding.tokens, encoding.offsets, strict=True):
        assert token in ("[UNK]", clean[start:end])


@settings(deadline=None)
@given(LETTERS, LETTERS, st.integers(5, 40))
def test_pairs_are_joined_and_cut_as_by_the_commands(plain, first, second, max_tokens):
    reader = reading_tokenizer(plain)
    reader.enable_truncation(max_tokens, strategy="longest_first")
    expected = by_command(plain, first, second, max_tokens=max_tokens)
    if len(expected) > 2:
        encoding = reader.encode(first, second)
        assert encoding.ids == expected
        assert set(encoding.type_ids) == {0}


def test_long_runs_are_read_in_the_same_pieces(plain, reader):
    text = "ACGGT" * (TILE_BP // 5 * 2 + 1)
    assert reader.encode(text).ids == by_command(plain, text)


def test_special_tokens_may_stand_in_the_text(plain, reader):
    assert reader.encode("AC[MASK]g", add_special_tokens=False).ids == [
        *by_command(plain, "AC")[1:-1],
        MASK,
        *by_command(plain, "G")[1:-1],
    ]


def test_a_vocabulary_with_n_reads_it_as_unknown_too(plain):
    content = json.loads(plain.to_str())
    content["model"]["vocab"]["N"] = len(content["model"]["vocab"])
    with_n = Tokenizer.from_str(json.dumps(content))
    assert with_n.encode("N", add_special_tokens=False).ids != [UNK]
    assert reading_tokenizer(with_n).encode("NN", add_special_tokens=False).ids == [UNK]
