"""``dnazen export``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class ExportCommand:
    """Write a model for other programs: ONNX files.

    OUTPUT/ holds model.onnx, tokenizer.json, ggrams.json and export.json (inputs, outputs, labels,
    versions, and how close the export is to the model, which is tried on some sequences). Takes the
    extra 'export'.
    """

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL")]
    """Model to read: a directory, or ORG/NAME[@REVISION] of the Hugging Face hub."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """New directory to write."""
    int8: bool = False
    """Store the weights of large matrices as bytes: about a quarter of the size, rounded."""

    def __post_init__(self) -> None:
        if self.output is None:
            raise ConfigError("nothing to write; expected --output DIR")


def run(settings: ExportCommand) -> None:
    """Write what is asked for."""
    from ..export.export import export, write_export
    from ..inference.opened import OpenedModel
    from ..outputs import new_directory, refuse_existing

    assert settings.output is not None
    refuse_existing(settings.output)
    model = OpenedModel.open(settings.model, "cpu")
    exported = export(model, int8=settings.int8)
    with new_directory(settings.output) as partial:
        write_export(exported, partial)
    print(
        f"wrote {settings.output}: {len(exported.graph) / 1e6:.1f} MB, "
        f"{exported.description['largest_difference']:.2g} from the model at most",
        file=sys.stderr,
    )
