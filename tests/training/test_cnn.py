"""Baselines: k-mers against a pipeline spelt out by hand, and the CNN's laws."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import matthews_corrcoef

from dnazen.gue.baselines import REGULARISATIONS, CnnClassifier, CnnConfig, cnn_learner, fit_kmers
from dnazen.model.batches import Example
from dnazen.sequences.settings import LabelConfig, SplitConfig
from dnazen.sequences.splits import load_splits
from tiny_gue import make_gue, write_rows


def load(folder):
    return load_splits(folder, LabelConfig(), SplitConfig())


@pytest.fixture(scope="module")
def splits(tmp_path_factory):
    return load(make_gue(tmp_path_factory.mktemp("gue")) / "mouse/3")


def features(train, texts):
    """TF-IDF of all 1- to 6-mers, summed up by hand: smooth idf, rows of length 1."""
    kmers = ["".join(k) for n in range(1, 7) for k in itertools.product("ACGT", repeat=n)]
    seen = [k for k in kmers if any(k in text for text in train)]
    idf = [math.log((1 + len(train)) / (1 + sum(k in t for t in train))) + 1 for k in seen]
    counts = [
        [sum(t.startswith(k, i) for i in range(len(t))) * w for k, w in zip(seen, idf, strict=True)]
        for t in texts
    ]
    table = np.array(counts)
    return table / np.linalg.norm(table, axis=1, keepdims=True)


def test_kmers_agree_with_a_pipeline_by_hand(tmp_path):
    rng = np.random.default_rng(0)

    def rows(count):
        texts = ["".join(rng.choice(list("ACGT"), 25)) for _ in range(count)]
        return [(t, int((t.count("C") > t.count("G")) ^ (rng.random() < 0.2))) for t in texts]

    for split, count in (("train", 30), ("dev", 20), ("test", 8)):
        write_rows(tmp_path / f"{split}.csv", rows(count))
    splits = load(tmp_path)
    texts = [[r.sequences[0].decode() for r in s.table.rows] for s in splits.parts.values()]
    train, dev, test = (features(texts[0], some) for some in texts)
    fitted = fit_kmers(splits, "mcc")
    models = [
        LogisticRegression(C=strength, max_iter=1000).fit(train, splits.train.labels)
        for strength in REGULARISATIONS
    ]
    scores = [matthews_corrcoef(splits.dev.labels, model.predict(dev)) for model in models]
    best = int(np.argmax(scores))  # the first of equals
    assert len(set(scores)) > 1
    assert fitted.regularisation == REGULARISATIONS[best]
    for ours, theirs in ((fitted.dev, dev), (fitted.test, test)):
        np.testing.assert_allclose(
            ours[:, 1] - ours[:, 0], models[best].decision_function(theirs), atol=1e-3
        )
    assert fitted.parameters == train.shape[1] + 2


def test_kmers_of_three_classes_give_three_logits(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "dev", "test"):
        rows = []
        for label, letters in enumerate(("AC", "GT", "CG")):
            rows += [("".join(rng.choice(list(letters), 12)), label) for _ in range(5)]
        write_rows(tmp_path / f"{split}.csv", rows)
    splits = load(tmp_path)
    fitted = fit_kmers(splits, "f1")
    assert fitted.test.shape == (15, 3)
    assert (fitted.test.argmax(1) == splits.test.labels).all()


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
