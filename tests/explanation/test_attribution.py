"""Attributions beside exact integrals, sums, and the model called by hand."""

from __future__ import annotations

import dataclasses
import itertools
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from directories import classifier_with_views, random_directory, rewrite
from dnazen.explanation import attribution
from dnazen.explanation.attribution import (
    ggram_removal,
    integrated_gradients,
    matched_ggrams,
    occlusion,
    on_bases,
    on_tokens,
    output_of,
)
from dnazen.explanation.settings import ExplanationConfig
from dnazen.inference.opened import OpenedModel
from dnazen.model.bases import base_table
from dnazen.model.batches import Example
from dnazen.model.layout import Layout
from dnazen.model.modeling import DnazenForSequenceClassification
from dnazen.tokens.special import MASK, UNK
from dnazen.tokens.tokenizer import token_strings
from model.test_kmers import names_of, words_of

SINGLE = "single_label_classification"
OUTPUT = output_of(SINGLE, 1)
CONFIG = ExplanationConfig()


def model_of(ground, folder, **changes):
    """A model whose weights are large enough to be far from linear."""
    random_directory(
        ground,
        folder,
        kind=DnazenForSequenceClassification,
        initializer_range=0.1,
        **{"num_labels": 3} | changes,
    )
    return OpenedModel.open(folder, "cpu")


@pytest.fixture(scope="module")
def model(ground, tmp_path_factory):
    return model_of(ground, tmp_path_factory.mktemp("models") / "m")


def sequence_of(model, size=25, seed=0):
    """Tokens with some G-grams, one of them twice, and a stretch of N."""
    rng = np.random.default_rng(seed)
    matcher, vocab = model.collator.matcher, model.collator.vocab_size
    while True:
        tokens = rng.integers(5, vocab, size).astype(np.uint16)
        tokens[12:] = tokens[: size - 12]
        tokens[5] = UNK
        found = matcher.occurrences(tokens, np.array([0, size])).ggram_id
        if 2 <= len(set(found.tolist())) < len(found):
            return tokens


def output_at(model, tokens, slots=None, **more):
    """The output from the model's inputs made one by one; ``slots`` are those kept."""
    ids = np.array([1, *tokens.tolist(), 2])
    names = ("ggram_ids", "ggram_offsets", "cover_token", "cover_slot")
    found = model.collator.matcher.match(ids, np.array([0, len(ids)]))
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
        logits = model.classifier(torch.from_numpy(ids)[None], **given, **more).logits
        p = logits.softmax(1)[0, 1].item()
    return np.log(p / (1 - p))


@pytest.mark.parametrize("seed", range(3))
def test_attributions_sum_to_the_change_of_the_output(model, seed):
    tokens = sequence_of(model, seed=seed)
    found = integrated_gradients(model, tokens, OUTPUT, ExplanationConfig(steps=64))
    assert found.tokens.shape == tokens.shape
    assert found.output == pytest.approx(output_at(model, tokens), abs=1e-5)
    hidden = np.array([1, *[MASK] * len(tokens), 2])
    embeds = model.encoder.embeddings.word_embeddings.weight.detach()[hidden][None]
    slots = len(matched_ggrams(model, tokens).ids)
    nothing = torch.zeros(slots, model.config.hidden_size)
    baseline = output_at(model, tokens, inputs_embeds=embeds, ggram_embeds=nothing)
    assert found.baseline == pytest.approx(baseline, abs=1e-5)
    assert abs(found.output - found.baseline) > 0.05
    total = found.tokens.sum() + found.ggrams.sum()
    assert total == pytest.approx(found.output - found.baseline, abs=1e-4)
    assert found.gap == pytest.approx(found.output - found.baseline - total, abs=1e-9)
    assert abs(found.gap) < abs(
        integrated_gradients(model, tokens, OUTPUT, ExplanationConfig(steps=3)).gap
    )


@pytest.mark.parametrize("embedding", ["composed", "shared"])
def test_attributions_sum_for_models_of_other_shapes_too(ground, tmp_path, embedding):
    model = model_of(ground, tmp_path / "m", ggram_embedding=embedding, classifier_pooling="mean")
    tokens = sequence_of(model)
    found = integrated_gradients(model, tokens, OUTPUT, ExplanationConfig(steps=64))
    assert found.output == pytest.approx(output_at(model, tokens), abs=1e-5)
    total = found.tokens.sum() + found.ggrams.sum()
    assert total == pytest.approx(found.output - found.baseline, abs=1e-4)
    # The row of a composed G-gram starts at the padding's: what it tells is its tokens'.
    assert found.ggrams.any() == (embedding == "shared")


