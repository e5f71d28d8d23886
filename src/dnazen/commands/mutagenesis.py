"""``dnazen mutagenesis``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..settings import FLAT
from ..variation.settings import ScoringConfig


@dataclass(frozen=True, kw_only=True)
class MutagenesisCommand:
    """Score every single-base change of a sequence or region.

    Writes scores.tsv, and of a masked LM's log-likelihood ratio, or each change of a fine-tuned
    model's output, a heat map (PNG) and the mean over the three changes of each base (bedGraph).
    """

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL")]
    """Directory that 'dnazen pretrain' or 'dnazen finetune' wrote, a released one, or a
    masked LM of others; or ORG/NAME[@REVISION] of the Hugging Face hub."""
    sequence: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SEQUENCE")]
    """Letters (ACGT...), or a file: FASTA, plain or bgzip, or 2bit."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """New directory to write."""
    region: str | None = None
    """The part of the file to mutate, CHROM:FIRST-LAST (1-based, both ends) or CHROM; '(-)' after
    it for the reverse strand. Needed unless the file holds one sequence."""
    contig_names: Path | None = None
    """What the genome calls the contig of the region: a file of two columns, the other name and
    the genome's, with a tab between; or 'chr', as for 'dnazen variants'."""
    scoring: Annotated[ScoringConfig, FLAT] = field(default_factory=ScoringConfig)
    device: Literal["auto", "cpu"] = "auto"
    """auto: a GPU where there is one."""


def run(settings: MutagenesisCommand) -> None:
    """Write the scores, tracks and heat maps of a region."""
    import numpy as np
    from tqdm import tqdm

    from ..inference.opened import OpenedModel
    from ..outputs import new_directory, refuse_existing
    from ..records import hash_file, run_record, write_json
    from ..sequences.alphabet import normalise
    from ..variation.mutagenesis import open_region, region_scores
    from ..variation.mutagenesis_files import write_mutations

    refuse_existing(settings.output)
    model = OpenedModel.open(settings.model, settings.device)
    with (
        open_region(settings.sequence, settings.region, settings.contig_names) as region,
        new_directory(settings.output) as folder,
    ):
        inputs = [] if region.file is None else [hash_file(region.file)]
        write_json(
            folder / "run.json",
            run_record("mutagenesis", settings, inputs, model=model.origin.record),
        )
        letters, _ = normalise(region.letters)
        parts = []
        with tqdm(desc="mutating", unit=" bases", total=len(letters), disable=None) as progress:
            for scores in region_scores(model, region, settings.scoring):
                parts.append(scores)
                progress.update(len(scores))
        write_mutations(folder, model, region.place, letters, np.concatenate(parts))
    print(f"{settings.output}: {3 * len(letters.replace(b'N', b'')):,} changes", file=sys.stderr)
