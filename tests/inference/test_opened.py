"""What a directory holds is what an opened model has: parts, weights, heads, device."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import dnazen
from directories import random_directory, rewrite, weights_of
from dnazen.errors import ConfigError, InputError
from dnazen.inference.opened import choose_device
from dnazen.model.classifier import SequenceClassifier
from dnazen.model.encoder import FusedEncoder
from dnazen.model.masked_lm import MaskedLM
from dnazen.model.modeling import (
    DnazenForMaskedLM,
    DnazenForSequenceClassification,
    DnazenModel,
)


@pytest.mark.parametrize(
    ("kind", "plain"),
    [
        (DnazenForMaskedLM, MaskedLM),
        (DnazenForSequenceClassification, SequenceClassifier),
        (DnazenModel, FusedEncoder),
    ],
)
def test_the_weights_are_those_of_the_files(ground, tmp_path, kind, plain):
    network, parts = random_directory(ground, tmp_path / "model", kind=kind)
    model = dnazen.load(tmp_path / "model", device="cpu")
    headed = model.masked_lm_network or model.classifier_network or model.encoder
    assert type(headed) is plain
    assert not headed.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(headed.state_dict()[name], tensor), name
    assert model.vocabulary.tokens.tolist() == parts.vocabulary.tokens.tolist()
    assert model.device == torch.device("cpu")
    assert model.dtype == torch.float32


def test_a_head_that_is_not_there_is_named(ground, tmp_path):
    random_directory(ground, tmp_path / "encoder", kind=DnazenModel)
    model = dnazen.load(tmp_path / "encoder")
    with pytest.raises(InputError, match=r"encoder: a model without a classifier; .*finetune"):
        _ = model.task
    with pytest.raises(InputError, match="encoder: a model without a masked-LM head"):
        _ = model.masked_lm


def test_two_heads_share_one_encoder(ground, tmp_path):
    random_directory(ground, tmp_path / "lm")
    random_directory(ground, tmp_path / "both", kind=DnazenForSequenceClassification)
    lm = weights_of(tmp_path / "lm")
    rewrite(
        tmp_path / "both",
        lambda weights: weights.update({k: x for k, x in lm.items() if k.startswith("head.")}),
    )
    model = dnazen.load(tmp_path / "both")
    assert model.masked_lm.dnazen is model.classifier.dnazen is model.encoder
    table = model.encoder.embeddings.word_embeddings.weight
    assert model.masked_lm.head.decoder.weight is table
    assert torch.equal(model.masked_lm.head.dense.weight, lm["head.dense.weight"])


def test_the_task_is_that_of_the_configuration(ground, tmp_path):
    names = {0: "no", 1: "yes"}
    kind = DnazenForSequenceClassification
    random_directory(ground, tmp_path / "model", kind=kind, id2label=names)
    task = dnazen.load(tmp_path / "model").task
    assert task.problem_type == "single_label_classification"
    assert task.label_names == ("no", "yes")


def test_a_device_is_chosen_or_refused_at_once(ground, tmp_path):
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device("auto").type == expected
    for name in ("gpu", "cuda:99", "warp"):
        with pytest.raises(ConfigError, match=f"device '{name}' is not to be had here; expected"):
            dnazen.load(tmp_path / "no model is looked for", device=name)


HEAVY = """
import sys
import dnazen.commands.embed, dnazen.commands.predict
import dnazen.inference.embedding, dnazen.inference.labels, dnazen.inference.likelihood
import dnazen.inference.prediction, dnazen.inference.vector_files
heavy = {
    "accelerate", "h5py", "matplotlib", "pandas", "peft", "scipy.special", "sklearn", "tensorboard",
    "torch._dynamo", "torch.distributed.tensor", "transformers.modeling_utils",
    "transformers.trainer",
}
print(sorted(heavy & sys.modules.keys()))
"""


def test_reading_a_model_loads_nothing_that_training_alone_needs():
    done = subprocess.run([sys.executable, "-c", HEAVY], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_hugging_face_finds_the_models_whatever_is_imported_first(ground, tmp_path):
    random_directory(ground, tmp_path / "model")
    code = """
import sys
{}
from transformers import AutoConfig, AutoModel, AutoModelForMaskedLM
kind = type(AutoModelForMaskedLM.from_pretrained(sys.argv[1])).__name__
print(type(AutoConfig.from_pretrained(sys.argv[1])).__name__, kind)
"""
    for first in ("import dnazen", "import dnazen.inference.opened"):
        words = [sys.executable, "-c", code.format(first), str(tmp_path / "model")]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        assert done.stdout == "DnazenConfig DnazenForMaskedLM\n"
