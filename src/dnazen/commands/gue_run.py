"""``dnazen gue run``: models x tasks x seeds of GUE, each cell kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import ConfigError, DnazenError
from ..gue.settings import BenchmarkConfig, Models
from ..settings import FLAT


@dataclass(frozen=True, kw_only=True)
class GueRunCommand:
    """Fine-tune models on tasks of GUE with several seeds, and score them.

    Writes OUTPUT/: a directory for each finished cell, below cells/. A run that is started again
    goes on with the cells that are missing or failed; more models, tasks or seeds may be added.
    """

    models: Models
    """Models as 'NAME: KIND SOURCE': dnazen DIR (ours, released, DNABERT-2), e4bu DIR (its G-grams
    left out), random DIR (from random weights), hf DIR (whatever transformers opens), cnn, kmer;
    a DIR may be ORG/NAME[@REVISION] of the Hugging Face hub. In a recipe tables such as
    [models.NAME] with kind and source."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write, or to go on with."""
    benchmark: Annotated[BenchmarkConfig, FLAT]
    """Tasks, seeds and settings."""

    def __post_init__(self) -> None:
        if not self.models:
            raise ConfigError("models: none given; expected one or more")


def run(settings: GueRunCommand) -> None:
    """Print the score of each model on each task, mean over seeds.

    Raises
    ------
    DnazenError
        If the models, the data or the output cannot be used, or, when all is done, if cells failed.
    """
    import statistics

    from ..gue.grid import run_grid, scores_of_run

    failures = run_grid(settings.benchmark, settings.models, settings.output)
    print("task\tmodel\tmetric\tseeds\tmean\tsd\tcollapsed")
    for row in scores_of_run(settings.output):
        seeds, mean = len(row.scores), statistics.fmean(row.scores)
        sd = f"{statistics.stdev(row.scores):.4f}" if seeds > 1 else "NA"
        columns = (row.task, row.model, row.metric, seeds, f"{mean:.4f}", sd, row.collapsed)
        print(*columns, sep="\t")
    if failures:
        raise DnazenError(
            f"{len(failures)} cells failed, the first as {failures[0]} tells; run the same command "
            "again to try them again"
        )
