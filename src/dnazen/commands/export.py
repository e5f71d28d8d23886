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
    """Write a model for other programs: ONNX files, or a page that runs it in a browser.

    OUTPUT/ holds model.onnx, tokenizer.json, ggrams.json and export.json (inputs, outputs, labels,
    versions, and how close the export is to the model, which is tried on some sequences). Takes the
    extra 'export'.
    """

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL")]
    """Model to read: a directory, or ORG/NAME[@REVISION] of the Hugging Face hub."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """New directory to write."""
    page: Path | None = None
    """HTML file to write: the model and all that runs it, opened in a browser without a server or a
    network. To make it fetches onnxruntime-web from npm's registry, once."""
    int8: bool = False
    """Store the weights of large matrices as bytes: about a quarter of the size, rounded."""

    def __post_init__(self) -> None:
        if self.output is None and self.page is None:
            raise ConfigError("nothing to write; expected --output DIR, --page FILE, or both")


def run(settings: ExportCommand) -> None:
    """Write what is asked for."""
    from ..export.export import export, write_export
    from ..export.page import page_of
    from ..export.runtime import browser_runtime
    from ..inference.opened import OpenedModel
    from ..outputs import new_directory, new_file, refuse_existing, refuse_inputs

    if settings.output is not None:
        refuse_existing(settings.output)
    model = OpenedModel.open(settings.model, "cpu")
    runtime = None
    if settings.page is not None:
        refuse_inputs(settings.page, [*model.origin.directory.glob("*")])
        runtime = browser_runtime()
    exported = export(model, int8=settings.int8)
    difference = exported.description["largest_difference"]
    if settings.output is not None:
        with new_directory(settings.output) as partial:
            write_export(exported, partial)
    if settings.page is not None and runtime is not None:
        with new_file(settings.page) as temporary:
            temporary.write_text(page_of(exported, runtime), encoding="utf-8")
    for path in filter(None, (settings.output, settings.page)):
        print(f"wrote {path}, {difference:.2g} from the model at most", file=sys.stderr)
