"""The opened model's methods are the functions of the library, and its text is short."""

from __future__ import annotations

import numpy as np
import pytest

import dnazen
from dnazen.errors import ConfigError, InputError
from inference.test_prediction import SINGLE, save_model

LETTERS = ["ACGTTGCATTACGGATTACA", "NN", "ggcat"]


@pytest.fixture(scope="module")
def folder(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "three"
    return save_model(folder, ground, ["a", "b", "c"], problem_type=SINGLE, max_tokens=300)


def test_a_method_gives_what_the_function_gives_of_the_directory(folder):
    model = dnazen.load(folder, "cpu")
    config = dnazen.EmbeddingConfig(pooling="max")
    np.testing.assert_array_equal(
        model.embed(LETTERS, config), dnazen.embed(folder, LETTERS, config)
    )
    one, other = model.predict(LETTERS), dnazen.predict(folder, LETTERS)
    assert [p and (p.label, p.probabilities) for p in one] == [
        p and (p.label, p.probabilities) for p in other
    ]
    assert one[1] is None
    assert "".join(model.ggrams(LETTERS[0]).tokens) == LETTERS[0]


@pytest.mark.parametrize("name", ["embed", "predict", "log_likelihood"])
def test_one_text_or_no_sequence_is_refused(folder, name):
    method = getattr(dnazen.load(folder, "cpu"), name)
    with pytest.raises(InputError, match="one text, where a list of sequences is wanted"):
        method("ACGT")
    with pytest.raises(InputError, match="sequence 2: None; expected text, bytes"):
        method(["ACGT", None])
    with pytest.raises(InputError, match="sequence 1: character '-' is no nucleotide"):
        method([b"AC-GT"])
    with pytest.raises(InputError, match="a dict, where a list of sequences is wanted"):
        method({"ACGT": "TTTT"})
    with pytest.raises(InputError, match="a NoneType, where a list of sequences is wanted"):
        method(None)


@pytest.mark.parametrize(
    ("name", "arguments", "kind"),
    [
        ("embed", [LETTERS], "EmbeddingConfig"),
        ("predict", [LETTERS], "PredictionConfig"),
        ("log_likelihood", [LETTERS], "LikelihoodConfig"),
        ("explain", [LETTERS], "ExplanationConfig"),
        ("score_mutations", ["ACGT"], "ScoringConfig"),
    ],
)
def test_settings_of_another_kind_are_refused_by_name(folder, name, arguments, kind):
    method = getattr(dnazen.load(folder, "cpu"), name)
    with pytest.raises(ConfigError, match=rf"expected {kind}\(\.\.\.\), got 'average'"):
        method(*arguments, "average")


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("EmbeddingConfig", {"pooling": "median"}, "pooling must be one of mean, .*, got 'median'"),
        ("EmbeddingConfig", {"strands": "both"}, "strands must be one of forward, average"),
        ("EmbeddingConfig", {"tokens_per_batch": float("nan")}, "tokens_per_batch must be"),
        ("PredictionConfig", {"too_long": "drop"}, "too_long must be one of"),
        ("PredictionConfig", {"max_tokens": -1}, "max_tokens must be"),
        ("LikelihoodConfig", {"max_tokens": 2}, "max_tokens must be"),
    ],
)
def test_a_wrong_choice_is_refused_at_once(kind, settings, message):
    with pytest.raises(ConfigError, match=message):
        getattr(dnazen, kind)(**settings)


def test_an_opened_model_says_what_it_is_in_a_line(folder):
    text = repr(dnazen.load(folder, "cpu"))
    assert text.startswith(f"Model('{folder}', 2 layers of 64, ")
    assert text.endswith(" G-grams, classifier, cpu, torch.float32)")
