"""ONNX files as others run them: the documented lines, without PyTorch, against our own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from directories import classifier_with_views, random_directory
from dnazen.cli import main
from dnazen.inference.opened import OpenedModel
from dnazen.library import load
from dnazen.model.tokenization import DnazenTokenizer

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from dnazen.export import export as module  # noqa: E402

DOCS = Path(__file__).parents[2] / "docs" / "export.md"
SEQUENCES = ["TATAAAAGGCGCGTCCGATCGGCTAGCTTAGC", "ACGTNNNNNACGTTGCA"]  # of the documented lines


def documented(directory):
    """What the documented lines compute, run where PyTorch cannot be imported."""
    lines = re.search(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)[1]
    script = (
        "import sys; sys.modules['torch'] = None\n"
        f"{lines}\nprint(json.dumps({{name: rows.tolist() for name, rows in outputs.items()}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(directory)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return {name: np.array(rows) for name, rows in json.loads(done.stdout).items()}


@pytest.mark.slow
@pytest.mark.parametrize("strands", ["forward", "average"])
def test_a_classifier_by_the_documented_lines(ground, tmp_path, capfd, strands):
    place = classifier_with_views(ground, tmp_path / "m", strands=strands)
    assert main(["export", str(place), "-o", str(tmp_path / "out")]) == 0
    said = capfd.readouterr()
    assert re.fullmatch(r"wrote .*out, \S+ from the model at most\n", said.err)
    assert not said.out
    logits = documented(tmp_path / "out")["logits"]
    expected = [prediction.logits for prediction in load(place, "cpu").predict(SEQUENCES)]
    assert np.abs(logits - np.array(expected)).max() < 1e-4
    about = json.loads((tmp_path / "out" / "export.json").read_text())
    assert about["labels"] == list(load(place, "cpu").task.label_names)
    assert about["largest_difference"] < 1e-4


@pytest.mark.slow
def test_a_masked_model_by_the_documented_lines(ground, tmp_path):
    random_directory(ground, tmp_path / "m", initializer_range=0.3, max_ggrams=4)
    assert main(["export", str(tmp_path / "m"), "-o", str(tmp_path / "out")]) == 0
    outputs = documented(tmp_path / "out")
    model = OpenedModel.open(tmp_path / "m", "cpu")
    tokenizer = DnazenTokenizer.of(model.config, model.tokenizer, model.vocabulary)
    inputs = tokenizer(SEQUENCES, padding=True, return_tensors="pt")
    shown = inputs["attention_mask"].bool().numpy()
    with torch.inference_mode():
        expected = model.masked_lm(**inputs).logits.numpy()
    assert np.abs(outputs["logits"] - expected)[shown].max() < 1e-4


@pytest.mark.slow
def test_bytes_are_smaller_close_and_the_same_in_any_batch(ground, tmp_path):
    random_directory(ground, tmp_path / "m", hidden_size=128, ggram_embedding="composed")
    model = OpenedModel.open(tmp_path / "m", "cpu")
    whole, small = module.export(model), module.export(model, int8=True)
    assert len(small.graph) < len(whole.graph) / 2
    assert 0 < small.description["largest_difference"] < 0.2
    session = onnxruntime.InferenceSession(small.graph)
    tokenizer = DnazenTokenizer.of(model.config, model.tokenizer, model.vocabulary)

    def states(texts):
        inputs = tokenizer(texts, padding=True, return_tensors="np")
        return session.run(None, {n: inputs[n] for n in small.description["inputs"]})[1]

    together, alone = states([SEQUENCES[1], SEQUENCES[0] * 3]), states(SEQUENCES[1:])
    assert np.abs(together[0, : alone.shape[1]] - alone[0]).max() < 1e-5


def test_an_export_that_differs_is_not_written(ground, tmp_path, monkeypatch, capsys):
    random_directory(ground, tmp_path / "m", initializer_range=0.3)
    monkeypatch.setattr(module, "_largest_difference", lambda *_: float("nan"))
    assert main(["export", str(tmp_path / "m"), "-o", str(tmp_path / "out")]) == 2
    assert "the exported model differs from the model" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["m"]


def test_without_the_extra_it_says_what_to_install(ground, tmp_path, monkeypatch, capsys):
    random_directory(ground, tmp_path / "m")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert main(["export", str(tmp_path / "m"), "-o", str(tmp_path / "out")]) == 2
    assert "pip install 'dnazen[export]'" in capsys.readouterr().err
