"""Both strands of an example: the other one, of the bases that were kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen.errors import InputError
from dnazen.sequences.alphabet import reverse_complement
from dnazen.tokens.encoding import Length, encode_examples
from dnazen.tokens.special import SEP, UNK
from dnazen.tokens.strands import encode_strands
from dnazen.tokens.tokenizer import load_tokenizer, token_strings

ROOMY = Length(10_000, "refuse")
bases = st.text("ACGT", min_size=1, max_size=60).map(str.encode)


@pytest.fixture(scope="module")
def tokenizer(ground):
    return load_tokenizer(ground.tokenizer)


def strands_of(tokenizer, *examples, length=ROOMY, both=True):
    places = [f"f.csv:{i + 2}" for i in range(len(examples))]
    return encode_strands(tokenizer, examples, length, places, both=both)


def spelt(tokenizer, tokens):
    """The letters of each sequence of an example; a stretch of N is one N."""
    strings = token_strings(tokenizer)
    letters = {SEP: " ", UNK: "N"}
    text = "".join(letters.get(token, strings[token]) for token in tokens.tolist())
    return tuple(text.encode().split(b" "))


def test_one_strand_is_the_example_as_it_is(tokenizer):
    (found,) = strands_of(tokenizer, (b"ACGTTGA",), (b"ggnA",), both=False)
    expected = encode_examples(tokenizer, [(b"ACGTTGA",), (b"ggnA",)], ROOMY, ["", ""])
    assert [t.tolist() for t in found.tokens] == [t.tolist() for t in expected.tokens]


@settings(deadline=None)
@given(st.lists(st.lists(st.text("ACGTacgtuNRy", max_size=30), min_size=1, max_size=2), max_size=4))
def test_the_other_strand_is_the_reverse_complement_of_each_sequence(tokenizer, examples):
    examples = [tuple(map(str.encode, example)) for example in examples]
    turned = [tuple(map(reverse_complement, example)) for example in examples]
    one, other = strands_of(tokenizer, *examples)
    for found, given_ in ((one, examples), (other, turned)):
        expected = encode_examples(tokenizer, given_, ROOMY, [""] * len(examples))
        assert [t.tolist() for t in found.tokens] == [t.tolist() for t in expected.tokens]


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.tuples(bases), st.tuples(bases, bases)), min_size=1, max_size=5),
    st.integers(5, 12),
)
def test_what_is_cut_off_one_strand_is_not_on_the_other(tokenizer, examples, most):
    one, other = strands_of(tokenizer, *examples, length=Length(most, "cut"))
    for example, tokens, turned in zip(examples, one.tokens, other.tokens, strict=True):
        kept = spelt(tokenizer, tokens)
        for letters, whole in zip(kept, example, strict=True):
            assert whole.startswith(letters)
        complements = tuple(map(reverse_complement, kept))
        found = spelt(tokenizer, turned)
        for letters, whole in zip(found, complements, strict=True):
            assert whole.startswith(letters)
        assert max(len(tokens), len(turned)) + 2 <= most
        if found != complements:  # it has more tokens, and is cut again
            assert len(turned) + 2 == most


def test_stretches_of_n_are_kept_whole_or_not_at_all(tokenizer):
    letters = b"ACGTTGCANNNNGATTACAGATNNACGTACGTGGGGTTTT"
    for most in range(5, 20):
        one, other = strands_of(tokenizer, (letters,), length=Length(most, "cut"))
        (kept,), (turned,) = (spelt(tokenizer, x.tokens[0]) for x in (one, other))
        assert reverse_complement(kept).startswith(turned)


def test_an_example_too_long_on_either_strand_is_refused(tokenizer):
    rng = np.random.default_rng(0)

    def longer_on_the_other(letters):
        one, other = strands_of(tokenizer, (letters,))
        return len(other.tokens[0]) > len(one.tokens[0])

    texts = ("".join(rng.choice(list("ACGT"), 40)).encode() for _ in range(100))
    letters = next(filter(longer_on_the_other, texts))
    (alone,) = strands_of(tokenizer, (letters,), both=False)
    fits = Length(len(alone.tokens[0]) + 2, "refuse")
    strands_of(tokenizer, (letters,), length=fits, both=False)
    with pytest.raises(InputError, match=r"f\.csv:2: \d+ tokens; expected at most \d+"):
        strands_of(tokenizer, (letters,), length=fits)
