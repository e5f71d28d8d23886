"""Each kind of model as something that can be fine-tuned, Hugging Face ones among them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
    set_seed,
)

import foreign_models
from directories import random_directory, weights_of
from dnazen.errors import InputError
from dnazen.gue.grid import _pinned
from dnazen.gue.models import finetuning_of, learner_of, model_sha256
from dnazen.gue.settings import BenchmarkModel
from dnazen.model.batches import Example
from dnazen.sequences.settings import LabelConfig, SplitConfig
from dnazen.sequences.splits import load_splits
from dnazen.training.cnn import EPOCHS, LEARNING_RATE
from dnazen.training.finetune import fit
from dnazen.training.settings import FinetuneConfig, OptimizerConfig, RunConfig
from loopback_hub import COMMITS, serving, use
from tiny_gue import make_gue

SMALL = {"initializer_range": 0.02}
"""As models are that learn."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def data(folder):
    return make_gue(folder / "gue") / "mouse/3"


@pytest.fixture(scope="module")
def splits(data):
    return load_splits(data, LabelConfig(), SplitConfig())


@pytest.fixture(scope="module")
def ours(ground, folder):
    random_directory(ground, folder / "ours", hidden_size=32, intermediate_size=32)
    return folder / "ours"


@pytest.fixture(scope="module")
def bert(ground, folder):
    return foreign_models.bert(folder / "bert", ground.tokenizer / "tokenizer.json", **SMALL)


@pytest.fixture(scope="module")
def esm(folder):
    return foreign_models.esm(folder / "esm", **SMALL)


def config(**more):
    base = {
        "epochs": 4, "batch_size": 8, "run": RunConfig(precision="float32"),
        "optimizer": OptimizerConfig(learning_rate=3e-3, warmup_steps=2),
    }  # fmt: skip
    return FinetuneConfig(**{**base, **more})


def test_the_hash_follows_the_model_not_its_place(ours, bert, tmp_path):
    model = BenchmarkModel("a", "dnazen", str(ours))
    copy = tmp_path / "copy"
    shutil.copytree(ours, copy)
    for name in ("run.json", "metrics.json", "test_metrics.json", "test_predictions.tsv", "my.txt"):
        (copy / name).write_text("{}")  # of how it came about, or by the way
    (copy / "optimizer.pt").write_bytes(b"0")
    grams = (copy / "ggrams.tsv").read_text()
    (copy / "ggrams.tsv").write_text("# mined elsewhere\n" + grams[grams.index("id\t") :])
    settings = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(settings | {"transformers_version": "9"}))
    assert model_sha256(replace(model, source=str(copy))) == model_sha256(model)
    (copy / "config.json").write_text(json.dumps(settings | {"max_ggrams": 1}))
    assert model_sha256(replace(model, source=str(copy))) != model_sha256(model)
    for file in ("ggrams.tsv", "model.safetensors", "tokenizer.json"):
        changed = tmp_path / file
        shutil.copytree(ours, changed)
        (changed / file).write_bytes((changed / file).read_bytes() + b" ")
        assert model_sha256(replace(model, source=str(changed))) != model_sha256(model)
    assert model_sha256(BenchmarkModel("h", "hf", str(bert))) != model_sha256(model)
    assert model_sha256(BenchmarkModel("c", "cnn", "")) is None
    for kind in ("dnazen", "hf"):
        with pytest.raises(InputError, match=r"no such model; expected a folder with model\.safe"):
            model_sha256(BenchmarkModel("a", kind, str(tmp_path)))
    with pytest.raises(InputError, match="no such model"):
        model_sha256(BenchmarkModel("a", "e4bu", str(tmp_path / "gone")))


