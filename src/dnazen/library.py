"""The front door of the library: ``dnazen.load`` opens a model, and what can be read out of it."""

from __future__ import annotations

from pathlib import Path

from .inference.opened import OpenedModel


class Model(OpenedModel):
    """A DNA language model, opened, with all that can be read out of it."""


def load(source: str | Path, device: str = "auto") -> Model:
    """Open a model: a directory, ours or a released one, or a LoRA adapter.

    Parameters
    ----------
    device
        ``auto`` is a GPU where there is one; else a name of PyTorch's, such as ``cpu``.

    Raises
    ------
    InputError
        If it is no model, or a part of it is missing or damaged.
    ConfigError
        If there is no such device.
    """
    return Model.open(source, device)
