"""Model directories open strictly: what is missing, foreign or damaged is one line."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from directories import assert_bit_equal, random_directory, rewrite, weights_of
from dnazen.commands.convert import ConvertCommand
from dnazen.commands.convert import run as convert
from dnazen.errors import InputError
from dnazen.model.directory import open_directory
from dnazen.model.modeling import (
    DnazenForMaskedLM,
    DnazenForSequenceClassification,
    DnazenModel,
)
from dnazen.records import read_json


def test_a_head_that_is_missing_is_told_and_one_that_is_not_used_too(released, tmp_path, capsys):
    DnazenForSequenceClassification.from_released(released / "checkpoint")
    told = capsys.readouterr().err
    assert "has no pooler, classifier: starting at random" in told
    assert "also has head: not used here" in told
    DnazenModel.from_released(released / "checkpoint")
    assert capsys.readouterr().err.count("note: ") == 1
    DnazenForMaskedLM.from_released(released / "checkpoint")
    assert capsys.readouterr().err == ""


def test_a_classifier_of_other_classes_starts_anew(released, capsys):
    model = DnazenForSequenceClassification.from_released(released / "classifier", num_labels=7)
    assert model.classifier.weight.shape == (7, 48)
    assert "has no classifier: starting at random" in capsys.readouterr().err
    stored = weights_of(released / "classifier")
    assert torch.equal(model.pooler.weight, stored["bert.pooler.dense.weight"])


@pytest.fixture
def copy(released, tmp_path):
    """A copy of the fixture's checkpoint that a test may damage."""
    return Path(shutil.copytree(released / "checkpoint", tmp_path / "copy"))


def refusal_of(directory: Path) -> str:
    with pytest.raises(InputError) as caught:
        DnazenForMaskedLM.from_released(directory)
    message = str(caught.value)
    assert "\n" not in message
    assert str(directory) in message
    return message


def test_missing_weights_are_named(copy):
    layer = "bert.encoder.layer.2.mlp.wo."
    rewrite(copy, lambda w: [w.pop(f"{layer}{kind}") for kind in ("weight", "bias")])
    message = refusal_of(copy)
    assert "2 weights are missing: dnazen.layers.2.feed_forward.output.weight, " in message


def test_a_projection_with_a_part_missing_is_refused(copy):
    rewrite(copy, lambda w: w.pop("bert.encoder.ngram_layers.0.attention.self.key.bias"))
    assert "weights are " in refusal_of(copy)


def test_unexpected_weights_are_named(copy):
    rewrite(copy, lambda w: w.update({"bert.encoder.layer.9.new.weight": torch.zeros(2)}))
    assert "1 weights are not known: bert.encoder.layer.9.new.weight; expected" in refusal_of(copy)


def test_weights_of_another_shape_are_named(copy):
    name = "bert.encoder.layer.0.mlp.wo.weight"
    rewrite(copy, lambda w: w.update({name: torch.zeros(48, 95)}))
    message = refusal_of(copy)
    assert "the first dnazen.layers.0.feed_forward.output.weight (48, 95)" in message
    assert "expected (48, 96)" in message


@pytest.mark.parametrize("size", [0, 4, 1000, -1])
def test_a_truncated_file_of_weights_is_refused(copy, size):
    path = copy / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:size])
    assert "model.safetensors: not readable as weights" in refusal_of(copy)


def test_absent_weights_are_refused(copy):
    (copy / "model.safetensors").unlink()
    assert "no weights; expected model.safetensors or pytorch_model.bin" in refusal_of(copy)


