"""The shape of a DNAZEN model, under the names Hugging Face uses."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any, TypeGuard, get_args

from transformers.configuration_utils import PreTrainedConfig

from ..errors import ConfigError
from ..sequences.settings import ProblemType
from .settings import (
    MOST_KMERS,
    MOST_LAYERS,
    ClassifierPooling,
    Fusion,
    GGramEmbedding,
    Size,
    Strands,
)

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

_MOST_LABELS = 1 << 16
_MOST = 1 << 31
"""Sizes beyond these are no model's, but a damaged file's."""

_ATTENTION = ("eager", "sdpa", "flex_attention")


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
    base_channels
        Channels of the base view (``bases``); 0 is a model without one (Decided here).
    kmers
        Longest k-mers of the classifier's k-mer view (``kmers``); 0 is a model without one (Decided
        here).
    neighbours
        Whether a classifier of bases holds a regression on the bases around each (``neighbours``;
        Decided here).
    longest_token_bp
        Bases of the longest token, for the tables of these views.
    strands
        How a classifier is to be read: the sequence as it is (``forward``), or ``average``, the
        mean of the logits of both strands, on which it was trained (Decided here).
    max_tokens
        Longest example of fine-tuning, [CLS] and [SEP] included; ``None`` before it.
    sequences_per_example
        What a fine-tuned model reads: 1 sequence, or a pair, 2.
    background
        Of a model that classifies bases, the class that is nothing; ``None`` if none is.

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
        base_channels: int = 0,
        kmers: int = 0,
        neighbours: bool = False,
        longest_token_bp: int = 0,
        strands: Strands = "forward",
        max_tokens: int | None = None,
        sequences_per_example: int = 1,
        background: str | None = None,
        tie_word_embeddings: bool = True,
        **kwargs: Any,
    ) -> None:
        _require_whole(
            1,
            _MOST,
            vocab_size=vocab_size,
            hidden_size=hidden_size,
            intermediate_size=intermediate_size,
            type_vocab_size=type_vocab_size,
        )
        _require_whole(
            1,
            MOST_LAYERS,
            num_hidden_layers=num_hidden_layers,
            num_attention_heads=num_attention_heads,
        )
        _require_whole(
            0,
            _MOST,
            num_hidden_ggram_layers=num_hidden_ggram_layers,
            ggram_vocab_size=ggram_vocab_size,
            max_ggrams=0 if max_ggrams is None else max_ggrams,
            pad_token_id=pad_token_id,
            base_channels=base_channels,
            longest_token_bp=longest_token_bp,
        )
        _require_whole(4, _MOST, max_tokens=4 if max_tokens is None else max_tokens)
        _require_whole(1, 2, sequences_per_example=sequences_per_example)
        _require_whole(0, MOST_KMERS, kmers=kmers)
        if pad_token_id >= vocab_size:
            raise ConfigError(f"pad_token_id {pad_token_id} is no token of {vocab_size}")
        for name, share in (
            ("hidden_dropout_prob", hidden_dropout_prob),
            ("attention_probs_dropout_prob", attention_probs_dropout_prob),
            ("classifier_dropout", 0.0 if classifier_dropout is None else classifier_dropout),
        ):
            if not is_number(share) or not 0 <= share < 1:
                raise ConfigError(f"{name} must lie in 0 <= p < 1, got {share!r}")
        for name, value in (
            ("initializer_range", initializer_range),
            ("layer_norm_eps", layer_norm_eps),
        ):
            if not is_number(value) or not 0 < value < 1:
                raise ConfigError(f"{name} must lie in 0 < x < 1, got {value!r}")
        if background is not None and not isinstance(background, str):
            raise ConfigError(f"background must be the name of a class, got {background!r}")
        for name, switch in (
            ("tie_word_embeddings", tie_word_embeddings),
            ("neighbours", neighbours),
        ):
            if not isinstance(switch, bool):
                raise ConfigError(f"{name} must be true or false: {switch!r}")
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
            ("strands", strands, get_args(Strands)),
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
        self.base_channels = base_channels
        self.kmers = kmers
        self.neighbours = neighbours
        self.longest_token_bp = longest_token_bp
        self.strands = strands
        self.max_tokens = max_tokens
        self.sequences_per_example = sequences_per_example
        self.background = background
        problem_type = kwargs.pop("problem_type", None)
        super().__init__(
            pad_token_id=pad_token_id, tie_word_embeddings=tie_word_embeddings, **kwargs
        )
        self.problem_type = problem_type  # older versions of transformers know but three

    def keep_layers(self, number: int) -> None:
        """Keep the first layers alone.

        Raises
        ------
        ConfigError
            If the model has no so many.
        """
        if not 1 <= number <= self.num_hidden_layers:
            raise ConfigError(
                f"layers must be 1 to {self.num_hidden_layers}, those of the model, got {number}"
            )
        self.num_hidden_layers = number
        self.num_hidden_ggram_layers = min(self.num_hidden_ggram_layers, number)

    @property
    def ggram_rows(self) -> int:
        """Rows of the G-gram embedding table, that of the padding included."""
        most = 2 if self.ggram_embedding == "shared" else self.ggram_vocab_size
        return min(self.ggram_vocab_size, most)

    @property
    def encoder_parameters(self) -> int:
        """Number of weights of both encoders, without heads."""
        hidden, inner = self.hidden_size, self.intermediate_size
        attention = 4 * hidden * hidden + 4 * hidden + 2 * hidden
        layer = attention + 3 * inner * hidden + hidden + 2 * hidden
        embeddings = (self.type_vocab_size + 2) * hidden
        total = self.vocab_size * hidden + embeddings + self.num_hidden_layers * layer
        if self.ggram_vocab_size:
            ggram_layer = attention + 2 * inner * hidden + inner + hidden + 2 * hidden
            total += self.ggram_rows * hidden + embeddings
            total += self.num_hidden_ggram_layers * ggram_layer
            if self.fusion == "gated":
                total += max(1, self.num_hidden_ggram_layers) * hidden
        return total

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


def config_from_stored(settings: Mapping[str, Any]) -> DnazenConfig:
    """The configuration in a ``config.json`` of ours: what we know of it, and nothing else.

    Raises
    ------
    ConfigError
        If it names code to run or an attention that is not ours, or cannot make a model.
    """
    for name in ("auto_map", "custom_pipelines", "trust_remote_code"):
        if settings.get(name):
            raise ConfigError(f"{name} names code of others, which is never run; take it out")
    for name in ("attn_implementation", "_attn_implementation", "_attn_implementation_internal"):
        if settings.get(name) not in (None, *_ATTENTION):
            raise ConfigError(f"{name} must be one of {', '.join(_ATTENTION)}")
    shape = inspect.signature(DnazenConfig.__init__).parameters.keys() - {"self", "kwargs"}
    ours = {name: value for name, value in settings.items() if name in shape}
    config = DnazenConfig(**ours, **task_settings(settings))
    if config.problem_type == "base_classification" and not config.base_channels:
        raise ConfigError("problem_type base_classification needs base_channels of 1 or more")
    return config


def task_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a ``config.json``, ours or a released one, says of a model's task.

    Raises
    ------
    ConfigError
        If there is no such task, or the names of the labels are no list of names.
    """
    problem_type = settings.get("problem_type")
    if problem_type not in (None, *get_args(ProblemType)):
        raise ConfigError(f"problem_type must be one of {get_args(ProblemType)}")
    task = {"problem_type": problem_type}
    names = settings.get("id2label")
    if names is None:
        number = settings.get("num_labels", 2)
        _require_whole(1, _MOST_LABELS, num_labels=number)
        return {**task, "num_labels": number}
    places = {str(n) for n in range(len(names))}
    if not isinstance(names, Mapping) or set(map(str, names)) != places:
        raise ConfigError("id2label must name labels 0, 1, 2, ... without a gap")
    labels = dict(sorted((int(n), name) for n, name in names.items()))
    numbers = {name: n for n, name in labels.items() if isinstance(name, str)}
    if not labels or len(numbers) < len(labels):
        raise ConfigError("id2label must give each label a name of its own")
    if settings.get("label2id") not in (None, numbers):
        raise ConfigError("id2label and label2id contradict each other")
    return {**task, "id2label": labels, "label2id": numbers}


def _require_whole(least: int, most: int, **settings: Any) -> None:
    for name, value in settings.items():
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            bounds = f">= {least}" if most == _MOST else f"from {least} to {most}"
            raise ConfigError(f"{name} must be a whole number {bounds}, got {value!r}")


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value out of a file is a finite number."""
    return isinstance(value, (int, float)) and math.isfinite(value)
