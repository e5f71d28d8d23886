"""The method written down plainly, as the arm to compare with: dense, float32, padded to 512.

Every sequence fills 512 positions, every sequence has as many G-gram slots as the fullest, a dense
(positions x slots) matrix says what covers what, attention is spelt out, the masked-LM head runs on
every position. Parameter names are those of ``DnazenForMaskedLM``, so weights go across.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu

from dnazen import DnazenConfig
from dnazen.model.attention import alibi_slopes

WIDTH = 512


class NaiveBatch(NamedTuple):
    """A batch in dense boxes."""

    input_ids: Int[Tensor, "batch width"]
    attention_mask: Int[Tensor, "batch width"]
    ggram_ids: Int[Tensor, "batch slots"]
    """0 in empty slots."""
    covers: Float[Tensor, "batch width slots"]
    """1 where a slot's G-gram covers a token."""
    labels: Int[Tensor, "batch width"] | None


def naive_batch(batch: dict[str, Tensor], width: int = WIDTH) -> NaiveBatch:
    """The dense form of a collated batch, padded to ``width``."""
    count, narrow = batch["input_ids"].shape

    def padded(name: str, empty: int) -> Tensor:
        box = batch[name].new_full((count, width), empty)
        box[:, :narrow] = batch[name]
        return box

    slots = batch["ggram_offsets"].diff()
    owner = torch.repeat_interleave(torch.arange(count), slots)
    place = torch.arange(len(owner)) - batch["ggram_offsets"][owner]
    ids = torch.zeros(count, max(1, int(slots.max())), dtype=torch.long)
    ids[owner, place] = batch["ggram_ids"]
    covers = torch.zeros(count, width, ids.shape[1])
    sequence, token = batch["cover_token"] // narrow, batch["cover_token"] % narrow
    covers[sequence, token, place[batch["cover_slot"]]] = 1.0
    return NaiveBatch(
        padded("input_ids", 3),
        padded("attention_mask", 0),
        ids,
        covers,
        padded("labels", -100) if "labels" in batch else None,
    )


class NaiveEmbeddings(nn.Module):
    """Table, type, norm, dropout."""

    def __init__(self, config: DnazenConfig, rows: int, padding_idx: int) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(rows, config.hidden_size, padding_idx=padding_idx)
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, ids: Int[Tensor, "batch n"]) -> Float[Tensor, "batch n hidden"]:
        """Embed."""
        typed = self.word_embeddings(ids) + self.token_type_embeddings(torch.zeros_like(ids))
        return self.dropout(self.norm(typed))


class NaiveAttention(nn.Module):
    """Attention spelt out over the whole box."""

    def __init__(self, config: DnazenConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.output = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Float[Tensor, "batch n hidden"], bias: Tensor) -> Tensor:
        """Mix, add, normalise."""
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=2)
        )
        logits = query @ key.transpose(2, 3) / math.sqrt(query.shape[-1]) + bias
        mixed = (logits.softmax(-1) @ value).transpose(1, 2).flatten(2)
        return self.norm(x + self.dropout(self.output(mixed)))


class NaiveFeedForward(nn.Module):
    """GEGLU in E4BU, GELU in the G-gram encoder."""

    def __init__(self, config: DnazenConfig, *, gated: bool) -> None:
        super().__init__()
        inner = config.intermediate_size
        if gated:
            self.gated = nn.Linear(config.hidden_size, 2 * inner, bias=False)
        else:
            self.intermediate = nn.Linear(config.hidden_size, inner)
        self.output = nn.Linear(inner, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, x: Float[Tensor, "batch n hidden"]) -> Tensor:
        """Transform, add, normalise."""
        if hasattr(self, "gated"):
            gate, linear = self.gated(x).chunk(2, dim=2)
            return self.norm(x + self.output(self.dropout(gelu(gate) * linear)))
        return self.norm(x + self.dropout(self.output(gelu(self.intermediate(x)))))


class NaiveLayer(nn.Module):
    """Attention and feed-forward."""

    def __init__(self, config: DnazenConfig, *, gated: bool) -> None:
        super().__init__()
        self.attention = NaiveAttention(config)
        self.feed_forward = NaiveFeedForward(config, gated=gated)

    def forward(self, x: Float[Tensor, "batch n hidden"], bias: Tensor) -> Tensor:
        """Apply both."""
        return self.feed_forward(self.attention(x, bias))


class NaiveModel(nn.Module):
    """Both encoders and ``sum`` fusion."""

    def __init__(self, config: DnazenConfig) -> None:
        super().__init__()
        self.embeddings = NaiveEmbeddings(config, config.vocab_size, config.pad_token_id)
        self.layers = nn.ModuleList(
            NaiveLayer(config, gated=True) for _ in range(config.num_hidden_layers)
        )
        self.ggram_embeddings = NaiveEmbeddings(config, config.ggram_vocab_size, 0)
        self.ggram_layers = nn.ModuleList(
            NaiveLayer(config, gated=False) for _ in range(config.num_hidden_ggram_layers)
        )
        self.slopes = alibi_slopes(config.num_attention_heads)

    def forward(self, batch: NaiveBatch) -> Float[Tensor, "batch width hidden"]:
        """States of all positions, padding included."""
        states = self.embeddings(batch.input_ids)
        ggrams = self.ggram_embeddings(batch.ggram_ids)
        lowest = torch.finfo(torch.float32).min
        position = torch.arange(batch.input_ids.shape[1])
        distance = (position[:, None] - position[None, :]).abs()
        bias = -self.slopes[:, None, None] * distance + (
            (1 - batch.attention_mask[:, None, None, :]) * lowest
        )
        ggram_bias = (batch.ggram_ids == 0)[:, None, None, :] * lowest
        covers = batch.covers.to(states.dtype)
        for number, layer in enumerate(self.layers):
            states = layer(states, bias.to(states.dtype))
            if number < len(self.ggram_layers):
                ggrams = self.ggram_layers[number](ggrams, ggram_bias)
                states = states + covers @ ggrams
        return states


class NaiveHead(nn.Module):
    """The masked-LM head, on every position."""

    def __init__(self, config: DnazenConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)

    def forward(self, states: Float[Tensor, "batch width hidden"]) -> Tensor:
        """Logits of every position."""
        return self.decoder(self.norm(gelu(self.dense(states))))


class NaiveForMaskedLM(nn.Module):
    """The naive arm of pre-training."""

    def __init__(self, config: DnazenConfig) -> None:
        super().__init__()
        self.dnazen = NaiveModel(config)
        self.head = NaiveHead(config)
        self.head.decoder.weight = self.dnazen.embeddings.word_embeddings.weight

    def forward(self, batch: NaiveBatch) -> Float[Tensor, ""]:
        """Mean loss over the labelled positions."""
        assert batch.labels is not None
        logits = self.head(self.dnazen(batch))
        return cross_entropy(logits.flatten(0, 1), batch.labels.flatten())
