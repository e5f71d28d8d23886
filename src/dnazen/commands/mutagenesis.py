"""``dnazen mutagenesis``."""

from __future__ import annotations

from ..variation.mutagenesis import MutagenesisConfig, mutagenesis


def run(settings: MutagenesisConfig) -> None:
    """Run the command."""
    mutagenesis(settings)
