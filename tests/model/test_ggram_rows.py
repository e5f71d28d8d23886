"""G-grams in rows: the obvious loops, and the same numbers as ragged lists, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from directories import random_directory
from dnazen.ggrams.matching import Matcher
from dnazen.model.batches import Collator, Example
from dnazen.model.ggram_rows import GGRAM_INPUTS, ragged, rows_of_matches
from dnazen.model.modeling import DnazenModel


@pytest.fixture(scope="module")
def model_and_parts(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "encoder"
    model, parts = random_directory(ground, folder, kind=DnazenModel, initializer_range=0.3)
    return model.eval(), parts


@pytest.fixture(scope="module")
def examples(model_and_parts):
    """Stretches of the G-grams put one after the other, which hold some."""
    tokens = model_and_parts[1].vocabulary.tokens.astype(np.int64)
    return [tokens[start : start + size] for start, size in ((0, 30), (50, 1), (20, 80), (90, 3))]


def in_rows(matcher, examples):
    """Rows by hand: of each sequence alone, filled up with 0."""
    rows = []
    for tokens in examples:
        whole = np.array([1, *tokens, 2])
        rows.append(matcher.match(whole, np.array([0, len(whole)])))
    boxes = {}
    for name, more in zip(GGRAM_INPUTS, (0, 0, 1), strict=True):
        width = max(len(getattr(row, name)) for row in rows) + 2
        box = torch.zeros(len(rows), width, dtype=torch.int64)
        for number, row in enumerate(rows):
            values = torch.from_numpy(getattr(row, name)) + more
            box[number, : len(values)] = values
        boxes[name] = box
    return boxes


def test_rows_of_matches_are_those_of_each_sequence(model_and_parts, examples):
    matcher = Matcher(model_and_parts[1].vocabulary)
    whole = [[1, *tokens, 2] for tokens in examples]
    offsets = np.cumsum([0, *map(len, whole)])
    rows = rows_of_matches(matcher.match(np.concatenate(whole), offsets), offsets)
    boxes = in_rows(matcher, examples)
    assert sum(map(len, rows["cover_slot"])) > 10
    for name in GGRAM_INPUTS:
        for row, box in zip(rows[name], boxes[name].tolist(), strict=True):
            assert row == box[: len(row)]
            assert not any(box[len(row) :])


@pytest.mark.parametrize("side", ["right", "left"])
def test_ragged_lists_are_those_of_the_collator(model_and_parts, examples, side):
    _, parts = model_and_parts
    batch = Collator.of(parts)([Example(tokens) for tokens in examples])
    boxes = in_rows(Matcher(parts.vocabulary), examples)
    if side == "left":
        boxes = {
            name: torch.stack([torch.cat([row[row == 0], row[row > 0]]) for row in box])
            for name, box in boxes.items()
        }
    found = ragged(**boxes, width=batch["input_ids"].shape[1])
    for name, values in found._asdict().items():
        assert torch.equal(values, batch[name]), name


def test_states_are_the_same_bit_for_bit(model_and_parts, examples):
    model, parts = model_and_parts
    batch = Collator.of(parts)([Example(tokens) for tokens in examples])
    rows = {name: batch[name] for name in ("input_ids", "attention_mask")}
    rows |= in_rows(Matcher(parts.vocabulary), examples)
    with torch.no_grad():
        expected, found = model(**batch), model(**rows)
    assert torch.equal(found.last_hidden_state, expected.last_hidden_state)
    assert torch.equal(found.ggram_hidden_state, expected.ggram_hidden_state)


def test_rows_without_a_match_give_what_an_empty_list_gives(model_and_parts):
    model, _ = model_and_parts
    ids, zeros = torch.tensor([[1, 7, 2]]), torch.zeros(1, 1, dtype=torch.int64)
    with torch.no_grad():
        expected = model(ids, ggram_ids=torch.zeros(0, dtype=torch.int64))
        found = model(ids, ggram_ids=zeros, cover_token=zeros, cover_slot=zeros)
    assert torch.equal(found.last_hidden_state, expected.last_hidden_state)


def test_rows_without_places_are_refused(model_and_parts):
    model, _ = model_and_parts
    ids, one = torch.tensor([[1, 7, 2]]), torch.ones(1, 1, dtype=torch.int64)
    for places in ({}, {"cover_token": one}, {"cover_token": one[0], "cover_slot": one[0]}):
        with pytest.raises(ValueError, match="G-grams in rows need cover_token and cover_slot"):
            model(ids, ggram_ids=one, **places)
    with pytest.raises(TypeError, match="unexpected keyword argument 'ggrams'"):
        model(ids, ggram_ids=one, ggrams=one)
