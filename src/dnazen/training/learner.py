"""What can be fine-tuned: splits as a model reads them, and how to make and keep the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Int8
from torch import Tensor
from transformers import PreTrainedModel

from ..model.bases import base_table, longest_token_bp
from ..model.batches import Collator, Example
from ..model.configuration import DnazenConfig
from ..model.directory import ModelDirectory, open_directory, save_directory
from ..model.modeling import DnazenForBaseClassification, DnazenForSequenceClassification
from ..model.settings import MOST_LAYERS, Strands
from ..model.source import find_model
from ..model.weights import BASE_VIEW, GGRAM_PARTS, HEADS, load_weights, read_weights
from ..sequences.splits import Split, Splits
from ..tokens.encoding import EncodedExamples, Length
from ..tokens.strands import encode_strands
from .adapters import add_adapter, require_peft, save_adapter
from .settings import FinetuneConfig
from .trainer import choose_attention, compile_layers

BASE_CHANNELS = 64
"""Of the base view that a model without one is given."""


class EncodedSplits(NamedTuple):
    """The splits as tokens."""

    train: EncodedExamples
    dev: EncodedExamples
    test: EncodedExamples


class Learner(NamedTuple):
    """What is fine-tuned; ``dnazen_learner`` and others make one."""

    strands: tuple[EncodedSplits, ...]
    """The splits, and a second time as reverse complements if both strands are read."""
    collator: Callable[[Sequence[Example]], dict[str, Tensor]]
    fresh: Callable[[], PreTrainedModel]
    """Makes the model to train, a classifier; called once the seed is set."""
    width: int = 768
    """Of its states, by which learning rates go; that of base where it is not known."""
    table: Int8[Tensor, "vocabulary longest_token"] | None = None
    """The bases of each token, for a k-mer view; ``None`` where the model has no room for one."""
    save: Callable[[Path, PreTrainedModel], None] | None = None
    """Writes the trained model into a directory; ``None`` where it is not kept."""
    finished: Callable[[PreTrainedModel], PreTrainedModel] = lambda model: model
    """Makes the whole model of the trained one, where only a part is trained."""
    reader: Callable[[Sequence[Example]], dict[str, Tensor]] | None = None
    """Makes batches of the whole model, where they are others than in training."""

    @property
    def encoded(self) -> EncodedSplits:
        """The splits as they are given."""
        return self.strands[0]


def on_strands(
    encode: Callable[[Split], EncodedExamples], splits: Splits, strands: Strands
) -> tuple[EncodedSplits, ...]:
    """The splits encoded, and their reverse complements where both strands are read."""
    turned = [splits] if strands == "forward" else [splits, splits.reverse_complement()]
    return tuple(EncodedSplits(*map(encode, each.parts.values())) for each in turned)


def dnazen_learner(
    model: str | Path, splits: Splits, config: FinetuneConfig, strands: Strands = "forward"
) -> Learner:
    """The DNAZEN model of a directory or a name of the hub, with its tokenizer and G-grams.

    Raises
    ------
    InputError
        If the model cannot be read, or an example is too long.
    """
    source = find_model(model)
    parts = open_directory(source.directory)
    if config.without_ggrams:
        parts.config.ggram_vocab_size = 0
        parts = parts._replace(vocabulary=None)
    if config.lora.rank:
        require_peft()
    length = Length(config.max_tokens, config.too_long)

    def encode(split: Split) -> tuple[EncodedExamples, ...]:
        path, rows = split.table.source.path, split.table.rows
        places = [f"{path}:{row.line}" for row in rows]
        letters = [row.sequences for row in rows]
        both = strands == "average"
        return encode_strands(parts.tokenizer, letters, length, places, both=both)

    def save(directory: Path, trained: PreTrainedModel) -> None:
        if config.lora.rank:
            save_adapter(directory, trained, source, parts.tokenizer)
        else:
            save_directory(directory, trained, parts.tokenizer, parts.vocabulary)

    had = parts.config.base_channels
    given = BASE_CHANNELS if config.train == "all" else 0  # a head alone trains no view
    channels = (had or given) if config.base_channels is None else config.base_channels
    if config.layers is not None:
        parts.config.keep_layers(config.layers)
    parts.config.base_channels = channels
    _describe_task(parts, splits, config, strands)
    return Learner(
        tuple(EncodedSplits(*of) for of in zip(*map(encode, splits.parts.values()), strict=True)),
        Collator.of(parts),
        lambda: _fresh_classifier(source.directory, parts, config, new_view=channels != had),
        width=parts.config.hidden_size,
        table=base_table(parts.tokenizer, parts.config.vocab_size),
        save=save,
    )


def _describe_task(
    parts: ModelDirectory, splits: Splits, config: FinetuneConfig, strands: Strands
) -> None:
    """Put into the configuration what prediction must know: labels, kind, lengths, strands."""
    shape = parts.config
    names = splits.task.label_names
    shape.id2label = dict(enumerate(names))
    shape.label2id = {name: number for number, name in enumerate(names)}
    shape.problem_type = splits.task.problem_type
    shape.background = splits.task.background
    shape.classifier_pooling = config.pooling
    shape.max_tokens = config.max_tokens
    shape.sequences_per_example = len(splits.train.table.rows[0].sequences)
    shape.strands = strands
    shape.kmers, shape.neighbours = 0, False  # until a regression is blended in
    shape.longest_token_bp = longest_token_bp(parts.tokenizer)


def _fresh_classifier(
    directory: Path, parts: ModelDirectory, config: FinetuneConfig, *, new_view: bool
) -> PreTrainedModel:
    """The model to train: the encoder as given, or random; the head always random.

    With ``lora``, an adapter on it.

    Parameters
    ----------
    new_view
        Whether the base view is not that of the weights, and starts anew.

    Raises
    ------
    InputError
        If the weights cannot be read or do not fit.
    """
    shape = parts.config
    of_bases = shape.problem_type == "base_classification"
    kind = DnazenForBaseClassification if of_bases else DnazenForSequenceClassification
    model = kind(shape)
    if shape.base_channels:
        model.dnazen.bases.table.copy_(base_table(parts.tokenizer, shape.vocab_size))
    if not config.from_random_weights:
        anew = (*HEADS, *(BASE_VIEW if new_view else ()))
        left_out = (*anew, *(GGRAM_PARTS if config.without_ggrams else ()), *_beyond(shape))
        weights = read_weights(directory, shape)
        encoder = {name: w for name, w in weights.items() if not name.startswith(left_out)}
        load_weights(model, encoder, directory, may_miss=anew, quiet=True)
    choose_attention(model, config.run)
    adapted = model
    if config.lora.rank:
        adapted = add_adapter(model, config.lora, directory, new_view=new_view)
    compile_layers(adapted, config.run)
    return adapted


def _beyond(shape: DnazenConfig) -> Iterator[str]:
    """Where the names of weights begin that are of layers beyond the last."""
    for number in range(shape.num_hidden_layers, MOST_LAYERS):
        yield f"dnazen.layers.{number}."
    for number in range(shape.num_hidden_ggram_layers, MOST_LAYERS):
        yield f"dnazen.ggram_layers.{number}."
        yield f"dnazen.fusions.{max(1, number)}."
