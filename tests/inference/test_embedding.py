"""Vectors against the model called by hand on one sequence; batches and padding change nothing."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import dnazen
from directories import as_dnabert2, random_directory, rewrite
from dnazen import cli
from dnazen.commands.embed import EmbedCommand
from dnazen.errors import ConfigError, InputError
from dnazen.inference.embedding import embed, embeddings
from dnazen.inference.settings import EmbeddingConfig
from dnazen.model.modeling import DnazenForMaskedLM, DnazenForSequenceClassification
from dnazen.sequences.alphabet import reverse_complement
from dnazen.sequences.inputs import records_of
from dnazen.tokens.windows import token_windows
from sequences.test_indexed import bgzip, fasta_text, twobit
from settings_of import settings_of

CLOSE = {"rtol": 0, "atol": 1e-4}  # float32, and weights far larger than trained ones


@pytest.fixture(scope="module")
def directory(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "m"
    random_directory(ground, folder, seed=3, initializer_range=0.3)
    return folder


@pytest.fixture(scope="module")
def embedder(directory):
    return dnazen.load(directory, "cpu")


@pytest.fixture(scope="module")
def sequences(ground):
    """Of many lengths, from the genome, so that G-grams match; N here and there."""
    genome = ground.genome.read_text().replace("\n", "").replace(">a", "").replace(">b", "")
    rng = np.random.default_rng(5)
    found = [genome[i : i + size] for i, size in rng.integers((0, 1), (15_000, 400), (23, 2))]
    found[3] = found[3][:50] + "NNNNrN" + found[3][50:].lower()
    return found


def tokens_of(embedder, letters: str) -> list[int]:
    """By the tokenizer library, stretch by stretch; [UNK] for a stretch of N."""
    clean = "".join(c if c in "ACGT" else "N" for c in letters.upper().replace("U", "T"))
    ids: list[int] = []
    while clean:
        inside = clean[0] != "N"
        size = len(clean) - len(clean.lstrip("ACGT" if inside else "N"))
        word, clean = clean[:size], clean[size:]
        ids += embedder.tokenizer.encode(word, add_special_tokens=False).ids if inside else [0]
    return ids


@torch.no_grad()
def alone(embedder, tokens):
    """The model's output on one window, its G-grams and where they are, found by looking."""
    ids = [1, *tokens, 2]
    vocabulary = embedder.vocabulary
    known = {tuple(vocabulary.ggram(i)): i for i in range(1, len(vocabulary) + 1)}
    occurrences = [
        (start, known[tuple(ids[start : start + size])], size)
        for start in range(len(ids))
        for size in range(2, 6)
        if tuple(ids[start : start + size]) in known
    ]
    slots = list(dict.fromkeys(gram for _, gram, _ in occurrences))
    pairs = sorted(
        {(p, slots.index(gram)) for start, gram, n in occurrences for p in range(start, start + n)}
    )
    output = embedder.encoder(
        torch.tensor([ids]),
        ggram_ids=torch.tensor(slots, dtype=torch.int64),
        ggram_offsets=torch.tensor([0, len(slots)]),
        cover_token=torch.tensor([p for p, _ in pairs], dtype=torch.int64),
        cover_slot=torch.tensor([s for _, s in pairs], dtype=torch.int64),
        output_hidden_states=True,
    )
    return output, slots, [(start - 1, gram, n) for start, gram, n in occurrences]


def pooled(embedder, letters, pooling, layer=-1):
    output, _, _ = alone(embedder, tokens_of(embedder, letters))
    states = output.hidden_states[layer][0].numpy().astype(np.float64)
    if pooling == "cls":
        return states[0]
    return states[1:-1].mean(0) if pooling == "mean" else states[1:-1].max(0)


