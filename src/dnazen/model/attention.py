"""Self-attention over the rows of a layout, with or without ALiBi: the one place that chooses how.

``sdpa`` is PyTorch's fused attention over padded boxes with the bias as its mask;
``flex_attention`` runs over packed rows, compiled where there is a GPU; ``eager`` spells the same
sum out and is taken when the probabilities themselves are asked for.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.functional import dropout, scaled_dot_product_attention

from .layout import Layout
from .packing import document_mask


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

    ``None`` when there is nothing to add.
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


class Plan(NamedTuple):
    """How the rows of one layout attend: decided once a pass, for all layers of an encoder."""

    layout: Layout
    bias: Float[Tensor, "sequences|1 heads|1 width width"] | None
    """Of boxes, in the dtype that attention runs in."""
    mask: BlockMask | None
    """Of packed rows; where it is set, FlexAttention runs."""
    score: Callable[..., Tensor] | None
    """Adds ALiBi to the logits of packed rows."""
    dropout_p: float
    """Dropout on the probabilities; 0 outside training."""
    eager: bool
    probabilities: bool
    """Whether the attention probabilities are wanted; implies ``eager``."""


def plan_attention(
    layout: Layout,
    slopes: Float[Tensor, "heads"] | None,
    states: Float[Tensor, "rows hidden"],
    *,
    implementation: str | None = "sdpa",
    dropout_p: float = 0.0,
    probabilities: bool = False,
) -> Plan:
    """Choose how ``states`` will attend.

    Parameters
    ----------
    implementation
        ``sdpa`` (also for ``None``), ``eager`` or ``flex_attention``. The last has no dropout on
        probabilities; where that is asked for, ``sdpa`` is taken.
    """
    eager = probabilities or implementation == "eager"
    if implementation == "flex_attention" and not eager and not dropout_p and len(states):
        mask, position = document_mask(layout, states.device)
        score = None if slopes is None else _alibi(slopes, position)
        return Plan(layout, None, mask, score, 0.0, False, False)
    bias = attention_bias(layout, slopes, _dtype_of_products(states), states.device)
    return Plan(layout, bias, None, None, dropout_p, eager, probabilities)


def _dtype_of_products(states: Tensor) -> torch.dtype:
    kind = states.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype


def _alibi(slopes: Float[Tensor, "heads"], position: Tensor) -> Callable[..., Tensor]:
    """FlexAttention's ``score_mod`` of ALiBi."""

    def score(logit: Tensor, _: Tensor, head: Tensor, i: Tensor, j: Tensor) -> Tensor:
        return logit - slopes[head] * (position[i] - position[j]).abs()

    return score


def attend(
    query: Float[Tensor, "rows heads head"],
    key: Float[Tensor, "rows heads head"],
    value: Float[Tensor, "rows heads head"],
    plan: Plan,
) -> Attended:
    """Mix the values of each sequence's rows; rows of different sequences never meet."""
    if plan.mask is not None:
        q, k, v = (x.transpose(0, 1)[None] for x in (query, key, value))
        flex: Any = _compiled_flex() if query.is_cuda else flex_attention
        mixed = flex(q, k, v, score_mod=plan.score, block_mask=plan.mask)
        return Attended(mixed[0].transpose(0, 1).flatten(1), None)
    layout, bias = plan.layout, plan.bias
    q, k, v = (layout.box(x).transpose(1, 2) for x in (query, key, value))
    weights = None
    if plan.eager or _fused_is_slower(q):
        # Autocast would make float32 of the probabilities, and bf16 of them for the last product.
        with torch.autocast(q.device.type, enabled=False):
            logits = (q / math.sqrt(q.shape[-1])) @ k.transpose(2, 3)
            weights = (logits if bias is None else logits + bias).softmax(-1)
            mixed = dropout(weights, plan.dropout_p) @ v
    else:
        mixed = scaled_dot_product_attention(q, k, v, attn_mask=bias, dropout_p=plan.dropout_p)
    rows = layout.flat(mixed.transpose(1, 2)).flatten(1)
    return Attended(rows, weights if plan.probabilities else None)


@functools.cache
def _compiled_flex() -> Callable[..., Any]:
    """FlexAttention as one kernel for any number of rows."""
    return torch.compile(flex_attention, dynamic=True)


def _fused_is_slower(query: Float[Tensor, "sequences heads width head"]) -> bool:
    """Whether plain matrix products beat the fused kernel.

    On CPUs the backward pass of PyTorch's fused kernel gains nothing from bf16: at 205 tokens,
    forward and backward take twice as long as spelt out, at 512 four fifths as long.
    """
    return (
        query.device.type == "cpu"
        and query.dtype == torch.bfloat16
        and torch.is_grad_enabled()
        and query.shape[2] <= 300
    )
