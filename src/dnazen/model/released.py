"""The released file formats, DNAZEN's and DNABERT-2's: the only place that knows their names.

Translations of configurations, weights and G-grams, both ways. A released DNAZEN directory holds
``config.json``, ``model.safetensors`` (or ``pytorch_model.bin``), ``tokenizer.json`` and
``ngram.json``; a DNABERT-2 directory is the same without the G-gram parts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from ..errors import InputError
from ..ggrams.vocabulary import UNKNOWN_COUNT, GGramVocabulary, first_problem
from ..outputs import new_file
from ..records import read_json
from ..tokens.tokenizer import token_strings, tokenizer_sha256
from .configuration import DnazenConfig, task_settings

MASKED_LM, CLASSIFIER = "ZenForMaskedLM", "ZenForSequenceClassification"
"""What the released code calls its models."""

_ONCE = {
    "bert.embeddings.word_embeddings": "dnazen.embeddings.word_embeddings",
    "bert.embeddings.token_type_embeddings": "dnazen.embeddings.token_type_embeddings",
    "bert.embeddings.LayerNorm": "dnazen.embeddings.norm",
    "bert.ngram_embeddings.word_embeddings": "dnazen.ggram_embeddings.word_embeddings",
    "bert.ngram_embeddings.token_type_embeddings": "dnazen.ggram_embeddings.token_type_embeddings",
    "bert.ngram_embeddings.LayerNorm": "dnazen.ggram_embeddings.norm",
    "bert.pooler.dense": "pooler",
    "cls.predictions.transform.dense": "head.dense",
    "cls.predictions.transform.LayerNorm": "head.norm",
    "cls.predictions.decoder": "head.decoder",
    "classifier": "classifier",
}
_E4BU = {  # below bert.encoder.layer.N and dnazen.layers.N
    "attention.self.Wqkv": "attention.qkv",
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "attention.norm",
    "mlp.gated_layers": "feed_forward.gated",
    "mlp.wo": "feed_forward.output",
    "mlp.layernorm": "feed_forward.norm",
}
_GGRAM = {  # below bert.encoder.ngram_layers.N and dnazen.ggram_layers.N
    "attention.output.dense": "attention.output",
    "attention.output.LayerNorm": "attention.norm",
    "intermediate.dense": "feed_forward.intermediate",
    "output.dense": "feed_forward.output",
    "output.LayerNorm": "feed_forward.norm",
}
_QKV = ("query", "key", "value")
_SAME_NAMES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "initializer_range",
    "layer_norm_eps",
    "type_vocab_size",
    "pad_token_id",
)
_TASK_NAMES = ("id2label", "label2id", "problem_type")


def is_released(settings: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` is of the released DNAZEN or DNABERT-2 format.

    Both call themselves ``bert``; what no other BERT states is where ALiBi starts.
    """
    return settings.get("model_type") == "bert" and "alibi_starting_size" in settings


def config_from_released(settings: Mapping[str, Any]) -> DnazenConfig:
    """Our configuration from a released ``config.json``.

    DNABERT-2's names code of its own (``auto_map``), which is neither read nor run.

    Raises
    ------
    ConfigError
        If it cannot make a model.
    """
    ours = {name: settings[name] for name in _SAME_NAMES if settings.get(name) is not None}
    # DNABERT-2 leaves the pad out of its configuration; both tokenizers have [PAD] = 3.
    ours.setdefault("pad_token_id", 3)
    return DnazenConfig(
        **ours,
        **task_settings(settings),
        num_hidden_ggram_layers=settings.get("num_hidden_ngram_layers", 0),
        ggram_vocab_size=settings.get("ngram_vocab_size", 0),
        max_ggrams=settings.get("max_ngram_count"),
        fusion="sum",
    )


def released_cap(config: DnazenConfig) -> int:
    """The cap on a sequence's G-grams; 512 stands for none, which the released code lacks."""
    return 512 if config.max_ggrams is None else int(config.max_ggrams)


def config_to_released(config: DnazenConfig, architecture: str) -> dict[str, Any]:
    """A released ``config.json`` from our configuration."""
    theirs = {name: getattr(config, name) for name in (*_SAME_NAMES, *_TASK_NAMES)}
    theirs |= {
        "model_type": "bert",
        "architectures": [architecture],
        "alibi_starting_size": 512,
        "hidden_act": "gelu",
    }
    if config.ggram_vocab_size:
        theirs |= {
            "num_hidden_ngram_layers": config.num_hidden_ggram_layers,
            "ngram_vocab_size": config.ggram_vocab_size,
            "max_ngram_count": released_cap(config),
        }
    return theirs


def has_released_names(state: Mapping[str, Tensor]) -> bool:
    """Whether weights bear the names of the released format."""
    return any(name.startswith("bert.") for name in state)


def weights_from_released(state: Mapping[str, Tensor], config: DnazenConfig) -> dict[str, Tensor]:
    """Our names for released weights; a name that is not known stays as it is."""
    names = _names(config)
    ours: dict[str, Tensor] = {}
    waiting = dict(state)
    for layer, split in _split_projections(config):
        for kind in ("weight", "bias"):
            parts = [f"{name}.{kind}" for name in split]
            if all(part in waiting for part in parts):
                ours[f"{layer}.{kind}"] = torch.cat([waiting.pop(part) for part in parts])
    for name, tensor in waiting.items():
        module, _, kind = name.rpartition(".")
        ours[f"{names[module]}.{kind}" if module in names else name] = tensor
    # The decoder is tied; DNABERT-2 also stores its bias under a second name.
    second = ours.pop("cls.predictions.bias", None)
    if second is not None:
        ours.setdefault("head.decoder.bias", second)
    ours.pop("dnazen.embeddings.position_ids", None)
    return ours


