"""Scores of changes against a plain masked-LM scorer, and the laws that they obey."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from directories import random_directory, rewrite
from dnazen.errors import InputError
from dnazen.inference import likelihood
from dnazen.model.configuration import DnazenConfig
from dnazen.model.directory import save_directory
from dnazen.model.modeling import (
    DnazenForMaskedLM,
    DnazenForSequenceClassification,
    DnazenForTokenClassification,
)
from dnazen.tokens.tokenizer import load_tokenizer
from dnazen.variation import effects
from dnazen.variation.effects import Change, clear_of, compare, open_scorer, tokenised
from plain_scorer import PlainScorer, other_strand, untouched

SINGLE, MULTI = "single_label_classification", "multi_label_classification"


@pytest.fixture(scope="module")
def directory(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm") / "model"
    random_directory(ground, folder, initializer_range=0.3)
    return folder


@pytest.fixture(scope="module")
def plain(directory):
    return PlainScorer(directory)


@pytest.fixture(scope="module")
def changes(ground):
    """(ref, alt) windows of each kind of change, at the ends of the window too."""
    bases = "".join(ground.genome.read_text().split("\n")[1::2])
    rng = np.random.default_rng(0)
    found = []
    for number, (lost, put) in enumerate(
        [(1, "A"), (1, "C"), (1, "G"), (1, "T"), (3, "TTT"), (1, "ACGTACGTA"), (6, "A"), (0, "G"),
         (5, ""), (4, "CCCCCC"), (1, "N")]
    ):  # fmt: skip
        window = bases[700 * number : 700 * number + 60]
        place = [0, 60 - lost, *rng.integers(1, 60 - lost, 1)][number % 3]
        found.append((window, window[:place] + put + window[place + lost :]))
    padded = "NNNNN" + bases[:30]
    found.append((padded, padded[:5] + "GG" + padded[6:]))
    return [(ref, alt) for ref, alt in found if ref != alt]


def as_changes(pairs):
    return [Change(ref.encode(), alt.encode()) for ref, alt in pairs]


def test_scores_are_those_of_the_plain_scorer(directory, plain, changes):
    scorer = open_scorer(directory)
    assert [column.name for column in scorer.columns] == [
        "llr", "distance", "ggrams_lost", "ggrams_gained"
    ]  # fmt: skip
    expected = np.array([plain.scores(ref, alt) for ref, alt in changes])
    np.testing.assert_allclose(scorer.score(as_changes(changes)), expected, atol=5e-5)
    assert np.abs(expected[:, 0]).min() > 0.01  # the comparison is not of nothing
    assert expected[:, 2:].sum() > 0


def test_average_is_the_mean_of_both_strands(directory, plain, changes):
    both = [
        np.mean(
            [plain.scores(ref, alt), plain.scores(other_strand(ref), other_strand(alt))], axis=0
        )
        for ref, alt in changes
    ]
    averaged = open_scorer(directory, strands="average").score(as_changes(changes))
    np.testing.assert_allclose(averaged, both, atol=5e-5)


@pytest.mark.parametrize("budget", [1, 200, 100_000])
def test_scores_depend_neither_on_batches_nor_on_company(directory, changes, budget):
    asked = as_changes(changes)
    alone = np.concatenate([open_scorer(directory).score([change]) for change in asked])
    together = open_scorer(directory, tokens_per_batch=budget).score([*asked[::-1], *asked])
    np.testing.assert_allclose(together, np.concatenate([alone[::-1], alone]), atol=2e-5)


def test_the_way_back_has_the_opposite_ratio(directory, changes):
    scorer = open_scorer(directory)
    there = scorer.score(as_changes(changes))
    back = scorer.score([Change(alt, ref) for ref, alt in as_changes(changes)])
    np.testing.assert_allclose(back[:, 0], -there[:, 0], atol=2e-5)
    np.testing.assert_allclose(back[:, 1], there[:, 1], atol=2e-5)
    np.testing.assert_array_equal(back[:, 2:], there[:, :1:-1])


def test_no_change_scores_nothing_and_asks_nothing(directory, changes, monkeypatch):
    scorer = open_scorer(directory)
    monkeypatch.setattr(effects, "readings", None)
    same = changes[0][0].encode()
    np.testing.assert_array_equal(scorer.score([Change(same, same)]), np.zeros((1, 4)))
    assert scorer.score([]).shape == (0, 4)


def test_what_recurs_is_read_once(directory, plain, changes, monkeypatch):
    """Three alleles of one place, twice: one reading of each window, one of each hidden token."""
    ref = changes[1][0]
    pairs = [(ref, ref[:30] + base + ref[31:]) for base in "ACGT" if base != ref[30]]
    read: list[bytes] = []

    def watched(collator, sequences, device):
        read.extend(np.asarray(tokens).tobytes() for tokens in sequences)
        return original(collator, sequences, device)

    original = likelihood._inputs
    monkeypatch.setattr(likelihood, "_inputs", watched)
    open_scorer(directory).score(as_changes(pairs * 2))
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
    ground, tmp_path, changes, names, settings, columns
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

    scorer = open_scorer(folder)
    assert [c.name for c in scorer.columns] == [
        *columns, "distance", "ggrams_lost", "ggrams_gained"
    ]  # fmt: skip
    found = scorer.score(as_changes(changes))
    expected = [outputs(alt) - outputs(ref) for ref, alt in changes]
    np.testing.assert_allclose(found[:, : len(columns)], expected, atol=5e-5)
    distances = [plain.distance(ref, alt) for ref, alt in changes]
    np.testing.assert_allclose(found[:, len(columns)], distances, atol=5e-5)


def test_a_model_without_ggrams_has_no_columns_of_them(ground, tmp_path, changes):
    tokenizer = load_tokenizer(ground.tokenizer)
    size = tokenizer.get_vocab_size()
    config = DnazenConfig.of_size("tiny", vocab_size=size, ggram_vocab_size=0)
    torch.manual_seed(0)
    (tmp_path / "model").mkdir()
    save_directory(tmp_path / "model", DnazenForMaskedLM(config), tokenizer, None)
    scorer = open_scorer(tmp_path / "model")
    assert [column.name for column in scorer.columns] == ["llr", "distance"]
    assert scorer.score(as_changes(changes)).shape == (len(changes), 2)


edits = st.tuples(
    st.text("AC", min_size=1, max_size=12),
    st.integers(0, 12),
    st.integers(0, 5),
    st.text("AC", max_size=5),
)


@given(edits)
@settings(max_examples=300, deadline=None)
def test_the_bases_that_a_change_leaves_alone(edit):
    window, place, lost, put = edit
    alt = window[:place] + put + window[place + lost :]
    if window == alt or not alt:
        return
    change = Change(window.encode(), alt.encode())
    assert clear_of(change) == untouched(window, alt)
    mirrored = Change(*(other_strand(side).encode() for side in (window, alt)))
    assert clear_of(mirrored) == clear_of(change)[::-1]


def test_the_tokens_compared_are_those_of_the_plain_scorer(directory, plain, changes):
    scorer = open_scorer(directory)
    for ref, alt in changes:
        change = Change(ref.encode(), alt.encode())
        windows = tokenised(scorer.tokenizer, change)
        spans = compare(change, *(windows[side] for side in change))
        assert tuple(map(list, spans)) == plain.compared(ref, alt)
        for letters, window in windows.items():
            tokens = plain.tokens(letters.decode())
            assert window.tokens.tolist() == [token for token, _, _ in tokens]
            assert window.ends.tolist() == [end for _, _, end in tokens]


def test_every_spelling_of_an_indel_scores_the_same(directory):
    """Left-aligned or right-aligned, one repeat unit less is one change."""
    scorer = open_scorer(directory)
    window = b"GATTACAGGC" + b"CA" * 8 + b"TTGCATGCAA"
    spelt = [window[:p] + window[p + 2 :] for p in range(10, 25, 2)]
    assert len(set(spelt)) == 1
    assert clear_of(Change(window, spelt[0])) == (9, 9)
    scored = scorer.score([Change(window, alt) for alt in spelt])
    assert (scored == scored[0]).all()


def test_models_that_cannot_score(ground, tmp_path, directory):
    folder = tmp_path / "tokens"
    random_directory(ground, folder, kind=DnazenForTokenClassification, num_labels=1)
    rewrite(folder, lambda weights: [weights.pop(n) for n in list(weights) if "classifier" in n])
    with pytest.raises(InputError, match=r"a model without a head; expected a pre-trained model"):
        open_scorer(folder)
    pairs = tmp_path / "pairs"
    random_directory(ground, pairs, kind=DnazenForSequenceClassification, sequences_per_example=2)
    with pytest.raises(InputError, match="a model of pairs; expected one that reads single"):
        open_scorer(pairs)
    with pytest.raises(InputError, match="absent"):
        open_scorer(tmp_path / "absent")


def test_the_released_format_is_scored(released):
    scorer = open_scorer(released / "checkpoint")
    assert [column.name for column in scorer.columns][:2] == ["llr", "distance"]
    scored = scorer.score([Change(b"ACGTTGCATTGACATGCA", b"ACGTTGCAGTGACATGCA")])
    assert np.isfinite(scored).all()
    assert scored[0, 0] != 0
