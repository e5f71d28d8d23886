"""Dropout at the price of a memory pass on CPUs, alone and within GEGLU.

PyTorch draws one generator number an element on CPUs, on one core: a tenth to a fifth of a training
step. Eight elements share one here. Other devices take PyTorch's own.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

_STEPS = 256  # a random byte has so many values


class Dropout(nn.Dropout):
    """Zero elements with probability ``p`` in training, and scale the others so the mean stays.

    Decided here: on CPUs ``p`` is rounded to a multiple of 1/256 (0.1 becomes 26/256), and the
    scale goes with the rounded number. Random numbers come from PyTorch's default generator.
    """

    def forward(self, input: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Drop elements, or give the input back outside training."""
        if not self.training or not self.p:
            return input
        if input.device.type != "cpu" or torch.compiler.is_compiling():
            return functional.dropout(input, self.p)
        kept: Tensor = _Dropped.apply(input, self.p)  # type: ignore[no-untyped-call]
        return kept


class GatedGelu(Dropout):
    """Dropout of gelu(a) * b, where a and b are the halves of the last axis (GEGLU).

    One step for autograd: it keeps the input and a byte an element, and computes GELU anew on the
    way back, where separate operations keep five arrays of the size of ``b``.
    """

    def forward(self, input: Float[Tensor, "rows twice"]) -> Float[Tensor, "rows half"]:
        """Apply gate and dropout."""
        p = self.p if self.training else 0.0
        if input.device.type != "cpu" or torch.compiler.is_compiling():
            gate, linear = input.chunk(2, dim=1)
            return functional.dropout(functional.gelu(gate) * linear, p)
        out: Tensor = _GatedGelu.apply(input, p)  # type: ignore[no-untyped-call]
        return out


class _Dropped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, p: float) -> Tensor:
        kept, ctx.scale = _draw(states.shape, p)
        ctx.save_for_backward(kept)
        return (states * kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (kept,) = ctx.saved_tensors
        return (grad * kept).mul_(ctx.scale), None


class _GatedGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, both: Tensor, p: float) -> Tensor:
        gate, linear = both.chunk(2, dim=1)
        out = functional.gelu(gate).mul_(linear)
        kept, ctx.scale = _draw(out.shape, p) if p else (None, 1.0)
        ctx.save_for_backward(both, kept)
        return out if kept is None else out.mul_(kept).mul_(ctx.scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        both, kept = ctx.saved_tensors
        gate, linear = both.chunk(2, dim=1)
        if kept is not None:
            grad = (grad * kept).mul_(ctx.scale)
        out = torch.empty_like(both)
        to_gate, to_linear = out.chunk(2, dim=1)
        torch.mul(grad, functional.gelu(gate), out=to_linear)
        torch.ops.aten.gelu_backward.grad_input(grad * linear, gate, grad_input=to_gate)
        return out, None


def _draw(shape: torch.Size, p: float) -> tuple[UInt8[Tensor, "*shape"], float]:
    """1 where an element is kept, else 0, and the scale of those kept."""
    dropped = round(p * _STEPS)
    count = shape.numel()
    words = torch.empty(-(-count // 8), dtype=torch.int64).random_(-(2**63), None)
    kept = words.view(torch.uint8)[:count].view(shape) >= dropped
    return kept.view(torch.uint8), _STEPS / (_STEPS - dropped)
