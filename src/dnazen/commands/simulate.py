"""``dnazen simulate``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ..outputs import new_directory
from ..records import run_record, write_json
from ..sequences.settings import SimulateConfig
from ..settings import FLAT


@dataclass(frozen=True, kw_only=True)
class SimulateCommand:
    """Write a synthetic genome and a labelled task with planted motifs."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """New directory for genome.fa, genome.bed, train.csv, dev.csv, test.csv, task.bed, motifs.tsv,
    motifs.meme and dnazen.json."""
    simulation: Annotated[SimulateConfig, FLAT] = field(default_factory=SimulateConfig)


def run(settings: SimulateCommand) -> None:
    """Write the directory, whole or not at all."""
    from ..sequences.simulation_files import write_simulation

    config = settings.simulation
    with new_directory(settings.output) as directory:
        ceiling = write_simulation(directory, config)
        record = run_record("simulate", settings, ceiling_mcc=ceiling)
        write_json(directory / "dnazen.json", record)
    print(
        f"{settings.output}: {config.genome_bp:,} bp of genome and "
        f"{config.train} + {config.dev} + {config.test} labelled sequences; "
        f"the best possible test MCC is about {ceiling:.3f}",
        file=sys.stderr,
    )
