"""The ONNX graph of a network, and its weights as bytes."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import ConfigError
from .network import ExportedNetwork
from .settings import OPSET

if TYPE_CHECKING:
    from onnx import ModelProto

_TALKERS = ("torch.onnx", "torch.fx.experimental.symbolic_shapes")
"""Loggers that tell of the export's inner steps."""
_LARGEST = 127
_FEWEST = 4096
"""A matrix of fewer numbers stays as it is."""


def require_onnx() -> None:
    """Raise ConfigError unless the packages of the extra ``export`` are there."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"to export a model takes {error.name}, which is not installed; install it with "
            "pip install 'dnazen[export]'"
        ) from None


def onnx_of(network: ExportedNetwork, example: Sequence[Tensor]) -> ModelProto:
    """The graph of a network, for batches of any size.

    Parameters
    ----------
    example
        Inputs in the order of ``input_names``, with two sequences or more of several tokens.
    """
    sizes = {"input_ids": "width", "attention_mask": "width", "ggram_ids": "slots"}

    def axes(name: str) -> dict[int, str]:
        strand = name[: name.find("_") + 1] if name.startswith("reverse_") else ""
        return {0: "batch", 1: strand + sizes.get(name.removeprefix(strand), "pairs")}

    levels = {name: logging.getLogger(name).level for name in _TALKERS}
    for name in _TALKERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        unread = io.StringIO()  # PyTorch prints whole programs
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(unread),
            contextlib.redirect_stderr(unread),
        ):
            warnings.simplefilter("ignore")  # of PyTorch's own making
            program = torch.onnx.export(
                network,
                tuple(example),
                dynamo=True,
                verbose=False,
                opset_version=OPSET,
                input_names=list(network.input_names),
                output_names=list(network.output_names),
                dynamic_shapes=(tuple(axes(name) for name in network.input_names),),
            )
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
    assert program is not None
    return program.model_proto


def bytes_for_weights(model: ModelProto) -> None:
    """Store the large matrices of a graph as bytes and scales, in place.

    Decided here: weights alone, with a scale for each output of a matrix and row of a table, as in
    ``model.packed``; the graph makes float32 of them. Activations stay as they are: their scale
    would depend on which sequences share a batch, and so would the results.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    tables = {node.input[0] for node in graph.node if node.op_type in ("Gather", "Transpose")}
    initializers, readers = [], []
    for tensor in graph.initializer:
        is_matrix = tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2
        if not is_matrix or np.prod(tensor.dims) < _FEWEST:
            initializers.append(tensor)
            continue
        axis = 0 if tensor.name in tables else 1
        values = numpy_helper.to_array(tensor)
        scale = np.abs(values).max(axis=1 - axis, keepdims=True) / _LARGEST
        scale = np.maximum(scale, np.finfo(np.float32).tiny, dtype=np.float32)
        stored = {"bytes": (values / scale).round().astype(np.int8), "scale": scale.ravel()}
        names = [f"{tensor.name}.{part}" for part in stored]
        initializers += map(numpy_helper.from_array, stored.values(), names)
        readers.append(helper.make_node("DequantizeLinear", names, [tensor.name], axis=axis))
    nodes = [*readers, *graph.node]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(initializers)
