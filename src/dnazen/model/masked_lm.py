"""The masked-LM head of pre-training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu
from transformers.modeling_outputs import MaskedLMOutput
from transformers.utils import can_return_tuple

from ..ggrams.masking import NO_LABEL
from .configuration import DnazenConfig
from .encoder import Network
from .inputs import shows_inputs
from .losses import at_least_float32


@dataclass
class DnazenMaskedLMOutput(MaskedLMOutput):
    """That of the masked LM, and the states of G-grams."""

    ggram_hidden_state: Float[Tensor, "slots hidden"] | None = None


class MaskedLMHead(nn.Module):
    """Dense, GELU, layer norm, then the decoder tied to the token embeddings, with a bias."""

    def __init__(self, config: DnazenConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)

    def forward(self, states: Float[Tensor, "*rows hidden"]) -> Float[Tensor, "*rows vocabulary"]:
        """Logits over tokens."""
        logits: Tensor = self.decoder(self.norm(gelu(self.dense(states))))
        return logits


class MaskedLM(Network):
    """DNAZEN with the masked-LM head of pre-training."""

    def build(self, config: DnazenConfig) -> None:
        """Make the parts."""
        self.dnazen = self.encoder_of(config)
        self.head = MaskedLMHead(config)

    def tie(self) -> None:
        """Let the decoder share the token embeddings, if the configuration says so."""
        if self.config.tie_word_embeddings:
            self.head.decoder.weight = self.dnazen.embeddings.word_embeddings.weight

    @can_return_tuple  # type: ignore[untyped-decorator]
    @shows_inputs
    def forward(
        self,
        input_ids: Int[Tensor, "batch width"] | None = None,
        labels: Int[Tensor, "batch width"] | None = None,
        num_items_in_batch: Tensor | int | None = None,
        label_weights: Float[Tensor, "batch width"] | None = None,
        **inputs: Any,
    ) -> DnazenMaskedLMOutput:
        """Logits of all positions, or with ``labels`` the loss and logits of predicted ones only.

        Parameters
        ----------
        labels
            Token ids to predict, -100 elsewhere. The head then runs on the predicted positions
            alone, and ``logits`` is (predicted, vocabulary), in row-major order (Decided here:
            the head would else cost as much as several layers).
        num_items_in_batch
            What the summed loss is divided by: the predicted tokens of the whole optimizer step.
            By default those of this batch. A batch without any has loss 0.
        label_weights
            What each predicted token counts in that sum; by default 1.
        """
        cells = None if labels is None else (labels.flatten() != NO_LABEL).nonzero().squeeze(1)
        output = self.dnazen(input_ids, wanted=cells, return_dict=True, **inputs)
        logits, loss = self.head(output.last_hidden_state), None
        if labels is not None:
            truth = labels.flatten()[cells]
            nats = cross_entropy(at_least_float32(logits), truth, reduction="none")
            if label_weights is not None:
                nats = nats * label_weights.flatten()[cells]
            loss = nats.sum() / (
                max(len(truth), 1) if num_items_in_batch is None else num_items_in_batch
            )
        return DnazenMaskedLMOutput(
            loss=loss,
            logits=logits,
            ggram_hidden_state=output.ggram_hidden_state,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )
