"""``dnazen convert``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..model.settings import Format
from ..settings import require_choices


@dataclass(frozen=True, kw_only=True)
class ConvertCommand:
    """Convert a model directory.

    Reads ours, a released DNAZEN directory, or a DNABERT-2 directory; which one is told by its
    config.json. Weights, token ids and G-gram ids are kept bit for bit, but in int8.
    """

    model: tyro.conf.Positional[Path]
    """Model to read: a directory, or ORG/NAME[@REVISION] of the Hugging Face hub."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """New directory to write."""
    to: Format = "dnazen"
    """Format to write; 'released' writes DNAZEN's, or DNABERT-2's for a model without G-grams;
    'int8' is a quarter as large, its matrices rounded to a byte a weight, and for our commands
    alone."""

    def __post_init__(self) -> None:
        require_choices(self)


def run(settings: ConvertCommand) -> None:
    """Write the directory."""
    from ..model.convert import convert

    convert(settings.model, settings.output, settings.to)
    print(f"wrote {settings.output}", file=sys.stderr)
