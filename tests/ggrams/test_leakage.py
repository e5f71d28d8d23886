"""Leakage against substring search, and mining with --exclude end to end."""

from __future__ import annotations

import gzip
import random
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from dnazen import cli
from dnazen.commands.corpus_build import CorpusBuildCommand
from dnazen.commands.corpus_build import run as build_corpus
from dnazen.errors import ConfigError, InputError
from dnazen.ggrams.leakage import mined_part, sharing_sequences
from dnazen.ggrams.overlaps import build_index, covered_bases
from dnazen.ggrams.vocabulary import GGramVocabulary
from dnazen.tokens.corpus import Corpus
from dnazen.tokens.special import SPECIAL_TOKENS
from dnazen.tokens.tokenizer import save_tokenizer
from sequences.test_indexed import twobit
from settings_of import settings_of


def complement(sequence):
    return sequence[::-1].translate(str.maketrans("ACGT", "TGCA"))


def covered_by_hand(sequence, others, overlap):
    """Positions of ``sequence`` in stretches that stand in any of ``others`` or its complement."""
    covered = set()
    for i in range(len(sequence) - overlap + 1):
        word = sequence[i : i + overlap]
        if "N" not in word and any(word in o or complement(word) in o for o in others):
            covered.update(range(i, i + overlap))
    return len(covered)


@pytest.fixture(scope="module")
def tokenizer_dir(tmp_path_factory):
    """The four bases and nothing else."""
    path = tmp_path_factory.mktemp("tokenizer")
    words = [*SPECIAL_TOKENS, "A", "C", "G", "T", "AC"]
    vocab = {word: i for i, word in enumerate(words)}
    save_tokenizer(Tokenizer(models.BPE(vocab=vocab, merges=[("A", "C")])), path)
    return path


def corpus_of(sequences, tokenizer_dir, directory):
    fasta = directory / "genome.fa"
    fasta.write_text("".join(f">{i}\n{s}\n" for i, s in enumerate(sequences)))
    build_corpus(
        settings_of(CorpusBuildCommand,
            genomes=(fasta,), tokenizer=tokenizer_dir, output=directory / "corpus",
            strands="forward", window_bp=100_000,
        )
    )  # fmt: skip
    return Corpus.open(directory / "corpus")


# Pieces of few kinds, so that long stretches are shared, in pieces, in repeats and reversed.
PIECES = [random.Random(i).choices("ACGT", k=23) for i in range(3)]
pieces = st.sampled_from(
    ["".join(p) for p in PIECES] + [complement("".join(p)) for p in PIECES] + ["A" * 9, "N", "G"]
)
sequence = st.lists(pieces, min_size=1, max_size=6).map("".join)


@settings(max_examples=60, deadline=None)
@given(
    others=st.lists(sequence, min_size=1, max_size=4),
    texts=st.lists(sequence.map(lambda s: s.replace("N", "") + "T"), min_size=1, max_size=5),
    overlap=st.sampled_from([16, 20, 33, 50]),
    threads=st.integers(1, 2),
)
def test_sharing_agrees_with_substring_search(
    others, texts, overlap, threads, tokenizer_dir, tmp_path_factory
):
    directory = tmp_path_factory.mktemp("leakage")
    corpus = corpus_of(texts, tokenizer_dir, directory)
    (directory / "others.txt").write_text("sequence\n" + "\n".join(others) + "\n")
    if not any(re.search(f"[ACGT]{{{overlap}}}", other) for other in others):
        with pytest.raises(InputError, match=f"none with {overlap} bases of A, C, G or T in a row"):
            sharing_sequences(corpus, [directory / "others.txt"], overlap, threads)
        return
    shared = sharing_sequences(corpus, [directory / "others.txt"], overlap, threads)
    expected = [covered_by_hand(t, others, overlap) > 0 for t in texts]
    assert shared.sequences.tolist() == expected
    index = build_index([o.encode() for o in others], overlap)
    keep = np.ones(len(corpus), dtype=bool)
    covered = covered_bases(index, corpus, keep, threads)
    assert covered.tolist() == [covered_by_hand(o, texts, overlap) for o in others]
    assert covered_bases(index, corpus, ~keep, threads).tolist() == [0] * len(others)


