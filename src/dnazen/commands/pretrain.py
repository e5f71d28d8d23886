"""``dnazen pretrain``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ..settings import FLAT
from ..training.settings import PretrainConfig


@dataclass(frozen=True, kw_only=True)
class PretrainCommand:
    """Pre-train a model on a corpus.

    Writes OUTPUT/: the model, its tokenizer and its G-grams (all that other commands need),
    run.json (settings and inputs), metrics.json (held-out scores), history.json, README.md (a model
    card) and logs/ (curves, for TensorBoard).
    """

    corpus: Path
    """Directory that 'dnazen corpus build' wrote."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write."""
    ggrams: Path | None = None
    """G-gram vocabulary that 'dnazen ggrams mine' wrote. Without it the model is E4BU alone."""
    mask_ggrams: Path | None = None
    """G-grams to hide whole, if not those of the model: gives an E4BU-only twin the same masks."""
    init: Path | None = None
    """Start from this model instead of random weights: a DNAZEN directory, ours or released, or
    a DNABERT-2 directory, to which a fresh G-gram encoder is added; or ORG/NAME[@REVISION] of the
    Hugging Face hub."""
    resume: bool = False
    """Go on with an interrupted run in OUTPUT."""
    pretraining: Annotated[PretrainConfig, FLAT] = field(default_factory=PretrainConfig)


def run(settings: PretrainCommand) -> None:
    """Pre-train, and print the held-out scores."""
    from ..training.pretrain import PretrainInputs, pretrain

    inputs = PretrainInputs(settings.corpus, settings.ggrams, settings.mask_ggrams, settings.init)
    try:
        pretrained = pretrain(inputs, settings.pretraining, settings.output, resume=settings.resume)
    except KeyboardInterrupt as stop:
        stop.add_note(f"'dnazen pretrain ... -o {settings.output} --resume' goes on with it")
        raise
    if pretrained is not None:
        for name, value in pretrained.scores.items():
            print(f"{name}\t{value:.6g}")