@pytest.mark.parametrize("layer", [None, 0, 1, 2])
@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_vectors_are_those_of_each_sequence_alone(embedder, sequences, pooling, layer):
    found = embed(embedder, sequences, EmbeddingConfig(pooling=pooling, layer=layer))
    at = -1 if layer is None else layer
    expected = [pooled(embedder, letters, pooling, at) for letters in sequences]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, **CLOSE)
    if not (pooling == "cls" and layer == 0):
        assert np.ptp(found, axis=0).max() > 0.1  # so that a mix-up of rows would show


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_the_mean_of_both_strands(embedder, sequences, pooling):
    found = embed(embedder, sequences, EmbeddingConfig(pooling=pooling, strands="average"))
    for row, letters in zip(found, sequences, strict=True):
        other = reverse_complement(letters.encode()).decode()
        both = [pooled(embedder, side, pooling) for side in (letters, other)]
        np.testing.assert_allclose(row, np.mean(both, 0), **CLOSE)
    turned = [reverse_complement(letters.encode()) for letters in sequences]
    again = embed(embedder, turned, EmbeddingConfig(pooling=pooling, strands="average"))
    np.testing.assert_allclose(found, again, **CLOSE)


@pytest.mark.parametrize("tokens_per_batch", [1, 100, 1000, 10**6])
def test_batch_size_padding_and_order_change_nothing(embedder, sequences, tokens_per_batch):
    expected = embed(embedder, sequences)
    order = np.random.default_rng(0).permutation(len(sequences))
    config = EmbeddingConfig(tokens_per_batch=tokens_per_batch)
    found = embed(embedder, [sequences[i] for i in order], config)
    np.testing.assert_allclose(found, expected[order], **CLOSE)
    single = embed(embedder, sequences[7:8], config)
    np.testing.assert_allclose(single, expected[7:8], **CLOSE)


def test_the_same_call_gives_the_same_bits(embedder, sequences):
    assert embed(embedder, sequences).tobytes() == embed(embedder, sequences).tobytes()


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
def test_a_long_sequence_is_pooled_over_its_windows(embedder, sequences, pooling):
    letters = "".join(sequences[:6])
    tokens = tokens_of(embedder, letters)
    windows = list(token_windows(len(tokens), 30, 7))
    assert len(windows) > 10
    cores, leads = [], []
    for window in windows:
        output, _, _ = alone(embedder, tokens[window.start : window.end])
        states = output.last_hidden_state[0].numpy().astype(np.float64)
        core = states[1:-1][window.core_start - window.start : window.core_end - window.start]
        cores.append(core)
        leads += [states[0]] * len(core)
    every = np.concatenate(cores)
    assert len(every) == len(tokens)
    expected = {"mean": every.mean(0), "max": every.max(0), "cls": np.mean(leads, 0)}[pooling]
    config = EmbeddingConfig(pooling=pooling, max_tokens=32, overlap=7)
    (found,) = embed(embedder, [letters], config)
    np.testing.assert_allclose(found, expected, **CLOSE)


def test_windows_are_those_of_the_fine_tuning(ground, tmp_path, sequences):
    kind = DnazenForSequenceClassification
    random_directory(ground, tmp_path / "m", kind=kind, max_tokens=20, initializer_range=0.3)
    tuned = dnazen.load(tmp_path / "m", "cpu")
    same = EmbeddingConfig(max_tokens=20, overlap=4)
    assert np.array_equal(embed(tuned, sequences), embed(tuned, sequences, same))
    other = embed(tuned, sequences, EmbeddingConfig(max_tokens=500))
    assert not np.allclose(embed(tuned, sequences), other, **CLOSE)


