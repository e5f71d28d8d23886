"""Conversion between our format and the released one, there and back."""

from __future__ import annotations

import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from directories import as_dnabert2, assert_bit_equal, random_directory, rewrite, weights_of
from dnazen.cli import main
from dnazen.commands.convert import ConvertCommand
from dnazen.commands.convert import run as convert
from dnazen.errors import ConfigError, InputError, OutputError
from dnazen.model.directory import open_directory
from dnazen.model.modeling import DnazenForMaskedLM, DnazenForSequenceClassification
from dnazen.model.released import config_from_released
from dnazen.records import hash_file, read_json


@pytest.mark.parametrize("part", ["checkpoint", "classifier"])
def test_conversion_there_and_back_loses_nothing(released, tmp_path, part):
    source = released / part
    convert(ConvertCommand(model=source, output=tmp_path / "ours"))
    convert(ConvertCommand(model=tmp_path / "ours", output=tmp_path / "theirs", to="released"))
    assert_bit_equal(weights_of(tmp_path / "theirs"), weights_of(source))
    for name in ("ngram.json", "tokenizer.json"):
        one, other = (json.loads((d / name).read_text()) for d in (source, tmp_path / "theirs"))
        assert one == other
    assert list(json.loads((tmp_path / "theirs" / "ngram.json").read_text())["vocab"]) == list(
        json.loads((source / "ngram.json").read_text())["vocab"]
    )
    one, other = (read_json(d / "config.json", "") for d in (source, tmp_path / "theirs"))
    assert config_from_released(one).to_dict() == config_from_released(other).to_dict()
    assert one["architectures"] == other["architectures"]

    convert(ConvertCommand(model=tmp_path / "theirs", output=tmp_path / "again"))
    assert_bit_equal(weights_of(tmp_path / "again"), weights_of(tmp_path / "ours"))
    for name in ("ggrams.tsv", "config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "ours" / name).read_bytes()


def test_our_own_model_survives_the_released_format(ground, tmp_path):
    model, parts = random_directory(ground, tmp_path / "ours")
    convert(ConvertCommand(model=tmp_path / "ours", output=tmp_path / "theirs", to="released"))
    again = DnazenForMaskedLM.from_released(tmp_path / "theirs")
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)
    vocabulary = open_directory(tmp_path / "theirs").vocabulary
    assert np.array_equal(vocabulary.tokens, parts.vocabulary.tokens)
    assert np.array_equal(vocabulary.offsets, parts.vocabulary.offsets)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fusion": "gated"}, "knows only 'sum' fusion, this model has 'gated'"),
        ({"fusion": "mean"}, "knows only 'sum' fusion, this model has 'mean'"),
        ({"classifier_pooling": "mean"}, r"classifier reads \[CLS\], this model's 'mean'"),
        ({"ggram_embedding": "shared"}, "embedding of their own, this model's are 'shared'"),
        ({"num_hidden_ggram_layers": 0}, "no fusion without a layer of the G-gram encoder"),
        ({"base_channels": 2}, "the released format has no base view, this model has one"),
        ({"kmers": 2}, "the released format has no k-mer view, this model has one"),
        ({"strands": "average"}, r"reads one strand, this model the average .* --strands forward"),
    ],
)
def test_what_the_released_code_cannot_compute_is_not_written(ground, tmp_path, changes, message):
    kind = DnazenForSequenceClassification
    random_directory(ground, tmp_path / "ours", kind=kind, longest_token_bp=4, **changes)
    with pytest.raises(ConfigError, match=message):
        convert(ConvertCommand(model=tmp_path / "ours", output=tmp_path / "out", to="released"))
    assert not (tmp_path / "out").exists()


def test_a_dnabert2_directory_comes_back_without_its_second_copies(released, tmp_path):
    directory = as_dnabert2(released / "checkpoint", tmp_path / "dnabert2")
    convert(ConvertCommand(model=directory, output=tmp_path / "ours"))
    convert(ConvertCommand(model=tmp_path / "ours", output=tmp_path / "theirs", to="released"))
    stored = {n: x for n, x in weights_of(released / "checkpoint").items() if "ngram" not in n}
    assert_bit_equal(weights_of(tmp_path / "theirs"), stored)
    assert not (tmp_path / "theirs" / "ngram.json").exists()
    assert "ngram_vocab_size" not in read_json(tmp_path / "theirs" / "config.json", "")


def test_the_command_records_what_it_read(released, tmp_path, capsys):
    source = released / "classifier"
    assert main(["convert", str(source), "-o", str(tmp_path / "ours")]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("", f"wrote {tmp_path / 'ours'}\n")
    record = read_json(tmp_path / "ours" / "convert.json", "")
    assert record["command"] == "convert"
    assert hash_file(source / "model.safetensors")._asdict() in record["inputs"]
    assert main(["convert", str(source), "-o", str(tmp_path / "ours")]) == 2
    assert "not empty" in capsys.readouterr().err


def test_a_conversion_invents_no_weights(released, tmp_path):
    source = Path(shutil.copytree(released / "checkpoint", tmp_path / "copy"))
    rewrite(source, lambda w: [w.pop(n) for n in list(w) if n.startswith("cls.")])
    with pytest.raises(InputError, match=r"weights are missing: head\.dense\.weight"):
        convert(ConvertCommand(model=source, output=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("to", ["dnazen", "released"])
def test_a_conversion_to_a_full_disk_leaves_nothing(released, tmp_path, to):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
        with pytest.raises(OutputError, match=r"cannot be written \(.*File too large"):
            convert(ConvertCommand(model=released / "checkpoint", output=tmp_path / "out", to=to))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
