"""The batches of a run: whole passes, the same each time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnazen.training.batch_plan import BatchPlan, ExampleKey, LengthBuckets
from model.test_batches import lengths_


@given(lengths_.filter(len), st.integers(0, 40), st.integers(0, 9))
def test_a_plan_is_whole_passes_and_the_same_each_time(lengths, batches, seed):
    plan = BatchPlan(lengths, 60, batches, seed)
    made = list(plan)
    assert len(made) == len(plan) == batches
    assert made == list(BatchPlan(lengths, 60, batches, seed))
    longer = list(BatchPlan(lengths, 60, batches + 7, seed))
    assert longer[:batches] == made  # so a run that takes longer starts alike
    last = max((batch[0].epoch for batch in made), default=0)
    for epoch in range(last + 1):
        numbers = [key.number for batch in made for key in batch if key.epoch == epoch]
        assert len(set(numbers)) == len(numbers)
        if epoch < last:
            assert sorted(numbers) == list(range(len(lengths)))
    assert all(isinstance(key, ExampleKey) for batch in made for key in batch)
    assert all(len({key.epoch for key in batch}) == 1 for batch in made)


def test_passes_and_seeds_differ():
    lengths = np.full(64, 10)
    first, second = np.array_split(np.array(list(BatchPlan(lengths, 40, 32, 0))), 2)
    assert first[..., 1].tolist() != second[..., 1].tolist()
    assert list(BatchPlan(lengths, 40, 16, 0)) != list(BatchPlan(lengths, 40, 16, 1))


def test_examples_are_drawn_as_often_as_they_weigh():
    lengths = np.full(5, 10)
    weights = np.array([0.0, 0.25, 1.0, 2.5, 3.0])
    keys = [key for batch in BatchPlan(lengths, 20, 4000, 0, weights) for key in batch]
    passes = keys[-1].epoch
    drawn = np.bincount([key.number for key in keys if key.epoch < passes], minlength=5) / passes
    assert drawn[[0, 2, 4]].tolist() == [0, 1, 3]
    assert drawn[[1, 3]] == pytest.approx([0.25, 2.5], abs=0.05)


def test_a_plan_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one example"):
        BatchPlan(np.full(3, 10), 10, 1, 0, np.zeros(3))
    with pytest.raises(ValueError, match="at least one example"):
        BatchPlan(np.zeros(0, dtype=np.int64), 10, 1, 0)


# -- rows of like length in a batch of fine-tuning


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 8), st.integers(0, 9))
def test_every_row_comes_once_a_pass(lengths, rows_per_batch, seed):
    sampler = LengthBuckets(np.array(lengths), rows_per_batch, seed)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        orders.append(list(sampler))
        assert sorted(orders[-1]) == list(range(len(lengths)))
        assert orders[-1] == list(sampler)  # the order is that of seed and pass alone
    assert len(sampler) == len(lengths)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 8))
def test_batches_of_a_pool_part_the_rows_by_length(lengths, rows_per_batch):
    order = list(LengthBuckets(np.array(lengths), rows_per_batch, 0))
    whole = len(order) // rows_per_batch * rows_per_batch
    batches = [order[i : i + rows_per_batch] for i in range(0, whole, rows_per_batch)]
    bounds = sorted((min(lengths[i] for i in b), max(lengths[i] for i in b)) for b in batches)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(bounds))


def test_orders_of_passes_and_of_seeds_differ():
    lengths = np.arange(200) % 7
    orders = set()
    for seed in (0, 1):
        sampler = LengthBuckets(lengths, 4, seed)
        for epoch in (0, 1):
            sampler.set_epoch(epoch)
            orders.add(tuple(sampler))
    assert len(orders) == 4