def test_the_twins_of_a_directory(ours, data, splits, tmp_path):
    learners = {}
    for kind in ("dnazen", "e4bu", "random"):
        model = BenchmarkModel(kind, kind, str(ours))
        settings = finetuning_of(model, config(base_channels=0))
        learners[kind] = learner_of(model, settings, splits)
    models = {}
    for kind, learner in learners.items():
        set_seed(3)
        models[kind] = {n: p.detach() for n, p in learner.fresh().named_parameters()}
    stored = weights_of(ours)
    encoder = {n: w for n, w in stored.items() if n.startswith("dnazen.")}
    for name, weight in models["dnazen"].items():
        assert torch.equal(weight, encoder[name]) if name in encoder else "dnazen." not in name
    parts = ("dnazen.ggram_", "dnazen.fusions.")
    assert {n for n in models["dnazen"] if not n.startswith(parts)} == set(models["e4bu"])
    assert all(torch.equal(w, encoder[n]) for n, w in models["e4bu"].items() if n in encoder)
    assert set(models["random"]) == set(models["dnazen"])
    words = "dnazen.embeddings.word_embeddings.weight"
    assert not torch.equal(models["random"][words], encoder[words])
    some = [Example(tokens) for tokens in learners["e4bu"].encoded.test.tokens[:3]]
    assert "ggram_ids" in learners["random"].collator(some)
    assert "ggram_ids" not in learners["e4bu"].collator(some)


def test_the_cnn_has_settings_of_its_own():
    model = BenchmarkModel("c", "cnn", "")
    theirs = finetuning_of(model, config(strands="average"))
    assert (theirs.epochs, theirs.optimizer.learning_rate) == (EPOCHS, LEARNING_RATE)
    assert theirs.optimizer.warmup_steps == config().optimizer.warmup_steps
    assert theirs.strands == "forward"  # what a small CNN is, unless it is asked for more
    both = BenchmarkModel("c", "cnn", "", strands="average")
    assert finetuning_of(both, config()).strands == "average"


def test_a_model_s_own_settings_take_the_place_of_the_benchmark_s():
    given = config(kmers=6, pooling="mean", strands="auto", base_channels=None)
    own = {"kmers": 0, "pooling": "cls", "strands": "forward", "base_channels": 0}
    plain = finetuning_of(BenchmarkModel("a", "dnazen", "x"), given)
    changed = finetuning_of(BenchmarkModel("a", "dnazen", "x", **own), given)
    for name, value in own.items():
        assert getattr(plain, name) == getattr(given, name)
        assert getattr(changed, name) == value
    assert replace(changed, **{name: getattr(given, name) for name in own}) == plain


@pytest.mark.parametrize("name", ["bert", "esm"])
def test_hugging_face_models_learn(name, request, data, splits, tmp_path):
    source = request.getfixturevalue(name)
    model = BenchmarkModel(name, "hf", str(source))
    settings = config(epochs=6)
    learner = learner_of(model, settings, splits)
    fitted = fit(learner, splits, settings, tmp_path / "out", resumable=False)
    assert fitted.test["mcc"] > 0.7  # low against high GC
    before, after = weights_of(source), fitted.model.state_dict()
    shared = [n for n in after if n in before]
    assert len(shared) > 20
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_hugging_face_models_start_from_their_weights_and_read_their_tokens(
    bert, esm, data, splits
):
    learner = learner_of(BenchmarkModel("b", "hf", str(bert)), config(), splits)
    set_seed(0)
    model = learner.fresh()
    stored = weights_of(bert)
    words = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(model.state_dict()[words], stored[words])
    assert model.config.num_labels == 2
    texts = [row.sequences[0].decode() for row in splits.test.table.rows[:4]]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(bert)
    expected = tokenizer(texts, padding=True, return_tensors="pt")
    batch = learner.collator([Example(t) for t in learner.encoded.test.tokens[:4]])
    for key in ("input_ids", "attention_mask"):
        assert torch.equal(batch[key], expected[key])
    kmers = learner_of(BenchmarkModel("e", "hf", str(esm)), config(), splits).encoded.test.tokens[0]
    by_hand = [
        3,
        *(
            4 + 4 * "ACGT".index(a) + "ACGT".index(b)
            for a, b in zip(*[iter(texts[0])] * 2, strict=True)
        ),
    ]
    assert kmers.tolist() == by_hand


