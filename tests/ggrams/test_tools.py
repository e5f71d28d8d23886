"""show, merge, compare and stats, through the command line, on numbers worked by hand."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace

import numpy as np
import pytest
from tokenizers import Tokenizer, models

from dnazen import cli
from dnazen.ggrams.merge import merge
from dnazen.ggrams.vocabulary import GGramVocabulary, spell
from dnazen.tokens.special import SPECIAL_TOKENS
from dnazen.tokens.tokenizer import save_tokenizer, tokenizer_sha256

A, C, G, T, AC = range(5, 10)
STRINGS = [*SPECIAL_TOKENS, "A", "C", "G", "T", "AC"]
TOKENIZER = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate(STRINGS)}, merges=[("A", "C")]))


def vocabulary(table):
    """From {G-gram: (count, PMI)}."""
    tokens = np.array([t for g in table for t in g], dtype=np.uint16)
    offsets = np.cumsum([0, *map(len, table)]).astype(np.int64)
    return GGramVocabulary(
        tokens=tokens,
        offsets=offsets,
        counts=np.array([count for count, _ in table.values()], dtype=np.int64),
        pmi=np.array([pmi for _, pmi in table.values()], dtype=np.float32),
        vocab_size=len(STRINGS),
        tokenizer_sha256=tokenizer_sha256(TOKENIZER),
        bases=spell(tokens, offsets, STRINGS),
    )


ONE = {(A, A): (9, 1.0), (G, T): (5, 2.5), (AC, G, T): (4, np.nan)}
TWO = {(G, T): (7, 1.5), (C, C): (6, 3.0), (A, A): (2, 2.0)}


@pytest.fixture
def files(tmp_path):
    vocabulary(ONE).save(tmp_path / "one.tsv")
    vocabulary(TWO).save(tmp_path / "two.tsv")
    replace(vocabulary(ONE), tokenizer_sha256="other").save(tmp_path / "other.tsv")
    save_tokenizer(TOKENIZER, tmp_path / "tokenizer")
    return tmp_path


def ran(capsys, *words):
    assert cli.main(["ggrams", *map(str, words)]) == 0
    return capsys.readouterr().out


def table_of(v):
    return {v.ggram(i + 1): (int(v.counts[i]), float(v.pmi[i])) for i in range(len(v))}


def test_show_orders_and_selects(files, capsys):
    lines = ran(capsys, "show", files / "one.tsv", "--by", "pmi", "--top", "2").splitlines()
    assert lines == [
        "id\tcount\tpmi\ttokens\tbases",
        "2\t5\t2.5000\t7 8\tGT",
        "1\t9\t1.0000\t5 5\tAA",
    ]
    rows = ran(capsys, "show", files / "one.tsv", "--containing", "gt").splitlines()[1:]
    assert [row.split("\t")[0] for row in rows] == ["2", "3"]
    rows = ran(capsys, "show", files / "one.tsv", "--by", "bases").splitlines()[1:]
    assert [row.split("\t")[4] for row in rows] == ["ACGT", "AA", "GT"]
    assert json.loads(ran(capsys, "show", files / "one.tsv", "--provenance")) == {}


def test_show_writes_a_file_in_the_form_of_its_name(files, capsys):
    shown = ran(capsys, "show", files / "one.tsv", "--top", 2)
    assert ran(capsys, "show", files / "one.tsv", "--top", 2, "-o", files / "out.csv.gz") == ""
    table = gzip.decompress((files / "out.csv.gz").read_bytes()).decode()
    assert table.splitlines() == [line.replace("\t", ",") for line in shown.splitlines()]


def test_merge_adds_counts_and_keeps_provenance(files, capsys):
    ran(capsys, "merge", files / "one.tsv", files / "two.tsv", "-o", files / "both.tsv")
    both = GGramVocabulary.load(files / "both.tsv")
    assert list(table_of(both)) == [(G, T), (A, A), (C, C), (AC, G, T)]
    assert both.counts.tolist() == [12, 11, 6, 4]
    np.testing.assert_array_equal(both.pmi, np.float32([1.5, 1.0, 3.0, np.nan]))
    assert both.bases == ("GT", "AA", "CC", "ACGT")
    sources = both.provenance["merged"]
    assert [s["file"]["path"].rsplit("/", 1)[1] for s in sources] == ["one.tsv", "two.tsv"]


def test_merging_obeys_its_laws():
    one, two = vocabulary(ONE), vocabulary(TWO)
    empty = vocabulary({})
    assert list(table_of(merge([one, two]))) == list(table_of(merge([two, one])))
    assert table_of(merge([one, empty])).keys() == table_of(one).keys()
    assert len(merge([empty, empty])) == 0
    assert len(merge([one, two], max_size=2)) == 2
    unknown = replace(one, counts=np.full(3, -1))
    assert merge([unknown, unknown]).counts.tolist() == [-1, -1, -1]
    assert merge([unknown, two]).counts.max() == 7


def test_compare_counts_what_is_shared(files, capsys):
    found = json.loads(ran(capsys, "compare", files / "one.tsv", files / "two.tsv"))
    assert found["ggrams"] == [3, 3]
    assert found["shared"] == 2
    assert found["jaccard"] == 0.5
    assert found["count_spearman"] == pytest.approx(-1.0)
    assert [g["bases"] for g in found["only_first"]] == ["ACGT"]
    assert [g["bases"] for g in found["only_second"]] == ["CC"]


def test_stats_are_those_worked_by_hand(files, capsys):
    # Tokens: AC G T A A | C C (no G-gram) | N breaks a record into two sequences.
    (files / "x.fa").write_text(">a\nacgtaa\n>b\nCC\n>c\nAANGT\n")
    html = files / "report.html"
    words = [files / "one.tsv", files / "x.fa", "--tokenizer", files / "tokenizer", "-o", html]
    found = json.loads(ran(capsys, "stats", *words))
    assert found["vocabulary"]["by_length"] == {"2": 2, "3": 1}
    (numbers,) = found["sequences"].values()
    assert numbers["sequences"] == 4
    assert (numbers["tokens"], numbers["bases"]) == (11, 12)
    assert numbers["covered_tokens"] == pytest.approx(9 / 11)
    assert numbers["covered_bases"] == pytest.approx(10 / 12)
    assert numbers["sequences_without"] == 0.25
    assert numbers["ggrams_per_sequence"] == {"mean": 5 / 4, "median": 1, "most": 3}
    assert numbers["ggrams_used"] == 3
    assert numbers["occurrences_by_length"] == {"2": 4, "3": 1}
    report = html.read_text()
    assert report.count("<svg") == 4
    assert 'href="http' not in report  # nothing is fetched
    assert "src=" not in report


def test_stats_of_regions(files, capsys):
    (files / "x.fa").write_text(">a\nacgtaa\n>b\nCC\n")
    words = [files / "one.tsv", files / "x.fa", "--tokenizer", files / "tokenizer"]
    found = json.loads(ran(capsys, "stats", *words, "--regions", "a:3-6", "b(-)"))
    (numbers,) = found["sequences"].values()  # G T A A | G G
    assert (numbers["sequences"], numbers["tokens"], numbers["ggrams_used"]) == (2, 6, 2)


def test_stats_of_no_sequences_and_no_ggrams(files, capsys):
    vocabulary({}).save(files / "none.tsv")
    (files / "empty.fa").touch()
    (files / "some.fa").write_text(">a\nACGT\n")
    words = ["--tokenizer", files / "tokenizer", "-o", files / "r.html"]
    both = [files / "empty.fa", files / "some.fa"]
    found = json.loads(ran(capsys, "stats", files / "none.tsv", *both, *words))
    numbers, some = found["sequences"].values()
    assert numbers["covered_tokens"] is None
    assert some["covered_tokens"] == 0
    assert numbers["ggrams_per_sequence"] == {"mean": None, "median": 0, "most": 0}
    assert json.loads(ran(capsys, "stats", files / "one.tsv", *words))["sequences"] == {}


def test_mistakes_get_one_line(files, capsys):
    (files / "empty.fa").touch()
    one, other = str(files / "one.tsv"), str(files / "other.tsv")
    bpe = str(files / "tokenizer" / "tokenizer.json")
    before = {path: path.read_bytes() for path in files.rglob("*") if path.is_file()}
    for words, message in [
        (["merge", one, other, "-o", "x"], "mined with another tokenizer"),
        (["merge", one, "-o", "x"], "nothing to merge"),
        (["compare", one, other], "mined with another tokenizer"),
        (["stats", other, "--tokenizer", str(files / "tokenizer")], "with another tokenizer"),
        (["show", one, "--top", "0"], "top must be at least 1"),
        (["stats", one, str(files / "empty.fa"), "--tokenizer", bpe], "no A, C, G or T"),
        (["show", "absent.tsv"], "absent.tsv: no such file"),
        (["show", one, "-o", "x.xz"], "x.xz: tables are not written as .xz"),
        (["show", one, "-o", one], "one.tsv: is an input too"),
        (["merge", one, one, "-o", one], "one.tsv: is an input too"),
        (["merge", one, one, "-o", "x.csv"], "x.csv: a vocabulary has tabs between columns"),
        (["merge", one, one, "-o", "x.csv.gz"], "x.csv.gz: a vocabulary has tabs"),
        (["merge", one, one, "-o", "x.zip"], "x.zip: tables are not written as .zip"),
        (["mine", "x", "-o", "x.parquet"], "x.parquet: tables are not written as .parquet"),
        (["check-leakage", one, one, "-o", "x.h5"], "x.h5: tables are not written as .h5"),
        (["check-leakage", one, one, "-o", one], "one.tsv: is an input too"),
        (["stats", one, "--tokenizer", bpe, "-o", bpe], "tokenizer.json: is an input too"),
    ]:
        assert cli.main(["ggrams", *words]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert before == {path: path.read_bytes() for path in files.rglob("*") if path.is_file()}
