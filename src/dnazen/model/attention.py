"""Self-attention over the rows of a layout, with or without ALiBi: the one place that chooses how.

``sdpa`` is PyTorch's fused attention with the bias as its mask; ``eager`` spells the same sum out
and is taken when the probabilities themselves are asked for.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import dropout, scaled_dot_product_attention

from .layout import Layout


class Attended(NamedTuple):
    """Mixed values, and the attention probabilities if they were asked for."""

    rows: Float[Tensor, "rows hidden"]
    probabilities: Float[Tensor, "sequences heads width width"] | None


def alibi_slopes(heads: int) -> Float[Tensor, "heads"]:
    """Slopes of the ALiBi paper (arXiv 2108.12409), also for head counts not a power of two.

    For n = 2^k heads they are 2^(-8/n), 2^(-16/n), ..., 2^-8; any other number takes those of the
    power below it, then every other one of the power above.

    Examples
    --------
    >>> alibi_slopes(4).tolist()
    [0.25, 0.0625, 0.015625, 0.00390625]
    """
    below = 2 ** math.floor(math.log2(heads))
    slopes = [2 ** (-8 * (i + 1) / below) for i in range(below)]
    above = [2 ** (-8 * (i + 1) / (2 * below)) for i in range(0, 2 * below, 2)]
    return torch.tensor(slopes + above[: heads - below])


def attention_bias(
    layout: Layout, slopes: Float[Tensor, "heads"] | None, dtype: torch.dtype, device: torch.device
) -> Float[Tensor, "sequences|1 heads|1 width width"] | None:
    """What is added to the attention logits: -slope |i - j|, and -inf at empty keys.

    ``None`` when there is nothing to add. Computed once for all layers.
    """
    bias = None
    if slopes is not None:
        position = torch.arange(layout.width, device=device)
        distance = (position[:, None] - position[None, :]).abs()
        bias = (-slopes.to(device)[:, None, None] * distance)[None].to(dtype)
    if layout.present is not None:
        missing = torch.zeros(layout.present.shape, dtype=dtype, device=device)
        missing = missing.masked_fill(~layout.present, -math.inf)[:, None, None, :]
        bias = missing if bias is None else bias + missing
        if slopes is None:  # fused kernels want the query axis spelled out
            bias = bias.expand(-1, -1, layout.width, -1)
    return bias


def attend(
    query: Float[Tensor, "rows heads head"],
    key: Float[Tensor, "rows heads head"],
    value: Float[Tensor, "rows heads head"],
    layout: Layout,
    bias: Float[Tensor, "sequences|1 heads|1 width width"] | None,
    *,
    dropout_p: float = 0.0,
    implementation: str = "sdpa",
    probabilities: bool = False,
) -> Attended:
    """Mix the values of each sequence's rows; rows of different sequences never meet.

    Parameters
    ----------
    dropout_p
        Dropout on the probabilities; 0 outside training.
    implementation
        ``sdpa`` or ``eager``.
    probabilities
        Give the attention probabilities too; implies ``eager``.
    """
    q, k, v = (layout.box(x).transpose(1, 2) for x in (query, key, value))
    if bias is not None:
        bias = bias.to(q.dtype)
    weights = None
    if probabilities or implementation == "eager" or _fused_is_slower(q):
        logits = q @ k.transpose(2, 3) / math.sqrt(q.shape[-1])
        weights = (logits if bias is None else logits + bias).softmax(-1)
        mixed = dropout(weights, dropout_p) @ v
    else:
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=dropout_p)
    rows = layout.flat(mixed.transpose(1, 2)).flatten(1)
    return Attended(rows, weights if probabilities else None)


def _fused_is_slower(query: Float[Tensor, "sequences heads width head"]) -> bool:
    """Whether plain matrix products beat the fused kernel.

    On CPUs the backward pass of PyTorch's fused kernel gains nothing from bf16: at 205 tokens,
    forward and backward take twice as long as spelt out, at 512 four fifths as long.
    """
    return (
        query.device.type == "cpu"
        and query.dtype == torch.bfloat16
        and query.requires_grad
        and query.shape[2] <= 300
    )