@pytest.mark.parametrize("max_tokens", [40, 500])
def test_every_token_once_with_its_bases(embedder, sequences, max_tokens):
    config = EmbeddingConfig(pooling="token", max_tokens=max_tokens)
    found = list(embeddings(embedder, records_of(sequences), config))
    for number, letters in enumerate(sequences):
        parts = [some for some in found if some.number == number]
        starts = np.concatenate([some.starts for some in parts])
        ends = np.concatenate([some.ends for some in parts])
        assert starts[0] == 0
        assert ends[-1] == len(letters)
        assert np.array_equal(starts[1:], ends[:-1])  # nothing twice, nothing left out
        named = [token for some in parts for token in some.columns["token"]]
        for start, end, token in zip(starts, ends, named, strict=True):
            bases = letters[start:end].upper()
            assert token == bases or (token == "[UNK]" and not set(bases) & set("ACGT"))
        if max_tokens == 500:
            output, _, _ = alone(embedder, tokens_of(embedder, letters))
            expected = output.last_hidden_state[0, 1:-1].numpy()
            rows = np.concatenate([some.rows for some in parts])
            np.testing.assert_allclose(rows, expected, **CLOSE)


def test_token_vectors_average_to_the_mean(embedder, sequences):
    config = EmbeddingConfig(pooling="token", max_tokens=40)
    found = list(embeddings(embedder, records_of(sequences), config))
    means = embed(embedder, sequences, EmbeddingConfig(max_tokens=40))
    for number, mean in enumerate(means):
        rows = np.concatenate([some.rows for some in found if some.number == number])
        np.testing.assert_allclose(rows.mean(0), mean, **CLOSE)


@pytest.mark.parametrize("layer", [None, 0])
def test_ggrams_of_a_sequence_with_their_first_places(embedder, sequences, layer):
    config = EmbeddingConfig(pooling="ggram", layer=layer)
    found = list(embeddings(embedder, records_of(sequences), config))
    assert [some.number for some in found] == list(range(len(sequences)))
    total = 0
    for some, letters in zip(found, sequences, strict=True):
        output, slots, occurrences = alone(embedder, tokens_of(embedder, letters))
        assert some.columns["ggram_id"] == slots
        if slots:
            states = output.ggram_hidden_states[-1 if layer is None else layer].numpy()
            np.testing.assert_allclose(some.rows, states, **CLOSE)
        for gram, start, end, text, times in zip(
            slots,
            some.starts,
            some.ends,
            some.columns["ggram"],
            some.columns["occurrences"],
            strict=True,
        ):
            assert letters[start:end].upper() == text
            assert times == sum(other == gram for _, other, _ in occurrences)
            assert start == letters.upper().find(text, start)
        total += len(slots)
    assert total > 100


def test_ggrams_of_a_long_sequence_come_from_the_window_they_begin_in(embedder, sequences):
    letters = "".join(s for s in sequences[4:10])
    tokens = tokens_of(embedder, letters)
    windows = list(token_windows(len(tokens), 30, 10))
    config = EmbeddingConfig(pooling="ggram", max_tokens=32, overlap=10)
    found = list(embeddings(embedder, records_of([letters]), config))
    assert len(found) == len(windows) > 5
    for some, window in zip(found, windows, strict=True):
        output, slots, occurrences = alone(embedder, tokens[window.start : window.end])
        inside = [
            gram
            for start, gram, _ in occurrences
            if window.core_start <= start + window.start < window.core_end
        ]
        assert some.columns["ggram_id"] == list(dict.fromkeys(inside))
        rows = [slots.index(gram) for gram in some.columns["ggram_id"]]
        if rows:
            expected = output.ggram_hidden_state.numpy()[rows]
            np.testing.assert_allclose(some.rows, expected, **CLOSE)


def test_a_cap_on_ggrams_is_kept(ground, tmp_path, sequences):
    random_directory(ground, tmp_path / "m", max_ggrams=3)
    capped = dnazen.load(tmp_path / "m", "cpu")
    config = EmbeddingConfig(pooling="ggram")
    found = list(embeddings(capped, records_of(sequences), config))
    assert max(len(some.rows) for some in found) == 3


