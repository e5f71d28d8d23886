"""AdamW whose step does not depend on the size of the G-gram vocabulary.

Of the base model's 285 million parameters 125 million are G-gram embeddings, of which a batch
touches a few hundred rows. Everything else takes PyTorch's fused AdamW.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, distributed
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from ..model.rows import RowEmbedding, RowGradient, sum_by_row


class RowwiseAdamW(torch.optim.AdamW):
    """Fused AdamW, with an embedding table of which only the touched rows are updated.

    Decided here: each row has a clock of its own. It moves as it would under AdamW if only the
    steps that touched it had been taken, with the learning rates of those steps: moments, weight
    decay and bias correction stand still in between. Were every row touched at every step, this
    would be AdamW over all parameters.

    Parameters
    ----------
    params
        Parameters or groups of all but the table.
    table
        Keeps the gradients of its looked-up rows for this optimizer from now on. In a distributed
        run each process hands in the rows it touched; the mean over processes is taken.
    max_grad_norm
        Scale all gradients down to this global norm, the table's included; 0 leaves them. Done
        here and not by the training loop, which cannot see the table's.
    table_lr
        Learning rate of the table; by default ``lr``.
    options
        ``lr``, ``betas``, ``eps`` and ``weight_decay``, of the table too.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        table: RowEmbedding,
        *,
        max_grad_norm: float = 0.0,
        table_lr: float | None = None,
        **options: Any,
    ) -> None:
        super().__init__(params, fused=True, **options)
        own = {} if table_lr is None else {"lr": table_lr}
        self.add_param_group({"params": [table.weight], **own})
        table.gather_rows()
        self.table = table
        self.max_grad_norm = max_grad_norm

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; gradients of the table's rows are used up."""
        loss: float | None = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        rows, gradient = mean_over_processes(self.table.take_gradient())
        if self.max_grad_norm > 0:
            # A parameter of the touched rows alone stands in for the table.
            stand_in = torch.nn.Parameter(gradient)
            stand_in.grad = gradient
            every = [p for group in self.param_groups for p in group["params"]] + [stand_in]
            norm = get_total_norm([p.grad for p in every if p.grad is not None])
            clip_grads_with_norm_(every, self.max_grad_norm, norm)
        super().step()
        self._step_rows(rows, gradient)
        return loss

    def _step_rows(self, rows: Tensor, gradient: Tensor) -> None:
        """AdamW (arXiv 1711.05101, algorithm 2) on some rows, at their own step numbers."""
        weight, group = self.table.weight, self.param_groups[-1]
        state = self.state[weight]
        if not state:
            state["step"] = weight.new_zeros(len(weight))
            state["exp_avg"] = _unwritten_zeros(weight)
            state["exp_avg_sq"] = _unwritten_zeros(weight)
        beta1, beta2 = group["betas"]
        steps = state["step"][rows] + 1
        first = state["exp_avg"][rows].lerp_(gradient, 1 - beta1)
        second = state["exp_avg_sq"][rows].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        state["step"][rows] = steps
        state["exp_avg"][rows] = first
        state["exp_avg_sq"][rows] = second
        unbiased = first / (1 - beta1 ** steps[:, None])
        scale = (second / (1 - beta2 ** steps[:, None])).sqrt_().add_(group["eps"])
        lr = group["lr"]
        moved = weight[rows].mul_(1 - lr * group["weight_decay"])
        weight[rows] = moved.addcdiv_(unbiased, scale, value=-lr)


def _unwritten_zeros(like: Tensor) -> Tensor:
    """Zeros that take memory only where they are written: on CPUs the system maps pages then.

    Small pages: numpy's and torch's zeros may come in pages of 2 MB, 600 rows for each one touched.
    """
    if like.device.type != "cpu":
        return torch.zeros_like(like)
    pages = mmap.mmap(-1, like.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    pages.madvise(mmap.MADV_NOHUGEPAGE)
    return torch.frombuffer(pages, dtype=like.dtype).view(like.shape)


def mean_over_processes(mine: RowGradient) -> RowGradient:
    """The mean over the processes of a distributed run of what each hands in.

    Sent are the touched rows only, padded to the largest number that a process touched.
    """
    if not distributed.is_initialized() or distributed.get_world_size() == 1:
        return mine
    world = distributed.get_world_size()
    count = torch.tensor([len(mine.rows)], device=mine.rows.device)
    counts = [torch.empty_like(count) for _ in range(world)]
    distributed.all_gather(counts, count)
    most = int(torch.cat(counts).max())
    rows = mine.rows.new_full((most,), -1)
    rows[: len(mine.rows)] = mine.rows
    gradient = mine.gradient.new_zeros(most, mine.gradient.shape[1])
    gradient[: len(mine.rows)] = mine.gradient
    all_rows = [torch.empty_like(rows) for _ in range(world)]
    all_gradients = [torch.empty_like(gradient) for _ in range(world)]
    distributed.all_gather(all_rows, rows)
    distributed.all_gather(all_gradients, gradient)
    summed = sum_by_row(torch.cat(all_rows), torch.cat(all_gradients), padding_idx=-1)
    return RowGradient(summed.rows, summed.gradient / world)
