"""``dnazen finetune``."""

from __future__ import annotations

from ..training.finetune import FinetuneConfig, finetune


def run(settings: FinetuneConfig) -> None:
    """Run the command."""
    finetune(settings)
