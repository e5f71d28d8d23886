"""The corpus against the genome it was made from, read back by other means."""

from __future__ import annotations

import json
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dnazen import cli
from dnazen.commands.corpus_build import CorpusBuildCommand
from dnazen.commands.corpus_build import run as build_corpus
from dnazen.errors import ConfigError, InputError, OutputError
from dnazen.records import hash_file
from dnazen.tokens import corpus
from dnazen.tokens.corpus import ARRAYS, Corpus, GenomeWindow, _chunks, tokenise_windows
from dnazen.tokens.tokenizer import save_tokenizer, token_strings, tokenizer_sha256, train
from sequences.test_indexed import twobit
from settings_of import settings_of

WINDOW_BP = 40
PAIR = str.maketrans("ACGT", "TGCA")


def genome(seed: int) -> dict[str, str]:
    rng = random.Random(seed)
    text = {
        name: "".join(rng.choices("ACGTacgtUNR", (9, 9, 9, 9, 3, 3, 3, 3, 1, 1, 1), k=size))
        for name, size in (("chr1", 700), ("chr2", 95), ("tiny", 1))
    }
    return {**text, "empty": "", "unknown": "N" * 50}


FILES = {"a.fa": genome(1), "b.fa": genome(2)}


def plain(text: str) -> str:
    return re.sub("[^ACGT]", "N", text.upper().replace("U", "T"))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    for file, records in FILES.items():
        text = "".join(f">{name}\n{sequence}\n" for name, sequence in records.items())
        (folder / file).write_text(text)
    lines = re.findall("[ACGT]+", plain("N".join(r for f in FILES.values() for r in f.values())))
    save_tokenizer(train(lines, vocab_size=60), folder / "tokenizer")
    return folder


def settings(inputs, output, **more) -> CorpusConfig:
    return settings_of(
        CorpusBuildCommand,
        genomes=tuple(inputs / file for file in FILES),
        tokenizer=inputs / "tokenizer",
        output=output,
        **({"window_bp": WINDOW_BP} | more),
    )


@pytest.fixture(scope="module")
def built(inputs, tmp_path_factory):
    directory = tmp_path_factory.mktemp("corpus") / "both"
    build_corpus(settings(inputs, directory))
    return directory


@pytest.fixture
def copy(built, tmp_path):
    return Path(shutil.copytree(built, tmp_path / "copy"))


def expected_windows(text: str) -> list[tuple[int, str]]:
    return [
        (run.start() + cut, run.group()[cut : cut + WINDOW_BP])
        for run in re.finditer("[ACGT]+", plain(text))
        for cut in range(0, len(run.group()), WINDOW_BP)
    ]


def contents(opened: Corpus) -> list[tuple[int, int, int, str]]:
    strings = token_strings(opened.tokenizer)
    return [
        (record, start, strand, "".join(strings[t] for t in opened[i]))
        for i, (record, start, strand) in enumerate(
            zip(opened.record.tolist(), opened.start.tolist(), opened.strand.tolist(), strict=True)
        )
    ]


def test_a_corpus_spells_every_window_and_its_reverse_complement(built):
    opened = Corpus.open(built)
    records = [text for records in FILES.values() for text in records.values()]
    expected = []
    for number, text in enumerate(records):
        for start, bases in expected_windows(text):
            expected.append((number, start, 1, bases))
            expected.append((number, start, -1, bases.translate(PAIR)[::-1]))
    assert contents(opened) == expected
    assert len(opened) == len(expected)
    assert opened.record_names == [name for records in FILES.values() for name in records]


def test_forward_only(inputs, built, tmp_path):
    build_corpus(settings(inputs, tmp_path / "out", strands="forward"))
    both = contents(Corpus.open(built))
    assert contents(Corpus.open(tmp_path / "out")) == [row for row in both if row[2] == 1]


