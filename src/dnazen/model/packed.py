"""Weights of a quarter of their size: the encoder's matrices as whole numbers of a byte.

Decided here. A matrix is stored as its rows over a scale of their own, rounded to -127..127; the
scale of each row stands beside it under the matrix' name with ``.scale``. Read back, they are
float32 again. All else (vectors, convolutions, heads) stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

_SCALE = ".scale"
_LARGEST = 127


def pack(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a model, the matrices of its encoder as bytes and scales."""
    packed = {}
    for name, tensor in weights.items():
        if name.startswith("dnazen.") and tensor.ndim == 2 and tensor.is_floating_point():
            scale = tensor.float().abs().amax(1) / _LARGEST
            rows = tensor.float() / scale.clamp(min=torch.finfo(torch.float32).tiny)[:, None]
            packed[name] = rows.round().to(torch.int8)
            packed[name + _SCALE] = scale
        else:
            packed[name] = tensor.contiguous()
    return packed


def unpack(packed: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights again, in float32; each is off by at most half of its row's scale."""
    weights = {}
    for name, tensor in packed.items():
        scale = packed.get(name + _SCALE)
        if scale is not None:
            weights[name] = tensor.float() * scale[:, None]
        elif not name.endswith(_SCALE):
            weights[name] = tensor
    return weights
