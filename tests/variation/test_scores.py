"""Scores of changes against a plain masked-LM scorer, and the laws that they obey."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import dnazen
from directories import classifier_with_views, random_directory, rewrite
from dnazen.errors import InputError
from dnazen.model.configuration import DnazenConfig
from dnazen.model.directory import save_directory
from dnazen.model.modeling import (
    DnazenForMaskedLM,
    DnazenForSequenceClassification,
    DnazenForTokenClassification,
)
from dnazen.tokens.tokenizer import load_tokenizer
from dnazen.variation.alignment import AllelePair, untouched_ends
from dnazen.variation.calibration import percentile_scores
from dnazen.variation.scores import score_pairs, scores_of
from dnazen.variation.settings import ScoringConfig
from plain_scorer import PlainScorer, other_strand

SINGLE, MULTI = "single_label_classification", "multi_label_classification"


@pytest.fixture(scope="module")
def plain(directory):
    return PlainScorer(directory)


def as_pairs(pairs):
    return [AllelePair(ref.encode(), alt.encode()) for ref, alt in pairs]


def test_scores_are_those_of_the_plain_scorer(directory, plain, allele_pairs):
    model = dnazen.load(directory)
    assert [score.name for score in scores_of(model)] == [
        "llr", "llr_corrected", "distance", "ggrams_lost", "ggrams_gained"
    ]  # fmt: skip
    expected = np.array([plain.scores(ref, alt) for ref, alt in allele_pairs])
    np.testing.assert_allclose(score_pairs(model, as_pairs(allele_pairs)), expected, atol=5e-5)
    assert np.abs(expected[:, 0]).min() > 0.01  # the comparison is not of nothing
    assert expected[:, 3:].sum() > 0


def test_average_is_the_mean_of_both_strands(directory, plain, allele_pairs):
    both = [
        np.mean(
            [plain.scores(ref, alt), plain.scores(other_strand(ref), other_strand(alt))], axis=0
        )
        for ref, alt in allele_pairs
    ]
    averaged = score_pairs(
        dnazen.load(directory), as_pairs(allele_pairs), ScoringConfig(strands="average")
    )
    np.testing.assert_allclose(averaged, both, atol=5e-5)


@pytest.mark.parametrize("strands", ["average", "forward"])
def test_strands_are_those_that_the_model_reads_unless_asked(
    ground, tmp_path, allele_pairs, strands
):
    model = dnazen.load(classifier_with_views(ground, tmp_path / "model", strands=strands))
    pairs = as_pairs(allele_pairs)
    by_default = score_pairs(model, pairs)
    one, both = (
        score_pairs(model, pairs, ScoringConfig(strands=s)) for s in ("forward", "average")
    )
    np.testing.assert_array_equal(by_default, both if strands == "average" else one)
    assert not np.allclose(one, both, atol=1e-3)


@pytest.mark.parametrize("budget", [1, 200, 100_000])
def test_scores_depend_neither_on_batches_nor_on_company(directory, allele_pairs, budget):
    model, pairs = dnazen.load(directory), as_pairs(allele_pairs)
    alone = np.concatenate([score_pairs(model, [pair]) for pair in pairs])
    config = ScoringConfig(tokens_per_batch=budget)
    together = score_pairs(model, [*pairs[::-1], *pairs], config)
    np.testing.assert_allclose(together, np.concatenate([alone[::-1], alone]), atol=2e-5)


def test_the_way_back_has_the_opposite_ratio(directory, allele_pairs):
    model = dnazen.load(directory)
    forth = score_pairs(model, as_pairs(allele_pairs))
    back = score_pairs(model, [AllelePair(alt, ref) for ref, alt in as_pairs(allele_pairs)])
    np.testing.assert_allclose(back[:, 0], -forth[:, 0], atol=2e-5)
    np.testing.assert_allclose(back[:, 2], forth[:, 2], atol=2e-5)
    np.testing.assert_array_equal(back[:, 3:], forth[:, :2:-1])


def test_substitutions_keep_their_ratio_and_an_n_is_no_base(directory):
    model = dnazen.load(directory)
    window = b"ACGTTGCA" * 5
    pairs = [
        AllelePair(window, window[:20] + b"GAT" + window[23:]),
        AllelePair(window, window[:20] + b"N" + window[21:]),
        AllelePair(window, window[:20] + b"N" + window[20:]),
    ]
    llr, corrected = score_pairs(model, pairs)[:, :2].T
    assert corrected[0] == llr[0]
    assert corrected[1] < llr[1]  # a base is lost: what it costs is not won
    assert corrected[2] == llr[2]


def unreadable(examples):
    raise AssertionError("nothing was to be read")


def test_no_change_scores_nothing_and_reads_nothing(directory, allele_pairs):
    model = dnazen.load(directory)
    model = dataclasses.replace(model, collator=unreadable)
    same = allele_pairs[0][0].encode()
    np.testing.assert_array_equal(score_pairs(model, [AllelePair(same, same)]), np.zeros((1, 5)))
    assert score_pairs(model, []).shape == (0, 5)


def test_what_recurs_is_read_once(directory, plain, allele_pairs):
    """Three alleles of one place, twice: one reading of each window, one of each hidden token."""
    ref = allele_pairs[1][0]
    pairs = [(ref, ref[:30] + base + ref[31:]) for base in "ACGT" if base != ref[30]]
    read: list[bytes] = []

    model = dnazen.load(directory)

    class Watched:
        matcher = model.collator.matcher

        def __call__(self, examples):
            read.extend(np.asarray(example.tokens).tobytes() for example in examples)
            return model.collator(examples)

    score_pairs(dataclasses.replace(model, collator=Watched()), as_pairs(pairs * 2))
    windows = {tuple(plain.tokens(text)) for pair in pairs for text in pair}
    hidden = {
        (text, place)
        for pair in pairs
        for text, places in zip(pair, plain.compared(*pair), strict=True)
        for place in places
    }
    assert len(read) == len(windows) + len(hidden)


@pytest.mark.parametrize(
    ("names", "settings", "columns"),
    [
        (["no", "yes"], {"problem_type": SINGLE}, ["delta_yes"]),
        (["a", "b", "c"], {"problem_type": SINGLE}, ["delta_a", "delta_b", "delta_c"]),
        (["x", "y"], {"problem_type": MULTI}, ["delta_x", "delta_y"]),
        (["level"], {"problem_type": "regression"}, ["delta_level"]),
        (["a-b", "A_b", "c"], {}, ["delta_0", "delta_1", "delta_2"]),
    ],
)  # fmt: skip
def test_a_head_gives_the_change_of_its_outputs(
    ground, tmp_path, allele_pairs, names, settings, columns
):
    folder = tmp_path / "model"
    settings = settings | {"id2label": dict(enumerate(names))}
    kind = DnazenForSequenceClassification
    random_directory(ground, folder, kind=kind, initializer_range=0.3, **settings)
    plain = PlainScorer(folder, kind)

    def outputs(letters):
        logits = plain.output([token for token, _, _ in plain.tokens(letters)]).logits[0]
        if settings.get("problem_type", SINGLE) != SINGLE:
            return logits.detach().numpy()
        chances = logits.detach().double().softmax(0).numpy()
        odds = np.log(chances / (1 - chances))
        return odds[1:] if len(names) == 2 else odds

    model = dnazen.load(folder)
    assert [score.name for score in scores_of(model)] == [
        *columns, "distance", "ggrams_lost", "ggrams_gained"
    ]  # fmt: skip
    percentiles = [f"percentile_{name.removeprefix('delta_')}" for name in columns]
    assert [score.name for score in percentile_scores(model)] == (
        percentiles if len(columns) > 1 else ["percentile"]
    )
    found = score_pairs(model, as_pairs(allele_pairs))
    expected = [outputs(alt) - outputs(ref) for ref, alt in allele_pairs]
    np.testing.assert_allclose(found[:, : len(columns)], expected, atol=5e-5)
    distances = [plain.distance(ref, alt) for ref, alt in allele_pairs]
    np.testing.assert_allclose(found[:, len(columns)], distances, atol=5e-5)


def test_a_model_without_ggrams_has_no_columns_of_them(ground, tmp_path, allele_pairs):
    tokenizer = load_tokenizer(ground.tokenizer)
    size = tokenizer.get_vocab_size()
    config = DnazenConfig.of_size("tiny", vocab_size=size, ggram_vocab_size=0)
    torch.manual_seed(0)
    (tmp_path / "model").mkdir()
    save_directory(tmp_path / "model", DnazenForMaskedLM(config), tokenizer, None)
    model = dnazen.load(tmp_path / "model")
    assert [score.name for score in scores_of(model)] == ["llr", "llr_corrected", "distance"]
    assert score_pairs(model, as_pairs(allele_pairs)).shape == (len(allele_pairs), 3)


def test_every_spelling_of_an_indel_scores_the_same(directory):
    """Left-aligned or right-aligned, one repeat unit less is one change."""
    model = dnazen.load(directory)
    window = b"GATTACAGGC" + b"CA" * 8 + b"TTGCATGCAA"
    spelt = [window[:p] + window[p + 2 :] for p in range(10, 25, 2)]
    assert len(set(spelt)) == 1
    assert untouched_ends(AllelePair(window, spelt[0])) == (9, 9)
    scored = score_pairs(model, [AllelePair(window, alt) for alt in spelt])
    assert (scored == scored[0]).all()


def test_models_that_cannot_score(ground, tmp_path, directory):
    folder = tmp_path / "tokens"
    random_directory(ground, folder, kind=DnazenForTokenClassification, num_labels=1)
    rewrite(folder, lambda weights: [weights.pop(n) for n in list(weights) if "classifier" in n])
    with pytest.raises(InputError, match=r"a model without a head; expected a pre-trained model"):
        scores_of(dnazen.load(folder))
    pairs = tmp_path / "pairs"
    random_directory(ground, pairs, kind=DnazenForSequenceClassification, sequences_per_example=2)
    with pytest.raises(InputError, match="a model of pairs; expected one that reads single"):
        scores_of(dnazen.load(pairs))
    with pytest.raises(InputError, match="absent"):
        dnazen.load(tmp_path / "absent")


def test_the_released_format_is_scored(released):
    model = dnazen.load(released / "checkpoint")
    assert [score.name for score in scores_of(model)][:3] == ["llr", "llr_corrected", "distance"]
    scored = score_pairs(model, [AllelePair(b"ACGTTGCATTGACATGCA", b"ACGTTGCAGTGACATGCA")])
    assert np.isfinite(scored).all()
    assert scored[0, 0] != 0