def weights_to_released(state: Mapping[str, Tensor], config: DnazenConfig) -> dict[str, Tensor]:
    """Released names for our weights, the tied decoder stored once; inverse of the above."""
    names = {ours: theirs for theirs, ours in _names(config).items()}
    split = dict(_split_projections(config))
    theirs: dict[str, Tensor] = {}
    for name, tensor in state.items():
        module, _, kind = name.rpartition(".")
        if module in split:
            for part, piece in zip(split[module], tensor.chunk(3), strict=True):
                theirs[f"{part}.{kind}"] = piece.contiguous()
        elif name != "head.decoder.weight":
            theirs[f"{names[module]}.{kind}"] = tensor.contiguous()
    return theirs


def _names(config: DnazenConfig) -> dict[str, str]:
    """Released module name -> ours, for every module but the split projections."""
    layers = {
        f"bert.encoder.layer.{n}.{theirs}": f"dnazen.layers.{n}.{ours}"
        for n in range(config.num_hidden_layers)
        for theirs, ours in _E4BU.items()
    }
    ggram_layers = {
        f"bert.encoder.ngram_layers.{n}.{theirs}": f"dnazen.ggram_layers.{n}.{ours}"
        for n in range(config.num_hidden_ggram_layers)
        for theirs, ours in _GGRAM.items()
    }
    return _ONCE | layers | ggram_layers


def _split_projections(config: DnazenConfig) -> list[tuple[str, list[str]]]:
    """Our fused query-key-value module of each G-gram layer and its three released modules."""
    return [
        (
            f"dnazen.ggram_layers.{n}.attention.qkv",
            [f"bert.encoder.ngram_layers.{n}.attention.self.{part}" for part in _QKV],
        )
        for n in range(config.num_hidden_ggram_layers)
    ]


def read_released_ggrams(path: Path, tokenizer: Tokenizer) -> GGramVocabulary:
    """Read an ``ngram.json``; ids are kept, counts and PMI are unknown.

    Raises
    ------
    InputError
        If the file is not of that form, or names tokens that the tokenizer does not have.
    """
    table = read_json(path, "an ngram.json of the DNAZEN release")
    strings = _ggram_strings(table, path)
    ids_of = tokenizer.get_vocab()
    ggrams = [string.split(" ") for string in strings]
    unknown = next((token for ggram in ggrams for token in ggram if token not in ids_of), None)
    if unknown is not None:
        raise InputError(
            f"token {unknown!r} is not in the tokenizer",
            path=path,
            expected="the tokenizer the checkpoint was trained with",
        )
    tokens = np.array([ids_of[token] for ggram in ggrams for token in ggram], dtype=np.int64)
    offsets = np.cumsum([0, *map(len, ggrams)], dtype=np.int64)
    vocab_size = tokenizer.get_vocab_size()
    problem = first_problem(tokens, offsets, vocab_size)
    if problem:
        raise InputError(f"{strings[problem[0]]!r}: {problem[1]}", path=path)
    return GGramVocabulary(
        tokens=tokens.astype(np.uint16),
        offsets=offsets,
        counts=np.full(len(ggrams), UNKNOWN_COUNT, dtype=np.int64),
        pmi=np.full(len(ggrams), np.nan, dtype=np.float32),
        vocab_size=vocab_size,
        tokenizer_sha256=tokenizer_sha256(tokenizer),
        provenance={"released": {key: item for key, item in table.items() if key != "vocab"}},
        bases=tuple("".join(ggram) for ggram in ggrams),
    )


def write_released_ggrams(
    path: Path, vocabulary: GGramVocabulary, tokenizer: Tokenizer, max_ggrams: int = 30
) -> None:
    """Write an ``ngram.json``; a vocabulary read from one gives its keys back.

    Parameters
    ----------
    max_ggrams
        The cap on G-grams of a sequence that the file states, where the vocabulary does not come
        from such a file.
    """
    strings = token_strings(tokenizer)
    released = vocabulary.provenance.get("released")
    if not (isinstance(released, dict) and isinstance(released.get("pad_ngram"), str)):
        released = {
            "min_ngram_len": int(vocabulary.lengths.min(initial=2)),
            "max_ngram_len": int(vocabulary.lengths.max(initial=2)),
            "max_ngram_count": max_ggrams,
            "pad_ngram_id": 0,
            "pad_ngram": "<PAD>",
            "ngram_size": len(vocabulary) + 1,
        }
    vocab = {released["pad_ngram"]: 0}
    for ggram_id in range(1, len(vocabulary) + 1):
        vocab[" ".join(strings[token] for token in vocabulary.ggram(ggram_id))] = ggram_id
    with new_file(path) as temporary:
        temporary.write_text(json.dumps({**released, "vocab": vocab}), encoding="utf-8")


def _ggram_strings(table: Mapping[str, Any], path: Path) -> list[str]:
    """G-grams as token strings in the order of their ids 1, 2, ...; the padding left out."""
    vocab = table.get("vocab")
    if not isinstance(vocab, dict) or any(type(number) is not int for number in vocab.values()):
        raise InputError("no object 'vocab' of G-gram ids", path=path, expected="an ngram.json")
    pad = table.get("pad_ngram", "<PAD>")
    if not isinstance(pad, str) or vocab.get(pad) != 0:
        raise InputError(f"the padding {pad!r} does not have id 0", path=path)
    strings = sorted(vocab, key=vocab.__getitem__)
    if [vocab[string] for string in strings] != list(range(len(strings))):
        raise InputError("G-gram ids do not run 0, 1, 2, ... without gaps", path=path)
    return strings[1:]
