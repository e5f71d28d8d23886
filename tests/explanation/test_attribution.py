"""Attributions beside exact integrals, sums, and the model called by hand."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from directories import random_directory
from dnazen.explanation.attribution import (
    Subject,
    ggram_removal,
    integrated_gradients,
    occlusion,
    on_bases,
    on_tokens,
    output_of,
    read,
)
from dnazen.model.batches import Collator
from dnazen.model.modeling import DnazenForSequenceClassification
from dnazen.tokens.special import MASK, UNK

SINGLE = "single_label_classification"


def subject_of(ground, folder, **changes):
    """A model whose weights are large enough to be far from linear."""
    model, parts = random_directory(
        ground,
        folder,
        kind=DnazenForSequenceClassification,
        num_labels=3,
        initializer_range=0.1,
        **changes,
    )
    return Subject(model.eval(), Collator.of(parts), output_of(SINGLE, 1))


@pytest.fixture(scope="module")
def subject(ground, tmp_path_factory):
    return subject_of(ground, tmp_path_factory.mktemp("models") / "m")


def sequence_of(subject, size=25, seed=0):
    """Tokens with some G-grams, one of them twice, and a stretch of N."""
    rng = np.random.default_rng(seed)
    matcher, vocab = subject.collator.matcher, subject.collator.vocab_size
    while True:
        tokens = rng.integers(5, vocab, size).astype(np.uint16)
        tokens[12:] = tokens[: size - 12]
        tokens[5] = UNK
        found = matcher.occurrences(tokens, np.array([0, size])).ggram_id
        if 2 <= len(set(found.tolist())) < len(found):
            return tokens


def said(subject, tokens, slots=None, **more):
    """The output from the model's inputs made one by one; ``slots`` are those kept."""
    ids = np.array([1, *tokens.tolist(), 2])
    names = ("ggram_ids", "ggram_offsets", "cover_token", "cover_slot")
    found = subject.collator.matcher.match(ids, np.array([0, len(ids)]))
    if slots is not None:
        pairs = [
            (t, slots.index(s))
            for t, s in zip(found.cover_token, found.cover_slot, strict=True)
            if s in slots
        ]
        found = (
            found.ggram_ids[slots],
            np.array([0, len(slots)]),
            np.array([t for t, _ in pairs], dtype=np.int64),
            np.array([s for _, s in pairs], dtype=np.int64),
        )
    given = {n: torch.from_numpy(np.asarray(x)) for n, x in zip(names, found, strict=True)}
    with torch.no_grad():
        logits = subject.model(torch.from_numpy(ids)[None], **given, **more).logits
        p = logits.softmax(1)[0, 1].item()
    return np.log(p / (1 - p))


@pytest.mark.parametrize("seed", range(3))
def test_attributions_sum_to_the_change_of_the_output(subject, seed):
    tokens = sequence_of(subject, seed=seed)
    found = integrated_gradients(subject, tokens, steps=64)
    assert found.tokens.shape == tokens.shape
    assert found.output == pytest.approx(said(subject, tokens), abs=1e-5)
    hidden = np.array([1, *[MASK] * len(tokens), 2])
    embeds = subject.model.get_input_embeddings().weight.detach()[hidden][None]
    slots = len(read(subject, tokens).ggram_ids)
    nothing = torch.zeros(slots, subject.model.config.hidden_size)
    baseline = said(subject, tokens, inputs_embeds=embeds, ggram_embeds=nothing)
    assert found.baseline == pytest.approx(baseline, abs=1e-5)
    assert abs(found.output - found.baseline) > 0.05
    total = found.tokens.sum() + found.ggrams.sum()
    assert total == pytest.approx(found.output - found.baseline, abs=1e-4)
    assert found.gap == pytest.approx(found.output - found.baseline - total, abs=1e-9)
    assert abs(found.gap) < abs(integrated_gradients(subject, tokens, steps=3).gap)


@pytest.mark.parametrize("embedding", ["composed", "shared"])
def test_attributions_sum_for_models_of_other_shapes_too(ground, tmp_path, embedding):
    subject = subject_of(
        ground, tmp_path / "m", ggram_embedding=embedding, classifier_pooling="mean"
    )
    tokens = sequence_of(subject)
    found = integrated_gradients(subject, tokens, steps=64)
    assert found.output == pytest.approx(said(subject, tokens), abs=1e-5)
    total = found.tokens.sum() + found.ggrams.sum()
    assert total == pytest.approx(found.output - found.baseline, abs=1e-4)
    # The row of a composed G-gram starts at the padding's: what it tells is its tokens'.
    assert found.ggrams.any() == (embedding == "shared")


