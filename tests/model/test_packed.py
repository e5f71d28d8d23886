"""Weights as bytes: how far off they may be, and that the directory is a model like any other."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import dnazen
from directories import random_directory, weights_of
from dnazen.cli import main
from dnazen.model.files import PACKED_WEIGHTS_FILE
from dnazen.model.packed import pack, unpack


def test_rows_are_off_by_half_a_step_at_most():
    torch.manual_seed(0)
    wide = torch.randn(5, 300) * torch.tensor([1e-6, 1e-2, 1.0, 50.0, 0.0])[:, None]
    weights = {"dnazen.a.weight": wide, "dnazen.a.bias": wide[:, 0], "head.dense.weight": wide}
    packed = pack(weights)
    back = unpack(packed)
    assert packed["dnazen.a.weight"].dtype == torch.int8
    assert set(back) == set(weights)
    step = wide.abs().max(1, keepdim=True).values / 127
    assert ((back["dnazen.a.weight"] - wide).abs() <= step / 2 * (1 + 1e-5)).all()
    assert torch.equal(back["dnazen.a.bias"], wide[:, 0])
    assert torch.equal(back["head.dense.weight"], wide)


@pytest.mark.parametrize("changes", [{}, {"base_channels": 8, "longest_token_bp": 8}])
def test_converted_to_bytes_and_back(ground, tmp_path, changes):
    source, small, back = tmp_path / "model", tmp_path / "int8", tmp_path / "back"
    random_directory(ground, source, seed=1, hidden_size=32, intermediate_size=64, **changes)
    (source / "metrics.json").write_text('{"eval_bits_per_bp": 1.8}')
    assert main(["convert", str(source), "--to", "int8", "-o", str(small)]) == 0
    assert main(["convert", str(small), "-o", str(back)]) == 0
    files = {path.name for path in small.iterdir()}
    assert PACKED_WEIGHTS_FILE in files
    assert "model.safetensors" not in files
    assert (small / "metrics.json").read_text() == '{"eval_bits_per_bp": 1.8}'
    before, after = weights_of(source), weights_of(back)
    assert set(before) == set(after)
    for name, tensor in before.items():
        scale = tensor.abs().max() / 127
        assert (tensor.float() - after[name].float()).abs().max() <= scale / 2 * 1.001, name
    sequences = ["ACGTTGCA" * 20, "GATTACA" * 9]
    packed = dnazen.load(small).embed(sequences)
    assert np.array_equal(packed, dnazen.load(back).embed(sequences))
    assert np.allclose(packed, dnazen.load(source).embed(sequences), atol=0.1)