def test_sequences_without_a_base_are_nan(embedder):
    for pooling in ("mean", "cls", "max"):
        found = embed(embedder, ["", "ACGTT", "nnN"], EmbeddingConfig(pooling=pooling))
        assert np.isnan(found).all(axis=1).tolist() == [True, False, True]
        both = EmbeddingConfig(pooling=pooling, strands="average")
        assert np.isnan(embed(embedder, ["N"], both)).all()
    for pooling in ("token", "ggram"):
        records = records_of(["", "NN"])
        assert not list(embeddings(embedder, records, EmbeddingConfig(pooling=pooling)))


def test_no_sequences(embedder):
    assert embed(embedder, []).shape == (0, embedder.config.hidden_size)


def test_a_model_without_ggrams_and_a_released_one(released, tmp_path, sequences):
    plain = as_dnabert2(released / "checkpoint", tmp_path / "plain")
    assert np.isfinite(embed(released / "checkpoint", sequences)).all()
    assert np.isfinite(embed(plain, sequences)).all()
    opened, config = dnazen.load(plain), EmbeddingConfig(pooling="ggram")
    with pytest.raises(ConfigError, match="the model has no G-grams; expected a DNAZEN model"):
        embeddings(opened, records_of(sequences), config)


def test_the_package_offers_it(directory, sequences):
    config = dnazen.EmbeddingConfig(layer=1)
    once = dnazen.embed(directory, sequences[:2], config)
    again = dnazen.embed(dnazen.load(directory), (s.encode() for s in sequences[:2]), config)
    assert np.array_equal(once, again)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layer": -1}, "layer must be at least 0, got -1"),
        ({"tokens_per_batch": 0}, "tokens_per_batch must be at least 1, got 0"),
        ({"max_tokens": 4}, "max_tokens must be 5 to 1048576, got 4"),
        ({"max_tokens": 10, "overlap": 8}, "be at most 7, got 8"),
        ({"pooling": "token", "strands": "average"}, "strands average with pooling token"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ConfigError, match=message):
        EmbeddingConfig(**settings)


def test_what_cannot_be_embedded_is_told(embedder, directory, sequences):
    with pytest.raises(ConfigError, match="layer 3: the model has 2; expected 0 to 2"):
        embed(embedder, sequences, EmbeddingConfig(layer=3))
    with pytest.raises(ConfigError, match="layer 2: the G-gram encoder has 1; expected 0 to 1"):
        embeddings(embedder, records_of([]), EmbeddingConfig(layer=2, pooling="ggram"))
    with pytest.raises(ConfigError, match="overlap must leave a token of a window of 512"):
        embed(embedder, sequences, EmbeddingConfig(overlap=510))
    with pytest.raises(ConfigError, match="pooling token gives no one vector a sequence"):
        embed(embedder, sequences, EmbeddingConfig(pooling="token"))
    with pytest.raises(InputError, match="sequence 2: character '-' is no nucleotide"):
        embed(embedder, ["ACGT", "AC-T"])
    with pytest.raises(InputError, match="one text, where a list of sequences is wanted"):
        embed(embedder, "ACGT")
    with pytest.raises(InputError, match="no such model directory"):
        embed(directory / "none", sequences)


def test_bf16_is_near(embedder, sequences):
    exact = embed(embedder, sequences)
    rough = embed(embedder, sequences, EmbeddingConfig(bf16=True))
    cosine = (exact * rough).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rough, axis=1)
    assert (cosine > 0.99).all()
    assert not np.array_equal(exact, rough)


# The command


@pytest.fixture
def fasta(tmp_path, sequences):
    path = tmp_path / "s.fa"
    path.write_text("".join(f">r{i % 20} x\n{s}\n" for i, s in enumerate(sequences)))
    return path


def run(capsys, *words) -> str:
    status = cli.main(["embed", *map(str, words)])
    streams = capsys.readouterr()
    assert streams.out == ""
    assert status == 0, streams.err
    return streams.err


