"""A DNAZEN model fine-tuned with all that it can hold: k-mers, a base view, both strands."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch

import dnazen
from directories import weights_of
from dnazen import cli
from dnazen.model.directory import open_directory
from dnazen.sequences.alphabet import reverse_complement
from dnazen.sequences.settings import LabelConfig, SplitConfig
from dnazen.sequences.splits import load_splits
from dnazen.training.learner import BASE_CHANNELS, dnazen_learner
from dnazen.training.settings import FinetuneConfig
from training.test_finetune import finetune, settings, task  # noqa: F401

pytestmark = pytest.mark.usefixtures("few_draws")

ALL = {"kmers": 4, "base_channels": 6, "strands": "average", "epochs": 2}


@pytest.fixture(scope="module")
def done(pretrained, task, tmp_path_factory):  # noqa: F811
    output = tmp_path_factory.mktemp("runs") / "done"
    finetune(settings(task, pretrained, output, **ALL))
    return output


@pytest.fixture(scope="module")
def splits(task):  # noqa: F811
    return load_splits(task, LabelConfig(), SplitConfig())


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    return ["".join(rng.choice(list("ACGT"), size)) for size in (1, 7, 40, 200, 90)] + ["ACNNNGTTA"]


def turned(text):
    return reverse_complement(text.encode()).decode()


def test_what_is_saved_tells_all_that_prediction_must_know(done):
    config = open_directory(done).config
    assert (config.kmers, config.base_channels, config.strands) == (4, 6, "average")
    found = json.loads((done / "test_metrics.json").read_text())
    assert found["strands"] == "average"
    assert found["blend"]["kmers"] > 0
    assert found["mcc"] > 0.7
    assert weights_of(done)["kmers.output.weight"].any()
    assert weights_of(done)["base_head.weight"].any()


def test_the_model_that_is_saved_gives_the_test_predictions_again(done, splits):
    with (done / "test_predictions.tsv").open(newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    letters = [row.sequences[0] for row in splits.test.table.rows]
    found = dnazen.load(done, "cpu").predict(letters)
    for row, prediction in zip(rows, found, strict=True):
        assert prediction.label == row["prediction"]
        assert prediction.probabilities["1"] == pytest.approx(float(row["p_1"]), abs=1e-5)


def test_both_strands_of_a_sequence_have_the_same_numbers(done, texts):
    model = dnazen.load(done, "cpu")
    one, other = model.predict(texts), model.predict(list(map(turned, texts)))
    for here, there in zip(one, other, strict=True):
        np.testing.assert_allclose(here.logits, there.logits, atol=1e-6)
    assert len({round(float(x.logits[0]), 4) for x in one}) == len(texts)


def test_the_numbers_are_the_mean_of_both_strands(done, texts):
    model = dnazen.load(done, "cpu")
    averaged = model.predict(texts)
    model.config.strands = "forward"  # the k-mer view stays as it was made
    one, other = model.predict(texts), model.predict(list(map(turned, texts)))
    for both, here, there in zip(averaged, one, other, strict=True):
        np.testing.assert_allclose(both.logits, (here.logits + there.logits) / 2, atol=1e-6)
    assert not np.allclose(one[3].logits, other[3].logits, atol=1e-4)


def test_vectors_of_the_model_are_those_of_its_encoder(done, texts):
    model = dnazen.load(done, "cpu")
    found = model.embed(texts[:2])
    assert np.isfinite(found).all()


def test_fine_tuned_again_it_keeps_its_base_view_and_takes_new_k_mers(done, splits):
    learner = dnazen_learner(done, splits, FinetuneConfig(strands="forward"))
    model = learner.fresh()
    assert (model.config.base_channels, model.config.kmers) == (6, 0)
    assert not hasattr(model, "kmers")
    before = weights_of(done)
    for name, tensor in model.state_dict().items():
        if name.startswith("dnazen."):
            assert torch.equal(tensor, before[name]), name
    assert not torch.equal(model.base_head.weight, before["base_head.weight"])  # a head, and so new


@pytest.mark.parametrize(
    ("asked", "channels"), [(None, BASE_CHANNELS), (0, 0), (5, 5)], ids=["default", "none", "five"]
)
def test_a_model_without_a_base_view_is_given_one_unless_told(pretrained, splits, asked, channels):
    learner = dnazen_learner(pretrained, splits, FinetuneConfig(base_channels=asked))
    model = learner.fresh()
    assert model.config.base_channels == channels
    assert hasattr(model.dnazen, "bases") == bool(channels)


def test_each_strand_is_an_example_of_train(pretrained, splits):
    one, both = (
        dnazen_learner(pretrained, splits, FinetuneConfig(), strands)
        for strands in ("forward", "average")
    )
    assert (len(one.strands), len(both.strands)) == (1, 2)
    assert both.encoded.train.tokens[0].tolist() == one.encoded.train.tokens[0].tolist()
    other = dnazen_learner(pretrained, splits.reverse_complement(), FinetuneConfig())
    for name in ("train", "dev", "test"):
        found, expected = (getattr(x, name).tokens for x in (both.strands[1], other.encoded))
        assert [x.tolist() for x in found] == [x.tolist() for x in expected]


def test_a_model_of_both_strands_is_no_released_model(done, tmp_path, capsys):
    assert cli.main(["convert", str(done), "--to", "released", "-o", str(tmp_path / "x")]) == 2
    assert "released" in capsys.readouterr().err
    assert cli.main(["convert", str(done), "-o", str(tmp_path / "ours")]) == 0
    one, other = weights_of(done), weights_of(tmp_path / "ours")
    assert set(one) == set(other)
    assert all(torch.equal(one[name], other[name]) for name in one)
