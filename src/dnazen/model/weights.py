"""Configurations and weights out of files: ours, released ones and adapters, read strictly."""

from __future__ import annotations

import math
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..errors import ConfigError, InputError, OutputError
from ..records import hash_file, read_json
from .configuration import DnazenConfig, config_from_stored, is_number
from .files import (
    ADAPTER_BASE_FILE,
    ADAPTER_CONFIG_FILE,
    ADAPTER_WEIGHTS_FILE,
    CONFIG_FILE,
    PACKED_WEIGHTS_FILE,
    PICKLED_WEIGHTS_FILE,
    WEIGHTS_FILE,
    WEIGHTS_FILES,
)
from .packed import unpack
from .released import (
    config_from_released,
    has_released_names,
    is_released,
    weights_from_released,
)
from .source import find_model, shipped_names

HEADS = ("head.", "pooler.", "classifier.", "base_head.", "kmers.", "neighbours.")
"""Where the names of task-specific weights begin."""
BASE_VIEW = ("dnazen.bases.",)
"""Where the names of the base view's weights begin."""
GGRAM_PARTS = ("dnazen.ggram_", "dnazen.fusions.")
"""Where the names of the weights begin that E4BU alone does not have."""
_SMALL_MODEL = 10_000_000
"""Weights that any machine has room for."""
_NOT_PLAIN = ("use_dora", "rank_pattern", "alpha_pattern", "lora_bias", "fan_in_fan_out")
"""Settings of a LoRA adapter under which it is no plain sum."""


def read_config(directory: Path) -> DnazenConfig:
    """Our configuration, from our ``config.json`` or a released one.

    Raises
    ------
    InputError
        If it is missing, of another kind of model, or of a larger one than the weights are.
    """
    if not directory.is_dir():
        raise InputError(
            "no such model directory",
            path=directory,
            expected="a folder with config.json, a model that ships "
            f"({', '.join(shipped_names())}), or ORG/NAME of one on the Hugging Face hub",
        )
    path = directory / CONFIG_FILE
    settings = read_json(path, "the configuration of a DNAZEN or DNABERT-2 model")
    try:
        if settings.get("model_type") == DnazenConfig.model_type:
            config = config_from_stored(settings)
        elif is_released(settings):
            config = config_from_released(settings)
        else:
            raise InputError(
                f"model_type is {settings.get('model_type')!r}",
                path=path,
                expected="'dnazen', or a released DNAZEN or DNABERT-2 model ('bert' with ALiBi)",
                fix="'dnazen gue run' fine-tunes other kinds, as hf",
            )
    except (ConfigError, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"cannot be a model's configuration ({error})", path=path) from None
    _weigh(config, directory)
    return config


def is_foreign(directory: Path) -> bool:
    """Whether a directory names a kind of model that is neither ours nor a released one."""
    path = directory / CONFIG_FILE
    if not path.is_file():
        return False
    settings = read_json(path, "a model's configuration")
    ours = settings.get("model_type") == DnazenConfig.model_type or is_released(settings)
    return "model_type" in settings and not ours


def _weigh(config: DnazenConfig, directory: Path) -> None:
    """Refuse a configuration that needs far more memory than its weights take, before it does.

    Small models pass in any case: what does not fit them is said by name when they are loaded.
    """
    base = directory
    while (below := adapter_base(base)) is not None:
        base = below
    files = [base / name for name in WEIGHTS_FILES if (base / name).exists()]
    if not files:  # a shape and a tokenizer to start from
        return
    stored = files[0].stat().st_size
    if config.encoder_parameters > max(stored, _SMALL_MODEL):  # a weight takes a byte or more
        raise InputError(
            f"describes a model of {config.encoder_parameters:,} weights; {files[0].name} has only "
            f"{stored:,} bytes",
            path=directory / CONFIG_FILE,
            fix="use the configuration these weights were saved with",
        )


def read_weights(directory: Path, config: DnazenConfig) -> dict[str, Tensor]:
    """The weights of a model directory under our names.

    Raises
    ------
    InputError
        If the file is missing, truncated or foreign.
    """
    base = adapter_base(directory)
    if base is not None:
        return _merged(directory, base, config)
    file = weights_file(directory)
    state = _tensors(file)
    if file.name == PACKED_WEIGHTS_FILE:
        return unpack(state)
    if has_released_names(state):
        return weights_from_released(state, config)
    return dict(state)


