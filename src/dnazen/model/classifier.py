"""The head that classifies sequences, and the views below the tokens that speak beside it."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.utils import can_return_tuple

from .configuration import DnazenConfig
from .encoder import DnazenModelOutput, Network
from .inputs import by_strand, shows_inputs
from .kmers import KmerView
from .layout import layout_of_batch
from .losses import at_least_float32, classification_loss


class SequenceClassifier(Network):
    """DNAZEN with a tanh pooler on [CLS] or the mean of the tokens, dropout, and a linear layer.

    Two views below the tokens speak beside it (Decided here): of the base view the largest state
    of each channel, as in a small CNN, through a linear layer that is part of the head; and k-mers.

    ``config.problem_type`` is ``single_label_classification`` (labels are class ids),
    ``multi_label_classification`` (labels are (batch, labels) of 0 and 1) or ``regression``
    (labels are (batch,) or (batch, labels) numbers).
    """

    def build(self, config: DnazenConfig) -> None:
        """Make the parts."""
        self.num_labels = config.num_labels
        self.dnazen = self.encoder_of(config)
        self.pooler = nn.Linear(config.hidden_size, config.hidden_size)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        if config.base_channels:
            self.base_head = nn.Linear(config.base_channels, config.num_labels, bias=False)
        if config.kmers:
            self.kmers = KmerView.of(config)

    @can_return_tuple  # type: ignore[untyped-decorator]
    @shows_inputs
    def forward(
        self,
        input_ids: Int[Tensor, "batch width"] | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        side_logits: Float[Tensor, "batch labels"] | None = None,
        **inputs: Any,
    ) -> SequenceClassifierOutput:
        """Logits (batch, labels), and the mean loss when ``labels`` are given.

        The logits are the mean over both strands where the model reads both and ``inputs`` hold
        both (``inputs.by_strand``).

        Parameters
        ----------
        side_logits
            In place of what the base view and the k-mer view say themselves (``side``).
        """
        own, turned = by_strand(self.config, inputs)
        logits, output = self._logits(input_ids, side_logits, own)
        if turned:
            logits = (logits + self._logits(turned.pop("input_ids"), None, turned)[0]) / 2
        loss = None
        if labels is not None:
            problem = self.config.problem_type or "single_label_classification"
            loss = classification_loss(at_least_float32(logits), labels, problem)
            if num_items_in_batch is not None:
                loss = loss * labels.numel() / num_items_in_batch
        return SequenceClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )

    def _logits(
        self,
        input_ids: Int[Tensor, "batch width"] | None,
        side_logits: Float[Tensor, "batch labels"] | None,
        inputs: dict[str, Any],
    ) -> tuple[Float[Tensor, "batch labels"], DnazenModelOutput]:
        """The logits of sequences as they are, and all that the encoder gave."""
        read, output = self.read(input_ids, **inputs)
        pooled = torch.tanh(self.pooler(read))
        logits: Tensor = self.classifier(self.dropout(pooled))
        if side_logits is None:
            side_logits = self._side(output, input_ids, inputs.get("attention_mask"))
        return (logits if side_logits is None else logits + side_logits), output

    def read(
        self, input_ids: Int[Tensor, "batch width"] | None = None, **inputs: Any
    ) -> tuple[Float[Tensor, "batch hidden"], DnazenModelOutput]:
        """What the head reads of each sequence, and all that the encoder gave."""
        if self.config.classifier_pooling == "mean":
            output = self.dnazen(input_ids, return_dict=True, **inputs)
            return mean_of_tokens(output.last_hidden_state, inputs.get("attention_mask")), output
        given = inputs["inputs_embeds"] if input_ids is None else input_ids
        each_cls = torch.arange(given.shape[0], device=given.device) * given.shape[1]
        output = self.dnazen(input_ids, wanted=each_cls, return_dict=True, **inputs)
        return output.last_hidden_state, output

    def _side(
        self,
        output: DnazenModelOutput,
        input_ids: Int[Tensor, "batch width"] | None,
        attention_mask: Int[Tensor, "batch width"] | None,
    ) -> Float[Tensor, "batch labels"] | None:
        """What the views below the tokens say themselves; ``None`` of a model without any.

        Raises
        ------
        ValueError
            If there are no ``input_ids``: bases cannot be read off embeddings.
        """
        if not (self.config.base_channels or self.config.kmers):
            return None
        if input_ids is None:
            raise ValueError("a model with bases or k-mers needs input_ids, or side_logits")
        said: Tensor | None = None
        if self.config.base_channels:
            said = self.base_head(self.dropout(output.base_maxima))
        if self.config.kmers:
            layout = layout_of_batch(input_ids, attention_mask)
            by_kmers = self.kmers(layout.flat(input_ids), layout)
            said = by_kmers if said is None else said + by_kmers
        return said


def mean_of_tokens(
    states: Float[Tensor, "batch width hidden"], attention_mask: Int[Tensor, "batch width"] | None
) -> Float[Tensor, "batch hidden"]:
    """The mean between [CLS] and the last [SEP]; where nothing stands there, [CLS]."""
    width = states.shape[1]
    lengths = (
        states.new_full((len(states), 1), width)
        if attention_mask is None
        else attention_mask.sum(1, keepdim=True)
    )
    place = torch.arange(width, device=states.device)
    between = (place > 0) & (place < lengths - 1)
    between[:, 0] = lengths[:, 0] <= 2
    shares = between / between.sum(1, keepdim=True)
    return torch.einsum("bwh,bw->bh", states, shares.to(states.dtype))


def classifier_dropout(config: DnazenConfig) -> float:
    """The dropout rate before a task's linear layer."""
    chosen = config.classifier_dropout
    return config.hidden_dropout_prob if chosen is None else chosen
