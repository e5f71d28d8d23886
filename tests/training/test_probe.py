"""A head on an encoder that stands still: the whole model says what the head says, and no more."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

import dnazen
from directories import weights_of
from dnazen.errors import ConfigError
from dnazen.model.batches import Example
from dnazen.sequences.settings import LabelConfig, SplitConfig
from dnazen.sequences.splits import load_splits
from dnazen.training.learner import dnazen_learner
from dnazen.training.probe import probe_learner
from dnazen.training.settings import FinetuneConfig, LoraConfig
from training.test_finetune import finetune, settings, task  # noqa: F401

pytestmark = pytest.mark.usefixtures("few_draws")


@pytest.fixture(scope="module")
def splits(task):  # noqa: F811
    return load_splits(task, LabelConfig(), SplitConfig())


@pytest.fixture(scope="module")
def done(pretrained, task, tmp_path_factory):  # noqa: F811
    output = tmp_path_factory.mktemp("runs") / "done"
    more = {"train": "head", "epochs": 6, "strands": "average", "kmers": 2}
    return output, finetune(settings(task, pretrained, output, **more))


def test_the_encoder_is_that_of_the_model(done, pretrained):
    output, scores = done
    given, saved = weights_of(pretrained), weights_of(output)
    encoder = [name for name in given if name.startswith("dnazen.")]
    assert len(encoder) > 20
    assert all(torch.equal(given[name], saved[name]) for name in encoder)
    assert scores["deep_head"]["mcc"] > 0.5  # GC content can be read off any encoder


def test_the_model_that_is_saved_gives_the_test_predictions_again(done, splits):
    output, _ = done
    with (output / "test_predictions.tsv").open(newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    letters = [row.sequences[0] for row in splits.test.table.rows]
    for row, found in zip(rows, dnazen.load(output, "cpu").predict(letters), strict=True):
        assert found.probabilities["1"] == pytest.approx(float(row["p_1"]), abs=1e-5)


def test_a_head_on_vectors_says_what_the_whole_model_says(pretrained, splits):
    learner = probe_learner(pretrained, splits, FinetuneConfig(train="head"), "average")
    head = learner.fresh().eval()
    whole = learner.finished(head).eval()
    some = [Example(tokens) for tokens in learner.strands[1].test.tokens[:5]]
    with torch.no_grad():
        found = head(**learner.collator(some)).logits
        expected = whole(**learner.reader(some)).logits
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 0


def test_a_head_alone_is_given_no_base_view(pretrained, splits):
    learner = probe_learner(pretrained, splits, FinetuneConfig(train="head"))
    assert learner.fresh().config.base_channels == 0


@pytest.mark.parametrize("layers", [1, 2])
def test_first_layers_alone_are_those_of_the_model(pretrained, splits, layers):
    config = FinetuneConfig(layers=layers, base_channels=0)
    model = dnazen_learner(pretrained, splits, config).fresh().eval()
    whole = dnazen.load(pretrained, "cpu").encoder
    tokens = np.arange(5, 20, dtype=np.uint16)
    batch = dnazen.load(pretrained, "cpu").collator([Example(tokens)])
    with torch.no_grad():
        states = whole(**batch, output_hidden_states=True).hidden_states
        found = model.dnazen(**batch).last_hidden_state
    torch.testing.assert_close(found, states[layers])
    assert len(model.dnazen.layers) == layers


def test_layers_that_the_model_lacks_are_refused(pretrained, splits):
    with pytest.raises(ConfigError, match="layers must be 1 to 2, those of the model, got 3"):
        dnazen_learner(pretrained, splits, FinetuneConfig(layers=3))
    for more in ({"train": "head"}, {"layers": 1}):
        with pytest.raises(ConfigError, match="an adapter is of the whole model"):
            FinetuneConfig(lora=LoraConfig(rank=2), **more)
