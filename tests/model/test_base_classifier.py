"""The classifier of bases against a dense float64 computation, base by base."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from torch.nn.functional import conv1d, cross_entropy

from directories import random_directory
from dnazen.errors import InputError
from dnazen.inference.opened import OpenedModel
from dnazen.model.bases import base_table
from dnazen.model.batches import Collator, Example
from dnazen.model.configuration import DnazenConfig
from dnazen.model.modeling import DnazenForBaseClassification, DnazenForTokenClassification
from dnazen.model.neighbours import FEATURES, REACH, WORD, WORD_STARTS, neighbour_features
from dnazen.tokens.corpus import Corpus
from dnazen.tokens.encoding import Length, encode_examples
from dnazen.tokens.tokenizer import token_strings

LETTERS = ["ACGTTGCAACGT", "ACNNGTAC", "G", "TTNAACCGGTTAACG"]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "neighbours"])
def model(request, ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "bases"
    network, parts = random_directory(
        ground, folder, kind=DnazenForBaseClassification, seed=2, initializer_range=0.3,
        base_channels=8, longest_token_bp=_longest(ground), num_labels=3,
        problem_type="base_classification", neighbours=request.param,
    )  # fmt: skip
    network.dnazen.bases.table.copy_(base_table(parts.tokenizer, parts.config.vocab_size))
    with torch.no_grad():
        network.base_head.weight.normal_()
        network.dnazen.bases.output.weight.normal_(std=0.2)
        if request.param:
            network.neighbours.hold(torch.randn(3, FEATURES), torch.randn(3))
    network.save_pretrained(folder)
    return folder, network.eval(), parts


def _longest(ground):
    return max(map(len, token_strings(Corpus.open(ground.corpus).tokenizer)[5:]))


def encoded(parts, letters):
    examples = [(text.encode(),) for text in letters]
    return encode_examples(parts.tokenizer, examples, Length(99, "refuse"), letters).tokens


def dense(network, parts, letters):
    """Logits of each A, C, G and T of one sequence, in float64, base by base."""
    network = network.double()
    (tokens,) = encoded(parts, [letters])
    inputs = Collator.of(parts)([Example(tokens)])
    with torch.no_grad():
        states = network.dnazen(**inputs).last_hidden_state[0]
        strings = token_strings(parts.tokenizer)
        owners, spelt = [], ""
        for place, token in enumerate(tokens.tolist(), 1):
            text = "N" if token == 0 else strings[token]
            owners += [place] * len(text)
            spelt += text
        onehot = torch.tensor([[float(x == y) for x in spelt] for y in "ACGT"]).double()
        view = network.dnazen.bases
        read = onehot[None]
        for layer in (view.first, view.second):
            width = layer.weight.shape[2] // 2
            read = conv1d(read, layer.weight, layer.bias, padding=width).relu()
        rows = []
        for base, (letter, owner) in enumerate(zip(spelt, owners, strict=True)):
            if letter == "N":
                continue
            logits = network.classifier.weight @ states[owner] + network.classifier.bias
            logits = logits + network.base_head.weight @ read[0, :, base]
            if network.config.neighbours:
                weights = network.neighbours.weights.weight
                logits = logits + network.neighbours.bias
                logits = logits + sum(weights[n] for n in around(spelt, base))
            rows.append(logits)
    network.float()
    return torch.stack(rows).numpy()


def around(spelt, base):
    """The numbers of a base's features, spelt out."""
    for place in range(-REACH, REACH + 1):
        if 0 <= base + place < len(spelt) and spelt[base + place] != "N":
            yield 4 * (place + REACH) + "ACGT".index(spelt[base + place])
    first = 4 * (2 * REACH + 1)
    for start in WORD_STARTS:
        word = spelt[base + start : base + start + WORD] if base + start >= 0 else ""
        if len(word) == WORD and "N" not in word:
            yield first + sum("ACGT".index(x) * 4**n for n, x in enumerate(word))
        first += 4**WORD


def test_logits_are_those_of_a_dense_computation(model):
    _, network, parts = model
    batch = Collator.of(parts)([Example(tokens) for tokens in encoded(parts, LETTERS)])
    with torch.no_grad():
        output = network(**batch)
    expected = [dense(network, parts, letters) for letters in LETTERS]
    assert output.sequence.tolist() == [n for n, rows in enumerate(expected) for _ in rows]
    np.testing.assert_allclose(output.logits.numpy(), np.concatenate(expected), atol=2e-4)


def test_bases_of_one_token_have_logits_of_their_own(model):
    _, network, parts = model
    (tokens,) = encoded(parts, ["ACGTTGCAACGT"])
    widths = [len(token_strings(parts.tokenizer)[token]) for token in tokens]
    assert max(widths) > 1
    with torch.no_grad():
        logits = network(**Collator.of(parts)([Example(tokens)])).logits
    first = int(np.cumsum([0, *widths])[int(np.argmax(widths))])
    assert not torch.allclose(logits[first], logits[first + 1])


def test_the_loss_is_over_labelled_bases_alone(model):
    _, network, parts = model
    labels = [np.array([0, 1, -100, 2] * 3), np.array([1, 2, -100, 0, 1, 0])]
    tokens = encoded(parts, LETTERS[:2])
    examples = [Example(t, label=x) for t, x in zip(tokens, labels, strict=True)]
    batch = Collator.of(parts)(examples)
    assert batch["labels"].tolist() == np.concatenate(labels).tolist()
    output = network(**batch)
    kept = batch["labels"] != -100
    expected = cross_entropy(output.logits[kept], batch["labels"][kept])
    assert torch.allclose(output.loss, expected)
    batch["labels"][:] = -100
    assert network(**batch).loss == 0
    batch["labels"][0] = 1
    network(**batch, num_items_in_batch=4).loss.backward()


def test_it_starts_from_the_tokens_alone():
    config = DnazenConfig.of_size("tiny", vocab_size=20, base_channels=8, longest_token_bp=3)
    config.problem_type = "base_classification"
    network = DnazenForBaseClassification(config)
    assert not network.base_head.weight.any()
    config.base_channels = 0
    with pytest.raises(ValueError, match="classes of bases need a base view"):
        DnazenForBaseClassification(config)


def test_embeddings_alone_do_not_do(model):
    _, network, _ = model
    with pytest.raises(ValueError, match="classes of bases need input_ids"):
        network(inputs_embeds=torch.zeros(1, 3, 64))


def test_a_directory_is_opened_as_what_it_is(model):
    folder, network, _ = model
    opened = OpenedModel.open(folder, "cpu")
    assert "classifier of bases" in repr(opened)
    for name, tensor in opened.base_classifier.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name])
    with pytest.raises(InputError, match="a model that classifies bases; expected one that predic"):
        _ = opened.classifier
    tokens = DnazenForTokenClassification.from_released(folder)
    assert torch.equal(tokens.classifier.weight, network.classifier.weight)


def test_a_model_without_a_base_view_is_refused(model, tmp_path):
    shutil.copytree(model[0], tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps({**config, "base_channels": 0}))
    with pytest.raises(InputError, match="base_classification needs base_channels of 1 or more"):
        OpenedModel.open(tmp_path / "m", "cpu")


def test_features_do_not_depend_on_padding():
    codes = torch.randint(0, 5, (3, 40))
    padded = torch.cat([codes, torch.full((3, 7), -1)], dim=1)
    assert torch.equal(neighbour_features(padded)[:, :40], neighbour_features(codes))
