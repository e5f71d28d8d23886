"""The tokens of records on each strand, and their windows."""

from __future__ import annotations

import numpy as np
import pytest

from dnazen.inference.windows import (
    StrandTokens,
    WindowTokens,
    cut_to_windows,
    tokenise_strands,
)
from dnazen.sequences.alphabet import reverse_complement
from dnazen.sequences.inputs import InputRecord
from dnazen.sequences.regions import Region
from dnazen.tokens.encoding import Length, encode_examples
from dnazen.tokens.tokenizer import load_tokenizer
from dnazen.tokens.windows import token_windows


def record(name: str, letters: bytes) -> InputRecord:
    return InputRecord(name, letters, Region(name, 0, len(letters)), name)


@pytest.mark.parametrize("both_strands", [False, True])
def test_strands_are_the_records_tokens_on_each_strand(ground, both_strands):
    tokenizer = load_tokenizer(ground.tokenizer)
    letters = [b"ACGTTGCANNACG", b"", b"nnn", b"gattaca" * 9]
    records = [record(str(n), some) for n, some in enumerate(letters)]
    found = list(tokenise_strands(tokenizer, records, both_strands=both_strands))
    expected = []
    for number, some in enumerate(letters):
        for reverse in (False, True)[: 1 + both_strands]:
            read_so = reverse_complement(some) if reverse else some
            alone = encode_examples(tokenizer, [(read_so,)], Length(10**6, "refuse"), [""])
            expected.append((number, records[number], reverse, alone.tokens[0].tolist()))
    assert [(s.number, s.record, s.reverse, s.tokens.tolist()) for s in found] == expected


def test_windows_are_those_of_a_strand_and_one_of_an_empty_one():
    full = StrandTokens(0, record("a", b"A" * 20), False, np.arange(5, 25, dtype=np.uint16))
    empty = StrandTokens(1, record("b", b"N"), False, np.empty(0, dtype=np.uint16))
    found = list(cut_to_windows([full, empty], 8, 3))
    assert found[:-1] == [WindowTokens(full, window) for window in token_windows(20, 8, 3)]
    assert [piece.tokens.tolist() for piece in found[:2]] == [
        list(range(5, 13)),
        list(range(9, 17)),
    ]
    assert found[-1].strand is empty
    assert len(found[-1].tokens) == 0


def test_records_are_taken_in_chunks_not_all_at_once(ground):
    tokenizer = load_tokenizer(ground.tokenizer)
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield record("a", b"ACGT" * 25_000)

    assert next(tokenise_strands(tokenizer, endless(), both_strands=False)).number == 0
    assert taken == 40  # 4 Mb
