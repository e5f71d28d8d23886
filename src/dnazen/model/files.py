"""The names of the files that a model directory holds; imports nothing."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatch

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
PICKLED_WEIGHTS_FILE = "pytorch_model.bin"
PACKED_WEIGHTS_FILE = "model.int8.safetensors"
"""A byte a weight (``packed``)."""
ADAPTER_CONFIG_FILE = "adapter_config.json"
ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"
ADAPTER_BASE_FILE = "base.json"
"""Size and hash of the weights that an adapter was trained on."""
WEIGHTS_FILES = (
    WEIGHTS_FILE,
    PICKLED_WEIGHTS_FILE,
    PACKED_WEIGHTS_FILE,
    ADAPTER_WEIGHTS_FILE,
)
"""Weights in one file, the first that is there being read."""
GGRAMS_FILE = "ggrams.tsv"
RELEASED_GGRAMS_FILE = "ngram.json"
TOKENIZER_PATTERNS = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.*", "merges.txt", "*.model"),
)
"""Files of tokenizers, ours and those of transformers."""
PRETRAINING_SCORES, FINETUNING_SCORES = "metrics.json", "test_metrics.json"
SCORES_FILES = (PRETRAINING_SCORES, FINETUNING_SCORES)
"""What a training leaves beside its model."""

_BESIDE_WEIGHTS = (
    *(CONFIG_FILE, ADAPTER_CONFIG_FILE, ADAPTER_BASE_FILE, GGRAMS_FILE, RELEASED_GGRAMS_FILE),
    *TOKENIZER_PATTERNS,
    *SCORES_FILES,
)
_SHARDED = {
    f"{WEIGHTS_FILE}.index.json": "model-*-of-*.safetensors",
    f"{PICKLED_WEIGHTS_FILE}.index.json": "pytorch_model-*-of-*.bin",
}
"""Indices of weights in several files, and what these files are called."""


def files_read(names: Iterable[str]) -> list[str]:
    """Those files of a folder that are read of a model; one form of the weights, and that last.

    Examples
    --------
    >>> files_read(["README.md", "pytorch_model.bin", "model.safetensors", "config.json"])
    ['config.json', 'model.safetensors']
    """
    present = sorted(name for name in set(names) if "/" not in name)
    beside = [name for name in present if any(fnmatch(name, one) for one in _BESIDE_WEIGHTS)]
    return beside + weight_files(present)


def weight_files(names: Iterable[str]) -> list[str]:
    """The files of the weights that are read of a folder's files; none where it has none.

    One file comes before several, safetensors before a pickle. Of several the index is the last.

    Examples
    --------
    >>> weight_files(["model.safetensors.index.json", "model-00001-of-00001.safetensors"])
    ['model-00001-of-00001.safetensors', 'model.safetensors.index.json']
    """
    present = sorted(set(names))
    for whole, (index, pattern) in zip(WEIGHTS_FILES, _SHARDED.items(), strict=False):
        if whole in present:
            return [whole]
        if index in present:
            return [*(name for name in present if fnmatch(name, pattern)), index]
    return [name for name in (PACKED_WEIGHTS_FILE, ADAPTER_WEIGHTS_FILE) if name in present][:1]
