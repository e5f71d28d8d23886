"""``dnazen predict``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..errors import ConfigError
from ..inference.settings import PredictionConfig
from ..outputs import refuse_inputs
from ..sequences.settings import RegionConfig, TileConfig
from ..settings import FLAT
from ..tables import check_table_name, new_table


@dataclass(frozen=True, kw_only=True)
class PredictCommand:
    """Predict labels with a fine-tuned model.

    Writes a table with a row per record in the order of the input: name, prediction, and a
    column p_LABEL with the probability of each label (none in regression). Of regions and tiles,
    chrom, start, end (0-based, half-open) and strand stand before the prediction.
    """

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL_DIR")]
    """Directory that 'dnazen finetune' wrote."""
    sequences: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="SEQUENCES...")
    ]
    """FASTA, FASTQ, table with a column 'sequence', or a sequence a line, packed
    (gzip, xz, zip ...) or not; 2bit; '-' for stdin. A model of pairs takes columns
    sequence_1 and sequence_2, or two records after each other."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("-")
    """Table to write: .tsv or .csv, compressed by bgzip where .gz follows; '-' for stdout."""
    prediction: Annotated[PredictionConfig, FLAT] = field(default_factory=PredictionConfig)
    regions: Annotated[RegionConfig, FLAT] = field(default_factory=RegionConfig)
    tiles: Annotated[TileConfig, FLAT] = field(default_factory=TileConfig)
    device: Literal["auto", "cpu"] = "auto"
    """auto: a GPU where there is one."""

    def __post_init__(self) -> None:
        check_table_name(self.output)


def run(settings: PredictCommand) -> None:
    """Write the table, and say what became of the records."""
    from tqdm import tqdm

    from ..inference.labels import MISSING, PredictionTable
    from ..inference.opened import OpenedModel
    from ..inference.prediction import longest, predictions
    from ..sequences.alphabet import Counts
    from ..sequences.inputs import Inputs

    inputs = Inputs(settings.sequences, settings.regions, settings.tiles)
    if str(settings.output) != "-":
        read = [*inputs.files, *settings.model.glob("*")]
        refuse_inputs(settings.output, read)
    model = OpenedModel.open(settings.model, settings.device)
    if settings.tiles.tile_bp is not None and model.config.sequences_per_example != 1:
        raise ConfigError("tile_bp: the model reads pairs; expected a model of one sequence")
    counts, rows, empty, cut = Counts(), 0, 0, 0
    with (
        new_table(settings.output) as write,
        tqdm(desc="predicting", unit=" records", unit_scale=True, disable=None) as progress,
    ):
        table = PredictionTable(write, model.task, with_labels=False, with_places=inputs.by_part)
        for file_records in inputs.parts():
            for part in predictions(model, file_records, settings.prediction):
                for record, logits in zip(part.records, part.logits, strict=True):
                    place = record.region if inputs.by_part else None
                    table.write(record.name, logits, place=place)
                    empty += logits is None
                counts = counts.plus(part.counts)
                rows += len(part.records)
                cut += part.cut
                progress.update(len(part.records))
    print(
        f"{rows:,} predictions, {empty:,} of them {MISSING} (no A, C, G or T), {cut:,} from "
        f"sequences cut to {longest(model, settings.prediction)} tokens ({counts.summary()}; "
        f"{inputs.padded:,} bp off the contigs read as N)",
        file=sys.stderr,
    )
