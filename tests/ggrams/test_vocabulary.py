"""The vocabulary and its file: round trips, the released form, and hostile files."""

from __future__ import annotations

import contextlib
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnazen.errors import InputError
from dnazen.ggrams.vocabulary import GGramVocabulary, spell

SHARED = Path(__file__).parents[3] / "shared"
STRINGS = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "A", "C", "G", "T", "AA", "CGT"]


def vocabulary(grams, counts=None, pmi=None, **more):
    tokens = np.array([t for g in grams for t in g], dtype=np.uint16)
    offsets = np.cumsum([0, *map(len, grams)]).astype(np.int64)
    return GGramVocabulary(
        tokens=tokens,
        offsets=offsets,
        counts=np.array(counts if counts is not None else [1] * len(grams), dtype=np.int64),
        pmi=np.array(pmi if pmi is not None else [0.5] * len(grams), dtype=np.float32),
        **{"vocab_size": len(STRINGS), "tokenizer_sha256": "ab" * 32, **more},
    )


def assert_equal(a, b):
    for name in ("tokens", "offsets", "counts", "pmi"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for name in ("vocab_size", "tokenizer_sha256", "provenance", "bases"):
        assert getattr(a, name) == getattr(b, name)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_saved_vocabulary_reads_back_the_same(data, tmp_path_factory):
    gram = st.lists(st.integers(5, 65535), min_size=2, max_size=16).map(tuple)
    grams = data.draw(st.lists(gram, max_size=20, unique=True))
    size = len(grams)
    counts = data.draw(st.lists(st.integers(-1, 10**15), min_size=size, max_size=size))
    pmi = data.draw(st.lists(st.integers(-400_000, 400_000), min_size=size, max_size=size))
    before = vocabulary(
        grams,
        counts,
        np.array(pmi) / 1e4,
        vocab_size=65536,
        provenance={"note": 'tab\t, newline\n, "quotes" and é', "nested": [1, {"a": None}]},
        bases=tuple("ACGT"[len(g) % 4] * len(g) for g in grams),
    )
    path = tmp_path_factory.mktemp("vocabulary") / "ggrams.tsv"
    before.save(path)
    after = GGramVocabulary.load(path)
    assert_equal(before, after)
    again = path.with_name("again.tsv")
    after.save(again)
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("compress", [gzip.compress, lambda b: b.replace(b"\n", b"\r\n")])
def test_a_packed_file_or_one_from_windows_reads_alike(saved, compress):
    packed = saved.with_name("packed")
    packed.write_bytes(compress(saved.read_bytes()))
    assert_equal(GGramVocabulary.load(packed), GGramVocabulary.load(saved))


def test_a_name_in_gz_is_honoured(saved):
    packed = saved.with_name("ggrams.tsv.gz")
    GGramVocabulary.load(saved).save(packed)
    assert packed.read_bytes()[12:16] == b"BC\x02\x00"  # bgzip
    assert gzip.decompress(packed.read_bytes()) == saved.read_bytes()
    packed.write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"ggrams\.tsv\.gz:.*gzip data ends early"):
        GGramVocabulary.load(packed)


def test_the_file_reads_as_documented(tmp_path):
    grams = [(5, 6), (9, 10, 5)]
    before = vocabulary(grams, [12, -1], [1.25, np.nan], provenance={"mining": {"min_pmi": 1.0}})
    tokens, offsets = before.tokens, before.offsets
    spelt = vocabulary(grams, [12, -1], [1.25, np.nan], bases=spell(tokens, offsets, STRINGS))
    spelt.save(tmp_path / "v.tsv")
    text = (tmp_path / "v.tsv").read_text()
    header = json.loads("".join(x[2:] for x in text.splitlines() if x.startswith("# ")))
    assert header["format"] == "dnazen-ggrams"
    assert text.splitlines()[-3:] == [
        "id\tcount\tpmi\ttokens\tbases",
        "1\t12\t1.2500\t5 6\tAC",
        "2\t.\t.\t9 10 5\tAACGTA",
    ]