def test_pickled_weights_load_as_the_safe_ones_do(copy):
    expected = DnazenForMaskedLM.from_released(copy).state_dict()
    torch.save(weights_of(copy), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    found = DnazenForMaskedLM.from_released(copy).state_dict()
    assert_bit_equal(found, expected)


class Bomb:
    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_a_pickle_that_runs_code_is_refused_unrun(copy, tmp_path):
    bomb = Bomb()
    Bomb.target = str(tmp_path / "exploded")
    (copy / "model.safetensors").unlink()
    torch.save({"bert.pooler.dense.weight": bomb}, copy / "pytorch_model.bin")
    for content in (None, pickle.dumps(bomb, protocol=2)):
        if content is not None:
            (copy / "pytorch_model.bin").write_bytes(content)
        message = refusal_of(copy)
        assert "pytorch_model.bin: not readable as weights" in message
        assert "weights_only" not in message  # torch advises to read it all the same
    assert not (tmp_path / "exploded").exists()


def test_a_cut_or_altered_pickle_is_refused(copy):
    weights = weights_of(copy)
    (copy / "model.safetensors").unlink()
    path = copy / "pytorch_model.bin"
    torch.save({"bert.embeddings.LayerNorm.bias": weights["bert.embeddings.LayerNorm.bias"]}, path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(content[: int(rng.integers(len(content)))])
        for at in rng.integers(0, max(1, len(damaged)), 3):
            damaged[at : at + 1] = bytes([int(rng.integers(256))])
        path.write_bytes(damaged)
        assert "weights" in refusal_of(copy)


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2], {"model": {"a": torch.zeros(1)}}])
def test_a_pickle_of_other_things_is_refused(copy, content):
    (copy / "model.safetensors").unlink()
    torch.save(content, copy / "pytorch_model.bin")
    assert "holds other things than weights; expected the state dict" in refusal_of(copy)


