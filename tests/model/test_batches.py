"""Batches against a collator that fills one cell at a time, and the laws of batch plans."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen.ggrams.masking import mask, sequence_keys
from dnazen.ggrams.matching import Matcher
from dnazen.ggrams.settings import MaskingConfig
from dnazen.ggrams.vocabulary import GGramVocabulary
from dnazen.model.batches import Collator, Example, token_budget_batches

CLS, SEP, PAD = 1, 2, 3
VOCAB = 12
GRAMS = [(5, 6), (6, 7), (5, 6, 7), (8, 8), (8, 8, 8), (11, 5, 11, 5)]


def matcher_of(grams):
    return Matcher(
        GGramVocabulary(
            tokens=np.array([t for gram in grams for t in gram], dtype=np.uint16),
            offsets=np.cumsum([0, *map(len, grams)]).astype(np.int64),
            counts=np.ones(len(grams), dtype=np.int64),
            pmi=np.zeros(len(grams), dtype=np.float32),
            vocab_size=VOCAB,
            tokenizer_sha256="",
        )
    )


MATCHER = matcher_of(GRAMS)

sequences_ = st.lists(
    st.lists(st.integers(5, VOCAB - 1) | st.just(SEP), min_size=1, max_size=20),
    min_size=1,
    max_size=5,
)


def by_hand(sequences, max_ggrams=None):
    """The batch of some sequences (special tokens included), a cell and a pair at a time."""
    width = max(map(len, sequences))
    batch = {"input_ids": [], "attention_mask": [], "ggram_ids": [], "ggram_offsets": [0]}
    pairs = set()
    for b, sequence in enumerate(sequences):
        empty = width - len(sequence)
        batch["input_ids"].append([*sequence, *[PAD] * empty])
        batch["attention_mask"].append([1] * len(sequence) + [0] * empty)
        slots = {}
        for start in range(len(sequence)):
            for length in range(2, 5):
                gram = tuple(sequence[start : start + length])
                if len(gram) < length or gram not in GRAMS:
                    continue
                if gram not in slots:
                    if max_ggrams is not None and len(slots) == max_ggrams:
                        continue
                    slots[gram] = len(batch["ggram_ids"])
                    batch["ggram_ids"].append(GRAMS.index(gram) + 1)
                pairs |= {(b * width + start + i, slots[gram]) for i in range(length)}
        batch["ggram_offsets"].append(len(batch["ggram_ids"]))
    batch["cover_token"] = [token for token, _ in sorted(pairs)]
    batch["cover_slot"] = [slot for _, slot in sorted(pairs)]
    return batch


def assert_same(batch, expected):
    assert set(batch) == set(expected)
    for name, tensor in batch.items():
        assert tensor.dtype == torch.int64, name
        assert tensor.tolist() == expected[name], name


@settings(deadline=None)
@given(sequences_, st.none() | st.integers(0, 3))
def test_a_batch_is_what_one_cell_at_a_time_makes(sequences, max_ggrams):
    collator = Collator(MATCHER, VOCAB, max_ggrams=max_ggrams)
    batch = collator([Example(np.array(s, dtype=np.uint16)) for s in sequences])
    assert_same(batch, by_hand([[CLS, *s, SEP] for s in sequences], max_ggrams))


@settings(deadline=None)
@given(sequences_, st.integers(0, 2**32), st.sampled_from(["corrupted", "unhidden"]))
def test_matches_are_those_of_the_corrupted_or_of_the_unhidden(sequences, seed, matches):
    config = MaskingConfig(rate=0.4, matches=matches)
    keys = sequence_keys(seed, 0, np.arange(len(sequences)))
    examples = [Example(np.array(s), int(k)) for s, k in zip(sequences, keys, strict=True)]
    batch = Collator(MATCHER, VOCAB, masking=config)(examples)
    corrupted, labels, matched = [], [], []
    width = max(map(len, sequences)) + 2
    for s, key in zip(sequences, keys, strict=True):
        whole = np.array([CLS, *s, SEP])
        one = mask(whole, np.array([0, len(whole)]), MATCHER, np.array([key]), config, VOCAB)
        corrupted.append(one.tokens.tolist())
        labels.append(one.labels.tolist() + [-100] * (width - len(whole)))
        seen = zip(corrupted[-1], labels[-1], strict=False)
        matched.append([t if label == -100 or matches == "corrupted" else 4 for t, label in seen])
    given = by_hand(corrupted)
    assert_same(batch, {**by_hand(matched), "input_ids": given["input_ids"], "labels": labels})
    hidden = batch["input_ids"] == 4 if matches == "corrupted" else batch["labels"] != -100
    hidden = hidden.flatten().nonzero().flatten()
    assert not set(hidden.tolist()) & set(batch["cover_token"].tolist())


@settings(deadline=None)
@given(sequences_)
def test_an_example_does_not_depend_on_its_company(sequences):
    config = MaskingConfig(rate=0.4)
    keys = sequence_keys(1, 2, np.arange(len(sequences)))
    examples = [Example(np.array(s), int(k)) for s, k in zip(sequences, keys, strict=True)]
    collator = Collator(MATCHER, VOCAB, masking=config)
    together = collator(examples)
    width = together["input_ids"].shape[1]
    offsets = together["ggram_offsets"].tolist()
    for b, example in enumerate(examples):
        alone = collator([example])
        length = alone["input_ids"].shape[1]
        for name in ("input_ids", "labels", "attention_mask"):
            assert torch.equal(together[name][b, :length], alone[name][0])
        slots = slice(offsets[b], offsets[b + 1])
        assert torch.equal(together["ggram_ids"][slots], alone["ggram_ids"])
        mine = together["cover_token"] // width == b
        assert torch.equal(together["cover_token"][mine] - b * width, alone["cover_token"])
        assert torch.equal(together["cover_slot"][mine] - offsets[b], alone["cover_slot"])


def test_a_twin_without_ggrams_hides_the_same_tokens():
    rng = np.random.default_rng(0)
    examples = [Example(rng.integers(5, VOCAB, 40), key) for key in range(8)]
    config = MaskingConfig()
    with_ggrams = Collator(MATCHER, VOCAB, masking=config)(examples)
    twin = Collator(None, VOCAB, masking=config, masking_matcher=MATCHER)(examples)
    plain = Collator(None, VOCAB, masking=config)(examples)
    assert torch.equal(with_ggrams["input_ids"], twin["input_ids"])
    assert torch.equal(with_ggrams["labels"], twin["labels"])
    assert not torch.equal(with_ggrams["labels"], plain["labels"])
    assert "ggram_ids" not in twin


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [([2, 0], torch.int64), ([0.5, 1.5], torch.float32), ([[1, 0], [1, 1]], torch.int64)],
)
def test_labels_of_examples_are_passed_on(labels, dtype):
    examples = [Example(np.array([5, 6]), label=label) for label in labels]
    batch = Collator(MATCHER, VOCAB)(examples)
    assert batch["labels"].tolist() == labels
    assert batch["labels"].dtype == dtype


# -- batches by token budget

lengths_ = st.lists(st.integers(1, 50), max_size=80).map(np.array)


@given(lengths_, st.integers(1, 120), st.integers(1, 5), st.integers(0, 99))
def test_every_example_stands_in_one_batch_within_the_budget(lengths, budget, pool, seed):
    lengths = lengths.astype(np.int64)
    batches = token_budget_batches(lengths, budget, np.random.default_rng(seed), pool)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * lengths[batch].max() <= budget
    again = token_budget_batches(lengths, budget, np.random.default_rng(seed), pool)
    assert [b.tolist() for b in again] == [b.tolist() for b in batches]


def test_batches_are_of_like_length_and_in_random_order():
    rng = np.random.default_rng(0)
    lengths = rng.integers(10, 300, 20_000)
    batches = token_budget_batches(lengths, 4096, np.random.default_rng(1))
    boxes = np.array([len(b) * lengths[b].max() for b in batches])
    assert lengths.sum() / boxes.sum() > 0.95
    assert boxes.mean() > 0.9 * 4096
    means = np.array([lengths[b].mean() for b in batches])
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.1