def test_ids_run_from_one():
    v = vocabulary([(5, 6), (7, 8, 9)])
    assert len(v) == 2
    assert v.ggram(1) == (5, 6)
    assert v.ggram(2) == (7, 8, 9)
    for missing in (0, 3, -1):
        with pytest.raises(IndexError, match=r"run 1\.\.2"):
            v.ggram(missing)


@pytest.mark.parametrize(
    ("grams", "message"),
    [
        ([(5,)], "G-gram 1: a G-gram has 2 to 16 tokens, not 1"),
        ([(5, 6), (5,) * 17], "G-gram 2: a G-gram has 2 to 16 tokens, not 17"),
        ([(5, 6), (6, 4)], r"G-gram 2: token id 4 is not in 5\.\.10"),
        ([(5, 11)], r"G-gram 1: token id 11 is not in 5\.\.10"),
        ([(5, 6), (6, 5), (5, 6)], "G-gram 3: this G-gram stood in the vocabulary before"),
    ],
)
def test_what_no_vocabulary_may_hold_is_refused(grams, message):
    with pytest.raises(InputError, match=message):
        vocabulary(grams)


def test_another_tokenizer_is_refused():
    v = vocabulary([(5, 6)])
    v.require_tokenizer("ab" * 32)
    with pytest.raises(InputError, match="mined with another tokenizer"):
        v.require_tokenizer("cd" * 32)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "ggrams.tsv"
    vocabulary([(5, 6), (7, 8, 9), (10, 10)], bases=("AC", "GTAA", "CGTCGT")).save(path)
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"dnazen-ggrams"', '"other"', ":1: not a G-gram vocabulary"),
        ('"version": 1', '"version": 2', ":1: format version 2, this dnazen reads 1"),
        ('"vocab_size": 11', '"vocab_size": 1e9', ":1: the header's 'vocab_size' is missing"),
        ('"vocab_size": 11', '"vocab_size": 70000', ":1: the header's vocab_size 70000 is out of"),
        ('"ggrams": 3', '"ggrams": 1000000000000', "3 rows where the header says 1000000000000"),
        ('"provenance": {}', '"provenance": ' + "[" * 5000, ":1: the header is not JSON"),
        ("id\tcount", "id\tn", ":9: the table's column names are missing"),
        ("2\t1\t", "3\t1\t", ":11: G-gram id 3; expected 2"),
        ("2\t1\t", "2\t-1\t", ":11: not a row"),
        ("7 8 9", "7 8  9", ":11: not a row"),
        ("7 8 9", "7", ":11: not a row"),
        ("7 8 9", "7 8 99999", r":11: token id 99999 is not in 5\.\.10"),
        ("7 8 9", "5 6", ":11: this G-gram stood in the vocabulary before"),
        ("GTAA", "GTNA", ":11: not a row"),
        ("0.5000\t7", "nan\t7", ":11: not a row"),
        ("\tCGTCGT\n", "\tCGTC", "the last line is cut short"),
        ("AC\n", "AC\n\n", ":13: 4 rows where the header says 3"),
        ("GTAA", "é", "not plain text"),
    ],
)
def test_a_damaged_file_gets_one_line(saved, old, new, message):
    text = saved.read_text()
    assert old in text
    saved.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as caught:
        GGramVocabulary.load(saved)
    assert str(caught.value).startswith(str(saved))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_none_gets_one_line(tmp_path):
    (tmp_path / "empty").touch()
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    for name in ("absent", "empty", "binary", "."):
        with pytest.raises(InputError, match=r"expected (a G-gram vocabulary|text in UTF-8)"):
            GGramVocabulary.load(tmp_path / name)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_damage_is_read_right_or_refused(saved, data):
    original = saved.read_bytes()
    piece = data.draw(st.binary(max_size=8) | st.sampled_from([b"\t", b"\n", b"# ", b"9" * 30]))
    start = data.draw(st.integers(0, len(original)))
    end = data.draw(st.integers(start, min(start + 40, len(original))))
    damaged = saved.with_name("damaged.tsv")
    damaged.write_bytes(original[:start] + piece + original[end:])
    # Any other exception than InputError fails the test.
    with contextlib.suppress(InputError):
        v = GGramVocabulary.load(damaged)
        assert len(v) == 3
        assert all(2 <= len(v.ggram(i)) <= 16 for i in (1, 2, 3))
