"""The shape of a DNAZEN model, under the names Hugging Face uses."""

from __future__ import annotations

from typing import Any, Literal, get_args

from transformers import AutoConfig, PreTrainedConfig

from ..errors import ConfigError

Fusion = Literal["sum", "mean", "gated"]
GGramEmbedding = Literal["own", "composed", "shared"]
ClassifierPooling = Literal["cls", "mean"]
Size = Literal["tiny", "mini", "small", "base", "large", "x-large"]

# hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, num_hidden_ggram_layers.
# base, large and x-large: the released table; the smaller ones: Decided here, for CPUs.
SIZES: dict[Size, tuple[int, int, int, int, int]] = {
    "tiny": (64, 2, 4, 128, 1),
    "mini": (128, 4, 4, 512, 2),
    "small": (256, 6, 8, 1024, 3),
    "base": (768, 12, 12, 3072, 6),
    "large": (1024, 24, 16, 4096, 6),
    "x-large": (1536, 28, 12, 8960, 12),
}


class DnazenConfig(PreTrainedConfig):
    """Shape and behaviour of a DNAZEN model (method.md section 5).

    Parameters
    ----------
    vocab_size
        Tokens, special ones included.
    hidden_size, num_hidden_layers, num_attention_heads, intermediate_size
        E4BU; the G-gram encoder shares all but the number of layers.
    num_hidden_ggram_layers
        L_g, layers of the G-gram encoder, at most ``num_hidden_layers``. With 0 the G-gram
        embeddings are added once, to the token embeddings (Decided here: an ablation).
    ggram_vocab_size
        Rows of the G-gram embedding table: the G-grams and row 0, the padding. 0 makes the model
        E4BU alone.
    fusion
        ``sum`` over the covering G-grams (the release), their ``mean``, or ``gated``: the sum
        times a learned vector per layer that starts at zero (Decided here).
    ggram_embedding
        What the G-gram encoder is given: the G-gram's ``own`` row of the table (the release);
        ``composed``, its own row, which starts at zero, and the mean embedding of the tokens that
        it covers; or ``shared``, one row for all, so that a G-gram only marks what it covers
        (Decided here: rows of rare G-grams are hardly trained, and these two do not need them).
    max_ggrams
        Cap on the distinct G-grams matched in a sequence, from the front; ``None`` is no cap.
    classifier_pooling
        What a sequence classifier reads: the state of ``[CLS]`` (the release), or the ``mean`` of
        the states between it and the last ``[SEP]`` (Decided here; with nothing between them, that
        of ``[CLS]``).
    classifier_dropout
        Before a task's linear layer; ``None`` takes ``hidden_dropout_prob``.

    Raises
    ------
    ConfigError
        If the numbers cannot make a model.
    """

    model_type = "dnazen"

    def __init__(
        self,
        vocab_size: int = 4096,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        num_hidden_ggram_layers: int = 6,
        ggram_vocab_size: int = 0,
        fusion: Fusion = "sum",
        ggram_embedding: GGramEmbedding = "own",
        max_ggrams: int | None = None,
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.0,
        classifier_pooling: ClassifierPooling = "cls",
        classifier_dropout: float | None = None,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        type_vocab_size: int = 2,
        pad_token_id: int = 3,
        tie_word_embeddings: bool = True,
        **kwargs: Any,
    ) -> None:
        _require_whole(
            1,
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            num_hidden_layers=num_hidden_layers,
            num_attention_heads=num_attention_heads,
            intermediate_size=intermediate_size,
            type_vocab_size=type_vocab_size,
        )
        _require_whole(
            0,
            num_hidden_ggram_layers=num_hidden_ggram_layers,
            ggram_vocab_size=ggram_vocab_size,
            max_ggrams=0 if max_ggrams is None else max_ggrams,
            pad_token_id=pad_token_id,
        )
        if pad_token_id >= vocab_size:
            raise ConfigError(f"pad_token_id {pad_token_id} is no token of {vocab_size}")
        for name, share in (
            ("hidden_dropout_prob", hidden_dropout_prob),
            ("attention_probs_dropout_prob", attention_probs_dropout_prob),
            ("classifier_dropout", 0.0 if classifier_dropout is None else classifier_dropout),
        ):
            if not 0 <= share < 1:
                raise ConfigError(f"{name} must lie in 0 <= p < 1, got {share}")
        if hidden_size % num_attention_heads:
            raise ConfigError(
                f"hidden_size {hidden_size} is no multiple of num_attention_heads "
                f"{num_attention_heads}"
            )
        if num_hidden_ggram_layers > num_hidden_layers:
            raise ConfigError(
                f"num_hidden_ggram_layers {num_hidden_ggram_layers} exceeds num_hidden_layers "
                f"{num_hidden_layers}; each is fused after the E4BU layer of its number"
            )
        for name, choice, choices in (
            ("fusion", fusion, get_args(Fusion)),
            ("ggram_embedding", ggram_embedding, get_args(GGramEmbedding)),
            ("classifier_pooling", classifier_pooling, get_args(ClassifierPooling)),
        ):
            if choice not in choices:
                raise ConfigError(f"{name} must be one of {choices}, got {choice!r}")
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.num_hidden_ggram_layers = num_hidden_ggram_layers
        self.ggram_vocab_size = ggram_vocab_size
        self.fusion = fusion
        self.ggram_embedding = ggram_embedding
        self.max_ggrams = max_ggrams
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.classifier_pooling = classifier_pooling
        self.classifier_dropout = classifier_dropout
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.type_vocab_size = type_vocab_size
        super().__init__(
            pad_token_id=pad_token_id, tie_word_embeddings=tie_word_embeddings, **kwargs
        )

    @property
    def ggram_rows(self) -> int:
        """Rows of the G-gram embedding table, that of the padding included."""
        most = 2 if self.ggram_embedding == "shared" else self.ggram_vocab_size
        return min(self.ggram_vocab_size, most)

    @classmethod
    def of_size(cls, size: Size, **kwargs: Any) -> DnazenConfig:
        """The configuration of a named size; ``kwargs`` win over the table."""
        hidden, layers, heads, intermediate, ggram_layers = SIZES[size]
        shape = {
            "hidden_size": hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": intermediate,
            "num_hidden_ggram_layers": ggram_layers,
        }
        return cls(**{**shape, **kwargs})


def _require_whole(least: int, **settings: Any) -> None:
    for name, value in settings.items():
        if not isinstance(value, int) or value < least:
            raise ConfigError(f"{name} must be a whole number >= {least}, got {value!r}")


AutoConfig.register("dnazen", DnazenConfig, exist_ok=True)