def test_attributions_of_a_base_view_sum_too(ground, tmp_path):
    """The view's share of a token is the token's: it is hidden with it at the baseline."""
    shape = {"base_channels": 5, "longest_token_bp": 64}
    model = model_of(ground, tmp_path / "m", **shape)
    view = model.encoder.bases
    with torch.no_grad():
        table = base_table(model.tokenizer, model.config.vocab_size)
        view.table[:, : table.shape[1]] = table
        view.output.weight.normal_(0, 0.5)
    tokens = sequence_of(model)
    result = integrated_gradients(model, tokens, OUTPUT, dataclasses.replace(CONFIG, steps=128))
    assert abs(result.gap) < 1e-3 * max(1.0, abs(result.output - result.baseline))
    assert result.output == pytest.approx(output_at(model, tokens), abs=1e-5)
    with torch.no_grad():
        view.output.weight.zero_()
    without = integrated_gradients(model, tokens, OUTPUT, CONFIG)
    assert without.output != pytest.approx(result.output, abs=1e-3)


@pytest.fixture(scope="module")
def viewed(ground, tmp_path_factory):
    """A model with k-mers and a base view that speak."""
    folder = tmp_path_factory.mktemp("models") / "viewed"
    return OpenedModel.open(classifier_with_views(ground, folder, num_labels=3), "cpu")


def said_by_views(model, tokens):
    """What base view and k-mers say, (bases seen, none seen): each by its own network."""
    network, said = model.classifier, []
    ids = torch.tensor([1, *tokens.tolist(), 2])
    hidden = torch.tensor([1, *[MASK] * len(tokens), 2])
    for some in (ids, hidden):
        layout = Layout(1, len(some), None, None)
        reading = network.dnazen.bases(some, layout)
        largest = network.dnazen.bases.largest(reading, 1)
        said.append(network.base_head(largest) + network.kmers(some, layout))
    return said


def test_views_that_speak_themselves_are_part_of_the_sum(viewed):
    tokens = sequence_of(viewed)
    found = integrated_gradients(viewed, tokens, OUTPUT, ExplanationConfig(steps=128))
    assert found.output == pytest.approx(output_at(viewed, tokens), abs=1e-5)
    with torch.no_grad():
        _, nothing = said_by_views(viewed, tokens)
        hidden = torch.tensor([[1, *[MASK] * len(tokens), 2]])
        given = {
            "inputs_embeds": viewed.encoder.token_embeddings(hidden),
            "ggram_embeds": torch.zeros(
                len(matched_ggrams(viewed, tokens).ids), viewed.config.hidden_size
            ),
            "side_logits": nothing,
        }
    assert found.baseline == pytest.approx(output_at(viewed, tokens, **given), abs=1e-5)
    parts = [found.tokens.sum(), found.ggrams.sum(), found.bases.sum()]
    assert min(map(abs, parts)) > 1e-3
    assert sum(parts) == pytest.approx(found.output - found.baseline, abs=2e-3)
    assert abs(found.gap) < 2e-3


@pytest.mark.parametrize("silent", ["base_head.weight", "kmers.output.weight", None])
def test_what_views_say_of_a_number_is_shared_exactly(ground, tmp_path, silent):
    """In regression a view's part does not depend on the rest: it is what it says, to the digit."""
    folder = classifier_with_views(ground, tmp_path / "m", num_labels=2, problem_type="regression")
    if silent is not None:
        rewrite(folder, lambda weights: weights[silent].zero_())
    model = OpenedModel.open(folder, "cpu")
    tokens = sequence_of(model)
    found = integrated_gradients(model, tokens, output_of("regression", 1), CONFIG)
    with torch.no_grad():
        seen, nothing = said_by_views(model, tokens)
    assert found.bases.sum() == pytest.approx(float((seen - nothing)[0, 1]), abs=1e-4)
    if silent == "base_head.weight":  # k-mers alone: by the bases that hold each occurrence
        strings = ["N" if t == UNK else s for t, s in spelt(model, tokens)]
        weight_of = model.classifier.kmers.weight_of.numpy()
        of_label = model.classifier.kmers.output.weight[1].detach().numpy()
        text, names = "".join(strings), names_of(3, canonical=False)
        words = [(names.index(word), *place) for word, *place in words_of(text, 3, False)]
        counts = np.bincount([f for f, _, _ in words], minlength=len(names))
        norm = np.linalg.norm(counts * weight_of)
        by_base = np.zeros(len(text))
        for feature, start, size in words:
            share = of_label[feature] * weight_of[feature] / norm / size
            by_base[start : start + size] += share
        starts = np.cumsum([0, *map(len, strings)])
        expected = [by_base[a:b].sum() for a, b in itertools.pairwise(starts)]
        np.testing.assert_allclose(found.bases, expected, atol=1e-5)


