"""The k-mer regression put into a trained model, in the share that dev chose."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Int8
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..model.kmers import KmerView
from .blend import Blend
from .kmers import KmerFit


def install_kmers(
    model: PreTrainedModel,
    kmers: KmerFit,
    blend: Blend,
    table: Int8[Tensor, "vocabulary longest_token"],
) -> None:
    """Make a classifier say what its blend says.

    Parameters
    ----------
    table
        The bases of each token.
    """
    network: Any = model.get_base_model() if hasattr(model, "peft_config") else model
    for name in ("classifier", "base_head"):
        if hasattr(network, name):
            _scale_output(getattr(network, name), blend.deep)
    if not blend.kmers:
        return
    network.config.kmers = kmers.longest
    view = KmerView.of(network.config)
    view.spell_by(table)
    kmers.put_into(view, blend.kmers)
    network.kmers = view.to(model.device)


def _scale_output(layer: nn.Linear, share: float) -> None:
    with torch.no_grad():
        layer.weight.mul_(share)
        if layer.bias is not None:
            layer.bias.mul_(share)
