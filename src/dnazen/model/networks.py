"""DNAZEN: E4BU over tokens, a position-free encoder over G-grams, fused layer by layer.

Inputs of every model (``*`` is optional):

====================  ==========================  =============================================
``input_ids``         (batch, width)              token ids, padded
``attention_mask`` *  (batch, width)              1 where a token stands, 0 at padding
``ggram_ids`` *       (slots,)                    distinct G-grams of each sequence, in a row
``ggram_offsets`` *   (batch + 1,)                slots of sequence b: offsets[b] : offsets[b + 1]
``cover_token`` *     (pairs,)                    b * width + i for each covered token ...
``cover_slot`` *      (pairs,)                    ... and the slot in ``ggram_ids`` that covers it
``inputs_embeds`` *   (batch, width, hidden)      in place of ``FusedEncoder.look_up``
``ggram_embeds`` *    (slots, hidden)             in place of looked-up G-gram embeddings
====================  ==========================  =============================================

A model with G-grams refuses to run without G-gram inputs, since its answers would be others: make
batches with ``model.batches.Collator``, or give an empty ``ggram_ids`` to say that there are none.

Source: paper sections 2.2-2.3; method.md section 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, gelu, mse_loss
from transformers.modeling_outputs import MaskedLMOutput, ModelOutput, SequenceClassifierOutput
from transformers.utils import can_return_tuple

from ..ggrams.masking import NO_LABEL
from .attention import alibi_slopes, plan_attention
from .bases import UNKNOWN, BaseReading, BaseView
from .configuration import DnazenConfig
from .kmers import KmerView
from .layers import Embeddings, EncoderLayer, Fusion, mean_of_covered
from .layout import Layout, layout_of_mask, layout_of_offsets
from .neighbours import NeighbourView
from .rows import RowEmbedding, SharedRow


@dataclass
class DnazenModelOutput(ModelOutput):
    """States of tokens and of G-grams.

    Padded positions are 0. ``hidden_states`` holds the embeddings and then each E4BU layer's
    output after fusion; ``ggram_hidden_states`` likewise for G-grams; ``attentions`` are E4BU's.
    """

    last_hidden_state: Float[Tensor, "batch width hidden"] | None = None
    ggram_hidden_state: Float[Tensor, "slots hidden"] | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    ggram_hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    base_maxima: Float[Tensor, "batch channels"] | None = None
    """Of the base view, if there is one and tokens are given as ids."""
    base_reading: BaseReading | None = None
    """All of the base view, likewise."""


@dataclass
class DnazenMaskedLMOutput(MaskedLMOutput):
    """That of the masked LM, and the states of G-grams."""

    ggram_hidden_state: Float[Tensor, "slots hidden"] | None = None


class Network(nn.Module):
    """A network of a configuration, in plain PyTorch; ``Network.of`` makes one.

    ``modeling`` has the same networks with what Hugging Face's tools need.
    """

    config: DnazenConfig

    @classmethod
    def of(cls, config: DnazenConfig) -> Self:
        """The network, its weights not yet read."""
        network = cls()
        network.config = config
        network.build(config)
        return network

    def build(self, config: DnazenConfig) -> None:
        """Make the parts."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""
        return next(self.parameters()).dtype

    def encoder_of(self, config: DnazenConfig) -> FusedEncoder:
        """The encoder below a head."""
        return FusedEncoder.of(config)


