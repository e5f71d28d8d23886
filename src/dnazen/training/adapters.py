"""LoRA adapters: a few trained matrices beside a model that stands still, saved without it.

Source: LoRA, arXiv 2106.09685. Training goes through ``peft`` (extra ``peft``); reading, in
``model.weights``, needs nothing more: every command takes an adapter as it takes a model.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from ..errors import ConfigError
from ..model.directory import files_for
from ..model.files import ADAPTER_BASE_FILE, ADAPTER_WEIGHTS_FILE
from ..model.modeling import DnazenForSequenceClassification
from ..model.source import ModelSource
from ..model.weights import weights_file
from ..records import hash_file, write_json
from ..tokens.tokenizer import save_tokenizer
from .settings import LoraConfig

TARGETS = r".*\.(attention\.(qkv|output)|feed_forward\.(gated|intermediate|output))"
"""The adapted layers: every matrix product of both encoders, and no embedding table."""
TRAINED_WHOLE = ("pooler", "classifier", "base_head")
"""Heads, which start at random and are saved with the adapter."""
_PREFIX = "base_model.model."
"""What peft puts before the names of weights."""


def require_peft() -> None:
    """Raise ConfigError unless ``peft`` is installed."""
    try:
        import peft  # noqa: F401
    except ImportError:
        raise ConfigError(
            "--lora.rank needs peft, which is not installed; run: pip install 'dnazen[peft]'"
        ) from None


def add_adapter(
    model: DnazenForSequenceClassification,
    settings: LoraConfig,
    base: Path,
    *,
    new_view: bool = False,
) -> PreTrainedModel:
    """A classifier of which only the adapter and the heads are trained.

    ``base`` is where its weights came from. The change starts at zero. It is ``peft``'s model,
    which passes all else on to ``model``.

    Parameters
    ----------
    new_view
        Train the base view too, and save it, for it is not the base's.
    """
    require_peft()
    import peft

    model.name_or_path = str(base.resolve())  # what peft stores as the base
    whole = (*TRAINED_WHOLE, *(["bases"] if new_view and model.config.base_channels else []))
    adapter = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=2 * settings.rank if settings.alpha is None else settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=TARGETS,
        modules_to_save=[name for name in whole if hasattr(model, name) or name == "bases"],
    )
    with warnings.catch_warnings():  # peft asks transformers by a name that goes out of use
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated")
        adapted: PreTrainedModel = peft.get_peft_model(model, adapter)
    return adapted


def save_adapter(
    directory: Path, model: PreTrainedModel, base: ModelSource, tokenizer: Tokenizer
) -> None:
    """Write adapter, heads, configuration and tokenizer, and the name of the base.

    A base of the hub is named by repository and commit; not before this, for while it trains peft
    asks the network about a base that is no path.

    Raises
    ------
    OutputError
        If the weights cannot be written.
    """
    if base.repository:
        settings = model.peft_config["default"]
        settings.base_model_name_or_path, settings.revision = base.repository, base.commit
    with files_for(directory) as partial:
        model.save_pretrained(partial, save_embedding_layers=False)
        (partial / "README.md").unlink(missing_ok=True)
        if model.config.kmers:  # put in when the training was done, so peft does not know of it
            file = partial / ADAPTER_WEIGHTS_FILE
            view = model.get_base_model().kmers.state_dict(prefix=f"{_PREFIX}kmers.")
            save_file({**load_file(file), **view}, file, metadata={"format": "pt"})
        model.config.architectures = [DnazenForSequenceClassification.__name__]
        model.config.save_pretrained(partial)
        save_tokenizer(tokenizer, partial)
        write_json(
            partial / ADAPTER_BASE_FILE, hash_file(weights_file(base.directory.resolve()))._asdict()
        )
