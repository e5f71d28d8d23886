"""What a tokenizer gives to a model beside ``input_ids``, and the other strand among it.

A model that reads both strands answers with the mean of its logits on a sequence and on its reverse
complement. It cannot make the latter from tokens, so the tokenizer gives its inputs too, under the
same names behind ``reverse_`` (Decided here).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .configuration import DnazenConfig
from .ggram_rows import GGRAM_INPUTS

REVERSE = "reverse_"
"""Begins the names of the inputs of the reverse complement."""

_BESIDE_IDS = ("attention_mask", *GGRAM_INPUTS)
_SHOWN = (*_BESIDE_IDS, *(f"{REVERSE}{name}" for name in ("input_ids", *_BESIDE_IDS)))

Forward = TypeVar("Forward", bound=Callable[..., Any])


def by_strand(
    config: DnazenConfig, inputs: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The inputs of a sequence, and those of its reverse complement if they are to be read.

    Ragged inputs, as ``batches.Collator`` makes them, are of one strand: who makes them averages.

    Raises
    ------
    ValueError
        If the model reads both strands, and a tokenizer gave one.
    """
    own = {name: value for name, value in inputs.items() if not name.startswith(REVERSE)}
    if config.strands != "average":
        return own, {}
    turned = {
        name.removeprefix(REVERSE): value
        for name, value in inputs.items()
        if name.startswith(REVERSE)
    }
    ggram_ids = own.get("ggram_ids")
    if not turned and ggram_ids is not None and ggram_ids.dim() == 2:
        raise ValueError(
            "this model reads both strands and is given one: use the tokenizer of its directory, "
            "or set config.strands to 'forward' to read one"
        )
    return own, turned


def shows_inputs(forward: Forward) -> Forward:
    """Name in a signature what ``**inputs`` takes: the Trainer drops columns that no one names."""
    own = inspect.signature(forward)
    parameters = list(own.parameters.values())
    shown = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None) for name in _SHOWN
    ]
    forward.__signature__ = own.replace(  # type: ignore[attr-defined]
        parameters=[*parameters[:-1], *shown, parameters[-1]]
    )
    return forward