class FusedEncoder(Network):
    """The two encoders and their fusion, without a head."""

    slopes: Float[Tensor, "heads"]

    def build(self, config: DnazenConfig) -> None:
        """Make the parts."""
        self.embeddings = Embeddings(
            config, nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        )
        if config.base_channels:
            shape = config.vocab_size, config.longest_token_bp
            self.bases = BaseView(shape, config.base_channels, config.hidden_size)
        self.layers = nn.ModuleList(
            EncoderLayer(config, gated=True) for _ in range(config.num_hidden_layers)
        )
        if config.ggram_vocab_size:
            self.ggram_embeddings = Embeddings(config, _ggram_table(config))
            self.ggram_layers = nn.ModuleList(
                EncoderLayer(config, gated=False) for _ in range(config.num_hidden_ggram_layers)
            )
            # With no G-gram layer the embeddings are fused once, before the first E4BU layer.
            self.fusions = nn.ModuleList(
                Fusion(config) for _ in range(max(1, config.num_hidden_ggram_layers))
            )
        self.register_buffer("slopes", alibi_slopes(config.num_attention_heads), persistent=False)

    @can_return_tuple  # type: ignore[untyped-decorator]
    def forward(
        self,
        input_ids: Int[Tensor, "batch width"] | None = None,
        attention_mask: Int[Tensor, "batch width"] | None = None,
        ggram_ids: Int[Tensor, "slots"] | None = None,
        ggram_offsets: Int[Tensor, "batch+1"] | None = None,
        cover_token: Int[Tensor, "pairs"] | None = None,
        cover_slot: Int[Tensor, "pairs"] | None = None,
        inputs_embeds: Float[Tensor, "batch width hidden"] | None = None,
        ggram_embeds: Float[Tensor, "slots hidden"] | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        wanted: Int[Tensor, "wanted"] | None = None,
        token_type_ids: Int[Tensor, "batch width"] | None = None,
    ) -> DnazenModelOutput:
        """States of all tokens and G-grams; inputs as the module's table says.

        Parameters
        ----------
        wanted
            Occupied cells of (batch, width), row-major, whose last states alone are asked for:
            ``last_hidden_state`` is then (wanted, hidden), and most of the last layer is spared
            for all others.
        token_type_ids
            As tokenizers of other models give them: 0 throughout, since a sequence has one part.

        Raises
        ------
        ValueError
            If inputs are missing, or do not go together.
        """
        trail = (
            self.config.output_hidden_states
            if output_hidden_states is None
            else output_hidden_states
        )
        attend = self.config.output_attentions if output_attentions is None else output_attentions
        given = inputs_embeds if inputs_embeds is not None else input_ids
        if given is None:
            raise ValueError("give input_ids or inputs_embeds")
        if token_type_ids is not None and bool(token_type_ids.any()):
            raise ValueError("token_type_ids must be 0: a sequence has one part")
        has_ggrams = self._has_ggrams(
            ggram_ids if ggram_embeds is None else ggram_embeds,
            ggram_offsets,
            cover_token,
            cover_slot,
        )
        layout = (
            Layout(given.shape[0], given.shape[1], None, None)
            if attention_mask is None
            else layout_of_mask(attention_mask)
        )
        flat = layout.flat(given)
        looked_up, reading = (
            (flat, None) if inputs_embeds is not None else self._look_up(flat, layout)
        )
        states = self.embeddings(looked_up)
        how = {
            "implementation": self.config._attn_implementation,
            "dropout_p": self.config.attention_probs_dropout_prob if self.training else 0.0,
        }
        plan = plan_attention(layout, self.slopes, states, probabilities=attend, **how)

        ggrams: Tensor | None = None
        if has_ggrams:
            assert cover_token is not None
            assert ggram_offsets is not None
            assert cover_slot is not None
            cover_row = layout.rows_at(cover_token)
            if ggram_embeds is None:
                ggram_embeds = self.ggram_embeddings.word_embeddings(ggram_ids)
            if self.config.ggram_embedding == "composed":
                ggram_embeds = ggram_embeds + mean_of_covered(
                    looked_up, cover_row, cover_slot, len(ggram_embeds)
                )
            ggrams = self.ggram_embeddings(ggram_embeds)
            ggram_plan = plan_attention(layout_of_offsets(ggram_offsets), None, ggrams, **how)
            if not self.config.num_hidden_ggram_layers:
                states = self.fusions[0](states, ggrams, cover_row, cover_slot)

        token_trail, ggram_trail = [states], [] if ggrams is None else [ggrams]
        attentions: list[Tensor] = []
        # All states are asked for, or fused, after the last layer: it cannot be spared any.
        rows = None if wanted is None else layout.rows_at(wanted)
        fuses_last = self.config.num_hidden_ggram_layers == len(self.layers)
        spared = rows is not None and not (trail or attend or fuses_last)
        for number, layer in enumerate(self.layers):
            last = spared and number == len(self.layers) - 1
            states, probabilities = layer(states, plan, rows if last else None)
            if ggrams is not None and number < self.config.num_hidden_ggram_layers:
                ggrams, _ = self.ggram_layers[number](ggrams, ggram_plan)
                states = self.fusions[number](states, ggrams, cover_row, cover_slot)
                ggram_trail.append(ggrams)
            if trail:
                token_trail.append(states)
            if attend:
                attentions.append(probabilities)
        if rows is None:
            final = layout.box(states)
        else:
            final = states if spared else states.index_select(0, rows)
        return DnazenModelOutput(
            last_hidden_state=final,
            ggram_hidden_state=ggrams,
            hidden_states=tuple(layout.box(x) for x in token_trail) if trail else None,
            ggram_hidden_states=tuple(ggram_trail) if trail and ggram_trail else None,
            attentions=tuple(attentions) if attend else None,
            base_maxima=None if reading is None else self.bases.largest(reading, layout.sequences),
            base_reading=reading,
        )

    def token_embeddings(
        self, input_ids: Int[Tensor, "batch width"]
    ) -> Float[Tensor, "batch width hidden"]:
        """What ``inputs_embeds`` stands for, of sequences without padding: the rows of the table,
        with what the base view adds."""
        sequences, width = input_ids.shape
        layout = Layout(sequences, width, None, None)
        return layout.box(self._look_up(layout.flat(input_ids), layout)[0])

    def _look_up(
        self, tokens: Int[Tensor, "rows"], layout: Layout
    ) -> tuple[Float[Tensor, "rows hidden"], BaseReading | None]:
        """The embeddings of tokens, and what the base view reads."""
        rows: Tensor = self.embeddings.word_embeddings(tokens)
        if not self.config.base_channels:
            return rows, None
        reading = self.bases(tokens, layout)
        added = self.bases.on_tokens(reading, len(tokens))
        return rows + added, reading

    def _has_ggrams(self, ggrams: Tensor | None, *places: Tensor | None) -> bool:
        """Whether a batch has G-grams.

        Parameters
        ----------
        ggrams
            Their ids or embeddings.
        places
            The inputs that say where they are.

        Raises
        ------
        ValueError
            If the model needs G-gram inputs and there are none, or some of them are missing.
        """
        if not self.config.ggram_vocab_size:
            return False
        if ggrams is None:
            raise ValueError(
                "this model reads G-grams and is given none: make batches with "
                "dnazen.model.batches.Collator, use dnazen.load(...), or pass an empty ggram_ids "
                "to run it without"
            )
        if not len(ggrams):
            return False
        if any(place is None for place in places):
            raise ValueError(
                "G-grams need ggram_offsets, cover_token and cover_slot, which say where they are"
            )
        return True


