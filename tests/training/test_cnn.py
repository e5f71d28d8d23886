"""The small CNN: convolutions written out, padding, strands, and how it is trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dnazen.model.batches import Example
from dnazen.sequences.settings import LabelConfig, SplitConfig
from dnazen.sequences.splits import load_splits
from dnazen.training.cnn import CnnClassifier, CnnConfig, cnn_learner, cnn_settings, fit_cnn
from dnazen.training.settings import FinetuneConfig, OptimizerConfig, RunConfig
from tiny_gue import make_gue


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    folder = make_gue(tmp_path_factory.mktemp("gue")) / "mouse/3"
    return load_splits(folder, LabelConfig(), SplitConfig())


@pytest.fixture
def cnn():
    torch.manual_seed(0)
    return CnnClassifier(CnnConfig(num_labels=3, channels=8)).eval()


def test_padding_changes_nothing_of_the_cnn(cnn, splits):
    collate = cnn_learner(splits).collator
    rng = np.random.default_rng(0)
    some = [Example(rng.integers(5, size=n).astype(np.uint16)) for n in (1, 7, 30, 12)]
    together = cnn(**collate(some)).logits
    alone = torch.cat([cnn(**collate([one])).logits for one in some])
    torch.testing.assert_close(together, alone)


def test_the_cnn_sees_what_it_should(cnn, splits):
    """Convolutions written out as sums over windows of one-hot bases."""
    tokens = np.random.default_rng(1).integers(5, size=9).astype(np.uint16)
    hot = np.zeros((9, 4))
    for i, token in enumerate(tokens):
        if token < 4:
            hot[i, token] = 1  # N is all zeros
    states = hot
    for layer in (cnn.first, cnn.second):
        weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().numpy()
        half = weight.shape[2] // 2
        padded = np.pad(states, ((half, half), (0, 0)))
        windows = [padded[i : i + weight.shape[2]] for i in range(len(tokens))]
        states = np.maximum(0, [np.einsum("oik,ki->o", weight, w) + bias for w in windows])
    last = cnn.classifier
    expected = last.weight.detach().numpy() @ states.max(0) + last.bias.detach().numpy()
    logits = cnn(**cnn_learner(splits).collator([Example(tokens)])).logits
    np.testing.assert_allclose(logits[0].detach().numpy(), expected, atol=1e-5)


def test_the_cnn_reads_bases_and_labels(splits):
    learner = cnn_learner(splits)
    row = splits.train.table.rows[0].sequences[0].decode()
    assert "".join("ACGTN"[t] for t in learner.encoded.train.tokens[0]) == row
    batch = learner.collator([Example(learner.encoded.train.tokens[0], label=1)])
    assert batch["labels"].tolist() == [1]
    model = learner.fresh()
    loss = model(**batch).loss
    expected = torch.nn.functional.cross_entropy(
        model.eval()(batch["input_ids"]).logits, batch["labels"]
    )
    assert loss.ndim == 0
    torch.testing.assert_close(model(**batch).loss, expected)


def test_of_both_strands_it_reads_the_other_too(splits):
    one, other = cnn_learner(splits, "average").strands
    assert cnn_learner(splits).strands[0].dev.tokens[0].tolist() == one.dev.tokens[0].tolist()
    for tokens, turned in zip(one.test.tokens, other.test.tokens, strict=True):
        assert turned.tolist() == [3 - token for token in tokens[::-1]]


def test_it_is_trained_at_a_rate_of_its_own_and_nothing_is_kept(splits, tmp_path):
    config = FinetuneConfig(
        optimizer=OptimizerConfig(learning_rate=1e-30),
        epochs=1,
        batch_size=8,
        run=RunConfig(precision="float32", device="cpu"),
    )
    own = cnn_settings(config)
    assert (own.optimizer.learning_rate, own.epochs) == (1e-3, 10)
    fitted = fit_cnn(splits, config, tmp_path)
    assert fitted.test["mcc"] > 0.5  # GC content is easy, and the rate is not that of the model
    assert (fitted.blend.deep, fitted.blend.kmers) == (1.0, 0.0)
    assert not list(tmp_path.rglob("*.safetensors"))
