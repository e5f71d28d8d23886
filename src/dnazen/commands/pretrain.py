"""``dnazen pretrain``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ..settings import FLAT
from ..training.settings import PretrainConfig

if TYPE_CHECKING:
    from ..training.pretrain import Pretrained


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
        _summarise(settings, pretrained)


def _summarise(settings: PretrainCommand, pretrained: Pretrained) -> None:
    """Say on stderr what was made, how good it is, and what comes next."""
    import shlex

    from ..training.progress import duration

    bits = pretrained.scores["eval_bits_per_bp"]
    right = pretrained.scores["eval_accuracy"]
    output, steps = settings.output, settings.pretraining.max_steps
    print(
        f"{output}: a model of {pretrained.parameters / 1e6:,.1f} million parameters, "
        f"{steps:,} steps in {duration(pretrained.seconds)}\n"
        f"held out: {bits:.3f} bits per base of the hidden tokens (2 is what guessing bases gives)"
        f", a share of {right:.3f} of the tokens right\n"
        f"next: dnazen finetune --data DATA --model {shlex.quote(str(output))} -o finetuned",
        file=sys.stderr,
    )