def test_through_the_command_line(
    directory, embedder, fasta, sequences, tmp_path, capsys, monkeypatch
):
    pandas = pytest.importorskip("pandas")
    out = tmp_path / "new" / "v.npy"
    said = run(capsys, directory, fasta, "-o", out)
    assert f"{out}: 23 vectors of 64 from 23 records, 0 of them without A, C, G or T (" in said
    assert np.array_equal(np.load(out), embed(embedder, sequences))
    rows = pandas.read_csv(tmp_path / "new" / "v.rows.tsv", sep="\t")
    assert rows["name"].tolist() == [f"r{i % 20}" for i in range(23)]  # not unique, and kept
    assert rows["end"].tolist() == [len(s) for s in sequences]
    assert rows["tokens"].tolist() == [len(tokens_of(embedder, s)) for s in sequences]

    class Stdin:
        buffer = io.BytesIO(fasta.read_bytes())

    monkeypatch.setattr("sys.stdin", Stdin())
    run(capsys, directory, "-", "-o", tmp_path / "piped.npz")
    with np.load(tmp_path / "piped.npz") as archive:
        assert np.array_equal(archive["vectors"], np.load(out))
        assert json.loads(str(archive["about"]))["settings"]["pooling"] == "mean"


@pytest.mark.parametrize("kind", ["plain", "bgzip", "2bit"])
def test_regions_are_embedded_where_they_stand(
    directory, embedder, tmp_path, capsys, kind, sequences
):
    pandas = pytest.importorskip("pandas")
    contigs = {"chr1": sequences[0] + sequences[1], "chr2": sequences[2]}
    genome, bed = tmp_path / "g", tmp_path / "x.bed"
    if kind == "2bit":
        twobit(contigs, genome)
    elif kind == "bgzip":
        bgzip(fasta_text(contigs), genome)
    else:
        genome.write_bytes(fasta_text(contigs))
    bed.write_text("chr1\t20\t90\tpeak\t0\t-\nchr2\t0\t4\n")
    out = tmp_path / "v.parquet"
    length = len(contigs["chr1"])
    words = ("--bed", bed, "--regions", f"chr1:{length - 9}-{length + 5}", "-o", out)
    said = run(capsys, directory, genome, *words)
    assert "5 bp off the contigs read as N" in said
    frame = pandas.read_parquet(out)
    assert frame[["name", "chrom", "start", "end", "strand"]].values.tolist() == [
        [f"chr1:{length - 9}-{length + 5}", "chr1", length - 10, length + 5, "+"],
        ["peak", "chr1", 20, 90, "-"],
        ["chr2:1-4", "chr2", 0, 4, "+"],
    ]
    letters = [
        contigs["chr1"][-10:] + "N" * 5,
        reverse_complement(contigs["chr1"][20:90].encode()).decode(),
        contigs["chr2"][:4],
    ]
    np.testing.assert_allclose(np.stack(frame["vector"]), embed(embedder, letters), **CLOSE)


def test_tokens_of_the_reverse_strand_stand_on_the_forward_one(
    directory, tmp_path, capsys, sequences
):
    pandas = pytest.importorskip("pandas")
    genome = tmp_path / "g.fa"
    genome.write_bytes(fasta_text({"c": sequences[0] + sequences[1]}))
    letters = (sequences[0] + sequences[1]).upper()
    for pooling, column in (("token", "token"), ("ggram", "ggram")):
        out = tmp_path / f"{pooling}.parquet"
        run(capsys, directory, genome, "--regions", "c:11-90(-)", "--pooling", pooling, "-o", out)
        frame = pandas.read_parquet(out)
        assert len(frame) > 3
        for row in frame.itertuples():
            there = letters[row.start : row.end].encode()
            assert reverse_complement(there).decode() == getattr(row, column)
    tokens = pandas.read_parquet(tmp_path / "token.parquet")
    assert sorted(tokens["start"])[0] == 10
    assert sorted(tokens["end"])[-1] == 90


