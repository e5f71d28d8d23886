"""Which examples stand in which batch of a pre-training run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from ..model.batches import token_budget_batches


class ExampleKey(NamedTuple):
    """Names an example of a run: the pass over the data and the example's number."""

    epoch: int
    number: int


class BatchPlan:
    """The batches of a whole run, made one pass at a time; a batch sampler for a data loader.

    Batch n is the same in every run with the same arguments, so a resumed run skips to it.

    Parameters
    ----------
    lengths
        Tokens of each example, special ones included.
    batches
        How many batches the run takes.

    Raises
    ------
    ValueError
        If there is no example to make batches of.
    """

    def __init__(
        self,
        lengths: Int[np.ndarray, "examples"],
        tokens_per_batch: int,
        batches: int,
        seed: int,
    ) -> None:
        if len(lengths) == 0:
            raise ValueError("a plan needs at least one example")
        self.lengths = lengths
        self.tokens_per_batch = tokens_per_batch
        self.batches = batches
        self.seed = seed

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[ExampleKey]]:
        made = epoch = 0
        while made < self.batches:
            rng = np.random.default_rng((self.seed, epoch))
            for batch in token_budget_batches(self.lengths, self.tokens_per_batch, rng):
                if made == self.batches:
                    return
                yield [ExampleKey(epoch, int(number)) for number in batch]
                made += 1
            epoch += 1
