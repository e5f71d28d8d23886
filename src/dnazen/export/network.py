"""A model's forward pass for other programs: boxes in, boxes out, and no lists of rows.

The models compute on ragged lists, whose lengths depend on the data (``model.layout``). Here the
same weights read padded boxes, and masks stand where the models leave rows out. The modules are the
model's own wherever they do not care for the form; the tests hold the two together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu

from ..model.bases import NONE, BaseView
from ..model.classifier import SequenceClassifier, mean_of_tokens
from ..model.encoder import FusedEncoder
from ..model.ggram_rows import GGRAM_INPUTS
from ..model.inputs import REVERSE
from ..model.kmers import KmerView
from ..model.layers import EncoderLayer, Fusion, GatedFeedForward
from ..model.masked_lm import MaskedLM

_OUT_OF_SIGHT = -1e30
"""Added to the logits of empty keys: no share is left, and a row without any key stays finite."""


class ExportedNetwork(nn.Module):
    """A model with its head, of inputs with one row a sequence (``model.ggram_rows``).

    Padding stands on the right. ``forward`` takes the tensors of ``input_names`` in their order,
    and gives those of ``output_names``: the last states (batch, width, hidden), 0 at padding, and
    with a head its logits, (batch, width, vocabulary) or (batch, labels). A model that reads both
    strands gives the mean of its logits.

    Parameters
    ----------
    network
        An encoder, or one with a head; in evaluation mode.
    """

    def __init__(self, network: FusedEncoder | MaskedLM | SequenceClassifier) -> None:
        super().__init__()
        self.network = network
        self.encoder = network if isinstance(network, FusedEncoder) else network.dnazen
        config = network.config
        names = ["input_ids", "attention_mask"]
        if config.ggram_vocab_size:
            names += GGRAM_INPUTS
        self.per_strand = len(names)
        self.both = isinstance(network, SequenceClassifier) and config.strands == "average"
        self.input_names = (*names, *(f"{REVERSE}{name}" for name in names if self.both))
        headed = not isinstance(network, FusedEncoder)
        self.output_names = ("logits", "last_hidden_state")[not headed :]

    def forward(self, *inputs: Int[Tensor, "batch _"]) -> tuple[Tensor, ...]:
        """Logits, if there is a head, and last states."""
        logits, states = self._strand(inputs[: self.per_strand])
        if logits is None:
            return (states,)
        if self.both:
            other, _ = self._strand(inputs[self.per_strand :])
            assert other is not None
            logits = (logits + other) / 2
        return logits, states

    def _strand(
        self, inputs: Sequence[Tensor]
    ) -> tuple[Tensor | None, Float[Tensor, "batch width hidden"]]:
        """Logits and last states of sequences as they are."""
        input_ids, attention_mask, *ggrams = inputs
        states, base_maxima = self._encode(input_ids, attention_mask, ggrams)
        network = self.network
        if isinstance(network, MaskedLM):
            return network.head(states), states
        if not isinstance(network, SequenceClassifier):
            return None, states
        if network.config.classifier_pooling == "mean":
            read = mean_of_tokens(states, attention_mask)
        else:
            read = states[:, 0]
        logits: Tensor = network.classifier(torch.tanh(network.pooler(read)))
        if base_maxima is not None:
            logits = logits + network.base_head(base_maxima)
        if network.config.kmers:
            logits = logits + _by_kmers(network.kmers, input_ids)
        return logits, states

    def _encode(
        self,
        input_ids: Int[Tensor, "batch width"],
        attention_mask: Int[Tensor, "batch width"],
        ggrams: Sequence[Int[Tensor, "batch _"]],
    ) -> tuple[Float[Tensor, "batch width hidden"], Float[Tensor, "batch channels"] | None]:
        """Last states, and the largest states of the base view if there is one."""
        encoder, config = self.encoder, self.encoder.config
        present = attention_mask > 0
        looked_up: Tensor = encoder.embeddings.word_embeddings(input_ids)
        base_maxima = None
        if config.base_channels:
            added, base_maxima = _by_bases(encoder.bases, input_ids)
            looked_up = looked_up + added
        states = encoder.embeddings(looked_up)
        place = torch.arange(input_ids.shape[1], device=input_ids.device)
        distance = (place[:, None] - place[None, :]).abs()
        bias = _unseen(present) - encoder.slopes[:, None, None] * distance

        cover: Tensor | None = None
        if ggrams:
            ggram_ids, cover_token, cover_slot = ggrams
            box = input_ids.shape[1], ggram_ids.shape[1]
            cover = _cover(cover_token, cover_slot, box).to(looked_up.dtype)
            slots = encoder.ggram_embeddings.word_embeddings(ggram_ids)
            if config.ggram_embedding == "composed":
                covered = cover.sum(1).clamp(min=1)[:, :, None]
                slots = slots + cover.transpose(1, 2) @ looked_up / covered
            slots = encoder.ggram_embeddings(slots)
            slot_bias = _unseen(ggram_ids > 0)
            if not config.num_hidden_ggram_layers:
                states = _fused(encoder.fusions[0], states, slots, cover)
        for number, layer in enumerate(encoder.layers):
            states = _layer(layer, states, bias)
            if cover is not None and number < config.num_hidden_ggram_layers:
                slots = _layer(encoder.ggram_layers[number], slots, slot_bias)
                states = _fused(encoder.fusions[number], states, slots, cover)
        return states * present[:, :, None], base_maxima


def _unseen(present: Bool[Tensor, "batch width"]) -> Float[Tensor, "batch 1 1 width"]:
    """What is added to attention logits so that empty keys are not seen."""
    return (~present).float()[:, None, None, :] * _OUT_OF_SIGHT


def _layer(
    layer: nn.Module,
    states: Float[Tensor, "batch width hidden"],
    bias: Float[Tensor, "batch heads|1 width|1 width"],
) -> Float[Tensor, "batch width hidden"]:
    """``model.layers.EncoderLayer`` on boxes."""
    assert isinstance(layer, EncoderLayer)
    attention, feed_forward = layer.attention, layer.feed_forward
    boxes = attention.qkv(states).unflatten(2, (3, attention.heads, -1))
    query, key, value = boxes.permute(2, 0, 3, 1, 4).unbind(0)
    logits = (query / math.sqrt(query.shape[-1])) @ key.transpose(2, 3) + bias
    mixed = (logits.softmax(-1) @ value).transpose(1, 2).flatten(2)
    states = attention.norm(states + attention.output(mixed))
    if not isinstance(feed_forward, GatedFeedForward):
        plain: Tensor = feed_forward(states)
        return plain
    gate, linear = feed_forward.gated(states).chunk(2, dim=2)
    out: Tensor = feed_forward.norm(states + feed_forward.output(gelu(gate) * linear))
    return out


def _cover(
    cover_token: Int[Tensor, "batch pairs"],
    cover_slot: Int[Tensor, "batch pairs"],
    box: tuple[int, int],
) -> Float[Tensor, "batch width slots"]:
    """1 where a slot covers a token; pairs of padding fall into a column that is taken off."""
    width, slots = box
    cells = cover_token * (slots + 1) + cover_slot
    flat = torch.zeros(cells.shape[0], width * (slots + 1), device=cells.device)
    flat = flat.scatter(1, cells, torch.ones_like(cells, dtype=flat.dtype))
    return flat.reshape(-1, width, slots + 1)[:, :, 1:]


def _fused(
    fusion: nn.Module,
    states: Float[Tensor, "batch width hidden"],
    slots: Float[Tensor, "batch slots hidden"],
    cover: Float[Tensor, "batch width slots"],
) -> Float[Tensor, "batch width hidden"]:
    """``model.layers.Fusion`` on boxes."""
    assert isinstance(fusion, Fusion)
    if fusion.gate is not None:
        slots = slots * fusion.gate
    added = cover @ slots
    if fusion.mean:
        added = added / cover.sum(2).clamp(min=1)[:, :, None]
    return states + added


class _Spelt(NamedTuple):
    """Sequences of tokens spelt out as bases."""

    codes: Int[Tensor, "batch bases"]
    """``NONE`` behind the last base."""
    cells: Int[Tensor, "batch width longest"]
    """Where in ``codes`` each base of each token stands."""
    present: Bool[Tensor, "batch width longest"]
    """Which of those are bases."""


def _spelt(
    table: Int[Tensor, "vocabulary longest"], input_ids: Int[Tensor, "batch width"]
) -> _Spelt:
    """``model.bases.bases_of_tokens`` on boxes."""
    codes = table[input_ids].long()
    present = codes != NONE
    counts = present.sum(2)
    ends = counts.cumsum(1)
    bases = int(ends[:, -1].max())
    torch._check(bases >= 0)  # type: ignore[no-untyped-call]
    bases += 1  # the last column takes what is no base, and is left NONE
    step = torch.arange(table.shape[1], device=table.device)
    cells = torch.where(present, (ends - counts)[:, :, None] + step, bases - 1)
    box = torch.full((input_ids.shape[0], bases), NONE, device=codes.device)
    return _Spelt(box.scatter(1, cells.flatten(1), codes.flatten(1)), cells, present)


def _by_bases(
    view: BaseView, input_ids: Int[Tensor, "batch width"]
) -> tuple[Float[Tensor, "batch width hidden"], Float[Tensor, "batch channels"]]:
    """What the base view adds to each token, and the largest state of each channel."""
    spelt = _spelt(view.table, input_ids)
    within = (spelt.codes != NONE)[:, None]
    seen = torch.stack([spelt.codes == base for base in range(4)], dim=1)
    states = torch.relu(view.first(seen.to(view.first.weight.dtype))) * within
    states = (torch.relu(view.second(states)) * within).transpose(1, 2)
    channels = states.shape[2]
    places = spelt.cells.flatten(1)[:, :, None].expand(-1, -1, channels)
    own = states.gather(1, places).reshape(*spelt.cells.shape, channels)
    own = own * spelt.present[:, :, :, None]
    mean = own.sum(2) / spelt.present.sum(2).clamp(min=1)[:, :, None]
    added: Tensor = view.output(torch.cat([own.amax(2), mean], dim=2))
    return added, states.amax(1)


def _by_kmers(view: KmerView, input_ids: Int[Tensor, "batch width"]) -> Float[Tensor, "batch _"]:
    """What the k-mer view says; bases that are none behind the last make room for the longest."""
    codes = _spelt(view.table, input_ids).codes
    return view.logits_of_bases(nn.functional.pad(codes, (0, view.counts.longest), value=NONE))
