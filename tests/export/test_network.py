"""The exported form of the forward pass, held against the models themselves."""

from __future__ import annotations

import itertools

import pytest
import torch

from directories import classifier_with_views, random_directory
from dnazen.export.network import ExportedNetwork
from dnazen.inference.opened import OpenedModel
from dnazen.model.modeling import DnazenModel
from dnazen.model.tokenization import DnazenTokenizer

TEXTS = ["ACGTTGCATTAGGCTAACCGTGGA" * 6, "acguNNNNACGTRACGT", "A", "TTAG[MASK]GCCATTTACCA", "N"]


def opened_and_inputs(directory, texts=TEXTS):
    model = OpenedModel.open(directory, "cpu")
    tokenizer = DnazenTokenizer.of(model.config, model.tokenizer, model.vocabulary)
    return model, tokenizer(texts, padding=True, return_tensors="pt")


@torch.inference_mode()
def assert_same(network, inputs):
    exported = ExportedNetwork(network.double())  # what is left is no rounding
    *logits, states = exported(*(inputs[name] for name in exported.input_names))
    own = {name: inputs[name] for name in exported.input_names if not name.startswith("reverse")}
    expected = exported.encoder(**own).last_hidden_state
    assert torch.allclose(states, expected, atol=1e-9)
    assert not states[inputs["attention_mask"] == 0].any()
    if logits:
        expected = network(**inputs).logits
        shown = inputs["attention_mask"].bool() if expected.dim() == 3 else slice(None)
        assert torch.allclose(logits[0][shown], expected[shown], atol=1e-9)


@pytest.mark.parametrize(
    "changes",
    [
        {"fusion": fusion, "ggram_embedding": embedding}
        for fusion, embedding in itertools.product(
            ("sum", "mean", "gated"), ("own", "composed", "shared")
        )
    ]
    + [{"num_hidden_ggram_layers": 0}, {"base_channels": 8}, {"max_ggrams": 3}],
    ids=str,
)
def test_every_shape_of_masked_models(ground, tmp_path, changes):
    if "base_channels" in changes:
        changes |= {"longest_token_bp": 9}
    random_directory(ground, tmp_path / "m", initializer_range=0.3, **changes)
    model, inputs = opened_and_inputs(tmp_path / "m")
    assert inputs["ggram_ids"].any()
    for parameter in model.masked_lm.parameters():  # what starts at zero would hide a fault
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3, generator=torch.manual_seed(1))
    assert_same(model.masked_lm, inputs)


@pytest.mark.parametrize("strands", ["forward", "average"])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_classifiers_with_all_views(ground, tmp_path, strands, pooling):
    place = classifier_with_views(
        ground, tmp_path / "m", strands=strands, classifier_pooling=pooling
    )
    model, inputs = opened_and_inputs(place)
    assert_same(model.classifier, inputs)


def test_an_encoder_without_ggrams(ground, tmp_path):
    random_directory(ground, tmp_path / "m", kind=DnazenModel, initializer_range=0.3)
    model, inputs = opened_and_inputs(tmp_path / "m", ["NNN", "A"])
    assert not inputs["ggram_ids"].any()
    assert_same(model.encoder, inputs)


def test_padding_changes_nothing(ground, tmp_path):
    random_directory(ground, tmp_path / "m", initializer_range=0.3)
    model, inputs = opened_and_inputs(tmp_path / "m")
    exported = ExportedNetwork(model.masked_lm)
    with torch.inference_mode():
        _, together = exported(*(inputs[name] for name in exported.input_names))
        for number, text in enumerate(TEXTS):
            _, alone = opened_and_inputs(tmp_path / "m", [text])
            _, states = exported(*(alone[name] for name in exported.input_names))
            assert torch.allclose(states[0], together[number, : states.shape[1]], atol=1e-5)