def weights_file(directory: Path) -> Path:
    """The file that holds a directory's weights.

    Raises
    ------
    InputError
        If there is none.
    """
    for name in WEIGHTS_FILES:
        if (directory / name).exists():
            return directory / name
    raise InputError(
        "no weights", path=directory, expected=f"{WEIGHTS_FILE} or {PICKLED_WEIGHTS_FILE}"
    )


def _tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file under its own names."""
    try:
        if path.suffix == ".safetensors":
            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes lead an unpickler to raise almost anything
        problem = next(iter(str(error).splitlines()), type(error).__name__)
        if isinstance(error, pickle.UnpicklingError):
            # torch's own words advise to read it all the same, and so to run what it holds
            problem = "damaged, or other things than tensors in it"
        raise InputError(
            f"not readable as weights ({problem})", path=path, fix="copy it again"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(x, Tensor) for x in state.values()):
        raise InputError(
            "holds other things than weights",
            path=path,
            expected="the state dict of a model: a tensor under each name",
        )
    return state


def adapter_base(directory: Path) -> Path | None:
    """The model directory that an adapter was trained on; ``None`` if this is no adapter.

    A relative path is looked up in the adapter's folder, then in the working directory, then as a
    name (``source.find_model``).

    Raises
    ------
    InputError
        If the base is not where the adapter says, or is this adapter itself.
    """
    below = _next_base(directory)
    seen = {directory.resolve()}
    step = below
    while step is not None:
        if step.resolve() in seen:
            raise InputError(
                "an adapter that is its own base",
                path=directory / ADAPTER_CONFIG_FILE,
                fix="name the model it was trained on as base_model_name_or_path",
            )
        seen.add(step.resolve())
        step = _next_base(step)
    return below


def _next_base(directory: Path) -> Path | None:
    """What an adapter names as its base; ``None`` if this is no adapter."""
    path = directory / ADAPTER_CONFIG_FILE
    if not path.exists():
        return None
    settings = read_json(path, "the settings of an adapter")
    name, revision = settings.get("base_model_name_or_path"), settings.get("revision")
    if isinstance(name, str) and name:
        if (directory / name / CONFIG_FILE).is_file():
            return directory / name
        base = find_model(f"{name}@{revision}" if revision and not Path(name).exists() else name)
        if (base.directory / CONFIG_FILE).is_file():
            return base.directory
    raise InputError(
        f"no model in '{name}', on which this adapter was trained",
        path=path,
        fix="put it back, or name its new place as base_model_name_or_path",
    )


def require_same_base(directory: Path, base: Path) -> None:
    """Raise InputError if an adapter's base has other weights than in its training."""
    record = directory / ADAPTER_BASE_FILE
    if not record.exists():  # an adapter that peft wrote
        return
    trained_on = read_json(record, "an adapter's base").get("sha256")
    if hash_file(weights_file(base)).sha256 != trained_on:
        raise InputError(
            f"the weights in {base} are not those that this adapter was trained on",
            path=directory,
            fix="put the old ones back, or train the adapter again",
        )


def _merged(directory: Path, base: Path, config: DnazenConfig) -> dict[str, Tensor]:
    """The base's weights, W + (alpha / rank) B A where the adapter has a pair, and its heads.

    Source: LoRA, arXiv 2106.09685, equation 3.
    """
    require_same_base(directory, base)
    scale = _adapter_scale(directory)
    path = directory / ADAPTER_WEIGHTS_FILE
    stored = _tensors(path)
    adapter = {name.removeprefix("base_model.model."): x for name, x in stored.items()}
    left_out = () if config.ggram_vocab_size else GGRAM_PARTS
    if any(name.startswith(HEADS) for name in adapter):
        left_out = (*left_out, *HEADS)
    weights = {
        name: tensor
        for name, tensor in read_weights(base, read_config(base)).items()
        if not name.startswith(left_out)
    }
    for name, tensor in adapter.items():
        module, _, part = name.partition(".lora_")
        if not part:
            weights[name] = tensor
        elif part == "A.weight":
            weight, second = weights.get(f"{module}.weight"), adapter.get(f"{module}.lora_B.weight")
            if (
                weight is None
                or second is None
                or (len(second), tensor.shape[-1]) != tuple(weight.shape)
                or second.shape[-1] != len(tensor)
            ):
                raise InputError(
                    f"{module} cannot be adapted by this",
                    path=path,
                    expected="for each matrix of the base a pair lora_A, lora_B of its shape",
                )
            weights[f"{module}.weight"] = weight + scale * (second @ tensor)
    return weights


