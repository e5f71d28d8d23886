"""Tokens and G-grams of a sequence against a search by eye: letters, and all pairs of ends."""

from __future__ import annotations

import re

import pytest

import dnazen
from directories import random_directory
from dnazen.errors import InputError
from plain_scorer import PlainScorer


@pytest.fixture(scope="module")
def folder(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm") / "model"
    random_directory(ground, folder)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    return dnazen.load(folder, "cpu")


@pytest.fixture(scope="module")
def plain(folder):
    return PlainScorer(folder)


@pytest.fixture(scope="module")
def letters(ground):
    genome = "".join(ground.genome.read_text().split("\n")[1::2])
    return genome[:300] + "NNN" + genome[300:500] + "N"


def test_tokens_and_places_are_those_of_the_letters(model, plain, letters):
    read = model.ggrams(letters)
    expected = plain.tokens(letters)
    assert read.token_ids.tolist() == [token for token, _, _ in expected]
    assert read.offsets.tolist() == [0, *(end for _, _, end in expected)]
    for token, start, end in zip(read.tokens, read.offsets[:-1], read.offsets[1:], strict=True):
        stretch = letters[start:end]
        assert stretch == token or (token == "[UNK]" and set(stretch) == {"N"})


def test_ggrams_are_all_that_stand_there(model, plain, letters):
    read = model.ggrams(letters)
    expected = plain.occurrences(read.token_ids.tolist())
    places = [(o.token_start, o.token_end - o.token_start, o.ggram_id) for o in read.occurrences]
    assert places == expected
    assert len(places) > 5
    assert any(letters.startswith(o.bases, o.start) and o.start > 303 for o in read.occurrences)
    for o in read.occurrences:
        spelt = "".join(read.tokens[o.token_start : o.token_end])
        assert letters[o.start : o.end] == o.bases == spelt
    ids = [gram for _, _, gram in expected]
    assert read.counts == {gram: ids.count(gram) for gram in ids}
    assert list(read.counts) == list(dict.fromkeys(ids))


def test_lower_case_rna_and_codes_read_as_everywhere(model, letters):
    rna = letters.replace("T", "U").replace("NNN", "RyN").lower()
    one, other = model.ggrams(letters), model.ggrams(rna.encode())
    assert one.tokens == other.tokens
    assert one.offsets.tolist() == other.offsets.tolist()
    assert one.occurrences == other.occurrences


@pytest.mark.parametrize("empty", ["", "NNNN"])
def test_a_sequence_without_bases_has_nothing(model, empty):
    read = model.ggrams(empty)
    assert (read.tokens, read.offsets.tolist(), read.occurrences) == ((), [0], ())
    assert read.counts == {}


def test_e4bu_alone_has_tokens_and_no_ggrams(ground, tmp_path, plain, letters):
    folder = tmp_path / "model"
    random_directory(ground, folder, ggram_vocab_size=0)
    read = dnazen.load(folder, "cpu").ggrams(letters)
    assert read.token_ids.tolist() == [token for token, _, _ in plain.tokens(letters)]
    assert read.occurrences == ()


def test_what_is_no_sequence_is_refused(model):
    with pytest.raises(InputError, match=re.escape("character '!' is no nucleotide")):
        model.ggrams("ACG!")
    with pytest.raises(InputError, match="the sequence: None; expected text, bytes"):
        model.ggrams(None)