def test_letters_that_are_no_bases_share_nothing(tmp_path):
    """No corpus that dnazen builds has them; a damaged one does not lead the search astray."""
    words = [*SPECIAL_TOKENS, "A", "C", "G", "T", "N"]
    tokenizer = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=[]))
    save_tokenizer(tokenizer, tmp_path / "tokenizer")
    text = "".join(random.Random(3).choices("ACGT", k=90))
    corpus = corpus_of([text], tmp_path / "tokenizer", tmp_path)
    for place in (0, 20, 60, 89):
        tokens = np.array(corpus.tokens)
        tokens[place] = words.index("N")
        damaged = replace(corpus, tokens=tokens)
        with_gap = text[:place] + "N" + text[place + 1 :]
        for other in (text, with_gap):
            index = build_index([other.encode()], 16)
            covered = covered_bases(index, damaged, np.ones(1, dtype=bool), 1)
            assert covered.tolist() == [covered_by_hand(other, [with_gap], 16)]


@pytest.mark.parametrize(
    ("array", "place", "value", "message"),
    [
        ("tokens", 7, 60000, "token id 60000, which its tokenizer does not have"),
        ("offsets", 1, 10**12, "offsets of sequences run backwards, or past the tokens"),
        ("offsets", 1, -5, "offsets of sequences run backwards, or past the tokens"),
    ],
)
def test_a_damaged_corpus_is_not_searched(tokenizer_dir, tmp_path, array, place, value, message):
    corpus = corpus_of(["ACGT" * 20, "ACCT" * 20, "ACAT" * 20], tokenizer_dir, tmp_path)
    damaged = np.array(getattr(corpus, array))
    damaged[place] = value
    corpus = replace(corpus, **{array: damaged})
    (tmp_path / "others.txt").write_text("ACGT" * 20)
    with pytest.raises(InputError, match=message):
        sharing_sequences(corpus, [tmp_path / "others.txt"], 20, 1)


@pytest.mark.parametrize("overlap_bp", [-1, 0, 15])
def test_an_index_of_shorter_stretches_is_refused(overlap_bp):
    with pytest.raises(ConfigError, match="overlap_bp must be at least 16"):
        build_index([b"ACGT" * 20], overlap_bp)


def test_excluded_sequences_are_not_mined_and_the_check_agrees(tokenizer_dir, tmp_path, capsys):
    rng = random.Random(5)
    texts = ["".join(rng.choices("ACGT", k=300)) for _ in range(60)]
    corpus_of(texts, tokenizer_dir, tmp_path)
    test = [texts[3][100:200], complement(texts[7])[20:90], "".join(rng.choices("ACGT", k=100))]
    (tmp_path / "test.csv").write_text("sequence,label\n" + "".join(f"{t},0\n" for t in test))
    loose, strict = tmp_path / "loose.tsv", tmp_path / "strict.tsv"
    mine = ["ggrams", "mine", str(tmp_path / "corpus"), "--min-pmi", "-1", "-o"]
    assert cli.main([*mine, str(loose)]) == 0
    assert cli.main([*mine, str(strict), "--exclude", str(tmp_path / "test.csv")]) == 0
    excluded = GGramVocabulary.load(strict).provenance["excluded"]
    assert excluded["sequences"] == 2
    assert excluded["overlap_bp"] == 50
    assert excluded["files"][0]["path"].endswith("test.csv")
    a, b = GGramVocabulary.load(loose), GGramVocabulary.load(strict)
    assert a.counts.sum() > b.counts.sum()

    rest = [t for i, t in enumerate(texts) if i not in (3, 7)]
    directory = tmp_path / "rest"
    directory.mkdir()
    corpus_of(rest, tokenizer_dir, directory)
    alone = directory / "alone.tsv"
    assert (
        cli.main(["ggrams", "mine", str(directory / "corpus"), "--min-pmi", "-1", "-o", str(alone)])
        == 0
    )
    c = GGramVocabulary.load(alone)
    np.testing.assert_array_equal(b.tokens, c.tokens)
    np.testing.assert_array_equal(b.counts, c.counts)
    np.testing.assert_array_equal(b.pmi, c.pmi)

    capsys.readouterr()
    for vocabulary, row in [
        (loose, "3\t2\t2\t270\t170\t0.6296\t0"),
        (strict, "3\t0\t0\t270\t0\t0.0000\t0"),
    ]:
        table = tmp_path / "each.tsv"
        words = [str(vocabulary), str(tmp_path / "test.csv"), "-o", str(table)]
        assert cli.main(["ggrams", "check-leakage", *words]) == 0
        assert capsys.readouterr().out.splitlines()[1].endswith(row)
    packed = tmp_path / "each.csv.gz"
    assert cli.main(["ggrams", "check-leakage", *words[:2], "-o", str(packed)]) == 0
    rows = gzip.decompress(packed.read_bytes()).decode()
    assert rows == table.read_text().replace("\t", ",")
    assert [line.split("\t")[3] for line in table.read_text().splitlines()[1:]] == ["0", "0", "0"]


