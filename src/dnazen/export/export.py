"""A model as a directory that other programs run: ONNX, tokenizer, G-grams, and what they are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from ..errors import InputError
from ..ggrams.vocabulary import GGramVocabulary
from ..inference.opened import OpenedModel
from ..model.classifier import SequenceClassifier
from ..model.encoder import FusedEncoder
from ..model.masked_lm import MaskedLM
from ..model.tokenization import DnazenTokenizer
from ..records import write_json
from ..tokens.reading import reading_tokenizer
from ..tokens.tokenizer import TOKENIZER_FILE, token_strings
from .graph import bytes_for_weights, onnx_of, require_onnx
from .network import ExportedNetwork
from .settings import DESCRIPTION_FILE, GGRAMS_FILE, MODEL_FILE, OPSET, TOLERANCE


class Exported(NamedTuple):
    """A model for other programs."""

    graph: bytes
    """The ONNX file."""
    tokenizer: str
    """``tokenizer.json`` for text as it is given: lower case, U and N, with [CLS] and [SEP]."""
    ggrams: list[list[int]]
    """The tokens of each G-gram, that of id 1 first; none of a model without."""
    description: dict[str, Any]
    """``export.json``: inputs, outputs, labels, versions, and how close it is to the model."""


def export(model: OpenedModel, *, int8: bool = False) -> Exported:
    """Export a model, and hold the export against it.

    Parameters
    ----------
    int8
        Store large matrices as bytes: about a quarter of the size, and no longer the same numbers.

    Raises
    ------
    ConfigError
        If the packages of the extra ``export`` are missing.
    InputError
        If the model is one that classifies bases or of another maker, or the exported one computes
        something else.
    """
    require_onnx()
    network = ExportedNetwork(_network(model)).eval().cpu().float()
    assert isinstance(model.tokenizer, Tokenizer)  # as that of each of our models
    tokenizer = DnazenTokenizer.of(model.config, model.tokenizer, model.vocabulary)
    trials = list(_trials(model, tokenizer))
    graph = onnx_of(network, [trials[0][name] for name in network.input_names])
    if int8:
        bytes_for_weights(graph)
    content = graph.SerializeToString()
    difference = _largest_difference(content, network, trials)
    if not difference <= (np.inf if int8 else TOLERANCE):
        raise InputError(
            f"the exported model differs from the model by {difference:.2g}",
            path=model.source,
            expected=f"{TOLERANCE} at most",
            fix="this is a fault of the export; please report it",
        )
    return Exported(
        content,
        reading_tokenizer(model.tokenizer).to_str(),
        _ggrams(model.vocabulary),
        _description(model, network, int8, difference),
    )


def write_export(exported: Exported, directory: Path) -> None:
    """Write the files of an export into an existing directory."""
    (directory / MODEL_FILE).write_bytes(exported.graph)
    (directory / TOKENIZER_FILE).write_text(exported.tokenizer, encoding="utf-8")
    if exported.ggrams:
        (directory / GGRAMS_FILE).write_text(json.dumps(exported.ggrams, separators=(",", ":")))
    write_json(directory / DESCRIPTION_FILE, exported.description)


def _network(model: OpenedModel) -> FusedEncoder | MaskedLM | SequenceClassifier:
    """What is exported: the classifier if there is one, else the masked LM, else the encoder."""
    if model.base_classifier_network is not None:
        raise InputError(
            "a model that classifies bases",
            path=model.source,
            expected="a pre-trained model or one that classifies whole sequences",
        )
    network = model.classifier_network or model.masked_lm_network or model.encoder
    if not isinstance(network, FusedEncoder | MaskedLM | SequenceClassifier):
        raise InputError(
            "a model of another maker",
            path=model.source,
            expected="one of ours, a released one, or DNABERT-2's",
        )
    return network


def _trials(model: OpenedModel, tokenizer: DnazenTokenizer) -> Iterator[Mapping[str, Tensor]]:
    """Batches on which an export is held against its model: padded, with G-grams and N; bare."""
    rng = np.random.default_rng(0)
    long, short = ("".join(rng.choice(list("ACGT"), length)) for length in (150, 40))
    texts = [long, f"{short}NNNN{short}", "A"]
    if model.vocabulary is not None:
        strings = token_strings(model.tokenizer)
        first = range(1, min(len(model.vocabulary), 20) + 1)
        texts.append("".join(strings[t] for n in first for t in model.vocabulary.ggram(n)))
    for batch in (texts, ["A"]):
        second = batch[::-1] if model.config.sequences_per_example == 2 else None
        yield tokenizer(batch, second, padding=True, return_tensors="pt")


def _largest_difference(
    graph: bytes, network: ExportedNetwork, trials: Sequence[Mapping[str, Tensor]]
) -> float:
    """By how much the outputs of a graph differ from those of the model itself."""
    import onnxruntime

    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    largest = 0.0
    for inputs in trials:
        outputs = session.run(None, {n: inputs[n].numpy() for n in network.input_names})
        shown = inputs["attention_mask"].bool()
        for ours, theirs in zip(outputs, _of_the_model(network, inputs), strict=True):
            difference = np.abs(ours - theirs.numpy())
            if difference.ndim == 3:
                difference = difference[shown.numpy()]
            largest = max(largest, float(difference.max()))
    return largest


def _of_the_model(network: ExportedNetwork, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """The same outputs by the model's own way."""
    own = {name: inputs[name] for name in network.input_names[: network.per_strand]}
    with torch.inference_mode():
        states = network.encoder(**own).last_hidden_state
        if isinstance(network.network, FusedEncoder):
            return (states,)
        given = {name: inputs[name] for name in network.input_names}
        return network.network(**given).logits, states


def _ggrams(vocabulary: GGramVocabulary | None) -> list[list[int]]:
    if vocabulary is None:
        return []
    cuts = vocabulary.offsets[1:-1]
    return [ggram.tolist() for ggram in np.split(vocabulary.tokens, cuts)]


def _description(
    model: OpenedModel, network: ExportedNetwork, int8: bool, difference: float
) -> dict[str, Any]:
    config = model.config
    classifies = isinstance(network.network, SequenceClassifier)
    packages = ("dnazen", "torch", "onnx", "onnxruntime", "onnxscript")
    return {
        "format": 1,
        "model": model.source,
        "head": {SequenceClassifier: "classifier", MaskedLM: "masked_lm"}.get(
            type(network.network), "encoder"
        ),
        "problem_type": model.task.problem_type if classifies else None,
        "labels": list(model.task.label_names) if classifies else None,
        "inputs": list(network.input_names),
        "outputs": list(network.output_names),
        "opset": OPSET,
        "weights": "int8" if int8 else "float32",
        "largest_difference": difference,
        "max_tokens": config.max_tokens,
        "max_ggrams": config.max_ggrams,
        "sequences_per_example": config.sequences_per_example,
        "strands": config.strands if classifies else "forward",
        "versions": {name: version(name) for name in packages},
    }
