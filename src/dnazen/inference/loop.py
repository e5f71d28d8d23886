"""The one loop through a model: examples in, batched by a token budget, results in order.

Every reading of a model goes through ``run``: embeddings, predictions, likelihoods, attributions,
and the evaluation of training. What differs is the ``forward`` that turns a batch into results.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..model.batches import Example, token_budget_batches
from ..tokens.encoding import Tokens
from ..tokens.tokenizer import grouped
from .settings import TOKENS_PER_BATCH

POOL_BATCHES = 8
"""Batches' worth of items that are sorted by length together."""

Collate = Callable[[Sequence[Example]], dict[str, Tensor]]


class Readable(Protocol):
    """What a model can read; an ``Example`` is, and may bring a label and a key with it."""

    @property
    def tokens(self) -> Tokens:
        """As the model reads them, without special tokens."""


Item = TypeVar("Item", bound=Readable)
Result = TypeVar("Result")


def run(
    network: nn.Module,
    collate: Collate,
    items: Iterable[Item],
    forward: Callable[[dict[str, Tensor], Sequence[Item]], Sequence[Result]],
    *,
    tokens_per_batch: int = TOKENS_PER_BATCH,
    gradients: bool = False,
    progress: Callable[[int], object] = lambda tokens: None,
) -> Iterator[tuple[Item, Result | None]]:
    """Yield each item with what ``forward`` makes of it, in order; ``None`` for empty ones.

    Items of like length share a batch, so padding is little, and results do not depend on the
    batches. Memory is that of ``POOL_BATCHES`` batches and their results. The network computes in
    evaluation mode, and is left in the mode it was in.

    Parameters
    ----------
    collate
        Makes a batch of examples: the network's inputs by name.
    forward
        Takes a batch on the network's device and the items it holds, none empty, and gives a
        result for each.
    tokens_per_batch
        Bound on items x longest, special tokens included; a longer item is a batch of its own.
    gradients
        Let ``forward`` differentiate; by default nothing is recorded.
    progress
        Called with the number of tokens of each batch that is done.
    """
    device = next(network.parameters()).device

    def length(item: Item) -> int:
        return len(item.tokens) + 2  # [CLS] and [SEP]

    for pool in grouped(items, length, POOL_BATCHES * tokens_per_batch):
        results: list[Result | None] = [None] * len(pool)
        present = np.array([n for n, item in enumerate(pool) if len(item.tokens)], dtype=np.int64)
        lengths = np.array([length(pool[n]) for n in present], dtype=np.int64)
        for batch in token_budget_batches(lengths, tokens_per_batch, np.random.default_rng(0)):
            numbers = present[batch].tolist()
            members = [pool[n] for n in numbers]
            inputs = collate([_example(item) for item in members])
            with _evaluating(network), torch.inference_mode(not gradients):
                on_device = {name: tensor.to(device) for name, tensor in inputs.items()}
                batch_results = forward(on_device, members)
            for n, result in zip(numbers, batch_results, strict=True):
                results[n] = result
            progress(sum(len(item.tokens) for item in members))
        yield from zip(pool, results, strict=True)


def _example(item: Readable) -> Example:
    return item if isinstance(item, Example) else Example(item.tokens)


@contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Evaluation mode for the length of a block."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)