def _ggram_table(config: DnazenConfig) -> RowEmbedding:
    """Row 0 is the padding."""
    if config.ggram_embedding == "shared":
        return SharedRow(config.hidden_size)
    return RowEmbedding(config.ggram_rows, config.hidden_size, padding_idx=0)


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
    def forward(
        self,
        input_ids: Int[Tensor, "batch width"] | None = None,
        labels: Int[Tensor, "batch width"] | None = None,
        num_items_in_batch: Tensor | int | None = None,
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
        """
        cells = None if labels is None else (labels.flatten() != NO_LABEL).nonzero().squeeze(1)
        output = self.dnazen(input_ids, wanted=cells, return_dict=True, **inputs)
        logits, loss = self.head(output.last_hidden_state), None
        if labels is not None:
            truth = labels.flatten()[cells]
            summed = cross_entropy(at_least_float32(logits), truth, reduction="sum")
            loss = summed / (
                max(len(truth), 1) if num_items_in_batch is None else num_items_in_batch
            )
        return DnazenMaskedLMOutput(
            loss=loss,
            logits=logits,
            ggram_hidden_state=output.ggram_hidden_state,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )


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
    def forward(
        self,
        input_ids: Int[Tensor, "batch width"] | None = None,
        labels: Tensor | None = None,
        num_items_in_batch: Tensor | int | None = None,
        side_logits: Float[Tensor, "batch labels"] | None = None,
        **inputs: Any,
    ) -> SequenceClassifierOutput:
        """Logits (batch, labels), and the mean loss when ``labels`` are given.

        Parameters
        ----------
        side_logits
            In place of what the base view and the k-mer view say themselves (``side``).
        """
        read, output = self.read(input_ids, **inputs)
        pooled = torch.tanh(self.pooler(read))
        logits = self.classifier(self.dropout(pooled))
        if side_logits is None:
            side_logits = self._side(output, input_ids, inputs.get("attention_mask"))
        if side_logits is not None:
            logits = logits + side_logits
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


class LinearFromZero(nn.Linear):
    """A linear layer whose weights start at zero, whatever else starts the weights of a model."""

    def reset_parameters(self) -> None:
        """Start at zero."""
        nn.init.zeros_(self.weight)


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
    def forward(
        self,
        input_ids: Int[Tensor, "batch width"] | None = None,
        labels: Int[Tensor, "bases"] | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **inputs: Any,
    ) -> BaseClassifierOutput:
        """Logits of all bases, and the loss over those whose label is not -100.

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
        loss = None
        if labels is not None:
            loss = labelled_loss(logits, labels, num_items_in_batch)
        return BaseClassifierOutput(
            loss=loss,
            logits=logits,
            sequence=reading.sequence[seen],
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )


def labelled_loss(
    logits: Float[Tensor, "n labels"],
    labels: Int[Tensor, "n"],
    num_items_in_batch: Tensor | int | None,
) -> Tensor:
    """Cross entropy over what has a label other than -100, divided by their number, or by that of
    all batches of a step; 0 where none has."""
    summed = cross_entropy(at_least_float32(logits), labels, reduction="sum", ignore_index=NO_LABEL)
    total = (labels != NO_LABEL).sum().clamp(min=1)
    return summed / (total if num_items_in_batch is None else num_items_in_batch)


def layout_of_batch(
    input_ids: Int[Tensor, "batch width"], attention_mask: Int[Tensor, "batch width"] | None
) -> Layout:
    """Where the tokens of a batch stand, all of them if there is no mask."""
    if attention_mask is None:
        return Layout(input_ids.shape[0], input_ids.shape[1], None, None)
    return layout_of_mask(attention_mask)


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


def at_least_float32(logits: Tensor) -> Tensor:
    """Logits precise enough for a loss."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def classification_loss(logits: Tensor, labels: Tensor, problem: str) -> Tensor:
    """Mean loss over sequences (and labels, where there are several)."""
    if problem == "regression":
        return mse_loss(logits, labels.to(logits.dtype).view_as(logits))
    if problem == "multi_label_classification":
        return binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    return cross_entropy(logits, labels)