def test_mistakes_get_one_line(tokenizer_dir, tmp_path, capsys):
    corpus_of(["ACGT" * 50], tokenizer_dir, tmp_path)
    corpus, out = str(tmp_path / "corpus"), str(tmp_path / "v.tsv")
    capsys.readouterr()
    for words, message in [
        (["mine", str(tmp_path), "-o", out], "no such file"),
        (["mine", corpus, "-o", out, "--exclude", "absent.csv"], "absent.csv: no such file"),
        (["mine", corpus, "-o", out, "--exclude-overlap-bp", "5"], "must be at least 16"),
        (["mine", corpus, "-o", out, "--memory-gb", "0"], "memory_gb must be more than 0"),
        (["mine", corpus, "-o", out, "--memory-gb", "nan"], "memory_gb must be 0 to 1048576"),
        (["mine", corpus, "-o", out, "--memory-gb", "inf"], "memory_gb must be 0 to 1048576"),
        (["mine", corpus, "-o", out, "--threads", "0"], "threads must be 1 to 4096"),
        (["mine", corpus, "-o", f"{corpus}/records.tsv"], "records.tsv: is an input too"),
        (["check-leakage", "absent.tsv", corpus], "absent.tsv: no such file"),
    ]:
        assert cli.main(["ggrams", *words]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not (tmp_path / "v.tsv").exists()


NOTHING = {
    "empty.fa": b"",
    "header.csv": b"sequence,label\n",
    "records.fa": b">a\n>b\n\n",
    "ambiguous.fa": b">a\n" + b"N" * 200 + b"\n",
    "short.txt": b"ACGT\nACGTACGTACGT\n",
    "broken.fa": b">a\n" + (b"ACGT" * 12 + b"AN") * 9 + b"\n",
}
"""Files with nothing that shares 50 bases."""


@pytest.mark.parametrize("name", NOTHING)
def test_a_search_for_nothing_is_no_all_clear(name, tokenizer_dir, tmp_path, capsys, monkeypatch):
    corpus_of(["ACGT" * 50], tokenizer_dir, tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(NOTHING[name])
    (tmp_path / "good.fa").write_bytes(b">a\n" + b"ACCT" * 30)
    mine = ["ggrams", "mine", "corpus", "-o", "v.tsv"]
    assert cli.main([*mine, "--exclude", "good.fa", name]) == 2
    assert f"{name}: " in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "v.tsv").exists()
    assert cli.main(mine) == 0
    assert cli.main(["ggrams", "check-leakage", "v.tsv", "good.fa", name]) == 2
    written = capsys.readouterr()
    assert "none with 50 bases of A, C, G or T in a row (the most are" in written.err
    assert written.out == ""


def test_what_was_searched_for_is_said_in_numbers(tokenizer_dir, tmp_path, capsys, monkeypatch):
    corpus_of(["ACGT" * 50], tokenizer_dir, tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some.fa").write_text(f">a\n{'ACCT' * 30}\n>b\nACGT\n>c\n{'acgu' * 20}\n>d\n")
    capsys.readouterr()
    assert cli.main(["ggrams", "mine", "corpus", "-o", "v.tsv", "--exclude", "some.fa"]) == 0
    numbers = "4 records of 1 files, 204 bp; 2 of them are too short to share 50 bases"
    assert f"excluded: {numbers}" in capsys.readouterr().err
    assert cli.main(["ggrams", "check-leakage", "v.tsv", "some.fa"]) == 0
    written = capsys.readouterr()
    assert f"checked: {numbers}" in written.err
    header, row = (line.split("\t") for line in written.out.splitlines())
    assert dict(zip(header, row, strict=True))["too_short"] == "2"


def test_a_vocabulary_is_checked_from_anywhere(tokenizer_dir, tmp_path, capsys, monkeypatch):
    """Paths in its record lead on from its own folder, or flags say where the files are now."""
    texts = ["".join(random.Random(i).choices("ACGT", k=120)) for i in range(9)]
    home = tmp_path / "home"
    home.mkdir()
    corpus_of(texts, tokenizer_dir, home)
    (home / "dev.csv").write_text(f"sequence,label\n{texts[2]},0\n")
    (tmp_path / "test.fa").write_text(f">a\n{texts[2]}\n>b\n{texts[3]}\n")
    monkeypatch.chdir(home)
    assert cli.main(["ggrams", "mine", "corpus", "-o", "v.tsv", "--exclude", "dev.csv"]) == 0
    monkeypatch.chdir(tmp_path)
    row = "test.fa\t2\t1\t1\t240\t120\t0.5000\t0"
    check = ["ggrams", "check-leakage", "home/v.tsv", "test.fa"]
    capsys.readouterr()
    assert cli.main(check) == 0
    assert capsys.readouterr().out.splitlines()[1] == row
    # A file of the same name that is another one is not taken for it.
    (tmp_path / "dev.csv").write_text(f"sequence,label\n{texts[5]},0\n")
    assert cli.main(check) == 0
    assert capsys.readouterr().out.splitlines()[1] == row

    (home / "dev.csv").rename(tmp_path / "moved.csv")
    assert cli.main(check) == 2
    problem = "dev.csv: changed since it was excluded from mining; say with --excluded where"
    assert problem in capsys.readouterr().err
    (tmp_path / "dev.csv").unlink()
    assert cli.main(check) == 2
    problem = "dev.csv: no such file; it was excluded from mining; say with --excluded where"
    assert problem in capsys.readouterr().err
    assert cli.main([*check, "--excluded", "moved.csv"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == row

    (home / "corpus").rename(tmp_path / "elsewhere")
    assert cli.main([*check, "--excluded", "moved.csv"]) == 2
    assert "corpus: no such corpus; the G-grams were mined from it" in capsys.readouterr().err
    assert cli.main([*check, "--excluded", "moved.csv", "--corpus", "elsewhere"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == row


def test_a_2bit_genome_is_excluded_like_any_other(tokenizer_dir, tmp_path):
    texts = ["".join(random.Random(i).choices("ACGT", k=120)) for i in range(5)]
    corpus = corpus_of(texts, tokenizer_dir, tmp_path)
    pytest.importorskip("py2bit")
    twobit({"a": texts[1], "b": "N" * 60 + texts[3][:80]}, tmp_path / "g.2bit")
    sharing = sharing_sequences(corpus, [tmp_path / "g.2bit"], 50, 1)
    assert np.flatnonzero(sharing.sequences).tolist() == [1, 3]


@pytest.mark.parametrize(
    "wrong",
    [
        {"overlap_bp": float("inf")},
        {"overlap_bp": "many"},
        {"files": [{"path": "a\0b", "sha256": "0"}]},
        {"files": [{"path": "a"}]},
        {"files": 3},
    ],
)
def test_a_record_with_nonsense_is_refused(wrong, tokenizer_dir, tmp_path):
    corpus = corpus_of(["ACGT" * 50], tokenizer_dir, tmp_path)
    path = tmp_path / "v.tsv"
    assert cli.main(["ggrams", "mine", str(corpus.directory), "-o", str(path)]) == 0
    vocabulary = GGramVocabulary.load(path)
    excluded = {"files": [], "overlap_bp": 50, **wrong}
    provenance = {**vocabulary.provenance, "excluded": excluded}
    with pytest.raises(InputError, match=r"v\.tsv: does not say what it was mined from"):
        mined_part(path, replace(vocabulary, provenance=provenance))


def test_the_mined_part_is_known_only_from_the_files_it_was_made_of(tokenizer_dir, tmp_path):
    rng = random.Random(6)
    texts = ["".join(rng.choices("ACGT", k=200)) for _ in range(20)]
    corpus = corpus_of(texts, tokenizer_dir, tmp_path)
    test, path = tmp_path / "test.csv", tmp_path / "v.tsv"
    test.write_text(f"sequence,label\n{texts[4]},0\n")
    words = ["ggrams", "mine", str(tmp_path / "corpus"), "--min-pmi", "-1", "-o", str(path)]
    assert cli.main([*words, "--exclude", str(test)]) == 0
    vocabulary = GGramVocabulary.load(path)
    opened, mined = mined_part(path, vocabulary)
    assert opened.directory == corpus.directory
    assert np.flatnonzero(~mined).tolist() == [4]

    (tmp_path / "other").mkdir()
    corpus_of(texts[:3], tokenizer_dir, tmp_path / "other")
    with pytest.raises(InputError, match=r"other/corpus: not the corpus that .* --corpus"):
        mined_part(path, vocabulary, corpus=tmp_path / "other" / "corpus")
    for hollow in ({}, {"corpus": 1, "excluded": {}}, {"corpus": {"inputs": "ab"}, "excluded": []}):
        with pytest.raises(InputError, match=r"v\.tsv: does not say what it was mined from"):
            mined_part(path, replace(vocabulary, provenance=hollow))
    test.write_text(f"sequence,label\n{texts[5]},0\n")
    with pytest.raises(InputError, match=r"test\.csv: changed since it was excluded"):
        mined_part(path, vocabulary)
