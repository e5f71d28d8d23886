"""Other makers' networks, as ``transformers`` has them, with our numbers of tokens in and out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForMaskedLM, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING

from ..errors import InputError
from ..ggrams.masking import NO_LABEL
from ..tokens.special import CLS, MASK, PAD
from .configuration import DnazenConfig
from .foreign import FROM_DIRECTORY, by_transformers, open_foreign
from .foreign_tokens import ABSENT, ForeignTokenizer
from .layers import Placed

_DEFAULT_TOKENS = 512
_NO_LIMIT = 1 << 20
_NOT_OF_STATES = ("pooler.", "contact_head.", "embeddings.position_ids")
"""Parts of encoders that states and logits do not depend on."""


class ForeignEncoder(Placed):
    """An encoder of ``transformers`` that is called as ours is; states stand where ours would."""

    theirs: Tensor
    """Its id of each of our tokens (``ForeignTokenizer.theirs``)."""

    def __init__(self, network: PreTrainedModel, theirs: Tensor, limit: int, source: Path) -> None:
        super().__init__()
        self.network = network
        self.limit, self.source = limit, source
        self.register_buffer("theirs", theirs, persistent=False)

    @property
    def columns_before(self) -> int:
        """Our columns that it has none for: [CLS], if it puts no token before a sequence."""
        return int(self.theirs[CLS] == ABSENT)

    def inputs(
        self, input_ids: Int[Tensor, "batch width"], attention_mask: Int[Tensor, "batch width"]
    ) -> dict[str, Tensor]:
        """Its own inputs; special tokens that it does not have are padding to it.

        Raises
        ------
        InputError
            If a sequence is longer than it reads.
        """
        first = self.columns_before
        ids = self.theirs[input_ids[:, first:]]
        present = ids != ABSENT
        mask = attention_mask[:, first:] * present
        longest = int(mask.sum(1).max())
        if longest > self.limit:
            raise InputError(
                f"{longest} tokens", path=self.source, expected=f"at most {self.limit}",
                fix="lower --max-tokens or --window-bp",
            )  # fmt: skip
        padding = self.theirs[PAD].clamp(min=0)
        return {"input_ids": torch.where(present, ids, padding), "attention_mask": mask}

    def forward(
        self,
        input_ids: Int[Tensor, "batch width"],
        attention_mask: Int[Tensor, "batch width"],
        output_hidden_states: bool = False,
    ) -> BaseModelOutput:
        """States of all tokens, and after each layer if asked for; 0 where it has no [CLS]."""
        output = self.network(
            **self.inputs(input_ids, attention_mask), output_hidden_states=output_hidden_states
        )

        def ours(states: Tensor) -> Tensor:
            return nn.functional.pad(states, (0, 0, self.columns_before, 0))

        layers = output.hidden_states if output_hidden_states else None
        return BaseModelOutput(
            last_hidden_state=ours(output.last_hidden_state),
            hidden_states=None if layers is None else tuple(map(ours, layers)),
        )


class ForeignMaskedLM(nn.Module):
    """A masked LM of ``transformers`` that is called as ours is."""

    columns: Tensor
    """Its logits in our order, those of tokens that only it has behind."""

    def __init__(self, network: PreTrainedModel, encoder: ForeignEncoder, tokens: int) -> None:
        super().__init__()
        self.network, self.encoder = network, encoder
        ours = encoder.theirs
        others = torch.arange(tokens)
        others = others[~torch.isin(others, ours)]
        columns = torch.cat([ours.masked_fill(ours == ABSENT, tokens), others])
        self.register_buffer("columns", columns, persistent=False)

    def forward(
        self,
        input_ids: Int[Tensor, "batch width"],
        attention_mask: Int[Tensor, "batch width"],
        labels: Int[Tensor, "batch width"],
    ) -> MaskedLMOutput:
        """Logits where ``labels`` has a token: (predicted, vocabulary), our tokens first.

        Tokens that only they have stand behind, so that a softmax is over all that they have.
        """
        wanted = labels[:, self.encoder.columns_before :] != NO_LABEL
        logits = self.network(**self.encoder.inputs(input_ids, attention_mask)).logits[wanted]
        absent = logits.new_full((len(logits), 1), -torch.inf)
        return MaskedLMOutput(logits=torch.cat([logits, absent], dim=1)[:, self.columns])


class ForeignModel(NamedTuple):
    """All that is read of another maker's model."""

    config: DnazenConfig
    """Its shape in our words: tokens, sizes, the window that it reads by default."""
    tokenizer: ForeignTokenizer
    encoder: ForeignEncoder
    masked_lm: ForeignMaskedLM | None
    """Where the weights have such a head, and the tokenizer a mask."""
    kind: str
    """Its ``model_type``."""


def read_foreign(directory: Path) -> ForeignModel:
    """Read the model of a directory, in float32; code that comes with it is not run.

    Raises
    ------
    InputError
        If it names code of others, cannot be opened, or its encoder is not whole.
    """
    config, tokenizer = open_foreign(directory)
    tokens = ForeignTokenizer(tokenizer, directory)
    network, has_head = _network(directory, config)
    limit = _longest(config, tokenizer.model_max_length)
    theirs = torch.from_numpy(tokens.theirs)
    encoder = ForeignEncoder(network.base_model, theirs, limit, directory)
    masked_lm = None
    if has_head and theirs[MASK] != ABSENT:
        masked_lm = ForeignMaskedLM(network, encoder, config.vocab_size)
    shape = DnazenConfig(
        vocab_size=len(tokens.theirs),
        hidden_size=config.hidden_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=1,  # nobody asks
        num_hidden_ggram_layers=0,
        max_tokens=min(_DEFAULT_TOKENS, limit),
    )
    return ForeignModel(shape, tokens, encoder, masked_lm, config.model_type)


def _network(directory: Path, config: PretrainedConfig) -> tuple[PreTrainedModel, bool]:
    """The network, and whether it has a masked-LM head with weights."""
    if config.is_encoder_decoder or not hasattr(config, "num_hidden_layers"):
        raise InputError(
            f"a {config.model_type} model", path=directory, expected="an encoder or a masked LM"
        )
    can_have_head = type(config) in MODEL_FOR_MASKED_LM_MAPPING
    kind = AutoModelForMaskedLM if can_have_head else AutoModel
    with by_transformers(directory):
        network, report = kind.from_pretrained(
            directory,
            dtype=torch.float32,
            output_loading_info=True,
            **FROM_DIRECTORY,
        )
    prefix = f"{network.base_model_prefix}." if can_have_head else ""
    missing = sorted(report["missing_keys"])
    of_encoder = [
        name.removeprefix(prefix)
        for name in missing
        if name.startswith(prefix) and not name.removeprefix(prefix).startswith(_NOT_OF_STATES)
    ]
    if of_encoder:
        raise InputError(
            f"{len(of_encoder)} weights are missing: {', '.join(of_encoder[:3])}",
            path=directory,
            expected=f"all of a {config.model_type} model of this configuration",
        )
    has_head = can_have_head and all(name.startswith(prefix) for name in missing)
    return network, has_head


def _longest(config: PretrainedConfig, of_tokenizer: int) -> int:
    """The most tokens that a model reads, special ones included."""
    if of_tokenizer < _NO_LIMIT:
        return of_tokenizer
    positions = getattr(config, "max_position_embeddings", None) or _NO_LIMIT
    return int(positions) - 2  # some count from behind the padding's id
