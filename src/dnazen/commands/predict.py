"""``dnazen predict``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ..errors import ConfigError
from ..inference.settings import PredictionConfig, check_track_name, is_bedgraph
from ..outputs import refuse_inputs
from ..sequences.settings import RegionConfig, TileConfig
from ..settings import FLAT, require_numbers
from ..tables import check_table_name, new_table

if TYPE_CHECKING:
    from ..inference.opened import OpenedModel
    from ..sequences.inputs import Inputs


@dataclass(frozen=True, kw_only=True)
class PredictCommand:
    """Predict labels with a fine-tuned model.

    Writes a table with a row per record in the order of the input: name, prediction, and a
    column p_LABEL with the probability of each label (none in regression). Of regions and tiles,
    chrom, start, end (0-based, half-open) and strand stand before the prediction.

    Of a model that classifies bases it writes BED: a line for each stretch of a class other than
    the background, in the genome's coordinates, with 1000 x the mean probability as its score.
    Records of any length are read, in overlapping windows.
    """

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL")]
    """Directory that 'dnazen finetune' wrote, or ORG/NAME[@REVISION] of the Hugging Face hub."""
    sequences: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="SEQUENCES...")
    ]
    """FASTA, FASTQ, table with a column 'sequence', or a sequence a line, packed
    (gzip, xz, zip ...) or not; 2bit; '-' for stdin. A model of pairs takes columns
    sequence_1 and sequence_2, or two records after each other."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("-")
    """Table to write: .tsv or .csv, compressed by bgzip where .gz follows; '-' for stdout. Of a
    model that classifies bases, BED."""
    track: Path | None = None
    """Also write the probability of one class, or the predicted number, of each record, region or
    tile as a track for genome browsers: bigWig (.bw; extra 'tracks') or bedGraph (.bedgraph)."""
    track_class: str | None = None
    """Which class the track holds; by default the second of two."""
    per_base: Path | None = None
    """Of a model that classifies bases: also write the probabilities of every base, a table (.tsv
    or .csv) of all classes or a track (.bedgraph) of one; '.gz' may follow."""
    per_base_class: str | None = None
    """Which class a .bedgraph holds; by default the only one beside the background."""
    min_segment_bp: int = 1
    """Of a model that classifies bases: leave shorter segments out of the BED file."""
    prediction: Annotated[PredictionConfig, FLAT] = field(default_factory=PredictionConfig)
    regions: Annotated[RegionConfig, FLAT] = field(default_factory=RegionConfig)
    tiles: Annotated[TileConfig, FLAT] = field(default_factory=TileConfig)
    device: Literal["auto", "cpu"] = "auto"
    """auto: a GPU where there is one."""

    def __post_init__(self) -> None:
        check_table_name(self.output)
        require_numbers(self, names="min_segment_bp", least=1)
        if self.track is not None:
            check_track_name(self.track)
        elif self.track_class is not None:
            raise ConfigError("track_class is for a track; give track too")
        if self.per_base is not None:
            check_table_name(self.per_base)
            if self.per_base == self.output:
                raise ConfigError(f"per_base {self.per_base} is the output too; name another file")
        elif self.per_base_class is not None:
            raise ConfigError("per_base_class is for a bedGraph; give per_base too")


def run(settings: PredictCommand) -> None:
    """Write what the model predicts, and say what became of the records."""
    from ..inference.opened import OpenedModel
    from ..sequences.inputs import Inputs

    inputs = Inputs(settings.sequences, settings.regions, settings.tiles)
    model = OpenedModel.open(settings.model, settings.device)
    for output in (settings.output, settings.per_base, settings.track):
        if output is not None and str(output) != "-":
            refuse_inputs(output, [*inputs.files, *model.origin.directory.glob("*")])
    if model.base_classifier_network is None:
        _predict_sequences(settings, model, inputs)
    else:
        _predict_bases(settings, model, inputs)


def _predict_sequences(settings: PredictCommand, model: OpenedModel, inputs: Inputs) -> None:
    """Write a row a record."""
    from tqdm import tqdm

    from ..inference.labels import MISSING, PredictionTable
    from ..inference.prediction import longest, predictions
    from ..inference.tracks import Track, class_of_track, require_bigwig, track_value
    from ..sequences.alphabet import Counts

    if settings.per_base is not None or settings.min_segment_bp > 1:
        option = "min_segment_bp" if settings.per_base is None else "per_base"
        raise ConfigError(
            f"{option}: {settings.model} predicts labels of whole sequences; expected a model that "
            "classifies bases"
        )
    if settings.tiles.tile_bp is not None and model.config.sequences_per_example != 1:
        raise ConfigError("tile_bp: the model reads pairs; expected a model of one sequence")
    number = 0
    if settings.track is not None:
        require_bigwig(settings.track)
        number = class_of_track(model.task, settings.track_class)
    track = Track()
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
                    if settings.track is not None and logits is not None:
                        track.add(record.region, track_value(model.task, logits, number))
                counts = counts.plus(part.counts)
                rows += len(part.records)
                cut += part.cut
                progress.update(len(part.records))
    if settings.track is not None:
        track.write(settings.track, inputs.contig_lengths)
    print(
        f"{rows:,} predictions, {empty:,} of them {MISSING} (no A, C, G or T), {cut:,} from "
        f"sequences cut to {longest(model, settings.prediction)} tokens ({counts.summary()}; "
        f"{inputs.padded:,} bp off the contigs read as N)",
        file=sys.stderr,
    )


def _predict_bases(settings: PredictCommand, model: OpenedModel, inputs: Inputs) -> None:
    """Write a line a called segment, and a row a base if asked for."""
    from contextlib import ExitStack

    from tqdm import tqdm

    from ..inference.base_files import BaseTrack, bed_lines, class_of_bedgraph
    from ..inference.base_prediction import predict_bases
    from ..tables import new_text

    if settings.track is not None:
        raise ConfigError(
            "track: this model classifies bases; --per-base with a .bedgraph is its track"
        )
    if settings.tiles.tile_overlap_bp:
        raise ConfigError(
            "tile_overlap_bp: bases in two tiles would be called twice, and this model reads long "
            "records in overlapping windows by itself; leave it out"
        )
    both = model.config.strands == "average"
    records = bases = segments = empty = 0
    with ExitStack() as stack:
        write = stack.enter_context(new_text(settings.output))
        progress = stack.enter_context(
            tqdm(desc="predicting", unit=" bases", unit_scale=True, disable=None)
        )
        track = None
        if settings.per_base is not None:
            chosen = None
            if is_bedgraph(settings.per_base):
                chosen = class_of_bedgraph(model.task, settings.per_base_class)
            write_row = stack.enter_context(new_table(settings.per_base))
            track = BaseTrack(write_row, model.task, chosen)
        for file_records in inputs.parts():
            for record, prediction in predict_bases(model, file_records, settings.prediction):
                records += 1
                bases += len(record.sequence)
                progress.update(len(record.sequence))
                if prediction is None:
                    empty += 1
                    continue
                long = [
                    s for s in prediction.segments if s.end - s.start >= settings.min_segment_bp
                ]
                segments += len(long)
                write("".join(bed_lines(record.region, long, both_strands=both)))
                if track is not None:
                    track.write(record.region, prediction)
    print(
        f"{segments:,} segments called in {records:,} records of {bases:,} bp, {empty:,} of them "
        f"without A, C, G or T ({inputs.padded:,} bp off the contigs read as N)",
        file=sys.stderr,
    )
