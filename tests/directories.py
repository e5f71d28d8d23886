"""Model directories that tests make, change and compare."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from dnazen.ggrams.vocabulary import GGramVocabulary
from dnazen.model.bases import UNKNOWN, base_table
from dnazen.model.configuration import DnazenConfig
from dnazen.model.directory import ModelDirectory, save_directory
from dnazen.model.modeling import DnazenForMaskedLM, DnazenForSequenceClassification
from dnazen.records import read_json
from dnazen.tokens.corpus import Corpus
from dnazen.tokens.special import SEP


def weights_of(directory: Path) -> dict[str, torch.Tensor]:
    return load_file(directory / "model.safetensors")


def assert_bit_equal(one, other):
    assert set(one) == set(other)
    for name, tensor in one.items():
        assert tensor.dtype == other[name].dtype
        assert tensor.numpy().tobytes() == other[name].numpy().tobytes(), name


def random_directory(ground, directory, *, kind=DnazenForMaskedLM, seed=0, **changes):
    """A tiny random model of our own in a directory."""
    corpus = Corpus.open(ground.corpus)
    vocabulary = GGramVocabulary.load(ground.ggrams)
    torch.manual_seed(seed)
    config = DnazenConfig.of_size(
        "tiny",
        **{"vocab_size": corpus.vocab_size, "ggram_vocab_size": len(vocabulary) + 1, **changes},
    )
    model = kind(config)
    parts = ModelDirectory(config, corpus.tokenizer, vocabulary)
    directory.mkdir()
    save_directory(directory, model, corpus.tokenizer, vocabulary)
    return model, parts


def classifier_with_views(ground, directory, **changes) -> Path:
    """A random classifier whose base view and k-mers say something, each of its own."""
    corpus = Corpus.open(ground.corpus)
    table = base_table(corpus.tokenizer, corpus.vocab_size)
    views = {"base_channels": 5, "kmers": 3, "longest_token_bp": table.shape[1]}
    random_directory(
        ground,
        directory,
        **{
            "kind": DnazenForSequenceClassification,
            **views,
            "seed": 3,
            "initializer_range": 0.2,
            **changes,
        },
    )

    def fill(weights):
        torch.manual_seed(5)
        for name, weight in weights.items():
            if name == "dnazen.bases.table":
                weight.copy_(table)
            if name == "kmers.table":
                weight.copy_(table)
                weight[SEP, :1] = UNKNOWN
            if name.startswith(("base_head.", "dnazen.bases.")) and weight.is_floating_point():
                weight.normal_(0, 0.4)
            if name.startswith("kmers.") and weight.is_floating_point():
                weight.uniform_(-1, 1) if "output" in name else weight.uniform_(0.5, 2)

    rewrite(directory, fill)
    return directory


def as_dnabert2(source: Path, target: Path) -> Path:
    """A DNABERT-2 directory: the fixture's without its G-gram parts, weights pickled."""
    target.mkdir()
    settings = read_json(source / "config.json", "")
    for name in ("num_hidden_ngram_layers", "ngram_vocab_size", "max_ngram_count", "pad_token_id"):
        del settings[name]
    settings["architectures"] = ["BertForMaskedLM"]
    (target / "config.json").write_text(json.dumps(settings))
    shutil.copy(source / "tokenizer.json", target)
    weights = {n: x for n, x in weights_of(source).items() if "ngram" not in n}
    # DNABERT-2 stores the tied decoder and its bias twice
    weights["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"]
    weights["cls.predictions.bias"] = weights["cls.predictions.decoder.bias"]
    torch.save(weights, target / "pytorch_model.bin")
    return target


def rewrite(directory: Path, change) -> None:
    """Let ``change`` alter the stored weights in place."""
    weights = weights_of(directory)
    change(weights)
    save_file(weights, directory / "model.safetensors")
