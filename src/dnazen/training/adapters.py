"""LoRA adapters: a few trained matrices beside a model that stands still, saved without it.

Source: LoRA, arXiv 2106.09685. Training goes through ``peft`` (extra ``peft``); reading, in
``model.weights``, needs nothing more: every command takes an adapter as it takes a model.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer
from transformers import PreTrainedModel

from ..errors import ConfigError
from ..model.directory import files_for
from ..model.modeling import DnazenForSequenceClassification
from ..model.weights import ADAPTER_BASE_FILE, weights_file
from ..records import hash_file, write_json
from ..tokens.tokenizer import save_tokenizer

TARGETS = r".*\.(attention\.(qkv|output)|feed_forward\.(gated|intermediate|output))"
"""The adapted layers: every matrix product of both encoders, and no embedding table."""
TRAINED_WHOLE = ("pooler", "classifier")
"""Heads, which start at random and are saved with the adapter."""


@dataclass(frozen=True, kw_only=True)
class LoraSettings:
    """A low-rank change of the model's layers in place of training all of its weights."""

    rank: int = 0
    """Rank of the change; 0 trains all weights."""
    alpha: int | None = None
    """The change is scaled by alpha / rank; by default alpha is twice the rank."""
    dropout: float = 0.0
    """Dropout of the inputs of the change."""

    def __post_init__(self) -> None:
        if self.rank < 0:
            raise ConfigError(f"lora.rank must be >= 0, got {self.rank}")
        if self.alpha is not None and self.alpha <= 0:
            raise ConfigError(f"lora.alpha must be > 0, got {self.alpha}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"lora.dropout must lie in 0 <= p < 1, got {self.dropout}")


def require_peft() -> None:
    """Raise ConfigError unless ``peft`` is installed."""
    try:
        import peft  # noqa: F401
    except ImportError:
        raise ConfigError(
            "--lora.rank needs peft, which is not installed; run: pip install 'dnazen[peft]'"
        ) from None


def add_adapter(
    model: DnazenForSequenceClassification, settings: LoraSettings, base: Path
) -> PreTrainedModel:
    """A classifier of which only the adapter and the heads are trained.

    ``base`` is where its weights came from. The change starts at zero. It is ``peft``'s model,
    which passes all else on to ``model``.
    """
    require_peft()
    from peft import LoraConfig, get_peft_model

    model.name_or_path = str(base.resolve())  # what peft stores as the base
    adapter = LoraConfig(
        r=settings.rank,
        lora_alpha=2 * settings.rank if settings.alpha is None else settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=TARGETS,
        modules_to_save=list(TRAINED_WHOLE),
    )
    with warnings.catch_warnings():  # peft asks transformers by a name that goes out of use
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated")
        adapted: PreTrainedModel = get_peft_model(model, adapter)
    return adapted


def save_adapter(directory: Path, model: PreTrainedModel, base: Path, tokenizer: Tokenizer) -> None:
    """Write adapter, heads, configuration and tokenizer, and the name of the base.

    Raises
    ------
    OutputError
        If the weights cannot be written.
    """
    with files_for(directory) as partial:
        model.save_pretrained(partial, save_embedding_layers=False)
        (partial / "README.md").unlink(missing_ok=True)
        model.config.architectures = [DnazenForSequenceClassification.__name__]
        model.config.save_pretrained(partial)
        save_tokenizer(tokenizer, partial)
        write_json(partial / ADAPTER_BASE_FILE, hash_file(weights_file(base.resolve()))._asdict())
