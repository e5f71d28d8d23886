"""Explanations of a model that reads both strands: means, places, and what is cut."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

import dnazen
from directories import classifier_with_views
from dnazen.explanation.attribution import Attribution, Removal, output_of
from dnazen.explanation.settings import ExplanationConfig
from dnazen.explanation.strands import (
    GGramEffect,
    Interval,
    Strand,
    StrandReading,
    mean_of_strands,
)
from dnazen.sequences.alphabet import reverse_complement
from splits_of import SINGLE

STEPS = ExplanationConfig(target="b", steps=64)


def reading(sequence, starts, values, ggrams=(), hidden=True):
    """One strand, its numbers told by ``values``: of its tokens by methods, of its G-grams."""
    tokens, bases, occluded = values
    effects = tuple(GGramEffect(*effect) for effect in ggrams)
    attribution = Attribution(
        np.array(tokens), np.array([e.attribution for e in effects]), np.array(bases), 3.0, 1.0
    )
    return StrandReading(
        Strand(np.arange(len(tokens), dtype=np.uint16), np.array(starts), sequence),
        attribution,
        np.zeros(len(tokens)),
        np.array(occluded) if hidden else None,
        Removal(np.array([e.removal for e in effects]), 0.5),
        effects,
    )


def test_the_mean_of_two_strands_by_hand():
    """AACCG read as AA|CCG, and CGGTT read as C|GGT|T."""
    forward = reading(
        "AACCG",
        [0, 2, 5],
        ([2.0, 4.0], [0.2, 0.4], [1.0, 0.0]),
        [(7, "AACCG", (Interval(0, 5),), 0.5, 0.25)],
    )
    reverse = reading(
        "CGGTT",
        [0, 1, 4, 5],
        ([6.0, 9.0, 1.0], [0.0, 3.0, 0.0], [0.0, 0.3, 0.1]),
        [(8, "CG", (Interval(0, 2), Interval(3, 5)), -1.0, 2.0)],
    )
    found = mean_of_strands(forward, reverse)
    # On the forward strand the bases of the other are 1 | 3 3 3 | 6, so AA has 4 and CCG 12.
    assert found.attribution.tokens.tolist() == [(2 + 4) / 2, (4 + 12) / 2]
    assert found.attribution.bases == pytest.approx([(0.2 + 1) / 2, (0.4 + 2) / 2])
    assert found.occlusion == pytest.approx([(1 + 0.2) / 2, (0 + 0.2) / 2])
    assert (found.attribution.output, found.attribution.baseline) == (3.0, 1.0)
    assert found.attribution.ggrams.tolist() == [0.25, -0.5]
    assert found.removal.by_slot.tolist() == [0.125, 1.0]
    assert found.removal.together == 0.5
    assert found.ggrams == (
        GGramEffect(7, "AACCG", (Interval(0, 5),), 0.25, 0.125, "+"),
        GGramEffect(8, "CG", (Interval(0, 2), Interval(3, 5)), -0.5, 1.0, "-"),
    )
    assert found.strand == forward.strand


def test_a_strand_that_was_cut_again_lacks_the_first_bases_of_the_other():
    """Of CGGTT only CGG was read: what it says is of the last three bases of AACCG."""
    forward = reading("AACCG", [0, 2, 5], ([2.0, 4.0], [0.0, 0.0], [0.0, 0.0]))
    reverse = reading("CGG", [0, 3], ([6.0], [0.0], [0.0]))
    found = mean_of_strands(forward, reverse)
    assert found.attribution.tokens.tolist() == [(2 + 0) / 2, (4 + 6) / 2]


def test_an_effect_turned_twice_is_itself():
    effect = GGramEffect(3, "ACG", (Interval(1, 4), Interval(6, 9)), 0.5, 1.0)
    turned = effect.turned(10)
    assert turned.intervals == (Interval(1, 4), Interval(6, 9))
    assert effect.turned(12).intervals == (Interval(3, 6), Interval(8, 11))
    assert turned.turned(10) == effect


# -- a model


@pytest.fixture(scope="module")
def model(ground, tmp_path_factory):
    names = {"id2label": {0: "a", 1: "b", 2: "c"}, "label2id": {"a": 0, "b": 1, "c": 2}}
    folder = tmp_path_factory.mktemp("models") / "both"
    classifier_with_views(
        ground, folder, strands="average", problem_type=SINGLE, max_tokens=300, **names
    )
    return dnazen.load(folder, "cpu")


@pytest.fixture(scope="module")
def sequence(ground):
    """A piece of the genome, so that both strands have G-grams, with a stretch of N."""
    bases = ground.genome.read_text().split("\n")[1][:300]
    return bases[:100] + "NNNN" + bases[104:]


def turned(text):
    return reverse_complement(text.encode()).decode()


@pytest.fixture(scope="module")
def explained(model, sequence):
    return model.explain([sequence], STEPS)[0]


def test_the_output_is_the_mean_of_what_is_said_of_each_strand(model, sequence, explained):
    both = model.predict([sequence])[0].logits
    model.config.strands = "forward"
    try:
        found = [p.logits for p in model.predict([sequence, turned(sequence)])]
    finally:
        model.config.strands = "average"
    np.testing.assert_allclose(both, np.mean(found, axis=0), atol=1e-6)
    outputs = output_of(SINGLE, 1)(torch.from_numpy(np.stack(found)))
    assert explained.attribution.output == pytest.approx(float(outputs.mean()), abs=1e-4)


def test_everything_sums_to_the_change_of_the_output(explained):
    found = explained.attribution
    change = found.output - found.baseline
    assert explained.by_base.sum() == pytest.approx(change, abs=1e-2 * max(1, abs(change)))
    assert explained.by_base.sum() + found.gap == pytest.approx(change, abs=1e-6)
    assert explained.from_ggrams.sum() == pytest.approx(found.ggrams.sum(), abs=1e-6)
    assert found.bases.any()


def test_ggrams_stand_where_their_bases_do_on_their_strand(explained):
    strands = [ggram.strand for ggram in explained.ggrams]
    assert strands == sorted(strands)  # those of this strand first
    assert {"+", "-"} == set(strands)
    for ggram in explained.ggrams:
        for start, end in ggram.intervals:
            letters = explained.sequence[start:end]
            assert ggram.bases == (letters if ggram.strand == "+" else turned(letters))


def test_seen_from_the_other_strand_the_ggrams_change_places(model, sequence, explained):
    (other,) = model.explain([turned(sequence)], STEPS)
    assert other.attribution.output == pytest.approx(explained.attribution.output, abs=1e-5)
    here = {(g.ggram_id, g.strand): g for g in explained.ggrams}
    there = {(g.ggram_id, g.strand): g for g in other.ggrams}
    assert len(here) == len(explained.ggrams)
    flipped = {(n, "+" if strand == "-" else "-") for n, strand in here}
    assert set(there) == flipped
    for (number, strand), effect in here.items():
        mirrored = there[number, "+" if strand == "-" else "-"].turned(len(sequence))
        assert mirrored.intervals == effect.intervals
        assert mirrored.removal == pytest.approx(effect.removal, abs=1e-5)
        assert mirrored.attribution == pytest.approx(effect.attribution, abs=1e-5)


def test_a_sequence_that_is_cut_is_explained_as_far_as_it_is_read(model, ground):
    """On bases that only one strand read, only that one has a say."""
    bases = "".join(ground.genome.read_text().split("\n")[1])
    config = ExplanationConfig(target="b", steps=16, max_tokens=14, too_long="cut")
    for start in range(0, 2000, 100):
        (found,) = model.explain([bases[start : start + 100]], config)
        change = found.attribution.output - found.attribution.baseline
        assert found.by_base.sum() + found.attribution.gap == pytest.approx(change, abs=1e-6)
        for ggram in found.ggrams:
            for first, last in ggram.intervals:
                letters = found.sequence[first:last]
                assert ggram.bases == (letters if ggram.strand == "+" else turned(letters))


def test_a_removed_ggram_is_removed_from_its_strand_alone(model, explained, sequence):
    """Half of what the strand's own output loses."""
    model.config.strands = "forward"
    try:
        alone = [model.explain([text], STEPS)[0] for text in (sequence, turned(sequence))]
    finally:
        model.config.strands = "average"
    own = list(itertools.chain.from_iterable(one.ggrams for one in alone))
    assert len(own) == len(explained.ggrams)
    for half, whole in zip(explained.ggrams, own, strict=True):
        assert half.ggram_id == whole.ggram_id
        assert half.removal == pytest.approx(whole.removal / 2, abs=1e-5)
