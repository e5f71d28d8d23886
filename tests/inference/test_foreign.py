"""Other makers' models read as ours are, beside what transformers itself makes of them."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForMaskedLM, AutoTokenizer, BertModel, T5Config

import foreign_models
from dnazen import EmbeddingConfig, LikelihoodConfig, ScoringConfig, load
from dnazen.cli import main
from dnazen.errors import ConfigError, InputError
from dnazen.inference.embedding import embeddings
from dnazen.inference.likelihood import nats_per_base
from dnazen.model.foreign_networks import read_foreign
from dnazen.sequences.inputs import records_of
from dnazen.variation.alignment import tokenise
from loopback_hub import serving, use

SEQUENCES = ["ACGTTGCAAGC", "GATTACAGATTACAGG", "AC", "TTTTGGGGCCCCAAAATC"]
KINDS = ["bert", "esm", "esm-absolute", "bases"]


@pytest.fixture(scope="module")
def folder(ground, tmp_path_factory):
    """A model of each kind."""
    folder = tmp_path_factory.mktemp("foreign")
    foreign_models.bert(folder / "bert", ground.tokenizer / "tokenizer.json")
    foreign_models.esm(folder / "esm", k=3)
    foreign_models.esm(
        folder / "esm-absolute", 2, position_embedding_type="absolute", token_dropout=True
    )
    foreign_models.single_bases(folder / "bases")
    return folder


class Plain:
    """A model as transformers has it, one sequence at a time."""

    def __init__(self, source) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(source)
        self.encoder = AutoModel.from_pretrained(source, add_pooling_layer=False).eval()
        self.lm = AutoModelForMaskedLM.from_pretrained(source).eval()

    def ids(self, text):
        return self.tokenizer(text, return_tensors="pt")["input_ids"]

    def columns(self, text):
        """Where the tokens of the sequence stand."""
        bare = len(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        first = self.ids(text).shape[1] > bare
        return range(int(first), int(first) + bare)

    def states(self, text, layer=-1):
        with torch.no_grad():
            output = self.encoder(self.ids(text), output_hidden_states=True)
        return output.hidden_states[layer][0].numpy()

    def log_probability(self, text, column):
        """Of the token that stands there, hidden alone."""
        ids = self.ids(text)
        truth = int(ids[0, column])
        ids[0, column] = self.tokenizer.mask_token_id
        with torch.no_grad():
            return float(self.lm(ids).logits[0, column].log_softmax(0)[truth])


@pytest.fixture(scope="module", params=KINDS)
def both(request, folder):
    """The model as we open it, and as transformers does."""
    return load(folder / request.param, "cpu"), Plain(folder / request.param)


def test_vectors_are_means_over_the_tokens_of_the_sequence(both):
    ours, plain = both
    for layer in (None, 0, 1):
        found = ours.embed(SEQUENCES, EmbeddingConfig(layer=layer))
        index = -1 if layer is None else layer
        expected = [plain.states(s, index)[[*plain.columns(s)]].mean(axis=0) for s in SEQUENCES]
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_vector_for_each_token_with_its_bases(both):
    ours, plain = both
    found = [*embeddings(ours, records_of(SEQUENCES), EmbeddingConfig(pooling="token"))]
    for sequence, vectors in zip(SEQUENCES, found, strict=True):
        tokens = plain.tokenizer.tokenize(sequence)
        assert vectors.columns["token"] == tokens
        assert "".join(tokens) == sequence
        spans = zip(vectors.starts.tolist(), vectors.ends.tolist(), strict=True)
        assert [sequence[start:end] for start, end in spans] == tokens
        expected = plain.states(sequence)[[*plain.columns(sequence)]]
        np.testing.assert_allclose(vectors.rows, expected, atol=2e-5)


def test_likelihoods_are_over_all_tokens_that_the_model_has(both):
    ours, plain = both
    for sequence, found in zip(SEQUENCES, ours.log_likelihood(SEQUENCES), strict=True):
        expected = [plain.log_probability(sequence, n) for n in plain.columns(sequence)]
        np.testing.assert_allclose(found.by_token, expected, atol=2e-5)
        assert found.bases == len(sequence)


def test_numbers_do_not_depend_on_batches_or_case(both):
    ours, _ = both
    one = EmbeddingConfig(tokens_per_batch=1)
    np.testing.assert_allclose(ours.embed(SEQUENCES), ours.embed(SEQUENCES, one), atol=2e-5)
    lower = [sequence.lower().replace("t", "u") for sequence in SEQUENCES]
    np.testing.assert_array_equal(ours.embed(lower), ours.embed(SEQUENCES))


def test_a_run_of_n_is_one_token_and_a_sequence_without_bases_has_no_vector(both):
    ours, _ = both
    strings = list(embeddings(ours, records_of(["ACNNNGT"]), EmbeddingConfig(pooling="token")))
    assert strings[0].columns["token"].count("[UNK]") == 1
    vectors = ours.embed(["NNN", "ACNNNGT"])
    assert np.isnan(vectors[0]).all()
    assert np.isfinite(vectors[1]).all()


def test_long_sequences_are_read_in_windows(both):
    ours, _ = both
    sequence = "".join(SEQUENCES) * 40
    assert np.isfinite(ours.embed([sequence])).all()
    with pytest.raises(InputError, match=r"\d+ tokens; expected at most \d+; lower --max-tokens"):
        ours.embed([sequence], EmbeddingConfig(max_tokens=400))


def test_the_score_of_a_change_of_single_bases_is_that_of_one_token(folder):
    plain = Plain(folder / "bases")
    sequence = SEQUENCES[1]
    scores = load(folder / "bases", "cpu").score_mutations(sequence)
    for position, ref in enumerate(sequence):
        for which, alt in enumerate("ACGT"):
            changed = sequence[:position] + alt + sequence[position + 1 :]
            expected = [plain.log_probability(text, position) for text in (sequence, changed)]
            llr = expected[1] - expected[0] if alt != ref else 0.0
            assert scores[position, which, 0] == pytest.approx(llr, abs=5e-5)


def test_the_score_of_a_change_of_a_k_mer_and_the_distance(folder):
    ours, plain = load(folder / "esm", "cpu"), Plain(folder / "esm")
    assert ours.score_names == ("llr", "llr_corrected", "distance")
    sequence = "ACGTTGCAAGCC"
    changed = sequence[:4] + "C" + sequence[5:]  # in the second 3-mer, column 2
    llr = plain.log_probability(changed, 2) - plain.log_probability(sequence, 2)
    apart = np.linalg.norm(plain.states(changed)[2] - plain.states(sequence)[2])
    found = ours.score_mutations(sequence)[4, 1]
    np.testing.assert_allclose(found, [llr, llr, apart], atol=5e-5)


def test_what_a_base_costs_is_that_of_every_seventh_token_hidden(both):
    ours, plain = both
    sequences = [*SEQUENCES, "".join(SEQUENCES)]
    tokenised = tokenise(ours.tokenizer, [text.encode() for text in sequences])
    found = nats_per_base(ours, [sequence.tokens for sequence in tokenised.values()])
    for text, cost in zip(sequences, found, strict=True):
        nats = 0.0
        for first in range(7):
            ids, columns = plain.ids(text), list(plain.columns(text))[first::7]
            truth = ids[0, columns].clone()
            ids[0, columns] = plain.tokenizer.mask_token_id
            with torch.no_grad():
                rows = plain.lm(ids).logits[0, columns].log_softmax(1)
            nats -= float(rows.gather(1, truth[:, None]).sum())
        assert cost == pytest.approx(nats / len(text), abs=5e-5)


def test_variants_embed_and_mutagenesis_take_a_name_of_the_hub(
    folder, ground, tmp_path, monkeypatch, capsys
):
    lines = ground.genome.read_text().splitlines()
    ref = lines[1][99]
    alt = "A" if ref != "A" else "C"
    (tmp_path / "in.vcf").write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
        f"a\t100\t.\t{ref}\t{alt}\t.\t.\t.\n"
    )
    with serving() as hub:
        use(monkeypatch, hub.url, tmp_path / "cache")
        hub.add("org/nt", folder / "esm")
        out = str(tmp_path / "out.tsv")
        words = ["variants", "org/nt", str(ground.genome), str(tmp_path / "in.vcf"), "-o", out]
        assert main([*words, "--window-bp", "96"]) == 0
        (scored,) = load("org/nt", "cpu").score_variants(
            ground.genome, [("a", 100, ref, alt)], ScoringConfig(window_bp=96)
        )
        assert f"{scored.scores['llr']:.4g}"[:4] in (tmp_path / "out.tsv").read_text()
        assert main(["embed", "org/nt", str(ground.genome), "-o", str(tmp_path / "x.npy")]) == 0
        assert np.load(tmp_path / "x.npy").shape == (2, 32)
        assert main(["mutagenesis", "org/nt", "ACGTTGCAAG", "-o", str(tmp_path / "m")]) == 0
    told = capsys.readouterr().err
    assert "note: org/nt is a model of the kind esm, read with its own tokens: no G-grams" in told


def test_what_it_cannot_give_is_one_line(folder, ground, tmp_path, capsys):
    genome, esm = str(ground.genome), str(folder / "esm")
    for words, message in (
        (["explain", esm, genome, "-o", str(tmp_path / "e")], "a model without a classifier"),
        (["predict", esm, genome], "a model without a classifier"),
        (
            ["embed", esm, genome, "-o", str(tmp_path / "x.npy"), "--pooling", "ggram"],
            "pooling ggram: the model has no G-grams",
        ),
        (["convert", esm, "-o", str(tmp_path / "c")], "model_type is 'esm'"),
        (["embed", esm, genome, "-o", str(tmp_path / "x.npy"), "--layer", "3"], "the model has 2"),
    ):
        assert main(words) == 2
        (line,) = [one for one in capsys.readouterr().err.splitlines() if "error:" in one]
        assert message in line


def test_no_vector_of_a_first_token_where_there_is_none(folder):
    with pytest.raises(ConfigError, match=r"pooling cls: .* no token before a sequence"):
        load(folder / "bases", "cpu").embed(SEQUENCES, EmbeddingConfig(pooling="cls"))
    plain = Plain(folder / "esm")
    found = load(folder / "esm", "cpu").embed(SEQUENCES, EmbeddingConfig(pooling="cls"))
    np.testing.assert_allclose(found, [plain.states(s)[0] for s in SEQUENCES], atol=2e-5)


def test_an_encoder_alone_gives_vectors_and_no_likelihoods(folder, tmp_path):
    shutil.copytree(folder / "bert", tmp_path / "bare")
    BertModel.from_pretrained(folder / "bert").save_pretrained(tmp_path / "bare")
    bare = load(tmp_path / "bare", "cpu")
    whole = load(folder / "bert", "cpu")
    np.testing.assert_array_equal(bare.embed(SEQUENCES), whole.embed(SEQUENCES))
    for read in (bare, load(foreign_models.single_bases(tmp_path / "b", mask=False), "cpu")):
        with pytest.raises(InputError, match="a model without a masked-LM head"):
            read.log_likelihood(SEQUENCES, LikelihoodConfig())
        with pytest.raises(InputError, match="a model without a head"):
            read.score_mutations("ACGT")


def _change(path, **settings) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def _cut(path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: _change(d / "config.json", num_hidden_layers=3), r"are missing.*layer\.2"),
        (lambda d: _change(d / "config.json", hidden_size=64), "weights of other shapes than con"),
        (lambda d: _change(d / "config.json", vocab_size=7), "weights of other shapes than con"),
        (lambda d: _change(d / "config.json", num_hidden_layers="x"), "by transformers"),
        (lambda d: T5Config(d_model=8).save_pretrained(d), "a t5 model; expected an encoder"),
        (lambda d: _change(d / "config.json", model_type="gpt2"), r"weights are missing: h\.0"),
        (lambda d: _cut(d / "config.json"), "not valid JSON"),
        (lambda d: _cut(d / "model.safetensors"), "cannot be opened by transformers"),
        (lambda d: _cut(d / "tokenizer.json"), "cannot be opened by transformers"),
        (lambda d: (d / "tokenizer.json").unlink(), "cannot be opened by transformers"),
        (lambda d: (d / "model.safetensors").unlink(), "cannot be opened by transformers"),
    ],
)
def test_what_is_damaged_is_refused_and_nothing_is_made_up(folder, tmp_path, damage, message):
    shutil.copytree(folder / "bert", tmp_path / "damaged")
    damage(tmp_path / "damaged")
    with pytest.raises(InputError, match=message):
        load(tmp_path / "damaged", "cpu")


def test_overlapping_k_mers_are_refused(folder, tmp_path):
    shutil.copytree(folder / "bert", tmp_path / "dnabert")
    path = tmp_path / "dnabert/tokenizer.json"
    content = json.loads(path.read_text())
    kmers = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "ACG", "CGT", "GTA"]
    content["model"] = {
        "type": "WordLevel", "unk_token": "[UNK]", "vocab": {k: n for n, k in enumerate(kmers)}
    }  # fmt: skip
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="does not spell sequences by tokens of A, C, G and T"):
        load(tmp_path / "dnabert", "cpu")


@pytest.mark.parametrize(
    "change",
    [
        {"auto_map": {"AutoModel": "evil.Evil"}},
        {"_attn_implementation": "someone/kernels"},
        {"model_type": "none such"},
    ],
)
def test_code_of_others_and_unknown_kinds_are_one_line(folder, tmp_path, change, capsys):
    shutil.copytree(folder / "bert", tmp_path / "evil")
    (tmp_path / "evil/evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: 0")
    path = tmp_path / "evil/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert main(["mutagenesis", str(tmp_path / "evil"), "ACGT", "-o", str(tmp_path / "m")]) == 2
    error = capsys.readouterr().err
    assert re.search("names code of others, which is never run|cannot be opened by transf", error)
    assert error.count("\n") == 1
    assert not (tmp_path / "ran").exists()


def test_the_networks_are_in_float32_whatever_the_file_has(folder, tmp_path):
    shutil.copytree(folder / "bert", tmp_path / "half")
    AutoModelForMaskedLM.from_pretrained(folder / "bert").half().save_pretrained(tmp_path / "half")
    assert read_foreign(tmp_path / "half").encoder.dtype == torch.float32
