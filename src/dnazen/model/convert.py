"""Model directories from one format to another: ours, the released one, and ours as bytes.

Between the first two nothing is lost; the third rounds (``packed``).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors.torch import save_file

from ..errors import ConfigError
from ..outputs import new_directory
from ..records import hash_file, run_record, write_json
from ..tokens.tokenizer import save_tokenizer
from .configuration import DnazenConfig
from .directory import ModelDirectory, files_for, open_directory, save_directory
from .files import RELEASED_GGRAMS_FILE, SCORES_FILES, WEIGHTS_FILE
from .modeling import (
    DnazenForBaseClassification,
    DnazenForMaskedLM,
    DnazenForSequenceClassification,
    DnazenPreTrainedModel,
)
from .released import (
    CLASSIFIER,
    MASKED_LM,
    config_to_released,
    released_cap,
    weights_to_released,
    write_released_ggrams,
)
from .settings import Format
from .source import find_model
from .weights import load_weights, read_weights

_ARCHITECTURE = {
    DnazenForMaskedLM: MASKED_LM,
    DnazenForSequenceClassification: CLASSIFIER,
}


def _require_released_shape(config: DnazenConfig) -> None:
    """Raise ConfigError unless the released code would compute the same from this model."""
    if config.problem_type == "base_classification":
        raise ConfigError("the released format has no classes of bases, this model gives them")
    if config.classifier_pooling != "cls":
        raise ConfigError(
            f"the released classifier reads [CLS], this model's {config.classifier_pooling!r}"
        )
    if config.base_channels:
        raise ConfigError("the released format has no base view, this model has one")
    if config.kmers:
        raise ConfigError("the released format has no k-mer view, this model has one")
    if config.strands != "forward":
        raise ConfigError(
            "the released format reads one strand, this model the average of both; fine-tune with "
            "--strands forward"
        )
    if not config.ggram_vocab_size:
        return
    if config.fusion != "sum":
        raise ConfigError(
            f"the released format knows only 'sum' fusion, this model has {config.fusion!r}"
        )
    if config.ggram_embedding != "own":
        raise ConfigError(
            f"the released format knows only G-grams with an embedding of their own, this model's "
            f"are {config.ggram_embedding!r}"
        )
    if config.num_hidden_ggram_layers == 0:
        raise ConfigError("the released format has no fusion without a layer of the G-gram encoder")


def _save_released(directory: Path, model: DnazenPreTrainedModel, parts: ModelDirectory) -> None:
    """Write a model in the released format."""
    architecture = _ARCHITECTURE[type(model)]
    write_json(directory / "config.json", config_to_released(model.config, architecture))
    save_file(
        weights_to_released(model.state_dict(), model.config),
        directory / WEIGHTS_FILE,
        metadata={"format": "pt"},
    )
    save_tokenizer(parts.tokenizer, directory, folding=False)
    if parts.vocabulary is not None:
        cap = released_cap(model.config)
        path = directory / RELEASED_GGRAMS_FILE
        write_released_ggrams(path, parts.vocabulary, parts.tokenizer, cap)


def convert(model_name: str | Path, output: Path, to: Format = "dnazen") -> None:
    """Write a model, of any format, in one of three.

    Raises
    ------
    InputError
        If there is no such model, or weights are missing, unknown or of another shape.
    ConfigError
        If the model cannot be written in the released format.
    OutputError
        If the output is taken or cannot be written.
    """
    found = find_model(model_name)
    source = found.directory
    parts = open_directory(source)
    weights = read_weights(source, parts.config)
    kind: type[DnazenPreTrainedModel] = DnazenForMaskedLM
    if parts.config.problem_type == "base_classification":
        kind = DnazenForBaseClassification
    elif any(name.startswith("classifier.") for name in weights):
        kind = DnazenForSequenceClassification
    model = kind(parts.config)
    load_weights(model, weights, source, may_miss=())  # a conversion invents no weights
    with new_directory(output) as partial:
        if to != "released":
            packed = to == "int8"
            save_directory(partial, model, parts.tokenizer, parts.vocabulary, packed=packed)
        else:
            _require_released_shape(model.config)
            with files_for(partial) as files:
                _save_released(files, model, parts)
        for name in SCORES_FILES:
            if (source / name).is_file():
                shutil.copy(source / name, partial / name)
        inputs = [hash_file(path) for path in sorted(source.iterdir()) if path.is_file()]
        settings = {"model": model_name, "output": output, "to": to}
        record = run_record("convert", settings, inputs, commit=found.commit or None)
        write_json(partial / "convert.json", record)