def spelt(model, tokens):
    strings = token_strings(model.tokenizer)
    return [(token, strings[token]) for token in tokens.tolist()]


def test_occlusion_hides_bases_from_the_views_too(viewed):
    tokens = sequence_of(viewed)
    found = occlusion(viewed, tokens, OUTPUT, CONFIG)
    for place in range(0, len(tokens), 5):
        hidden = tokens.copy()
        hidden[place] = MASK
        expected = output_at(viewed, tokens) - output_at(viewed, hidden)
        assert found[place] == pytest.approx(expected, abs=1e-5)


def test_more_steps_tell_the_same(model):
    tokens = sequence_of(model)
    some, more = (
        integrated_gradients(model, tokens, OUTPUT, ExplanationConfig(steps=n)) for n in (64, 200)
    )
    np.testing.assert_allclose(some.tokens, more.tokens, atol=1e-4)
    np.testing.assert_allclose(some.ggrams, more.ggrams, atol=1e-4)


class Linear(nn.Module):
    """Logit 1 is a weighted sum of embeddings, and each G-gram counts once a token it covers."""

    def __init__(self, encoder):
        super().__init__()
        self.tokens = encoder.embeddings.word_embeddings
        self.rows = encoder.ggram_embeddings.word_embeddings
        self.place = nn.Parameter(torch.randn(200, self.tokens.embedding_dim))
        self.ggram = nn.Parameter(torch.randn(self.tokens.embedding_dim))

    def forward(self, input_ids=None, inputs_embeds=None, ggram_embeds=None, **inputs):
        embeds = self.tokens(input_ids) if inputs_embeds is None else inputs_embeds
        width = embeds.shape[1]
        total = (embeds * self.place[:width]).sum((1, 2))
        rows = self.rows(inputs["ggram_ids"]) if ggram_embeds is None else ggram_embeds
        added = (rows @ self.ggram)[inputs["cover_slot"]]
        total = total.index_add(0, inputs["cover_token"] // width, added)
        return SimpleNamespace(logits=torch.stack([torch.zeros_like(total), total], 1))


def test_on_a_linear_model_every_method_is_exact(model):
    torch.manual_seed(0)
    network = Linear(model.encoder)
    linear = dataclasses.replace(model, classifier_network=network)
    tokens = sequence_of(model)
    matched = matched_ggrams(linear, tokens)
    table, rows = network.tokens.weight.detach(), network.rows.weight.detach()
    ids = torch.from_numpy(tokens.astype(np.int64))
    by_hand = ((table[ids] - table[MASK]) * network.place[1 : len(ids) + 1]).sum(1).detach()
    times = torch.from_numpy(np.bincount(matched.cover_slot)).double()
    of_ids = rows[torch.from_numpy(matched.ids)]
    ggrams = ((of_ids - rows[0]) @ network.ggram).detach() * times
    for steps in (1, 5):
        found = integrated_gradients(linear, tokens, OUTPUT, ExplanationConfig(steps=steps))
        np.testing.assert_allclose(found.tokens, by_hand, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(found.ggrams, ggrams, rtol=1e-4, atol=1e-4)
        assert found.gap == pytest.approx(0, abs=1e-4)
    removal = ggram_removal(linear, tokens, OUTPUT, CONFIG)
    whole = (of_ids @ network.ggram).detach() * times
    np.testing.assert_allclose(removal.by_slot, whole, rtol=1e-4, atol=1e-4)
    assert removal.together == pytest.approx(whole.sum().item(), abs=1e-3)


def test_occlusion_by_brute_force(model):
    tokens = sequence_of(model)
    found = occlusion(model, tokens, OUTPUT, CONFIG)
    assert len(np.unique(found.round(6))) > 10
    for place in range(len(tokens)):
        hidden = tokens.copy()
        hidden[place] = MASK
        expected = output_at(model, tokens) - output_at(model, hidden)
        assert found[place] == pytest.approx(expected, abs=1e-5)


def test_removal_by_brute_force(model):
    tokens = sequence_of(model)
    found = ggram_removal(model, tokens, OUTPUT, CONFIG)
    slots = list(range(len(found.by_slot)))
    assert len(slots) >= 2
    for slot in slots:
        others = [s for s in slots if s != slot]
        expected = output_at(model, tokens) - output_at(model, tokens, others)
        assert found.by_slot[slot] == pytest.approx(expected, abs=1e-5)
    assert found.together == pytest.approx(
        output_at(model, tokens) - output_at(model, tokens, []), abs=1e-5
    )


def test_a_sequence_without_ggrams(model):
    tokens = np.array([5, UNK, 6], dtype=np.uint16)
    assert not len(matched_ggrams(model, tokens).ids)
    found = integrated_gradients(model, tokens, OUTPUT, CONFIG)
    assert found.ggrams.shape == (0,)
    assert found.gap == pytest.approx(0, abs=1e-4)
    removal = ggram_removal(model, tokens, OUTPUT, CONFIG)
    assert (removal.by_slot.shape, removal.together) == ((0,), 0.0)
    assert (
        on_tokens(found.ggrams, matched_ggrams(model, tokens), np.array([0, 1, 5, 6])).tolist()
        == [0] * 3
    )


def test_a_model_without_ggrams(ground, tmp_path):
    model = model_of(ground, tmp_path / "m", num_labels=2, ggram_vocab_size=0)
    model = dataclasses.replace(model, collator=dataclasses.replace(model.collator, matcher=None))
    tokens = np.arange(5, 25, dtype=np.uint16)
    found = integrated_gradients(model, tokens, OUTPUT, CONFIG)
    assert (len(found.tokens), len(found.ggrams)) == (20, 0)
    assert found.gap == pytest.approx(0, abs=1e-4)
    assert len(occlusion(model, tokens, OUTPUT, CONFIG)) == 20
    assert ggram_removal(model, tokens, OUTPUT, CONFIG).together == 0


@pytest.mark.parametrize("budget", [1, 100, 10_000])
def test_the_numbers_do_not_depend_on_the_batch(model, budget):
    tokens = sequence_of(model)
    config = ExplanationConfig(steps=8, tokens_per_batch=budget)
    for method in (integrated_gradients, ggram_removal):
        one = method(model, tokens, OUTPUT, ExplanationConfig(steps=8))
        same = method(model, tokens, OUTPUT, config)
        for values, others in zip(one[:2], same[:2], strict=True):
            np.testing.assert_allclose(values, others, atol=1e-5)
    one, same = (occlusion(model, tokens, OUTPUT, c) for c in (CONFIG, config))
    np.testing.assert_allclose(one, same, atol=1e-5)


def test_the_model_is_left_as_it_was(model):
    for training in (False, True):
        model.encoder.train(training)
        integrated_gradients(model, sequence_of(model), OUTPUT, ExplanationConfig(steps=4))
        assert model.encoder.training == training
    model.encoder.eval()
    assert all(p.requires_grad and p.grad is None for p in model.classifier.parameters())


def test_slots_of_a_batch_that_is_not_of_copies(model):
    """Each sequence loses its own G-grams, and the others keep their places."""
    examples = [Example(sequence_of(model, size, seed)) for size, seed in ((25, 0), (40, 1))]
    batch = model.collator(examples)
    kept = torch.ones_like(batch["ggram_ids"], dtype=torch.bool)
    kept[::2] = False
    fewer = attribution._only_slots(batch, kept)
    pairs = {
        (token, int(batch["ggram_ids"][slot]))
        for token, slot in zip(
            batch["cover_token"].tolist(), batch["cover_slot"].tolist(), strict=True
        )
        if kept[slot]
    }
    left = list(zip(fewer["cover_token"].tolist(), fewer["cover_slot"].tolist(), strict=True))
    assert {(token, int(fewer["ggram_ids"][slot])) for token, slot in left} == pairs
    assert len(left) == int(kept[batch["cover_slot"]].sum())
    first = int(batch["ggram_offsets"][1])
    assert fewer["ggram_offsets"].tolist() == [0, int(kept[:first].sum()), int(kept.sum())]


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


def test_ggrams_are_shared_by_bases(model):
    tokens = sequence_of(model)
    matched = matched_ggrams(model, tokens)
    starts = np.cumsum([0, *(np.arange(len(tokens)) % 4 + 1)])
    ggrams = np.random.default_rng(0).normal(size=len(matched.ids))
    expected = np.zeros(starts[-1])
    for slot, value in enumerate(ggrams):
        places = [
            t
            for t, s in zip(matched.cover_token.tolist(), matched.cover_slot.tolist(), strict=True)
            if s == slot
        ]
        bases = [b for t in places for b in range(starts[t], starts[t + 1])]
        expected[bases] += value / len(bases)
    found = on_tokens(ggrams, matched, starts)
    assert found.sum() == pytest.approx(ggrams.sum())
    np.testing.assert_allclose(on_bases(found, starts), expected, atol=1e-12)
