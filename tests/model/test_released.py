"""What the released code computed from the released format, and what is not of that format."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from directories import as_dnabert2
from dnazen.errors import InputError
from dnazen.ggrams.matching import Matcher
from dnazen.model.batches import Collator, Example
from dnazen.model.directory import open_directory
from dnazen.model.modeling import (
    DnazenForMaskedLM,
    DnazenForSequenceClassification,
    DnazenForTokenClassification,
    DnazenModel,
)
from dnazen.model.released import config_from_released, config_to_released, is_released
from dnazen.records import read_json
from dnazen.tokens.tokenizer import encode

IMPLEMENTATIONS = ["sdpa", "eager", "flex_attention"]
pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
CLOSE = {"atol": 1e-5, "rtol": 0.0}


@pytest.fixture(scope="module")
def expected(released):
    return load_file(released / "expected.safetensors")


@pytest.fixture(scope="module")
def batch(released):
    """The fixture's sequences through our tokenizer, matcher and collator."""
    parts = open_directory(released / "checkpoint")
    inputs = json.loads((released / "inputs.json").read_text())
    tokens, offsets = encode(parts.tokenizer, inputs["sequences"])
    longest = inputs["max_length"] - 2
    collator = Collator(
        Matcher(parts.vocabulary), parts.config.vocab_size, max_ggrams=parts.config.max_ggrams
    )
    return collator([Example(t[:longest]) for t in np.split(tokens, offsets[1:-1])])


def boxed(tensor, width):
    """The first columns of what the fixture padded further than we do."""
    return tensor[:, :width]


def test_token_ids_are_those_of_the_release(batch, expected):
    width = batch["input_ids"].shape[1]
    assert torch.equal(batch["input_ids"], boxed(expected["input_ids"], width))
    assert torch.equal(batch["attention_mask"], boxed(expected["attention_mask"], width))
    assert not expected["attention_mask"][:, width:].any()


def test_slots_and_cover_are_those_of_the_release(batch, expected):
    rows, width = batch["input_ids"].shape
    slots = batch["ggram_offsets"].diff()
    assert torch.equal(slots, expected["ggram_mask"].sum(1))
    assert torch.equal(batch["ggram_ids"], expected["ggram_ids"][expected["ggram_mask"]])
    matrix = torch.zeros_like(expected["position_matrix"])
    owner = torch.repeat_interleave(torch.arange(rows), slots)[batch["cover_slot"]]
    first = batch["ggram_offsets"][owner]
    matrix[owner, batch["cover_token"] % width, batch["cover_slot"] - first] = 1
    assert torch.equal(owner, batch["cover_token"] // width)
    assert torch.equal(matrix, expected["position_matrix"])


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_masked_lm_computes_what_the_release_does(released, batch, expected, implementation):
    model = DnazenForMaskedLM.from_released(released / "checkpoint")
    model.set_attn_implementation(implementation)
    width = batch["input_ids"].shape[1]
    labels = boxed(expected["mlm_labels"], width)
    with torch.no_grad():
        states = model.dnazen(**batch).last_hidden_state
        logits = model(**batch).logits
        loss = model(**batch, labels=labels).loss
    torch.testing.assert_close(states, boxed(expected["last_hidden_state"], width), **CLOSE)
    torch.testing.assert_close(logits[:2, :64], expected["mlm_logits"], **CLOSE)
    torch.testing.assert_close(loss, expected["mlm_loss"][0], **CLOSE)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_the_classifier_computes_what_the_release_does(released, batch, expected, implementation):
    model = DnazenForSequenceClassification.from_released(released / "classifier")
    model.set_attn_implementation(implementation)
    with torch.no_grad():
        torch.testing.assert_close(model(**batch).logits, expected["class_logits"], **CLOSE)


KINDS = [
    DnazenModel,
    DnazenForMaskedLM,
    DnazenForSequenceClassification,
    DnazenForTokenClassification,
]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_reads_a_release(released, batch, expected, kind, capsys):
    model = kind.from_released(str(released / "checkpoint"), num_labels=5)
    assert not model.training
    told = capsys.readouterr().err
    lacks = {
        DnazenForSequenceClassification: "has no pooler, classifier: starting at random",
        DnazenForTokenClassification: "has no classifier: starting at random",
    }
    assert ("has no" in told) == (kind in lacks)
    assert lacks.get(kind, "") in told
    encoder = model if kind is DnazenModel else model.dnazen
    width = batch["input_ids"].shape[1]
    with torch.no_grad():
        states = encoder(**batch).last_hidden_state
    torch.testing.assert_close(states, boxed(expected["last_hidden_state"], width), **CLOSE)
    if kind in lacks:
        assert model.classifier.weight.shape[0] == 5


def test_what_does_not_fit_is_refused_by_name(released):
    with pytest.raises(InputError, match=r"weights have another shape, the first dnazen\."):
        DnazenForMaskedLM.from_released(released / "checkpoint", intermediate_size=31)
    with pytest.raises(InputError, match=r"are not known: bert\.encoder\.layer\.3\."):
        DnazenForMaskedLM.from_released(released / "checkpoint", num_hidden_layers=3)
    with pytest.raises(InputError, match=r"are missing: dnazen\.layers\.4\."):
        DnazenForMaskedLM.from_released(released / "checkpoint", num_hidden_layers=5)


# -- DNABERT-2 directories


def test_a_dnabert2_directory_is_e4bu(released, tmp_path, batch):
    directory = as_dnabert2(released / "checkpoint", tmp_path / "dnabert2")
    parts = open_directory(directory)
    assert parts.vocabulary is None
    assert parts.config.ggram_vocab_size == 0
    assert parts.config.pad_token_id == 3
    model = DnazenForMaskedLM.from_released(directory)
    whole = DnazenForMaskedLM.from_released(released / "checkpoint")
    plain = {n: batch[n] for n in ("input_ids", "attention_mask")}
    with torch.no_grad():
        bare = whole(**plain, ggram_ids=torch.empty(0, dtype=torch.long))
        assert torch.equal(model(**plain).logits, bare.logits)


def test_a_plain_bert_is_not_taken_for_dnabert2(tmp_path):
    from transformers import BertConfig

    BertConfig().save_pretrained(tmp_path)
    assert not is_released(read_json(tmp_path / "config.json", ""))
    with pytest.raises(InputError, match="model_type is 'bert'; expected 'dnazen', or a released"):
        open_directory(tmp_path)


def test_a_configuration_comes_back_from_the_released_form(released):
    for part in ("checkpoint", "classifier"):
        config = config_from_released(read_json(released / part / "config.json", ""))
        again = config_from_released(config_to_released(config, "Zen"))
        assert again.to_dict() == config.to_dict()
    assert (config.num_hidden_ggram_layers, config.ggram_vocab_size, config.max_ggrams) == (
        2,
        8001,
        6,
    )
    assert config.num_labels == 3
