"""What the released code computes, ours computes too: a clone's own share of the full fixture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dnazen.ggrams.matching import Matcher
from dnazen.ggrams.vocabulary import GGramVocabulary
from dnazen.model.batches import Collator, Example
from dnazen.model.modeling import DnazenForMaskedLM

PARITY = Path(__file__).parents[1] / "data" / "released_parity.safetensors"
CLOSE = {"atol": 1e-5, "rtol": 0.0}


@pytest.fixture(scope="module")
def parity():
    """The file's tensors, and what its header says."""
    with safe_open(PARITY, "pt") as file:
        about = json.loads(file.metadata()["parity"])
    return load_file(PARITY), about


@pytest.fixture(scope="module")
def batch(parity):
    """The sequences through our matcher and collator."""
    _, about = parity
    vocabulary = GGramVocabulary(
        tokens=np.array([t for gram in about["ggrams"] for t in gram], dtype=np.uint16),
        offsets=np.cumsum([0, *map(len, about["ggrams"])]).astype(np.int64),
        counts=np.ones(len(about["ggrams"]), dtype=np.int64),
        pmi=np.ones(len(about["ggrams"]), dtype=np.float32),
        vocab_size=about["config"]["vocab_size"],
        tokenizer_sha256="",
    )
    cap = about["config"]["max_ngram_count"]
    collator = Collator(Matcher(vocabulary), vocabulary.vocab_size, max_ggrams=cap)
    inside = [np.array(ids[1:-1], dtype=np.uint16) for ids in about["sequences"]]
    return collator([Example(ids) for ids in inside])


def test_slots_and_cover_are_those_of_the_release(batch, parity):
    _, about = parity
    width = batch["input_ids"].shape[1]
    bounds = batch["ggram_offsets"].tolist()
    for row, (slots, cover) in enumerate(zip(about["slots"], about["cover"], strict=True)):
        first, last = bounds[row], bounds[row + 1]
        assert batch["ggram_ids"][first:last].tolist() == slots
        mine = batch["cover_token"] // width == row
        places = (batch["cover_token"][mine] % width).tolist()
        numbers = (batch["cover_slot"][mine] - first).tolist()
        assert sorted(zip(places, numbers, strict=True)) == sorted(map(tuple, cover))
    assert any(about["slots"])


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_states_and_logits_are_those_of_the_release(batch, parity, tmp_path, implementation):
    tensors, about = parity
    (tmp_path / "config.json").write_text(json.dumps(about["config"]))
    weights = {n.removeprefix("weights."): x for n, x in tensors.items() if "weights." in n}
    save_file(weights, tmp_path / "model.safetensors")
    model = DnazenForMaskedLM.from_released(tmp_path)
    model.set_attn_implementation(implementation)
    with torch.no_grad():
        states = model.dnazen(**batch).last_hidden_state[batch["attention_mask"].bool()]
        logits = model(**batch).logits[0, : len(tensors["expected.logits"])]
    torch.testing.assert_close(states, tensors["expected.states"], **CLOSE)
    torch.testing.assert_close(logits, tensors["expected.logits"], **CLOSE)