@pytest.mark.parametrize("text", ["", ">a\n\n>b\nNN\n"])
def test_sequences_without_any_base_are_an_error(directory, tmp_path, capsys, text):
    (tmp_path / "none.fa").write_text(text)
    words = ["embed", directory, tmp_path / "none.fa", "-o", tmp_path / "v.npy"]
    assert cli.main(list(map(str, words))) == 2
    assert "none.fa: no A, C, G or T in the input" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["none.fa"]


def test_an_output_that_is_read_is_refused(directory, fasta, tmp_path, capsys):
    table = tmp_path / "x.rows.tsv"
    table.write_text("name\tsequence\na\tACGTACGT\n")
    before = table.read_bytes()
    assert cli.main(["embed", str(directory), str(table), "-o", str(tmp_path / "x.npy")]) == 2
    assert f"{table}: is an input too ({table})" in capsys.readouterr().err
    assert table.read_bytes() == before
    assert not (tmp_path / "x.npy").exists()


@pytest.mark.parametrize("pooling", ["mean", "max", "token", "ggram"])
def test_states_that_are_not_finite_are_no_vectors(ground, tmp_path, sequences, pooling):
    random_directory(ground, tmp_path / "m")

    def overflow(weights):
        for name in ("layers.1.feed_forward", "ggram_layers.0.feed_forward"):
            weights[f"dnazen.{name}.norm.weight"][:] = 3e38

    rewrite(tmp_path / "m", overflow)
    model = dnazen.load(tmp_path / "m", "cpu")
    config = EmbeddingConfig(pooling=pooling)
    with pytest.raises(InputError, match=r"m: sequence \d: what the model computes is not finite"):
        list(embeddings(model, records_of(sequences[:4]), config))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".parquet", ".h5ad"])
def test_a_failed_run_leaves_no_file(directory, fasta, tmp_path, capsys, monkeypatch, suffix):
    monkeypatch.setattr("dnazen.inference.vector_files.BLOCK_BYTES", 1000)  # some is written
    monkeypatch.setattr("dnazen.inference.loop.POOL_BATCHES", 1)
    whole = bgzip(fasta.read_bytes(), tmp_path / "s.fa.gz").read_bytes()
    broken = {
        "end.fa.gz": (whole[:-28], "bgzip's end marker is missing"),
        "cut.fa.gz": (whole[:-99], "gzip data ends early or is damaged"),
        "p.fa": (fasta.read_bytes() + b">p\nMEEP\n", "character 'E' is no nucleotide"),
    }
    for name, (data, message) in broken.items():
        (tmp_path / name).write_bytes(data)
        out = tmp_path / "out" / f"v{suffix}"
        words = [directory, tmp_path / name, "-o", out, "--tokens-per-batch", 100]
        assert cli.main(["embed", *map(str, words)]) == 2
        assert message in capsys.readouterr().err
        assert not list((tmp_path / "out").iterdir())


def test_regions_that_are_none_are_told(directory, tmp_path, capsys):
    genome, bed, out = tmp_path / "g.fa", tmp_path / "x.bed", tmp_path / "v.npy"
    genome.write_bytes(fasta_text({"chr1": "ACGT" * 30}))
    for line, message in (
        ("chr1\t9\t3", "x.bed:1: start 9 lies behind end 3"),
        ("1\t3\t9", "x.bed:1: no contig '1'"),
        ("chr1\t3\t999999999999999", "lies far off its contig of 120 bp"),
    ):
        bed.write_text(line + "\n")
        words = ["embed", str(directory), str(genome), "--bed", str(bed), "-o", str(out)]
        assert cli.main(words) == 2
        assert message in capsys.readouterr().err
        assert not out.exists()


def test_an_unknown_suffix_is_told_before_anything_is_read():
    with pytest.raises(ConfigError, match=r"v\.csv: expected a name that ends in"):
        settings_of(EmbedCommand, model="m", sequences=("s",), output=Path("v.csv"))


def test_importing_the_package_loads_no_torch():
    script = "import sys, dnazen; dnazen.__all__; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
    assert "embed" in dnazen.__all__
    assert DnazenForMaskedLM.__name__ in dnazen.__all__