def test_more_steps_tell_the_same(subject):
    tokens = sequence_of(subject)
    some, more = (integrated_gradients(subject, tokens, steps=n) for n in (64, 200))
    np.testing.assert_allclose(some.tokens, more.tokens, atol=1e-4)
    np.testing.assert_allclose(some.ggrams, more.ggrams, atol=1e-4)


class Linear(nn.Module):
    """Logit 1 is a weighted sum of embeddings, and each G-gram counts once a token it covers."""

    def __init__(self, like):
        super().__init__()
        self.tokens = like.get_input_embeddings()
        self.rows = like.dnazen.ggram_embeddings.word_embeddings
        self.dnazen = SimpleNamespace(
            embeddings=SimpleNamespace(word_embeddings=self.tokens),
            ggram_embeddings=SimpleNamespace(word_embeddings=self.rows),
        )
        self.place = nn.Parameter(torch.randn(200, self.tokens.embedding_dim))
        self.ggram = nn.Parameter(torch.randn(self.tokens.embedding_dim))
        self.device = torch.device("cpu")

    def forward(self, input_ids=None, inputs_embeds=None, ggram_embeds=None, **inputs):
        embeds = self.tokens(input_ids) if inputs_embeds is None else inputs_embeds
        width = embeds.shape[1]
        total = (embeds * self.place[:width]).sum((1, 2))
        rows = self.rows(inputs["ggram_ids"]) if ggram_embeds is None else ggram_embeds
        added = (rows @ self.ggram)[inputs["cover_slot"]]
        total = total.index_add(0, inputs["cover_token"] // width, added)
        return SimpleNamespace(logits=torch.stack([torch.zeros_like(total), total], 1))


def test_on_a_linear_model_every_method_is_exact(subject):
    torch.manual_seed(0)
    model = Linear(subject.model)
    linear = subject._replace(model=model)
    tokens = sequence_of(subject)
    here = read(linear, tokens)
    table, rows = model.tokens.weight.detach(), model.rows.weight.detach()
    ids = torch.from_numpy(tokens.astype(np.int64))
    by_hand = ((table[ids] - table[MASK]) * model.place[1 : len(ids) + 1]).sum(1).detach()
    times = torch.bincount(here.cover_slot).double()
    ggrams = ((rows[here.ggram_ids] - rows[0]) @ model.ggram).detach() * times
    for steps in (1, 5):
        found = integrated_gradients(linear, tokens, steps)
        np.testing.assert_allclose(found.tokens, by_hand, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.ggrams, ggrams, rtol=1e-4, atol=1e-4)
        assert found.gap == pytest.approx(0, abs=1e-4)
    removal = ggram_removal(linear, tokens)
    whole = (rows[here.ggram_ids] @ model.ggram).detach() * times
    np.testing.assert_allclose(removal.each, whole, rtol=1e-4, atol=1e-4)
    assert removal.together == pytest.approx(whole.sum().item(), abs=1e-3)


def test_occlusion_by_brute_force(subject):
    tokens = sequence_of(subject)
    found = occlusion(subject, tokens)
    assert len(np.unique(found.round(6))) > 10
    for place in range(len(tokens)):
        hidden = tokens.copy()
        hidden[place] = MASK
        expected = said(subject, tokens) - said(subject, hidden)
        assert found[place] == pytest.approx(expected, abs=1e-5)


def test_removal_by_brute_force(subject):
    tokens = sequence_of(subject)
    found = ggram_removal(subject, tokens)
    slots = list(range(len(found.each)))
    assert len(slots) >= 2
    for slot in slots:
        others = [s for s in slots if s != slot]
        expected = said(subject, tokens) - said(subject, tokens, others)
        assert found.each[slot] == pytest.approx(expected, abs=1e-5)
    assert found.together == pytest.approx(
        said(subject, tokens) - said(subject, tokens, []), abs=1e-5
    )


def test_a_sequence_without_ggrams(subject):
    tokens = np.array([5, UNK, 6], dtype=np.uint16)
    assert not len(read(subject, tokens).ggram_ids)
    found = integrated_gradients(subject, tokens)
    assert found.ggrams.shape == (0,)
    assert found.gap == pytest.approx(0, abs=1e-4)
    removal = ggram_removal(subject, tokens)
    assert (removal.each.shape, removal.together) == ((0,), 0.0)
    assert (
        on_tokens(found.ggrams, read(subject, tokens), np.array([0, 1, 5, 6])).tolist() == [0] * 3
    )


def test_a_model_without_ggrams(ground, tmp_path):
    model, parts = random_directory(
        ground,
        tmp_path / "m",
        kind=DnazenForSequenceClassification,
        num_labels=2,
        ggram_vocab_size=0,
    )
    bare = dataclasses.replace(Collator.of(parts), matcher=None)
    subject = Subject(model.eval(), bare, output_of(SINGLE, 0))
    tokens = np.arange(5, 25, dtype=np.uint16)
    found = integrated_gradients(subject, tokens)
    assert (len(found.tokens), len(found.ggrams)) == (20, 0)
    assert found.gap == pytest.approx(0, abs=1e-4)
    assert len(occlusion(subject, tokens)) == 20
    assert ggram_removal(subject, tokens).together == 0


@pytest.mark.parametrize("budget", [1, 100, 10_000])
def test_the_numbers_do_not_depend_on_the_batch(subject, budget):
    tokens = sequence_of(subject)
    other = subject._replace(tokens_per_batch=budget)
    for one, same in zip(
        integrated_gradients(subject, tokens, 8)[:2],
        integrated_gradients(other, tokens, 8)[:2],
        strict=True,
    ):
        np.testing.assert_allclose(one, same, atol=1e-5)
    np.testing.assert_allclose(occlusion(subject, tokens), occlusion(other, tokens), atol=1e-5)
    for one, same in zip(ggram_removal(subject, tokens), ggram_removal(other, tokens), strict=True):
        np.testing.assert_allclose(one, same, atol=1e-5)


def test_the_model_is_left_as_it_was(subject):
    integrated_gradients(subject, sequence_of(subject), 4)
    assert not subject.model.training
    assert all(p.requires_grad and p.grad is None for p in subject.model.parameters())


def test_outputs_by_hand():
    logits = torch.tensor([[0.5, -1.0, 2.0], [3.0, 0.0, 0.0]])
    p = logits.double().softmax(1).numpy()
    for label in range(3):
        expected = np.log(p[:, label] / (1 - p[:, label]))
        np.testing.assert_allclose(output_of(SINGLE, label)(logits), expected, atol=1e-5)
        shifted = output_of(SINGLE, label)(logits + 7)
        np.testing.assert_allclose(shifted, expected, atol=1e-5)
        for kind in ("regression", "multi_label_classification"):
            assert output_of(kind, label)(logits).tolist() == logits[:, label].tolist()


widths = st.lists(st.integers(1, 6), min_size=1, max_size=12)


@given(widths, st.data())
def test_spreading_keeps_sums(widths, data):
    starts = np.cumsum([0, *widths])
    values = np.array(
        data.draw(st.lists(st.floats(-9, 9), min_size=len(widths), max_size=len(widths)))
    )
    spread = on_bases(values, starts)
    for value, start, end in zip(values, starts, starts[1:], strict=False):
        assert spread[start:end].sum() == pytest.approx(value, abs=1e-9)
        assert np.ptp(spread[start:end]) == 0


def test_ggrams_are_shared_by_bases(subject):
    tokens = sequence_of(subject)
    here = read(subject, tokens)
    starts = np.cumsum([0, *(np.arange(len(tokens)) % 4 + 1)])
    ggrams = np.random.default_rng(0).normal(size=len(here.ggram_ids))
    expected = np.zeros(starts[-1])
    for slot, value in enumerate(ggrams):
        places = [
            t - 1
            for t, s in zip(here.cover_token.tolist(), here.cover_slot.tolist(), strict=True)
            if s == slot
        ]
        bases = [b for t in places for b in range(starts[t], starts[t + 1])]
        expected[bases] += value / len(bases)
    found = on_tokens(ggrams, here, starts)
    assert found.sum() == pytest.approx(ggrams.sum())
    np.testing.assert_allclose(on_bases(found, starts), expected, atol=1e-12)
