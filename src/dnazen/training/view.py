"""The simple regression put into a trained model, in the share that dev chose."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Int8
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..model.kmers import KmerView
from ..model.neighbours import NeighbourView
from .blend import Blend
from .kmers import KmerFit
from .neighbours import NeighbourFit


def install_kmers(
    model: PreTrainedModel,
    kmers: KmerFit,
    blend: Blend,
    table: Int8[Tensor, "vocabulary longest_token"],
) -> None:
    """Make a classifier say what its blend with k-mers says.

    Parameters
    ----------
    table
        The bases of each token.
    """
    network = _scaled(model, blend.deep)
    if not blend.kmers:
        return
    network.config.kmers = kmers.longest
    view = KmerView.of(network.config)
    view.spell_by(table)
    kmers.put_into(view, blend.kmers)
    network.kmers = view.to(model.device)


def install_neighbours(model: PreTrainedModel, fit: NeighbourFit, blend: Blend) -> None:
    """Make a classifier of bases say what its blend with the bases around each says."""
    network = _scaled(model, blend.deep)
    if not blend.kmers:
        return
    network.config.neighbours = True
    view = NeighbourView(network.config.num_labels)
    fit.put_into(view, blend.kmers)
    network.neighbours = view.to(model.device)


def _scaled(model: PreTrainedModel, share: float) -> Any:
    """The network itself, which now gives ``share`` times the logits that it gave."""
    network: Any = model.get_base_model() if hasattr(model, "peft_config") else model
    for name in ("classifier", "base_head"):
        if hasattr(network, name):
            _scale_output(getattr(network, name), share)
    return network


def _scale_output(layer: nn.Linear, share: float) -> None:
    with torch.no_grad():
        layer.weight.mul_(share)
        if layer.bias is not None:
            layer.bias.mul_(share)
