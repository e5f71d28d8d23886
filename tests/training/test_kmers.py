"""The k-mer regression against scikit-learn's TF-IDF and regressions, spelt out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import matthews_corrcoef

from directories import random_directory
from dnazen.inference.prediction import mean_logits
from dnazen.model.batches import Example
from dnazen.training import kmers
from dnazen.training.blend import Blend
from dnazen.training.kmers import STRENGTHS, plan_kmers
from dnazen.training.learner import dnazen_learner
from dnazen.training.scale import Scale
from dnazen.training.settings import FinetuneConfig
from dnazen.training.view import install_kmers
from model.test_kmers import names_of, words_of
from splits_of import MULTI, NUMBERS, splits_of

both_kinds = pytest.mark.parametrize("strands", ["average", "forward"])
SOME_N = "NNACGTNNNNACGGTTTACN"


def texts_of(count, seed, length=25, letters="ACGT"):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(letters), length)) for _ in range(count)]


def fitted(splits, strands="average", k=4, **more):
    """The regression of one kind of strands."""
    return plan_kmers(splits, FinetuneConfig(kmers=k, strands=strands, **more)).blended


def vectors(splits, strands, k):
    """TF-IDF of train, dev and test, k-mers counted in the text."""
    tfidf = TfidfVectorizer(
        analyzer=lambda text: [word for word, _, _ in words_of(text, k, strands == "average")],
        vocabulary=names_of(k, strands == "average"),  # those that train lacks count too
        lowercase=False,
    )
    parts = [
        ["N".join(part.decode() for part in row.sequences) for row in split.table.rows]
        for split in splits.parts.values()
    ]
    return tfidf.fit_transform(parts[0]), *map(tfidf.transform, parts[1:])


@pytest.fixture(scope="module")
def noisy():
    """More C than G is 1, with a fifth of the labels wrong, so that strengths differ."""
    rng = np.random.default_rng(0)

    def rows(count, seed):
        wrong = rng.random(count) < 0.2
        texts = texts_of(count, seed)
        return [
            (text, int((text.count("C") > text.count("G")) ^ w))
            for text, w in zip(texts, wrong, strict=True)
        ]

    return splits_of(rows(30, 1), rows(20, 2), rows(8, 3))


@both_kinds
def test_it_is_the_pipeline_of_scikit_learn(noisy, strands):
    train, dev, test = vectors(noisy, strands, 4)
    models = [
        LogisticRegression(C=strength, max_iter=2000).fit(train, noisy.train.labels)
        for strength in STRENGTHS
    ]
    scores = [matthews_corrcoef(noisy.dev.labels, model.predict(dev)) for model in models]
    best = int(np.argmax(scores))  # the first of equals
    assert len(set(scores)) > 1
    found = fitted(noisy, strands)
    assert (found.strength, found.strands, found.rows) == (STRENGTHS[best], strands, 30)
    assert found.dev_scores["mcc"] == pytest.approx(scores[best])
    for logits, features in ((found.dev, dev), (found.test, test)):
        expected = models[best].decision_function(features)
        np.testing.assert_allclose(logits[:, 1] - logits[:, 0], expected, atol=2e-3)


def test_classes_that_are_weighed_are_so_in_the_regression(noisy):
    rows = [
        [(row.sequences[0].decode(), int(n % 5 == 0)) for n, row in enumerate(split.table.rows)]
        for split in noisy.parts.values()
    ]
    splits = splits_of(*rows)
    found = fitted(splits, class_weights="balanced")
    train, _, test = vectors(splits, "average", 4)
    model = LogisticRegression(C=found.strength, class_weight="balanced", max_iter=2000)
    expected = model.fit(train, splits.train.labels).decision_function(test)
    np.testing.assert_allclose(found.test[:, 1] - found.test[:, 0], expected, atol=5e-3)


def test_three_classes_are_a_multinomial_regression(noisy):
    rows = [
        [(row.sequences[0].decode(), n % 3) for n, row in enumerate(split.table.rows)]
        for split in noisy.parts.values()
    ]
    splits = splits_of(*rows, names="abc")
    found = fitted(splits)
    train, _, test = vectors(splits, "average", 4)
    model = LogisticRegression(C=found.strength, max_iter=2000).fit(train, splits.train.labels)
    expected = model.predict_log_proba(test)
    np.testing.assert_allclose(torch.from_numpy(found.test).log_softmax(1), expected, atol=2e-3)


def test_several_labels_are_a_regression_each_and_a_constant_one_has_the_odds_of_rows(noisy):
    rows = [
        [
            (row.sequences[0].decode(), [float(label), 1.0, 0.0])
            for row, label in zip(split.table.rows, split.labels, strict=True)
        ]
        for split in noisy.parts.values()
    ]
    splits = splits_of(*rows, problem_type=MULTI, names="abc")
    found = fitted(splits)
    train, _, test = vectors(splits, "average", 4)
    model = LogisticRegression(C=found.strength, max_iter=2000).fit(train, noisy.train.labels)
    np.testing.assert_allclose(found.test[:, 0], model.decision_function(test), atol=2e-3)
    odds = math.log(2 * 30 + 1)
    np.testing.assert_allclose(found.test[:, 1:], [[odds, -odds]] * 8, atol=1e-6)


@both_kinds
def test_numbers_are_a_ridge_regression_in_the_unit_of_train(noisy, strands):
    rows = [
        [(t := row.sequences[0].decode(), [500 + 9.0 * t.count("C"), float(t.count("A"))])
         for row in split.table.rows]
        for split in noisy.parts.values()
    ]  # fmt: skip
    splits = splits_of(*rows, problem_type=NUMBERS, names="xy")
    found = fitted(splits, strands)
    train, dev, test = (matrix.toarray() for matrix in vectors(splits, strands, 4))
    targets = np.array(splits.train.labels)
    centre = train.mean(0)
    inner = (train - centre).T @ (train - centre) + np.eye(train.shape[1]) / found.strength
    weight = np.linalg.solve(inner, (train - centre).T @ (targets - targets.mean(0)))
    expected = (test - centre) @ weight + targets.mean(0)
    np.testing.assert_allclose(found.test, expected, rtol=1e-4)
    in_their_unit = (dev - centre) @ weight / targets.std(0)  # that of the loss, for the blend
    np.testing.assert_allclose(found.dev, in_their_unit, atol=1e-4)


@pytest.mark.parametrize("seen", [(0, 2), (2,)])
def test_a_class_without_a_drawn_row_is_never_predicted(monkeypatch, seen):
    """Every second row is drawn; the other classes stand in those between."""
    rng = np.random.default_rng(0)
    absent = [label for label in range(4) if label not in seen]
    labels = [int(rng.choice(seen if number % 2 == 0 else absent)) for number in range(40)]
    rows = list(zip(texts_of(40, 5), labels, strict=True))
    splits = splits_of(rows, rows[:12], rows[12:30], names="abcd")
    monkeypatch.setattr(kmers, "MOST_BASES", 40 * 25 // 2)
    found = fitted(splits)
    assert found.rows == 20
    assert np.isfinite(found.test).all()
    assert set(found.test.argmax(1).tolist()) <= set(seen)
    np.testing.assert_allclose(found.test[:, absent], -math.log(2 * 20 + 1), atol=1e-6)
    assert found.weight.shape[0] == 4


def test_sequences_shorter_than_k_and_of_n_alone_but_for_one_base():
    rows = [("AC", 0), ("GT", 1), ("A", 0), ("NNNGNN", 1), ("CA", 0), ("GG", 1)]
    splits = splits_of(rows, rows, [*rows, ("NTN", 0)])
    found = fitted(splits, "forward", k=6)
    assert found.test[:6].argmax(1).tolist() == [0, 1, 0, 1, 0, 1]
    assert np.isfinite(found.test).all()


def test_lower_case_and_other_letters_are_read_as_a_model_reads_them(noisy):
    def spelt(split, change):
        return [(change(r.sequences[0].decode()), label)
                for r, label in zip(split.table.rows, split.labels, strict=True)]  # fmt: skip

    with_n = [spelt(split, lambda t: f"{t}NN{t}") for split in noisy.parts.values()]
    strange = [spelt(split, lambda t: f"{t.lower()}rY{t}") for split in noisy.parts.values()]
    one, other = fitted(splits_of(*with_n)), fitted(splits_of(*strange))
    np.testing.assert_array_equal(one.test, other.test)


def rich_in(letters, seed):
    """1 is rich in these letters: AC are of one strand, CG of both."""

    def rows(count, seed):
        texts = texts_of(count, seed, length=24)
        return [(text, int(sum(map(text.count, letters)) > 12)) for text in texts]

    return splits_of(rows(400, seed), rows(60, seed + 1), rows(20, seed + 2))


@pytest.mark.parametrize(("letters", "expected"), [("AC", "forward"), ("CG", "average")])
@pytest.mark.parametrize("seed", [0, 10, 20])
def test_one_strand_is_read_if_labels_depend_on_it(letters, expected, seed):
    plan = plan_kmers(rich_in(letters, seed), FinetuneConfig(kmers=4))
    assert (plan.strands, plan.blended.strands) == (expected, expected)


def test_the_settings_have_the_last_word_on_strands_but_not_on_the_baseline():
    splits = rich_in("AC", 0)
    plan = plan_kmers(splits, FinetuneConfig(kmers=2, strands="average"))
    assert (plan.strands, plan.blended.strands) == ("average", "average")
    assert plan.baseline.strands == "forward"  # the better one, whatever the model reads
    bare = plan_kmers(splits, FinetuneConfig(kmers=0))
    assert (bare.blended, bare.baseline.longest, bare.strands) == (None, 6, "forward")


@both_kinds
def test_a_regression_of_both_strands_says_the_same_of_the_other(noisy, strands):
    turned = noisy._replace(test=noisy.test.reverse_complement())
    one, other = (fitted(splits, strands).test for splits in (noisy, turned))
    assert np.allclose(one, other, atol=1e-6) == (strands == "average")


# -- in a network


@pytest.fixture(scope="module")
def directory(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "model"
    random_directory(ground, folder, seed=1, hidden_size=16, intermediate_size=16)
    return folder


def said_by_network(directory, splits, config, fit):
    """What a model says whose deep head is silent, of test, the mean over its strands."""
    learner = dnazen_learner(directory, splits, config, fit.strands)
    model = learner.fresh().eval()
    with torch.no_grad():
        install_kmers(model, fit, Blend(0.0, 1.0), learner.table)
        if splits.task.problem_type == "regression":
            Scale.of(splits.train.labels).fold_into(model)
    strands = [[Example(tokens) for tokens in part.test.tokens] for part in learner.strands]
    return np.array(mean_logits(model, learner.collator, strands))


@both_kinds
@pytest.mark.parametrize("kind", ["classes", "numbers", "pairs"])
def test_a_network_says_what_the_regression_says(directory, noisy, strands, kind):
    """Read off tokens, of both strands, as off letters: [UNK], pairs and units too."""
    texts = [*texts_of(30, 1), SOME_N, SOME_N[::-1]]

    def row(number, text):
        letters = (text, texts[number - 1]) if kind == "pairs" else text
        count = text.count("G")
        return letters, [100 + 7.0 * count] if kind == "numbers" else int(count > 5)

    rows = [row(number, text) for number, text in enumerate(texts)]
    numbers = {"problem_type": NUMBERS, "names": ["y"]} if kind == "numbers" else {}
    splits = splits_of(rows, rows[:10], rows, **numbers)
    config = FinetuneConfig(kmers=5, strands=strands, base_channels=4)
    fit = plan_kmers(splits, config).blended
    found = said_by_network(directory, splits, config, fit)
    np.testing.assert_allclose(found, fit.test, rtol=1e-5, atol=1e-5)
    assert fit.test.std() > 0.01
