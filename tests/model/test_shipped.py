"""The models in the package: that they are whole, open by name, and keep what their cards say."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import dnazen
from dnazen.cli import main
from dnazen.model.source import SHIPPED, find_model

NAMES = sorted(path.name for path in SHIPPED.iterdir() if path.is_dir())
MOST_BYTES = 20 << 20


@pytest.fixture(scope="module")
def stretches() -> list[str]:
    """Real sequence that no command of this project made: the start of lambda phage's genome."""
    return [
        "GGGCGGCGACCTCGCGGGTTTTCGCTATTTATGAAAATTTTCCGGTTTAAGGCGTTTCCGTTCTTCTTCGTCATAACTTAATGTTTTTAT"
        "TTAAAATACCCTCTGAAAAGAAAGGAAACGACAGGTGCTGAAAGCGAGGCTTTTTGGCCTCTGTCGTTTCCTTTCTCTGTTTTTGTCCGT",
        "GGAATGAACAATGGAAGTCAACAAAAAGCAGCTGGCTGACATTTTCGGTGCGAGTATCCGTACCATTCAGAACTGGCAGGAACAGGGAAT",
    ]


def test_there_is_one():
    assert "mini" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_is_whole_and_small(name):
    files = {path.name: path.stat().st_size for path in find_model(name).directory.iterdir()}
    assert {"config.json", "tokenizer.json", "metrics.json", "README.md"} <= set(files)
    assert sum(files.values()) < MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_it_knows_more_than_a_markov_model(name, stretches, capsys):
    """On what it was held out, as it says; and on a phage far from all that it has seen, more than
    guessing."""
    scores = json.loads((SHIPPED / name / "metrics.json").read_text())
    assert scores["eval_bits_per_bp"] < scores["markov_bits_per_bp"]
    model = dnazen.load(name)
    assert "warning" not in capsys.readouterr().err
    read = model.log_likelihood(stretches)
    bits = -sum(one.by_token.sum() for one in read) / math.log(2) / sum(one.bases for one in read)
    assert bits < 2.1


@pytest.mark.parametrize("name", NAMES)
def test_commands_take_it_by_name(name, stretches, tmp_path, capsys):
    fasta, vectors = tmp_path / "s.fa", tmp_path / "v.npy"
    fasta.write_text("".join(f">{i}\n{text}\n" for i, text in enumerate(stretches)))
    assert main(["embed", name, str(fasta), "-o", str(vectors)]) == 0
    assert np.allclose(np.load(vectors), dnazen.load(name).embed(stretches), atol=1e-5)
