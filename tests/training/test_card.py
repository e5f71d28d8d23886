"""Model cards say what the records say; the hub's own library reads them."""

from __future__ import annotations

import math

import pytest
from huggingface_hub import ModelCard

from dnazen.model.configuration import DnazenConfig
from dnazen.training.card import model_card, write_card

SHA = "ab" * 32
PRETRAINED = {
    "command": "pretrain",
    "dnazen": "0.1.0",
    "platform": "Linux",
    "torch": "2.13.0",
    "bf16": True,
    "train_tokens": 12345,
    "heldout_tokens": 678,
    "inputs": [{"path": "/data/secret/corpus.json", "size": 3, "sha256": SHA}],
    "settings": {
        "max_tokens": 128,
        "tokens_per_batch": 4096,
        "optimizer": {"learning_rate": 1e-3},
        "run": {"seed": 7},
    },
}
FINETUNED = {
    **PRETRAINED,
    "command": "finetune",
    "bf16": False,
    "rows": {"train": 4000, "dev": 50, "test": 60},
    "settings": {
        "data": "/data/secret/promoters.csv",
        "model": "pretrained",
        "max_tokens": 300,
        "batch_size": 32,
        "optimizer": {"learning_rate": "auto"},
        "run": {"seed": 1},
        "lora": {"rank": 0},
    },
}
HISTORY = [{"step": 40, "epoch": 2.0, "loss": 1.0}, {"step": 40, "epoch": 2.0, "train_runtime": 90}]
SCORES = {"f1": 0.6, "accuracy": 0.7, "auroc": 0.8, "auprc": math.nan}
METRICS = {
    **SCORES,
    "mcc": 0.4567,
    "rows": 60,
    "metric": "mcc",
    "interval": [0.1, 0.9],
    "learning_rate": 3e-4,
    "baselines": {"k-mers": {**SCORES, "mcc": 0.5}},
}
HELD_OUT = {
    "eval_loss": 2.5,
    "eval_accuracy": 0.25,
    "eval_bits_per_bp": 1.9,
    "markov_order": 7,
    "markov_bits_per_bp": 1.95,
}


def tuned(problem_type="single_label_classification", **more):
    names = {0: "no", 1: "y\nes"}
    labels = {"id2label": names, "label2id": {"no": 0, "y\nes": 1}}
    return DnazenConfig.of_size("tiny", problem_type=problem_type, **labels, **more)


def test_a_pretrained_model():
    config = DnazenConfig.of_size("tiny", ggram_vocab_size=101)
    card = ModelCard(model_card("mini", config, PRETRAINED, HELD_OUT, HISTORY))
    assert card.data.library_name == "dnazen"
    assert card.data.pipeline_tag == "fill-mask"
    assert "dna" in card.data.tags
    assert card.data.license is None
    for text in (
        "# mini",
        "100 G-grams",
        "12,345 tokens",
        "1.900",
        "order 7: 1.950",
        "90 seconds, in bf16",
        SHA,
    ):
        assert text in card.text
    assert "secret" not in card.text


def test_a_finetuned_model_stands_beside_its_baseline():
    config = tuned(strands="average", kmers=6)
    card = ModelCard(model_card("promoters", config, FINETUNED, METRICS, HISTORY))
    assert card.data.pipeline_tag == "text-classification"
    assert "| score | this model | k-mers |" in card.text
    assert "| mcc | 0.457 | 0.500 |" in card.text
    assert "| auprc | not defined | not defined |" in card.text
    assert "mcc lies in 0.100 to 0.900" in card.text
    assert "learning rate: 0.0003" in card.text
    assert "no, y es." in card.text
    assert "Rows of `promoters.csv`: 4,000 train, 50 dev, 60 test." in card.text
    assert "began from `pretrained`" in card.text
    assert 'pipeline("text-classification", "PATH")' in card.text


def test_what_no_pipeline_reads_is_opened_by_the_library():
    adapter = {**FINETUNED, "settings": {**FINETUNED["settings"], "lora": {"rank": 8}}}
    bases = tuned("base_classification", base_channels=3)
    assert ModelCard(model_card("b", bases, FINETUNED, METRICS, HISTORY)).data.pipeline_tag is None
    for config, record in ((tuned(), adapter), (bases, FINETUNED)):
        assert 'dnazen.load("PATH")' in model_card("b", config, record, METRICS, HISTORY)


@pytest.mark.parametrize("license_name", ["mit"])
def test_a_license_can_be_added(tmp_path, license_name):
    write_card(tmp_path, tuned(), FINETUNED, METRICS, HISTORY)
    card = ModelCard.load(tmp_path / "README.md")
    card.data.license = license_name
    card.save(tmp_path / "README.md")
    assert ModelCard.load(tmp_path / "README.md").data.license == license_name
