"""Which examples stand in which batch of a training run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from torch.utils.data import Sampler

from ..model.batches import token_budget_batches

_POOL = 64


class ExampleKey(NamedTuple):
    """Names an example of a run: the pass over the data and the example's number."""

    epoch: int
    number: int


class LengthBuckets(Sampler[int]):
    """The order of fine-tuning's rows: at random, but rows of like length share a batch.

    Decided here: rows are shuffled, ``_POOL`` batches of them are sorted by length together, and
    the batches are shuffled. The order depends on seed and pass alone, so a resumed run has it too.
    """

    def __init__(
        self, lengths: Int[np.ndarray, "examples"], rows_per_batch: int, seed: int
    ) -> None:
        self.lengths = lengths
        self.rows_per_batch = rows_per_batch
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Take the order of this pass; the trainer calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(len(self.lengths))
        pool = _POOL * self.rows_per_batch
        pools = np.split(order, range(pool, len(order), pool))
        by_length = np.concatenate(
            [rows[np.argsort(self.lengths[rows], kind="stable")] for rows in pools]
        )
        whole = len(order) // self.rows_per_batch * self.rows_per_batch
        batches = by_length[:whole].reshape(-1, self.rows_per_batch)
        yield from batches[rng.permutation(len(batches))].ravel().tolist()
        yield from by_length[whole:].tolist()  # too few for a batch, so they come last


class BatchPlan:
    """The batches of a whole run, made one pass at a time; a batch sampler for a data loader.

    Batch n is the same in every run with the same arguments, so a resumed run skips to it.

    Parameters
    ----------
    lengths
        Tokens of each example, special ones included.
    batches
        How many batches the run takes.
    weights
        How often each example is drawn in a pass, in the mean: its whole part, and once more with
        the odds of the rest. By default once.

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
        weights: Float[np.ndarray, "examples"] | None = None,
    ) -> None:
        if len(lengths) == 0 or (weights is not None and not weights.any()):
            raise ValueError("a plan needs at least one example")
        self.lengths = lengths
        self.tokens_per_batch = tokens_per_batch
        self.batches = batches
        self.seed = seed
        self.weights = weights

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[ExampleKey]]:
        made = epoch = 0
        while made < self.batches:
            rng = np.random.default_rng((self.seed, epoch))
            drawn = self._drawn(rng)
            lengths = self.lengths if drawn is None else self.lengths[drawn]
            for batch in token_budget_batches(lengths, self.tokens_per_batch, rng):
                if made == self.batches:
                    return
                numbers = batch if drawn is None else drawn[batch]
                yield [ExampleKey(epoch, int(number)) for number in numbers]
                made += 1
            epoch += 1

    def _drawn(self, rng: np.random.Generator) -> Int[np.ndarray, "drawn"] | None:
        """The examples of a pass, some of them several times; ``None`` if each stands once."""
        if self.weights is None:
            return None
        times = np.floor(self.weights + rng.random(len(self.weights))).astype(np.int64)
        return np.repeat(np.arange(len(times)), times)
