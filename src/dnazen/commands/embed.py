"""``dnazen embed``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ..inference.settings import EmbeddingConfig, require_vector_suffix
from ..outputs import refuse_inputs
from ..records import run_record
from ..sequences.settings import RegionConfig, TileConfig
from ..settings import FLAT

if TYPE_CHECKING:
    from ..inference.pooling import Vectors
    from ..inference.vector_files import Block
    from ..sequences.inputs import InputRecord


@dataclass(frozen=True, kw_only=True)
class EmbedCommand:
    """Write vectors of sequences.

    One row a record or tile in the order of the input, or one a token or a G-gram, each with its
    name and place.
    """

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL")]
    """A DNAZEN or DNABERT-2 model, pre-trained or fine-tuned, or an encoder of others with a
    tokenizer of its own: a directory, or ORG/NAME[@REVISION] of the Hugging Face hub."""
    sequences: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="SEQUENCES...")
    ]
    """FASTA, FASTQ, table with a column 'sequence', or a sequence a line, packed
    (gzip, xz, zip ...) or not; 2bit; '-' for stdin."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """File to write: .npy (with the names in a .rows.tsv beside it), .npz, .parquet or .h5ad."""
    embedding: Annotated[EmbeddingConfig, FLAT] = field(default_factory=EmbeddingConfig)
    regions: Annotated[RegionConfig, FLAT] = field(default_factory=RegionConfig)
    tiles: Annotated[TileConfig, FLAT] = field(default_factory=TileConfig)
    device: Literal["auto", "cpu"] = "auto"
    """auto: a GPU where there is one."""

    def __post_init__(self) -> None:
        require_vector_suffix(self.output)


def run(settings: EmbedCommand) -> None:
    """Write the vectors, and say what became of the records."""
    from tqdm import tqdm

    from ..inference.embedding import columns, embeddings
    from ..inference.opened import OpenedModel
    from ..inference.vector_files import files_of, vector_file
    from ..sequences.alphabet import Counts, normalise
    from ..sequences.inputs import Inputs

    inputs = Inputs(settings.sequences, settings.regions, settings.tiles)
    model = OpenedModel.open(settings.model, settings.device)
    read = [*inputs.files, *model.origin.directory.glob("*")]
    for path in files_of(settings.output):
        refuse_inputs(path, read)
    counts, records, empty, rows = Counts(), 0, 0, 0

    def counted() -> Iterator[InputRecord]:
        nonlocal counts, records, empty
        for record in inputs:
            _, record_counts = normalise(record.sequence)
            counts = counts.plus(record_counts)
            records += 1
            empty += record_counts.bases == record_counts.ambiguous
            yield record

    width = model.config.hidden_size
    config = settings.embedding
    with tqdm(desc="embedding", unit=" tokens", unit_scale=True, disable=None) as progress:
        stream = embeddings(model, counted(), config, progress.update)
        record = run_record("embed", settings, model=model.origin.record)
        with vector_file(settings.output, width, columns(config.pooling), record) as append:
            for vectors in stream:
                append(_block(vectors))
                rows += len(vectors.rows)
    print(
        f"{settings.output}: {rows:,} vectors of {width} from {records:,} records, {empty:,} of "
        f"them without A, C, G or T ({counts.summary()}; {inputs.padded:,} bp off the contigs "
        "read as N)",
        file=sys.stderr,
    )


def _block(vectors: Vectors) -> Block:
    """Rows as a file has them; it takes the columns it wants."""
    from ..inference.vector_files import Block

    size, record = len(vectors.rows), vectors.record
    return Block(
        {
            "record": [vectors.number] * size,
            "name": [record.name] * size,
            "chrom": [record.region.chrom] * size,
            "start": vectors.starts.tolist(),
            "end": vectors.ends.tolist(),
            "strand": [record.region.strand] * size,
            **vectors.columns,
        },
        vectors.rows,
    )
