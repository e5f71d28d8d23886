"""Every item is read once, alone or with others, and comes back in its place."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dnazen.inference.loop import POOL_BATCHES, run
from dnazen.model.batches import Example

NETWORK = nn.Linear(1, 1)


class Item(NamedTuple):
    tokens: np.ndarray


def collate(examples):
    return {"lengths": torch.tensor([len(example.tokens) for example in examples])}


@given(st.lists(st.integers(0, 30), max_size=200), st.integers(1, 60))
def test_items_come_back_in_order_with_their_results(lengths, budget):
    items = [Item(np.full(length, number)) for number, length in enumerate(lengths)]
    batches, progress = [], []

    def forward(inputs, members):
        assert inputs["lengths"].tolist() == [len(item.tokens) for item in members]
        widest = max(len(item.tokens) for item in members) + 2
        assert len(members) * widest <= budget or len(members) == 1
        batches.append(len(members))
        return [(int(item.tokens[0]), len(item.tokens)) for item in members]

    results = list(
        run(NETWORK, collate, items, forward, tokens_per_batch=budget, progress=progress.append)
    )
    assert [item for item, _ in results] == items
    for number, (item, result) in enumerate(results):
        length = len(item.tokens)
        assert result == ((number, length) if length else None)
    assert sum(batches) == sum(length > 0 for length in lengths)
    assert sum(progress) == sum(lengths)


def test_no_more_is_taken_than_a_pool_holds():
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield Item(np.zeros(8, dtype=np.uint16))

    results = run(
        NETWORK, collate, endless(), lambda inputs, members: members, tokens_per_batch=100
    )
    next(results)
    assert taken == POOL_BATCHES * 100 // 10


def test_an_example_keeps_its_key_and_label():
    example = Example(np.zeros(3, dtype=np.uint16), key=7, label=1)
    seen = []

    def remember(examples):
        seen.extend(examples)
        return {}

    list(run(NETWORK, remember, [example], lambda inputs, members: members))
    assert seen == [example]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("gradients", [False, True])
def test_the_network_computes_in_evaluation_mode_and_is_left_as_it_was(training, gradients):
    network = nn.Linear(1, 1).train(training)

    def forward(inputs, members):
        assert not network.training
        slope = network(torch.ones(1, 1)).requires_grad
        return [slope] * len(members)

    items = [Item(np.zeros(2, dtype=np.uint16))]
    [(_, result)] = run(network, collate, items, forward, gradients=gradients)
    assert result is gradients
    assert network.training is training
    with pytest.raises(ZeroDivisionError):
        list(run(network, collate, items, lambda inputs, members: 1 / 0))
    assert network.training is training
