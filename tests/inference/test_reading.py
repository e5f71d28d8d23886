"""Every piece is read once, alone or with others, and comes back in its place."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnazen.inference.reading import POOL_BATCHES, Piece, Side, pieces, read, sides
from dnazen.sequences.alphabet import reverse_complement
from dnazen.sequences.inputs import InputRecord
from dnazen.sequences.regions import Region
from dnazen.tokens.encoding import Length, encode_examples
from dnazen.tokens.tokenizer import load_tokenizer
from dnazen.tokens.windows import token_windows


def record(name: str, letters: bytes) -> InputRecord:
    return InputRecord(name, letters, Region(name, 0, len(letters)), name)


class Some(NamedTuple):
    tokens: np.ndarray


@given(st.lists(st.integers(0, 30), max_size=200), st.integers(1, 60))
def test_items_come_back_in_order_with_what_was_made_of_them(lengths, budget):
    items = [Some(np.full(length, number)) for number, length in enumerate(lengths)]
    batches, told = [], []

    def model(batch):
        widest = max(len(item.tokens) for item in batch) + 2
        assert len(batch) * widest <= budget or len(batch) == 1
        batches.append(len(batch))
        return [(int(item.tokens[0]), len(item.tokens)) for item in batch]

    found = list(read(items, model, budget, told.append))
    assert [item for item, _ in found] == items
    for number, (item, result) in enumerate(found):
        length = len(item.tokens)
        assert result == ((number, length) if length else None)
    assert sum(batches) == sum(length > 0 for length in lengths)
    assert sum(told) == sum(lengths)


def test_reading_takes_no_more_than_it_needs():
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield Some(np.zeros(8, dtype=np.uint16))

    found = read(endless(), lambda batch: [len(item.tokens) for item in batch], 100)
    assert next(found)[1] == 8
    assert taken == POOL_BATCHES * 100 // 10


@pytest.mark.parametrize("both_strands", [False, True])
def test_sides_are_the_records_tokens_on_each_strand(ground, both_strands):
    tokenizer = load_tokenizer(ground.tokenizer)
    letters = [b"ACGTTGCANNACG", b"", b"nnn", b"gattaca" * 9]
    records = [record(str(n), some) for n, some in enumerate(letters)]
    found = list(sides(tokenizer, records, both_strands=both_strands))
    expected = []
    for number, some in enumerate(letters):
        for reverse in (False, True)[: 1 + both_strands]:
            read_so = reverse_complement(some) if reverse else some
            alone = encode_examples(tokenizer, [(read_so,)], Length(10**6, "refuse"), [""])
            expected.append((number, records[number], reverse, alone.tokens[0].tolist()))
    assert [(s.number, s.record, s.reverse, s.tokens.tolist()) for s in found] == expected


def test_pieces_are_the_windows_of_a_side_and_one_of_an_empty_one():
    full = Side(0, record("a", b"A" * 20), False, np.arange(5, 25, dtype=np.uint16))
    empty = Side(1, record("b", b"N"), False, np.empty(0, dtype=np.uint16))
    found = list(pieces([full, empty], 8, 3))
    assert found[:-1] == [Piece(full, window) for window in token_windows(20, 8, 3)]
    assert [piece.tokens.tolist() for piece in found[:2]] == [
        list(range(5, 13)),
        list(range(9, 17)),
    ]
    assert found[-1].side is empty
    assert len(found[-1].tokens) == 0


def test_records_are_taken_in_chunks_not_all_at_once(ground):
    tokenizer = load_tokenizer(ground.tokenizer)
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield record("a", b"ACGT" * 25_000)

    assert next(sides(tokenizer, endless(), both_strands=False)).number == 0
    assert taken == 40  # 4 Mb