def test_the_record_says_what_it_is_and_was_made_of(built, inputs):
    opened = Corpus.open(built)
    assert opened.vocab_size == 60
    assert opened.tokenizer_sha256 == tokenizer_sha256(opened.tokenizer)
    assert opened.inputs == [hash_file(inputs / file)._asdict() for file in FILES]
    assert opened.settings["strands"] == "both"
    assert opened.settings["window_bp"] == WINDOW_BP
    everything = "".join(text for records in FILES.values() for text in records.values())
    assert opened.meta["normalisation"] == {
        "bases": len(everything),
        "lower_case": sum(c.islower() for c in everything),
        "uracil": everything.count("U"),
        "ambiguous": plain(everything).count("N"),
    }
    assert opened.meta["bases"] == 2 * (len(everything) - plain(everything).count("N"))
    assert opened.meta["records"] == 10
    rows = [line.split("\t") for line in (built / "records.tsv").read_text().splitlines()]
    assert rows[0] == ["name", "file", "length_bp"]
    assert rows[1] == ["chr1", str(inputs / "a.fa"), "700"]


def test_two_bytes_a_token_and_nothing_read_into_memory(built):
    opened = Corpus.open(built)
    assert isinstance(opened.tokens, np.memmap)
    assert {name: getattr(opened, name).dtype.type for name in ARRAYS} == ARRAYS
    assert not opened.tokens.flags.writeable


@pytest.mark.parametrize("chunk_bp", [1, 100])
def test_the_chunk_size_changes_no_byte(inputs, built, tmp_path, monkeypatch, chunk_bp):
    monkeypatch.setattr(corpus, "CHUNK_BP", chunk_bp)
    build_corpus(settings(inputs, tmp_path / "out"))
    for name in [*(f"{array}.npy" for array in ARRAYS), "records.tsv"]:
        assert (tmp_path / "out" / name).read_bytes() == (built / name).read_bytes()