def _adapter_scale(directory: Path) -> float:
    """By what the product of an adapter's matrices is multiplied."""
    path = directory / ADAPTER_CONFIG_FILE
    settings = read_json(path, "the settings of an adapter")
    if settings.get("peft_type") != "LORA" or any(settings.get(name) for name in _NOT_PLAIN):
        raise InputError(
            "an adapter of another kind", path=path, expected="plain LoRA, one rank for all"
        )
    rank, alpha = settings.get("r"), settings.get("lora_alpha")
    if not is_number(rank) or rank < 1 or not is_number(alpha):
        raise InputError(
            f"r {rank!r} and lora_alpha {alpha!r} make no adapter",
            path=path,
            expected="a rank of 1 or more, and a number",
        )
    return float(alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank))


def load_weights(
    model: nn.Module,
    state: dict[str, Tensor],
    source: Path,
    *,
    may_miss: tuple[str, ...] = HEADS,
    quiet: bool = False,
) -> None:
    """Put weights into a model; what the file lacks or the model does not use is said on stderr.

    Parameters
    ----------
    quiet
        Do not say it.
    may_miss
        Beginnings of the names that may start at random instead. A head of another shape (a
        classifier of other classes) counts as missing.

    Raises
    ------
    InputError
        If the encoder is not whole, or a weight is unknown, of another shape, or not finite.
    """
    expected = model.state_dict()
    prefix = "" if any(name.startswith("dnazen.") for name in expected) else "dnazen."
    state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    tied = "dnazen.embeddings.word_embeddings.weight"
    if "head.decoder.weight" in expected and tied in state:
        state.setdefault("head.decoder.weight", state[tied])
    shapes = {name: tensor.shape for name, tensor in expected.items()}
    state = {
        name: tensor
        for name, tensor in state.items()
        if not (name.startswith(HEADS) and tensor.shape != shapes.get(name, tensor.shape))
    }
    unused = [name for name in state if name not in expected]
    missing = [name for name in expected if name not in state]
    wrong = [n for n in state.keys() & expected.keys() if state[n].shape != expected[n].shape]
    if wrong:
        name = sorted(wrong)[0]
        raise InputError(
            f"{len(wrong)} weights have another shape, the first {name} {tuple(state[name].shape)}",
            path=source,
            expected=f"{tuple(expected[name].shape)}",
            fix="use the configuration these weights were saved with",
        )
    for what, names, allowed in (("not known", unused, HEADS), ("missing", missing, may_miss)):
        if strange := [name for name in names if not name.startswith(allowed)]:
            raise InputError(
                f"{len(strange)} weights are {what}: {', '.join(strange[:3])}"
                + (", ..." if len(strange) > 3 else ""),
                path=source,
                expected="the weights of a DNAZEN or DNABERT-2 model of this configuration",
            )
    if damaged := [name for name in state if name in expected and not _is_finite(state[name])]:
        raise InputError(
            f"{len(damaged)} weights hold numbers that are not finite, the first {damaged[0]}",
            path=source,
            expected="a model whose training went well",
            fix="take an earlier one, or train it again at a lower learning rate",
        )
    if missing and not quiet:
        print(f"note: {source} has no {_modules(missing)}: starting at random", file=sys.stderr)
    if unused and not quiet:
        print(f"note: {source} also has {_modules(unused)}: not used here", file=sys.stderr)
    model.load_state_dict(state, strict=False)


def _is_finite(tensor: Tensor) -> bool:
    """Whether a tensor holds neither NaN nor infinities; one pass, no copy."""
    if not tensor.numel():
        return True
    least, most = tensor.aminmax()
    return math.isfinite(least) and math.isfinite(most)


@contextmanager
def weights_being_written(directory: Path) -> Iterator[None]:
    """Turn what safetensors says of a full disk into the user's error.

    Raises
    ------
    OutputError
        If weights cannot be written.
    """
    try:
        yield
    except SafetensorError as error:
        raise OutputError(
            f"{directory}: weights cannot be written ({error}); "
            "free some space or choose another place"
        ) from error


def _modules(names: list[str]) -> str:
    """The top modules of weights: ``head``, ``dnazen.ggram_layers``."""
    tops = (name.split(".")[: 2 if name.startswith("dnazen.") else 1] for name in names)
    return ", ".join(dict.fromkeys(".".join(top) for top in tops))
