"""The released ``ngram.json``, in and out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from dnazen.errors import InputError
from dnazen.ggrams.vocabulary import GGramVocabulary
from dnazen.model.released import read_released_ggrams, write_released_ggrams
from dnazen.tokens.tokenizer import load_tokenizer
from ggrams.test_vocabulary import STRINGS, vocabulary

SHARED = Path(__file__).parents[3] / "shared"


def test_the_released_form_goes_in_and_out_without_loss(tmp_path):
    checkpoint = SHARED / "fixtures" / "released_format_tiny" / "checkpoint"
    if not checkpoint.is_dir():
        pytest.skip("the shared fixtures are not beside this checkout")
    tokenizer = load_tokenizer(checkpoint)
    v = read_released_ggrams(checkpoint / "ngram.json", tokenizer)
    before = json.loads((checkpoint / "ngram.json").read_text())
    assert len(v) + 1 == before["ngram_size"]
    words = {tokenizer.token_to_id(t): t for t in "ACGT"}
    assert words
    v.save(tmp_path / "ggrams.tsv")
    saved = GGramVocabulary.load(tmp_path / "ggrams.tsv")
    write_released_ggrams(tmp_path / "ngram.json", saved, tokenizer)
    after = json.loads((tmp_path / "ngram.json").read_text())
    assert after == before
    assert list(after["vocab"]) == list(before["vocab"])
    assert list(after) == list(before)


@pytest.mark.parametrize("released", [{}, {"pad_ngram": [1]}, "text", {"ngram_size": 1}])
def test_a_damaged_record_of_a_release_does_not_spoil_another(tmp_path, released):
    tokenizer = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate(STRINGS)}, merges=[]))
    plain, marked = tmp_path / "plain.json", tmp_path / "marked.json"
    write_released_ggrams(plain, vocabulary([(5, 6)]), tokenizer)
    record = {"released": released}
    write_released_ggrams(marked, vocabulary([(5, 6)], provenance=record), tokenizer)
    assert marked.read_bytes() == plain.read_bytes()


def test_a_mined_vocabulary_takes_the_released_form(tmp_path):
    tokenizer = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate(STRINGS)}, merges=[]))
    write_released_ggrams(tmp_path / "ngram.json", vocabulary([(5, 6), (9, 10, 5)]), tokenizer)
    table = json.loads((tmp_path / "ngram.json").read_text())
    assert table["vocab"] == {"<PAD>": 0, "A C": 1, "AA CGT A": 2}
    assert (table["min_ngram_len"], table["max_ngram_len"], table["ngram_size"]) == (2, 3, 3)
    back = read_released_ggrams(tmp_path / "ngram.json", tokenizer)
    assert back.ggram(2) == (9, 10, 5)
    for wrong, message in [
        ({"vocab": {"<PAD>": 0, "A X": 1}}, "token 'X' is not in the tokenizer"),
        ({"vocab": {"<PAD>": 0, "A C": 2}}, "without gaps"),
        ({"vocab": {"A C": 1}}, "does not have id 0"),
        ({"vocab": [1]}, "no object 'vocab'"),
        ({"vocab": {"<PAD>": 0, "A": 1}}, "2 to 16 tokens, not 1"),
        ({"vocab": {"<PAD>": 0, " ".join("A" * 65): 1}}, "2 to 16 tokens, not 65"),
        ({"vocab": {"<PAD>": 0, "A [CLS]": 1}}, r"token id 1 is not in 5\.\.10"),
        ({"vocab": {"<PAD>": 0, "A C": True}}, "no object 'vocab'"),
        ({"vocab": {"<PAD>": 0, "A C": 1}, "pad_ngram": ["<PAD>"]}, "does not have id 0"),
    ]:
        (tmp_path / "ngram.json").write_text(json.dumps(wrong))
        with pytest.raises(InputError, match=message):
            read_released_ggrams(tmp_path / "ngram.json", tokenizer)