def edit_config(directory: Path, **changes) -> None:
    settings = {**read_json(directory / "config.json", ""), **changes}
    settings = {key: value for key, value in settings.items() if value is not ...}
    (directory / "config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"alibi_starting_size": ...}, "model_type is 'bert'; expected 'dnazen', or a released"),
        ({"model_type": "llama"}, "model_type is 'llama'"),
        ({"model_type": ...}, "model_type is None"),
        ({"num_attention_heads": 5}, "cannot be a model's configuration (hidden_size 48 is no"),
        ({"num_attention_heads": 0}, "cannot be a model's configuration"),
        ({"hidden_size": "48"}, "cannot be a model's configuration"),
        ({"num_hidden_layers": -1}, "cannot be a model's configuration"),
        ({"ngram_vocab_size": "many"}, "cannot be a model's configuration"),
        ({"id2label": 5}, "cannot be a model's configuration"),
        ({"id2label": {"a": "b"}}, "cannot be a model's configuration"),
        ({"vocab_size": 4000}, "the tokenizer has 4096 tokens, the model 4000"),
        ({"ngram_vocab_size": 8000}, "8000 G-grams for a table of 8000 rows"),
        ({"num_hidden_layers": 5}, "weights are missing: dnazen.layers.4."),
        ({"num_hidden_layers": 3}, "weights are not known: "),
        ({"hidden_size": 60}, "weights have another shape"),
        ({"layer_norm_eps": "x"}, "layer_norm_eps must lie in 0 < x < 1, got 'x'"),
        ({"hidden_dropout_prob": "0.1"}, "hidden_dropout_prob must lie in 0 <= p < 1, got '0.1'"),
        ({"hidden_dropout_prob": [0.1]}, "hidden_dropout_prob must lie in"),
        ({"num_hidden_layers": True}, "num_hidden_layers must be a whole number"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers must be a whole number from 1 to 1024"),
        ({"vocab_size": 10**12}, "vocab_size must be a whole number"),
        ({"vocab_size": 10**9}, "describes a model of 48,000,"),
        ({"hidden_size": 20_000 * 6}, "model.safetensors has only 2,887,560 bytes; use the"),
        ({"intermediate_size": 10**9}, "describes a model of "),
        ({"id2label": {"0": "a", "2": "c"}}, "id2label must name labels 0, 1, 2, ... without"),
        ({"id2label": {"0": "a", "1": "a"}}, "id2label must give each label a name of its own"),
        ({"id2label": {"0": "a", "1": None}}, "id2label must give each label a name of its own"),
        ({"label2id": {"LABEL_0": 1}}, "id2label and label2id contradict each other"),
        ({"id2label": None, "num_labels": 10**9}, "num_labels must be a whole number from 1 to"),
        ({"problem_type": "guessing"}, "cannot be a model's configuration"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(copy, changes, message):
    edit_config(copy, **changes)
    with pytest.raises(InputError) as caught:  # noqa: PT012
        open_directory(copy)
        DnazenForMaskedLM.from_released(copy)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map names code of others"),
        ({"custom_pipelines": {"x": {"impl": "evil.Pipe"}}}, "custom_pipelines names code of"),
        ({"trust_remote_code": True}, "trust_remote_code names code of others"),
        ({"attn_implementation": "evil"}, "attn_implementation must be one of eager, sdpa"),
        ({"_attn_implementation": "kernels-community/flash"}, "_attn_implementation must be one"),
        ({"_attn_implementation_internal": "a/b"}, "_attn_implementation_internal must be one"),
        ({"attn_implementation": {"": "evil"}}, "attn_implementation must be one of"),
        ({"sequences_per_example": 0}, "sequences_per_example must be a whole number from 1 to 2"),
        ({"sequences_per_example": 3}, "sequences_per_example must be a whole number from 1 to 2"),
        ({"max_tokens": "long"}, "max_tokens must be a whole number"),
        ({"num_hidden_layers": 1000, "hidden_size": 640}, "describes a model of "),
        ({"fusion": ["sum"]}, "fusion must be one of"),
        ({"tie_word_embeddings": "no"}, "tie_word_embeddings must be true or false"),
    ],
)
def test_our_own_configuration_is_checked_too(ground, tmp_path, changes, message):
    random_directory(ground, tmp_path / "ours")
    edit_config(tmp_path / "ours", **changes)
    with pytest.raises(InputError, match=r"config\.json: ") as caught:
        open_directory(tmp_path / "ours")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_a_configuration_says_beside_the_shape_is_not_taken(ground, tmp_path):
    random_directory(ground, tmp_path / "ours")
    edit_config(
        tmp_path / "ours", return_dict=False, experts_implementation="a/b", torchscript=True
    )
    model = DnazenForMaskedLM.from_released(tmp_path / "ours")
    assert model.config.return_dict
    assert model.config._experts_implementation != "a/b"


def test_the_code_that_dnabert2_names_is_not_run(copy):
    edit_config(copy, auto_map={"AutoConfig": "configuration_bert.BertConfig"})
    (copy / "configuration_bert.py").write_text("raise SystemExit")
    config = open_directory(copy).config
    assert not hasattr(config, "auto_map")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", ["dnazen.embeddings.word_embeddings.weight", "head.dense.bias"])
def test_weights_that_are_not_finite_are_refused(ground, tmp_path, value, name):
    random_directory(ground, tmp_path / "ours")
    rewrite(tmp_path / "ours", lambda w: w[name].view(-1)[7].fill_(value))
    message = refusal_of(tmp_path / "ours")
    assert f"hold numbers that are not finite, the first {name}" in message


@pytest.mark.parametrize(
    "changes", [{}, {"ggram_vocab_size": 0}, {"num_hidden_ggram_layers": 0}, {"fusion": "gated"}]
)
def test_weights_are_counted_without_making_them(ground, tmp_path, changes):
    model, _ = random_directory(ground, tmp_path / "ours", **changes)
    counted = sum(p.numel() for p in model.dnazen.parameters())
    assert model.config.encoder_parameters == counted


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o007, 0o660)])
def test_files_have_the_permissions_of_the_umask(ground, tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        random_directory(ground, tmp_path / "ours")
        convert(ConvertCommand(model=tmp_path / "ours", output=tmp_path / "theirs", to="released"))
    finally:
        os.umask(before)
    for folder in ("ours", "theirs"):
        files = list((tmp_path / folder).iterdir())
        assert {oct(file.stat().st_mode & 0o777) for file in files} == {oct(mode)}
        assert (tmp_path / folder / "model.safetensors") in files


def test_a_directory_that_is_none_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such model directory; expected a folder"):
        open_directory(tmp_path / "absent")
    with pytest.raises(InputError, match=r"config\.json: no such file; expected the configuration"):
        open_directory(tmp_path)


def test_g_grams_of_another_tokenizer_are_refused(ground, foreign_ground, tmp_path):
    random_directory(ground, tmp_path / "ours")
    shutil.copy(foreign_ground.ggrams, tmp_path / "ours" / "ggrams.tsv")
    with pytest.raises(InputError, match="mined with another tokenizer"):
        open_directory(tmp_path / "ours")
