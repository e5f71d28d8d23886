"""The networks as Hugging Face's tools take them: saved, trained, found by the ``Auto`` classes.

The networks themselves are in ``encoder`` and the modules of heads, which import no more of
``transformers`` than its configurations: reading a model takes half the time so.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Self

from jaxtyping import Int
from torch import Tensor, nn
from transformers import (
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedModel,
    initialization,
)
from transformers.modeling_outputs import TokenClassifierOutput
from transformers.utils import can_return_tuple

from .attention import alibi_slopes
from .base_classifier import BaseClassifier
from .bases import BaseView
from .classifier import SequenceClassifier, classifier_dropout
from .configuration import DnazenConfig
from .encoder import FusedEncoder
from .inputs import shows_inputs
from .kmers import KmerCounts
from .layers import LinearFromZero
from .losses import labelled_loss
from .masked_lm import MaskedLM
from .neighbours import NeighbourView
from .rows import RowEmbedding
from .source import find_model
from .weights import load_weights, read_config, read_weights


class DnazenPreTrainedModel(PreTrainedModel):
    """Weight initialisation and the switches Hugging Face asks for."""

    config_class = DnazenConfig
    config: DnazenConfig
    name_or_path: str
    base_model_prefix = "dnazen"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _no_split_modules = ("EncoderLayer",)

    def __init__(self, config: DnazenConfig) -> None:
        super().__init__(config)
        self.build(config)
        self.post_init()

    def encoder_of(self, config: DnazenConfig) -> DnazenModel:
        """The encoder below a head."""
        return DnazenModel(config)

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, LinearFromZero):
            initialization.zeros_(module.weight)
        if isinstance(module, KmerCounts):
            module.renew()
        if isinstance(module, NeighbourView):
            initialization.zeros_(module.weights.weight)

    @classmethod
    def from_released(
        cls, directory: str | Path, *, config: DnazenConfig | None = None, **changes: Any
    ) -> Self:
        """Load a released DNAZEN or DNABERT-2 model, one of ours, or a LoRA adapter.

        The model is in evaluation mode. The encoder must be whole. A head that the files lack
        starts at random and one that this kind of model has no place for is left out; both are
        said on stderr. ``model.directory.open_directory`` reads tokenizer and G-grams.

        Parameters
        ----------
        directory
            Or a name of the hub (``source.find_model``).
        config
            Takes the place of the directory's own configuration.
        changes
            Settings of the configuration to change, such as ``num_labels``.

        Raises
        ------
        InputError
            If weights are missing, of another shape, or not known; the first are named.
        """
        source = find_model(directory).directory
        config = read_config(source) if config is None else config
        for name, value in changes.items():
            setattr(config, name, value)
        model = cls(config)
        load_weights(model, read_weights(source, config), source)
        model.eval()
        return model


class DnazenModel(DnazenPreTrainedModel, FusedEncoder):
    """The two encoders and their fusion, without a head."""

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:  # a buffer that is not stored must be made again after loading
            self.slopes = alibi_slopes(self.config.num_attention_heads).to(self.slopes.device)
        if isinstance(module, BaseView):
            for convolution in (module.first, module.second):
                initialization.kaiming_uniform_(convolution.weight, a=math.sqrt(5))
        if isinstance(module, RowEmbedding) and self.config.ggram_embedding == "composed":
            initialization.zeros_(module.weight)

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embedding table."""
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the token embedding table."""
        self.embeddings.word_embeddings = value


class DnazenForMaskedLM(DnazenPreTrainedModel, MaskedLM):
    """DNAZEN with the masked-LM head of pre-training."""

    _tied_weights_keys = {"head.decoder.weight": "dnazen.embeddings.word_embeddings.weight"}  # noqa: RUF012

    def get_output_embeddings(self) -> nn.Linear:
        """The decoder."""
        return self.head.decoder

    def set_output_embeddings(self, value: nn.Linear) -> None:
        """Replace the decoder."""
        self.head.decoder = value


class DnazenForSequenceClassification(DnazenPreTrainedModel, SequenceClassifier):
    """DNAZEN with a head that classifies sequences, or predicts numbers."""


class DnazenForBaseClassification(DnazenPreTrainedModel, BaseClassifier):
    """DNAZEN with a head that classifies every base: what ``dnazen finetune`` trains."""


class DnazenForTokenClassification(DnazenPreTrainedModel):
    """DNAZEN with dropout and a linear layer on every token, as Hugging Face's tools expect.

    A token is several bases: ``DnazenForBaseClassification`` tells them apart. It has the weights
    of this model and more, under the same names.
    """

    def build(self, config: DnazenConfig) -> None:
        """Make the parts."""
        self.num_labels = config.num_labels
        self.dnazen = self.encoder_of(config)
        self.dropout = nn.Dropout(classifier_dropout(config))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)

    @can_return_tuple  # type: ignore[untyped-decorator]
    @shows_inputs
    def forward(
        self,
        input_ids: Int[Tensor, "batch width"] | None = None,
        labels: Int[Tensor, "batch width"] | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **inputs: Any,
    ) -> TokenClassifierOutput:
        """Logits (batch, width, labels), and the loss over tokens whose label is not -100."""
        output = self.dnazen(input_ids, return_dict=True, **inputs)
        logits = self.classifier(self.dropout(output.last_hidden_state))
        loss = None
        if labels is not None:
            loss = labelled_loss(logits.flatten(0, 1), labels.flatten(), num_items_in_batch)
        return TokenClassifierOutput(
            loss=loss,
            logits=logits,
            hidden_states=output.hidden_states,
            attentions=output.attentions,
        )


for _auto, _model in (
    (AutoModel, DnazenModel),
    (AutoModelForMaskedLM, DnazenForMaskedLM),
    (AutoModelForSequenceClassification, DnazenForSequenceClassification),
    (AutoModelForTokenClassification, DnazenForTokenClassification),
):
    _auto.register(DnazenConfig, _model, exist_ok=True)
