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

A tokenizer (``tokenization``) gives the G-gram inputs in another form, with one row a sequence: see
``ggram_rows``.

A model with G-grams refuses to run without G-gram inputs, since its answers would be others: make
batches with ``model.batches.Collator`` or the directory's tokenizer, or give an empty ``ggram_ids``
to say that there are none.

Source: paper sections 2.2-2.3; method.md section 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers.modeling_outputs import ModelOutput
from transformers.utils import can_return_tuple

from .attention import alibi_slopes, plan_attention
from .bases import BaseReading, BaseView
from .configuration import DnazenConfig
from .ggram_rows import ragged
from .inputs import REVERSE
from .layers import Embeddings, EncoderLayer, Fusion, Placed, mean_of_covered
from .layout import Layout, layout_of_batch, layout_of_offsets
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


class Network(Placed):
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
        ggram_ids: Int[Tensor, "slots"] | Int[Tensor, "batch slots"] | None = None,
        ggram_offsets: Int[Tensor, "batch+1"] | None = None,
        cover_token: Int[Tensor, "pairs"] | Int[Tensor, "batch pairs"] | None = None,
        cover_slot: Int[Tensor, "pairs"] | Int[Tensor, "batch pairs"] | None = None,
        inputs_embeds: Float[Tensor, "batch width hidden"] | None = None,
        ggram_embeds: Float[Tensor, "slots hidden"] | None = None,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        wanted: Int[Tensor, "wanted"] | None = None,
        token_type_ids: Int[Tensor, "batch width"] | None = None,
        **reverse: Any,
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
        reverse
            Inputs of the reverse complement (``inputs.REVERSE``), which are left to the heads.

        Raises
        ------
        ValueError
            If inputs are missing, or do not go together.
        TypeError
            If there is an input of another name.
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
        if strange := [name for name in reverse if not name.startswith(REVERSE)]:
            raise TypeError(f"forward() got an unexpected keyword argument '{strange[0]}'")
        if ggram_ids is not None and ggram_ids.dim() == 2 and self.config.ggram_vocab_size:
            ggram_ids, ggram_offsets, cover_token, cover_slot = ragged(
                ggram_ids, cover_token, cover_slot, given.shape[1]
            )
        has_ggrams = self._has_ggrams(
            ggram_ids if ggram_embeds is None else ggram_embeds,
            ggram_offsets,
            cover_token,
            cover_slot,
        )
        layout = layout_of_batch(given, attention_mask)
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
                "the tokenizer of its directory (import dnazen first) or "
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
