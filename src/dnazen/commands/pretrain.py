"""``dnazen pretrain``."""

from __future__ import annotations

from ..training.pretrain import PretrainConfig, pretrain


def run(settings: PretrainConfig) -> None:
    """Run the command."""
    pretrain(settings)
