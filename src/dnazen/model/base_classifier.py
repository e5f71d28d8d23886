"""The head that gives every base a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.modeling_outputs import ModelOutput
from transformers.utils import can_return_tuple

from .bases import UNKNOWN
from .classifier import classifier_dropout
from .configuration import DnazenConfig
from .encoder import DnazenModelOutput, Network
from .inputs import by_strand, shows_inputs
from .layers import LinearFromZero
from .layout import layout_of_batch
from .losses import labelled_loss
from .neighbours import NeighbourView


@dataclass
class BaseClassifierOutput(ModelOutput):
    """Logits of the bases of a batch, one sequence after the other."""

    loss: Tensor | None = None
    logits: Float[Tensor, "bases labels"] | None = None
    """Of A, C, G and T: what is not seen, N or under [MASK], has none."""
    sequence: Int[Tensor, "bases"] | None = None
    """Which sequence of the batch each base is of; rising."""
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


class BaseClassifier(Network):
    """DNAZEN with a class for every base.

    The logits of a base are those of the token that holds it, by a linear layer on the token's
    last state, and those of the base itself, by one on its state in the base view, which starts at
    zero. Decided here: a token knows its far context and holds bases of different classes; the base
    view tells them apart. A regression on the bases around each (``neighbours``) may speak beside
    them.
    """

    def build(self, config: DnazenConfig) -> None:
        """Make the parts.

        Raises
        ------
        ValueError
            If the configuration has no base view.
        """
        if not config.base_channels:
            raise ValueError("classes of bases need a base view: base_channels of 1 or more")
        self.num_labels = config.num_labels
        self.dnazen = self.encoder_of(config)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.base_head = LinearFromZero(config.base_channels, config.num_labels, bias=False)
        if config.neighbours:
            self.neighbours = NeighbourView(config.num_labels)

    @can_return_tuple  # type: ignore[untyped-decorator]
    @shows_inputs
    def forward(
        self,
        input_ids: Int[Tensor, "batch width"] | None = None,
        labels: Int[Tensor, "bases"] | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **inputs: Any,
    ) -> BaseClassifierOutput:
        """Logits of all bases, and the loss over those whose label is not -100.

        The logits are the mean over both strands where the model reads both and ``inputs`` hold
        both (``inputs.by_strand``).

        Parameters
        ----------
        labels
            The class of each A, C, G and T of the batch, in the order of the logits.

        Raises
        ------
        ValueError
            If there are no ``input_ids``: bases cannot be read off embeddings.
        """
        if input_ids is None:
            raise ValueError("classes of bases need input_ids")
        own, turned = by_strand(self.config, inputs)
        logits, sequence, output = self._logits(input_ids, own)
        if turned:
            other, _, _ = self._logits(turned.pop("input_ids"), turned)
            logits = (logits + other[_mirrored(sequence)]) / 2
        loss = None
        if labels is not None:
            loss = labelled_loss(logits, labels, num_items_in_batch)
        return BaseClassifierOutput(
            loss=loss,
            logits=logits,
            sequence=sequence,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )

    def _logits(
        self, input_ids: Int[Tensor, "batch width"], inputs: dict[str, Any]
    ) -> tuple[Float[Tensor, "bases labels"], Int[Tensor, "bases"], DnazenModelOutput]:
        """The logits of the bases of one strand, whose they are, and all that the encoder gave."""
        output = self.dnazen(input_ids, return_dict=True, **inputs)
        layout = layout_of_batch(input_ids, inputs.get("attention_mask"))
        reading = output.base_reading
        codes = reading.bases.codes.flatten()[reading.bases.cells]
        seen = (codes != UNKNOWN).nonzero().squeeze(1)
        of_tokens = self.classifier(self.dropout(layout.flat(output.last_hidden_state)))
        of_bases = self.base_head(self.dropout(reading.states[seen]))
        logits = of_tokens[reading.bases.token[seen]] + of_bases
        if self.config.neighbours:
            by_neighbours = self.neighbours(reading.bases.codes).flatten(0, 1)
            logits = logits + by_neighbours[reading.bases.cells[seen]]
        return logits, reading.sequence[seen], output


def _mirrored(sequence: Int[Tensor, "bases"]) -> Int[Tensor, "bases"]:
    """Where the base at each place stands when every sequence is read from its other end."""
    counts = torch.bincount(sequence)
    ends = counts.cumsum(0)
    first_plus_last = 2 * ends - counts - 1
    return first_plus_last[sequence] - torch.arange(len(sequence), device=sequence.device)