def test_models_of_the_hub_are_those_of_their_directories(
    bert, data, splits, tmp_path, monkeypatch
):
    with serving() as hub:
        use(monkeypatch, hub.url, tmp_path / "cache")
        hub.add("org/bert", bert)
        named = BenchmarkModel("b", "hf", "org/bert")
        local = replace(named, source=str(bert))
        assert model_sha256(named) == model_sha256(local)
        learners = [learner_of(model, config(), splits) for model in (named, local)]
        for one, other in zip(*(learner.encoded.test.tokens for learner in learners), strict=True):
            assert one.tolist() == other.tolist()
        assert _pinned("org/bert") == f"org/bert@{COMMITS['main']}"  # what cells are given
        assert _pinned(str(bert)) == str(bert)


def test_a_classifier_of_other_classes_gets_a_new_head(bert, data, splits, tmp_path):
    shutil.copytree(bert, tmp_path / "five")
    AutoModelForSequenceClassification.from_pretrained(bert, num_labels=5).save_pretrained(
        tmp_path / "five"
    )
    learner = learner_of(BenchmarkModel("f", "hf", str(tmp_path / "five")), config(), splits)
    assert learner.fresh().classifier.weight.shape == (2, 32)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("config.json", {"auto_map": {"AutoModel": "evil.Evil"}}),
        ("config.json", {"text_config": {"auto_map": {"AutoConfig": "evil.Evil"}}}),
        ("config.json", {"_attn_implementation": "someone/kernels"}),
        ("config.json", {"attn_implementation": "kernels:someone"}),
        ("config.json", {"trust_remote_code": True}),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["evil.Tok", None]}}),
    ],
)
def test_code_of_others_is_refused_before_it_is_read(
    bert, data, splits, tmp_path, monkeypatch, file, change
):
    shutil.copytree(bert, tmp_path / "evil")
    path = tmp_path / "evil" / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    monkeypatch.setattr("dnazen.model.foreign.AutoTokenizer", None)
    monkeypatch.setattr("dnazen.model.foreign.AutoConfig", None)
    monkeypatch.setattr("dnazen.gue.models.AutoModelForSequenceClassification", None)
    with pytest.raises(InputError, match="names code of others, which is never run"):
        learner_of(BenchmarkModel("e", "hf", str(tmp_path / "evil")), config(), splits)


def test_an_attention_of_transformers_is_no_code(bert, data, splits, tmp_path):
    shutil.copytree(bert, tmp_path / "plain")
    path = tmp_path / "plain" / "config.json"
    plain = {"_attn_implementation": "eager", "auto_map": {}}
    path.write_text(json.dumps(json.loads(path.read_text()) | plain))
    model = BenchmarkModel("p", "hf", str(tmp_path / "plain"))
    assert learner_of(model, config(), splits).fresh().config.num_labels == 2


def test_sequences_longer_than_a_hugging_face_model_takes(bert, data, splits, tmp_path):
    shutil.copytree(bert, tmp_path / "short")
    path = tmp_path / "short" / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": 9}))
    model = BenchmarkModel("s", "hf", str(tmp_path / "short"))
    with pytest.raises(InputError, match=r"train.csv:2: \d+ tokens of .*; expected at most 9"):
        learner_of(model, config(), splits)
    cut = learner_of(model, config(too_long="cut"), splits).encoded.train
    assert cut.cut == len(cut.tokens)
    assert {len(tokens) for tokens in cut.tokens} == {9}
    assert np.isin([tokens[-1] for tokens in cut.tokens], [2]).all()  # [SEP] is kept


def test_what_transformers_cannot_open_is_told(ours, data, splits, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "none such"}')
    for source in (tmp_path, tmp_path / "gone"):
        with pytest.raises(InputError, match="cannot be opened by transformers"):
            learner_of(BenchmarkModel("x", "hf", str(source)), config(), splits)
