"""The weights of windows, base by base in plain Python; and which tokens are of repeats."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dnazen import cli
from dnazen.commands.corpus_build import CorpusBuildCommand
from dnazen.commands.corpus_build import run as build_corpus
from dnazen.errors import ConfigError, InputError
from dnazen.tokens.corpus import Corpus
from dnazen.tokens.tokenizer import save_tokenizer, train
from settings_of import settings_of

WINDOW_BP = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    rng = random.Random(4)
    folder = tmp_path_factory.mktemp("weights")
    texts = {}
    for file in ("a.fa", "b.fa"):
        records = {}
        for name in ("one", "two"):
            stretches = ["".join(rng.choices("ACGT", k=rng.randint(1, 12))) for _ in range(60)]
            cased = [text.lower() if rng.random() < 0.4 else text for text in stretches]
            records[name] = "".join(cased) + "NnN" + cased[0]
        texts[file] = records
        (folder / file).write_text("".join(f">{n}\n{t}\n" for n, t in records.items()))
    regions = [(name, s, s + rng.randint(0, 40)) for name in ("one",) for s in range(5, 250, 23)]
    (folder / "r.bed").write_text("".join(f"{c}\t{s}\t{e}\n" for c, s, e in regions))
    lines = [t.upper().replace("N", "") for r in texts.values() for t in r.values()]
    save_tokenizer(train(lines, vocab_size=40), folder / "tokenizer")
    return folder


def records_of(path: Path) -> dict[str, str]:
    lines = path.read_text().split()
    return {name[1:]: text for name, text in zip(lines[::2], lines[1::2], strict=True)}


def build(folder: Path, output: Path, **more) -> Corpus:
    command = settings_of(
        CorpusBuildCommand,
        genomes=(folder / "a.fa", folder / "b.fa"),
        tokenizer=folder / "tokenizer",
        output=output,
        window_bp=WINDOW_BP,
        **more,
    )
    build_corpus(command)
    return Corpus.open(output)


def test_weights_are_means_over_bases(folder, tmp_path):
    corpus = build(
        folder,
        tmp_path / "c",
        regions=folder / "r.bed",
        region_weight=5.0,
        file_weights={"b.fa": 0.5},
    )
    regions = [line.split() for line in (folder / "r.bed").read_text().splitlines()]
    within = {int(i) for _, s, e in regions for i in range(int(s), int(e))}
    lengths = [len(t) for f in ("a.fa", "b.fa") for t in records_of(folder / f).values()]
    for number in range(len(corpus)):
        record, start = int(corpus.record[number]), int(corpus.start[number])
        text = corpus.tokenizer.decode(corpus[number].tolist())
        assert start + len(text) <= lengths[record]
        here = within if corpus.record_names[record] == "one" else set()
        bases = [5.0 if i in here else 1.0 for i in range(start, start + len(text))]
        of_file = 1.0 if record < 2 else 0.5
        assert corpus.weight[number] == pytest.approx(of_file * np.mean(bases), rel=1e-6)


def test_tokens_of_repeats_are_those_mostly_in_lower_case(folder, tmp_path):
    corpus = build(folder, tmp_path / "c")
    assert (corpus.weight == 1).all()
    texts = [t for f in ("a.fa", "b.fa") for t in records_of(folder / f).values()]
    seen = set()
    for number in range(len(corpus)):
        start, strand = int(corpus.start[number]), int(corpus.strand[number])
        tokens = corpus[number].tolist()
        lengths = [len(corpus.tokenizer.decode([token])) for token in tokens]
        letters = texts[corpus.record[number]][start : start + sum(lengths)][::strand]
        flags = corpus.repeat[corpus.offsets[number] : corpus.offsets[number + 1]]
        place = 0
        for length, flag in zip(lengths, flags, strict=True):
            lower = sum(letter.islower() for letter in letters[place : place + length])
            assert bool(flag) == (lower > length / 2)
            seen.add(bool(flag))
            place += length
    assert seen == {True, False}
    assert corpus.meta["repeat_tokens"] == int(corpus.repeat.sum())


def test_a_record_in_lower_case_throughout_is_no_repeat(folder, tmp_path):
    text = records_of(folder / "a.fa")["one"]
    (tmp_path / "a.fa").write_text(f">lower\n{text.lower()}\n>cased\n{text}\n")
    (tmp_path / "b.fa").write_text(">b\nACGT\n")
    (tmp_path / "tokenizer").symlink_to(folder / "tokenizer")
    corpus = build(tmp_path, tmp_path / "c")
    flags = [corpus.repeat[a:b] for a, b in pairwise(corpus.offsets)]
    assert not any(f.any() for f, r in zip(flags, corpus.record, strict=True) if r == 0)
    assert any(f.any() for f, r in zip(flags, corpus.record, strict=True) if r == 1)


def test_case_changes_no_token(folder, tmp_path):
    cased = build(folder, tmp_path / "cased")
    upper = tmp_path / "upper"
    upper.mkdir()
    for file in ("a.fa", "b.fa"):
        (upper / file).write_text(
            "".join(f">{n}\n{t.upper()}\n" for n, t in records_of(folder / file).items())
        )
    (upper / "tokenizer").symlink_to(folder / "tokenizer")
    plain = build(upper, tmp_path / "plain")
    assert np.array_equal(cased.tokens, plain.tokens)
    assert np.array_equal(cased.offsets, plain.offsets)
    assert not plain.repeat.any()


def test_regions_of_other_contigs_are_told(folder, tmp_path):
    bed = tmp_path / "r.bed"
    bed.write_text("chrX\t1\t20\n")
    with pytest.raises(InputError, match=r"none of its regions.*chrX"):
        build(folder, tmp_path / "c", regions=bed, region_weight=2.0)
    assert not (tmp_path / "c").exists()


def test_weights_of_files_that_are_not_there(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"'c\.fa' is none of the genomes"):
        build(folder, tmp_path / "c", file_weights={"c.fa": 2.0})
    with pytest.raises(ConfigError, match="expected 0 to"):
        build(folder, tmp_path / "c", file_weights={"a.fa": -1.0})
    with pytest.raises(ConfigError, match="region_weight needs regions"):
        build(folder, tmp_path / "c", region_weight=2.0)


def test_through_the_command_line(folder, tmp_path, capsys):
    flags = ["--tokenizer", str(folder / "tokenizer"), "-o", str(tmp_path / "c")]
    weights = ["--file-weights", "a.fa", "3", "--regions", str(folder / "r.bed")]
    genomes = [str(folder / "a.fa"), str(folder / "b.fa")]
    assert cli.main(["corpus", "build", *genomes, *flags, *weights, "--region-weight", "2"]) == 0
    corpus = Corpus.open(tmp_path / "c")
    assert corpus.weight.max() == pytest.approx(6, rel=0.5)
    assert "tokens in repeats" in capsys.readouterr().err
    assert len(corpus.inputs) == 3  # the regions too
