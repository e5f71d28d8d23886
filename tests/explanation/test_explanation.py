"""Explanations of records: places in bases, targets, sums, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dnazen
from dnazen.errors import ConfigError, InputError
from dnazen.explanation.attribution import integrated_gradients, output_of
from dnazen.explanation.explanation import Explanation, explain
from dnazen.explanation.settings import ExplanationConfig
from inference.test_prediction import MULTI, SINGLE, save_model


@pytest.fixture(scope="module")
def model(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "three"
    return save_model(folder, ground, ["a", "b", "c"], problem_type=SINGLE, max_tokens=300)


@pytest.fixture(scope="module")
def sequence(ground):
    """A piece of the genome, so that it has G-grams, with a stretch of N and lower case."""
    bases = ground.genome.read_text().split("\n")[1][:150]
    return bases[:60] + "NNNryN" + bases[60:].lower().replace("t", "u")


@pytest.fixture(scope="module")
def explained(model, sequence) -> Explanation:
    (found,) = dnazen.load(model).explain([sequence])
    return found


def test_the_parts_of_a_sequence(explained, sequence):
    assert explained.sequence == (sequence[:60] + "N" * 6 + sequence[66:].upper()).replace("U", "T")
    assert (
        "".join(
            "N" * (end - start) if text == "N" else text
            for (start, end), text in zip(explained.spans, explained.texts, strict=True)
        )
        == explained.sequence
    )
    assert explained.texts.count("N") == 1
    assert len(explained.ggrams) >= 3
    for ggram in explained.ggrams:
        for start, end in ggram.intervals:
            assert explained.sequence[start:end] == ggram.bases
    firsts = [ggram.intervals[0].start for ggram in explained.ggrams]
    assert firsts == sorted(firsts)


def test_sums_are_kept_down_to_the_bases(explained):
    found = explained.attribution
    assert explained.by_base.shape == (len(explained.sequence),)
    change = found.output - found.baseline
    assert explained.by_base.sum() + found.gap == pytest.approx(change, abs=1e-6)
    assert explained.from_ggrams.sum() == pytest.approx(found.ggrams.sum())
    covered = {b for g in explained.ggrams for interval in g.intervals for b in range(*interval)}
    for (start, _), share in zip(explained.spans, explained.from_ggrams, strict=True):
        assert (share != 0) == (start in covered)


def test_it_is_the_predicted_label_unless_told(model, sequence, explained):
    assert explained.prediction == explained.target
    assert explained.probability > 1 / 3
    opened = dnazen.load(model)
    for number, name in enumerate("abc"):
        (found,) = explain(opened, [sequence], ExplanationConfig(target=name, occlusion=False))
        assert (found.target, found.prediction) == (name, explained.prediction)
        assert found.occlusion is None
        assert np.isnan(found.agreement)
        output = output_of(SINGLE, number)
        expected = integrated_gradients(opened, found.tokens, output, ExplanationConfig())
        np.testing.assert_allclose(found.attribution.tokens, expected.tokens, atol=1e-6)
        odds = found.probability / (1 - found.probability)
        assert found.attribution.output == pytest.approx(np.log(odds), abs=1e-4)


def test_agreement_is_the_correlation(explained):
    expected = np.corrcoef(np.stack([explained.by_token, explained.occlusion]))[0, 1]
    assert explained.agreement == pytest.approx(expected)


def test_sequences_without_a_base_or_a_ggram(model):
    found = explain(model, ["", "nnN", "A", b"ACGT"])
    assert found[:2] == [None, None]
    assert [some.sequence for some in found[2:]] == ["A", "ACGT"]
    assert found[2].ggrams == ()
    assert found[2].removal.together == 0


def test_several_labels_and_numbers(ground, tmp_path, sequence):
    many = save_model(tmp_path / "many", ground, ["x", "y"], problem_type=MULTI)
    (found,) = explain(many, [sequence])
    assert found.attribution.output == pytest.approx(
        np.log(found.probability / (1 - found.probability)), abs=1e-4
    )
    one = save_model(tmp_path / "one", ground, ["y"], problem_type="regression")
    (found,) = explain(one, [sequence])
    assert found.attribution.output == pytest.approx(float(found.prediction), rel=1e-4)
    assert np.isnan(found.probability)
    two = save_model(tmp_path / "two", ground, ["y", "z"], problem_type="regression")
    with pytest.raises(ConfigError, match="predicts several numbers; name one as target: y, z"):
        explain(two, [sequence])
    (found,) = explain(two, [sequence], ExplanationConfig(target="z"))
    assert found.attribution.output == pytest.approx(
        float(found.prediction.split(";")[1]), rel=1e-4
    )


def test_long_sequences_are_refused_or_cut(model, sequence):
    with pytest.raises(InputError, match=r"sequence 1: .* tokens; expected at most 20"):
        explain(model, [sequence], ExplanationConfig(max_tokens=20))
    (found,) = explain(model, [sequence], ExplanationConfig(max_tokens=20, too_long="cut"))
    assert (len(found.tokens), found.cut) == (18, True)
    whole = explain(model, [sequence])[0]
    assert found.texts == whole.texts[:18]
    assert len(found.sequence) == found.starts[-1]
    unknown = whole.texts.index("N")
    config = ExplanationConfig(max_tokens=unknown + 2, too_long="cut")
    assert "N" not in explain(model, [sequence], config)[0].sequence


def test_what_is_refused(ground, model, tmp_path, sequence):
    with pytest.raises(
        ConfigError, match="target q is no label of the model; expected one of a, b"
    ):
        explain(model, [sequence], ExplanationConfig(target="q"))
    pairs = save_model(
        tmp_path / "p", ground, ["0", "1"], problem_type=SINGLE, sequences_per_example=2
    )
    with pytest.raises(InputError, match="the model reads pairs"):
        explain(pairs, [sequence])
    with pytest.raises(InputError, match="sequence 1: character 'E' is no nucleotide"):
        explain(model, ["MEEP"])
    for name, value, bounds in [
        ("steps", 0, "1 to 1000, got 0"),
        ("steps", 10**9, "1 to 1000"),
        ("tokens_per_batch", 0, "at least 1, got 0"),
    ]:
        with pytest.raises(ConfigError, match=f"{name} must be {bounds}"):
            ExplanationConfig(**{name: value})
    with pytest.raises(ConfigError, match="too_long must be one of refuse, cut, got 'drop'"):
        ExplanationConfig(too_long="drop")
    with pytest.raises(ConfigError, match="max_tokens must be 5 to 1048576"):
        ExplanationConfig(max_tokens=4)


def test_numbers_are_those_of_the_model_in_evaluation(model, sequence):
    opened = dnazen.load(model)
    torch.manual_seed(0)
    one = explain(opened, [sequence])[0]
    torch.manual_seed(1)
    same = explain(opened, [sequence])[0]
    np.testing.assert_array_equal(one.by_token, same.by_token)
    assert not opened.classifier.training