def test_batches_of_windows_join_to_the_whole(inputs):
    tokenizer = corpus.load_tokenizer(inputs / "tokenizer")
    batch = [
        GenomeWindow(0, 0, b"ACGTTGCA"),
        GenomeWindow(0, 8, b"T"),
        GenomeWindow(3, 2, b"GATTACA"),
    ]
    whole = tokenise_windows(tokenizer, batch)
    parts = [tokenise_windows(tokenizer, [window]) for window in batch]
    for name in ("tokens", "record", "start", "strand"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        assert getattr(whole, name).tolist() == joined.tolist()
        assert getattr(whole, name).dtype == joined.dtype
    assert tokenise_windows(tokenizer, []).offsets.tolist() == [0]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_an_interrupted_build_leaves_nothing(inputs, tmp_path, monkeypatch, stop):
    calls = []

    def break_down(*args, **kwargs):
        calls.append(1)
        if len(calls) == 3:
            raise stop
        return tokenise_windows(*args, **kwargs)

    monkeypatch.setattr(corpus, "CHUNK_BP", 100)
    monkeypatch.setattr(corpus, "tokenise_windows", break_down)
    with pytest.raises(stop):
        build_corpus(settings(inputs, tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_a_bad_second_input_leaves_nothing(inputs, tmp_path, capsys):
    (tmp_path / "bad.fa").write_text(">a\nACGT\n>b\nAC*T\n")
    words = f"corpus build {inputs}/a.fa {tmp_path}/bad.fa -o {tmp_path}/out"
    words += f" --tokenizer {inputs}/tokenizer"
    assert cli.main(words.split()) == 2
    assert f"{tmp_path}/bad.fa:4: character '*'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_through_the_command_line(inputs, built, tmp_path, capsys):
    files = [str(inputs / file) for file in FILES]
    words = ["corpus", "build", *files, "--tokenizer", f"{inputs}/tokenizer"]
    words += ["-o", f"{tmp_path}/out", "--window-bp", str(WINDOW_BP)]
    assert cli.main(words) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"{len(Corpus.open(built)):,} sequences" in captured.err
    assert "N or ambiguous dropped" in captured.err
    assert (tmp_path / "out/tokens.npy").read_bytes() == (built / "tokens.npy").read_bytes()


def test_nothing_to_tokenise(inputs, tmp_path):
    (tmp_path / "n.fa").write_text(">a\nNNN\n")
    config = settings_of(
        CorpusBuildCommand,
        genomes=(tmp_path / "n.fa",),
        tokenizer=inputs / "tokenizer",
        output=tmp_path / "out",
    )
    with pytest.raises(InputError, match=r"n\.fa: no A, C, G or T in the input; expected"):
        build_corpus(config)
    assert not (tmp_path / "out").exists()


def test_an_output_that_holds_something_is_refused(inputs, built):
    with pytest.raises(OutputError, match="is not empty"):
        build_corpus(settings(inputs, built))


def test_settings_are_checked(inputs, tmp_path):
    with pytest.raises(ConfigError, match="window_bp must be 1 to 100000, got 0"):
        settings(inputs, tmp_path / "out", window_bp=0)
    with pytest.raises(ConfigError, match="no genome given"):
        settings_of(CorpusBuildCommand, genomes=(), tokenizer=inputs, output=tmp_path)


def shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2])


def edit(path: Path, **changes) -> None:
    content = json.loads(path.read_text())
    for key, value in changes.items():
        if value is None:
            del content[key]
        else:
            content[key] = value
    path.write_text(json.dumps(content))


def change(path: Path, place: int, value: int) -> None:
    array = np.load(path)
    array[place] = value
    np.save(path, array)


def archive_for_array(directory: Path) -> None:
    np.savez(directory / "x.npz", a=np.zeros(3))
    (directory / "x.npz").replace(directory / "tokens.npy")


DAMAGES = {
    "tokens cut": (lambda d: shorten(d / "tokens.npy"), r"tokens\.npy: .*build it anew"),
    "an array gone": (lambda d: (d / "start.npy").unlink(), r"start\.npy: not readable"),
    "an array emptied": (lambda d: (d / "start.npy").write_bytes(b""), r"start\.npy: not readable"),
    "an array replaced": (
        lambda d: np.save(d / "strand.npy", np.zeros(3)),
        r"strand\.npy: holds float64 \(3,\); expected int8 \(\d+,\)",
    ),
    "objects": (
        lambda d: np.save(d / "strand.npy", np.array([{}], dtype=object), allow_pickle=True),
        r"strand\.npy: not readable",
    ),
    "offsets of another corpus": (
        lambda d: np.save(d / "offsets.npy", np.load(d / "offsets.npy") + 1),
        r"offsets\.npy: offsets do not span the tokens",
    ),
    "no record": (lambda d: (d / "corpus.json").unlink(), r"corpus\.json: no such file; expected"),
    "record cut": (lambda d: shorten(d / "corpus.json"), r"corpus\.json:\d+: not valid JSON"),
    "not a corpus": (
        lambda d: edit(d / "corpus.json", format="else"),
        r"corpus\.json: not a corpus record; expected format 'dnazen-corpus'",
    ),
    "from the future": (
        lambda d: edit(d / "corpus.json", version=3),
        r"corpus\.json: corpus format 3; expected 2 or older; update dnazen",
    ),
    "record without totals": (
        lambda d: edit(d / "corpus.json", tokens=None),
        r"corpus\.json: has no 'tokens'; it is damaged, or not a corpus",
    ),
    "infinitely many": (
        lambda d: (d / "corpus.json").write_text(
            (d / "corpus.json").read_text().replace('"sequences": ', '"sequences": 1e999, "x": ')
        ),
        r"corpus\.json: 'sequences' is Infinity, not a whole number from 0",
    ),
    "a text for a number": (
        lambda d: edit(d / "corpus.json", vocab_size="x"),
        r"corpus\.json: 'vocab_size' is \"x\", not a whole number",
    ),
    "no tokens at all": (
        lambda d: edit(d / "corpus.json", vocab_size=0),
        r"corpus\.json: 'vocab_size' is 0; the corpus is damaged",
    ),
    "a small vocabulary": (
        lambda d: edit(d / "corpus.json", vocab_size=10),
        r"tokens\.npy: token ids beyond the vocabulary; the corpus is damaged; build it anew",
    ),
    "inputs that are none": (
        lambda d: edit(d / "corpus.json", inputs=5),
        r"corpus\.json: 'inputs' is 5, not a list",
    ),
    "an archive for an array": (archive_for_array, r"tokens\.npy: not readable"),
    "a shape of 10^27": (
        lambda d: (d / "tokens.npy").write_bytes(
            (d / "tokens.npy").read_bytes().replace(b"'shape': (", b"'shape': (10000000000000,")
        ),
        r"tokens\.npy: not readable|tokens\.npy: holds",
    ),
    "a header that is no text": (
        lambda d: (d / "tokens.npy").write_bytes(
            (d / "tokens.npy").read_bytes().replace(b"'shape': (", b"'shape': '((")
        ),
        r"tokens\.npy: not readable",
    ),
    "a token out of range": (
        lambda d: change(d / "tokens.npy", 7, 60_000),
        r"tokens\.npy: token ids beyond the vocabulary",
    ),
    "the last token out of range": (
        lambda d: change(d / "tokens.npy", -1, 60_000),
        r"tokens\.npy: token ids beyond the vocabulary",
    ),
    "an offset out of range": (
        lambda d: change(d / "offsets.npy", 3, 10**12),
        r"offsets\.npy: offsets do not span the tokens, or run backwards",
    ),
    "a negative offset": (
        lambda d: change(d / "offsets.npy", 3, -(2**63)),
        r"offsets\.npy: offsets do not span the tokens, or run backwards",
    ),
    "a record that is not there": (
        lambda d: change(d / "record.npy", -1, 99),
        r"record\.npy: numbers of records that are not there",
    ),
    "a negative start": (
        lambda d: change(d / "start.npy", 0, -1),
        r"start\.npy: windows that begin before their record",
    ),
    "no flag": (lambda d: change(d / "repeat.npy", 1, 7), r"repeat\.npy: flags other than 0 and 1"),
    "no weight": (lambda d: change(d / "weight.npy", 1, -1), r"weight\.npy: weights below 0"),
    "no strand": (lambda d: change(d / "strand.npy", 1, 0), r"strand\.npy: strands other than 1"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_told_in_one_line(copy, damage):
    hurt, message = DAMAGES[damage]
    hurt(copy)
    with pytest.raises(InputError, match=message) as raised:
        Corpus.open(copy)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("chunk", [1, 2, 3, 1000])
def test_every_pair_of_offsets_is_looked_at(copy, monkeypatch, chunk):
    whole = _chunks.__kwdefaults__ | {"size": chunk}
    monkeypatch.setattr(_chunks, "__kwdefaults__", whole)
    offsets = np.load(copy / "offsets.npy")
    assert len(Corpus.open(copy)) == len(offsets) - 1
    for place in range(1, 9):
        np.save(
            copy / "offsets.npy", np.concatenate([offsets[:place], [10**12], offsets[place + 1 :]])
        )
        with pytest.raises(InputError, match="run backwards"):
            Corpus.open(copy)


def test_a_table_of_other_records_is_told(copy):
    (copy / "records.tsv").write_text("name\tfile\tlength_bp\nx\ty\t3\n")
    with pytest.raises(
        InputError, match=r"records\.tsv: 1 records; expected \d+; the corpus is dam"
    ):
        _ = Corpus.open(copy).record_names


def test_a_vocabulary_larger_than_the_tokenizer_is_told(copy):
    edit(copy / "corpus.json", vocab_size=60_000)
    with pytest.raises(InputError, match="not the tokenizer that the corpus was built with"):
        _ = Corpus.open(copy).tokenizer


def test_another_tokenizer_inside_is_refused(copy):
    save_tokenizer(train(["ACGTACGTAC"] * 3, vocab_size=20), copy / "tokenizer")
    opened = Corpus.open(copy)
    with pytest.raises(InputError, match="not the tokenizer that the corpus was built with"):
        _ = opened.tokenizer


def test_a_genome_of_2bit_gives_the_corpus_of_its_fasta(inputs, tmp_path):
    pytest.importorskip("py2bit", reason="the extra 'twobit' is not installed")
    contigs = {name: plain(text) for name, text in FILES["a.fa"].items() if text}
    fasta = tmp_path / "g.fa"
    fasta.write_text("".join(f">{name}\n{text}\n" for name, text in contigs.items()))
    made = {}
    for file in (fasta, twobit(contigs, tmp_path / "g.2bit")):
        made[file] = tmp_path / file.suffix[1:]
        build_corpus(replace(settings(inputs, made[file]), genomes=(file,)))
        record = json.loads((made[file] / "corpus.json").read_text())
        assert record["inputs"] == [hash_file(file)._asdict()]
    one, other = made.values()
    for array in ARRAYS:
        assert (one / f"{array}.npy").read_bytes() == (other / f"{array}.npy").read_bytes(), array
