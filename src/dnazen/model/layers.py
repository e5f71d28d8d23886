"""The layers of both encoders, over flat rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu

from .attention import Plan, attend
from .configuration import DnazenConfig
from .dropout import Dropout, GatedGelu


class Placed(nn.Module):
    """A network that knows where and in what arithmetic it is, by its first weights."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""
        return next(self.parameters()).dtype


class LinearFromZero(nn.Linear):
    """A linear layer whose weights start at zero, whatever else starts the weights of a model."""

    def reset_parameters(self) -> None:
        """Start at zero."""
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Embeddings(nn.Module):
    """h0 = dropout(LN(E + E_type)); every row has type 0 (method.md section 5)."""

    def __init__(self, config: DnazenConfig, word_embeddings: nn.Embedding) -> None:
        super().__init__()
        self.word_embeddings = word_embeddings
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = Dropout(config.hidden_dropout_prob)

    def forward(self, states: Float[Tensor, "rows hidden"]) -> Float[Tensor, "rows hidden"]:
        """Normalise looked-up (or given) word embeddings."""
        typed = states + self.token_type_embeddings.weight[0]
        out: Tensor = self.dropout(self.norm(typed))
        return out


class SelfAttention(nn.Module):
    """LN(x + dropout(W attention(x)))."""

    def __init__(self, config: DnazenConfig) -> None:
        super().__init__()
        self.heads = config.num_attention_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.output = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(
        self,
        states: Float[Tensor, "rows hidden"],
        plan: Plan,
        wanted: Int[Tensor, "wanted"] | None = None,
    ) -> tuple[Float[Tensor, "rows|wanted hidden"], Tensor | None]:
        """Mixed states, of the ``wanted`` rows alone if given, and probabilities if planned."""
        query, key, value = self.qkv(states).unflatten(1, (3, self.heads, -1)).unbind(1)
        mixed, probabilities = attend(query, key, value, plan)
        if wanted is not None:
            mixed, states = mixed.index_select(0, wanted), states.index_select(0, wanted)
        return self.norm(states + self.dropout(self.output(mixed))), probabilities


class GatedFeedForward(nn.Module):
    """LN(x + W_o dropout(gelu(a) * b)), where (a, b) is one fused projection (GEGLU)."""

    def __init__(self, config: DnazenConfig) -> None:
        super().__init__()
        self.gated = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.gate = GatedGelu(config.hidden_dropout_prob)
        self.output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, states: Float[Tensor, "rows hidden"]) -> Float[Tensor, "rows hidden"]:
        """Apply the layer."""
        out: Tensor = self.norm(states + self.output(self.gate(self.gated(states))))
        return out


class FeedForward(nn.Module):
    """LN(x + dropout(W_o gelu(W_i x))), as in BERT."""

    def __init__(self, config: DnazenConfig) -> None:
        super().__init__()
        self.intermediate = nn.Linear(config.hidden_size, config.intermediate_size)
        self.output = nn.Linear(config.intermediate_size, config.hidden_size)
        self.dropout = Dropout(config.hidden_dropout_prob)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, states: Float[Tensor, "rows hidden"]) -> Float[Tensor, "rows hidden"]:
        """Apply the layer."""
        out: Tensor = self.norm(states + self.dropout(self.output(gelu(self.intermediate(states)))))
        return out


class EncoderLayer(nn.Module):
    """Attention, then a feed-forward: gated in E4BU, plain in the G-gram encoder."""

    gradient_checkpointing = False
    """Whether training computes it anew for its gradients; Hugging Face's trainer sets both."""
    _gradient_checkpointing_func: Callable[..., Any]

    def __init__(self, config: DnazenConfig, *, gated: bool) -> None:
        super().__init__()
        self.attention = SelfAttention(config)
        self.feed_forward = GatedFeedForward(config) if gated else FeedForward(config)

    def forward(
        self,
        states: Float[Tensor, "rows hidden"],
        plan: Plan,
        wanted: Int[Tensor, "wanted"] | None = None,
    ) -> tuple[Float[Tensor, "rows|wanted hidden"], Tensor | None]:
        """States after the layer, of the ``wanted`` rows alone if given, and probabilities."""
        if self.gradient_checkpointing and self.training:
            checkpointed: tuple[Tensor, Tensor | None] = self._gradient_checkpointing_func(
                self._apply_layer, states, plan, wanted
            )
            return checkpointed
        return self._apply_layer(states, plan, wanted)

    def _apply_layer(
        self, states: Tensor, plan: Plan, wanted: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        states, probabilities = self.attention(states, plan, wanted)
        return self.feed_forward(states), probabilities


def mean_of_covered(
    tokens: Float[Tensor, "rows hidden"],
    cover_row: Int[Tensor, "pairs"],
    cover_slot: Int[Tensor, "pairs"],
    slots: int,
) -> Float[Tensor, "slots hidden"]:
    """The mean over the tokens that each G-gram covers."""
    covered = torch.bincount(cover_slot, minlength=slots)
    shares = tokens.index_select(0, cover_row) / covered[cover_slot, None]
    return torch.zeros_like(tokens[:1]).expand(slots, -1).index_add(0, cover_slot, shares)


class Fusion(nn.Module):
    """h_i + sum of the states of the G-grams that cover token i (method.md section 5)."""

    def __init__(self, config: DnazenConfig) -> None:
        super().__init__()
        self.mean = config.fusion == "mean"
        self.gate = (
            nn.Parameter(torch.zeros(config.hidden_size)) if config.fusion == "gated" else None
        )

    def forward(
        self,
        tokens: Float[Tensor, "rows hidden"],
        ggrams: Float[Tensor, "slots hidden"],
        cover_row: Int[Tensor, "pairs"],
        cover_slot: Int[Tensor, "pairs"],
    ) -> Float[Tensor, "rows hidden"]:
        """Fused token states; a token that no G-gram covers keeps its state bit for bit."""
        if self.gate is not None:
            ggrams = ggrams * self.gate
        added = ggrams.to(tokens.dtype).index_select(0, cover_slot)
        if self.mean:
            covering = torch.bincount(cover_row, minlength=len(tokens))
            added = added / covering[cover_row, None]
        return tokens.index_add(0, cover_row, added.to(tokens.dtype))
