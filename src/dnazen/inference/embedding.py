"""``dnazen embed``: vectors of sequences, their tokens or their G-grams, in constant memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from jaxtyping import Float32
from tqdm import tqdm

from ..errors import ConfigError, InputError
from ..records import run_record
from ..sequences.alphabet import Counts, foreign, normalise
from ..sequences.inputs import InputRecord, Inputs, TiledInputConfig
from ..sequences.regions import Region
from ..tokens.encoding import check_max_tokens
from ..tokens.windows import check_overlap
from .pooling import (
    Embedder,
    Pooled,
    Pooling,
    Vectors,
    open_embedder,
    per_ggram,
    per_record,
    per_token,
    pool,
)
from .reading import Piece, pieces, read, sides
from .vectors import Block, Columns, check_suffix, vector_file

MAX_TOKENS = 512
"""The longest window for a model that was not fine-tuned: about 2.5 kb."""


@dataclass(frozen=True, kw_only=True)
class EmbeddingConfig:
    """What the vector of a sequence is."""

    pooling: Pooling = "mean"
    """One vector a sequence: the mean or the largest of each dimension over its tokens, special
    ones left out, or the state of [CLS]. Or one vector for each token, or for each G-gram."""
    layer: int | None = None
    """States after this layer (of the G-gram encoder, for G-grams); 0 is the embeddings; by
    default the last."""
    strands: Literal["forward", "average"] = "forward"
    """The sequence as it stands, or the mean of its vector and that of its reverse complement."""
    max_tokens: int | None = None
    """Longest window, [CLS] and [SEP] included; by default that of the model's fine-tuning, or
    512. Longer sequences are read in windows, and nothing is cut."""
    overlap: int | None = None
    """Tokens that neighbouring windows share at least; by default a quarter of the window."""
    tokens_per_batch: int = 8192
    """Bound on windows x longest; changes memory and speed, not the numbers."""
    bf16: bool = False
    """Compute in bfloat16: faster where the hardware has it, and good to two digits or three."""

    def __post_init__(self) -> None:
        if self.strands == "average" and self.pooling in ("token", "ggram"):
            raise ConfigError(
                f"strands average with pooling {self.pooling}: the strands have other tokens; "
                "expected pooling mean, cls or max"
            )
        if self.layer is not None and self.layer < 0:
            raise ConfigError(f"layer must be 0 or more, got {self.layer}")
        if self.tokens_per_batch < 1:
            raise ConfigError(f"tokens_per_batch must be at least 1, got {self.tokens_per_batch}")
        if self.max_tokens is not None:
            check_max_tokens(self.max_tokens)
        check_overlap(self.overlap, self.max_tokens)


@dataclass(frozen=True, kw_only=True)
class EmbedConfig(EmbeddingConfig, TiledInputConfig):
    """Write vectors of sequences.

    One row a record or tile in the order of the input, or one a token or a G-gram, each with its
    name and place.
    """

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL_DIR")]
    """A DNAZEN or DNABERT-2 directory, pre-trained or fine-tuned."""
    sequences: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="SEQUENCES...")
    ]
    """FASTA, FASTQ, table with a column 'sequence', or a sequence a line; plain, gzip or bgzip;
    2bit; '-' for stdin."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """File to write: .npy (with the names in a .rows.tsv beside it), .npz, .parquet or .h5ad."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: a GPU where there is one."""

    def __post_init__(self) -> None:
        EmbeddingConfig.__post_init__(self)
        TiledInputConfig.__post_init__(self)
        check_suffix(self.output)


def embed(
    model: str | Path | Embedder,
    sequences: Iterable[str | bytes],
    config: EmbeddingConfig | None = None,
) -> Float32[np.ndarray, "sequences hidden"]:
    """The vectors of sequences, one row each; NaN for one without A, C, G or T.

    Parameters
    ----------
    model
        A DNAZEN or DNABERT-2 directory, or what ``open_embedder`` gives.
    sequences
        Nucleotide letters in either case, U and IUPAC codes included.
    config
        What a vector is: by default the mean of the last layer over tokens.

    Raises
    ------
    ConfigError
        If the pooling is ``token`` or ``ggram``: see ``embeddings``.
    InputError
        If the model cannot be opened, or a sequence holds a character that is no nucleotide.
    """
    config = EmbeddingConfig() if config is None else config
    if isinstance(sequences, str | bytes):
        raise InputError("one text, where a list of sequences is wanted", fix="put it in brackets")
    if config.pooling in ("token", "ggram"):
        raise ConfigError(
            f"pooling {config.pooling} gives no one vector a sequence; iterate embeddings() instead"
        )
    embedder = model if isinstance(model, Embedder) else open_embedder(model)
    found = [vectors.rows for vectors in embeddings(embedder, records_of(sequences), config)]
    nothing = np.empty((0, embedder.parts.config.hidden_size), dtype=np.float32)
    return np.concatenate([nothing, *found])


def records_of(sequences: Iterable[str | bytes]) -> Iterator[InputRecord]:
    """Sequences as records, named by their number from 1.

    Raises
    ------
    InputError
        If one holds a character that is no nucleotide.
    """
    for number, letters in enumerate(sequences, 1):
        some = letters.encode() if isinstance(letters, str) else letters
        name = str(number)
        if bad := foreign(some):
            raise InputError(
                f"sequence {name}: character {bad!r} is no nucleotide",
                expected="A C G T U, N or another IUPAC code",
            )
        yield InputRecord(name, some, Region(name, 0, len(some)), f"sequence {name}")


def embeddings(
    embedder: Embedder,
    records: Iterable[InputRecord],
    config: EmbeddingConfig,
    progress: Callable[[int], object] = lambda tokens: None,
) -> Iterator[Vectors]:
    """Yield the vectors of records, in their order; the numbers do not depend on the batches.

    Decided here. ``mean`` and ``max`` are over the tokens of the sequence; a stretch of N is one
    token, [UNK]; [CLS] and [SEP] are none. A sequence of several windows counts each token once,
    as read by the window that has it in its core (``windows.token_windows``); ``cls`` is the mean
    over windows, weighted by the tokens of their cores. A record without A, C, G or T gets a
    vector of NaN, and has no tokens and no G-grams. A window gives the G-grams that begin in its
    core, in the order of their first occurrence there, which is the place they are given.

    Memory is that of ``reading.sides`` and ``reading.read``.

    Parameters
    ----------
    progress
        Called with the number of tokens of each batch that has been read.

    Raises
    ------
    ConfigError
        If the model does not have that layer, or no G-grams, or windows cannot overlap so.
    """
    size, overlap = _window_size(embedder, config)
    _check_layer(embedder, config)

    def model(batch: Sequence[Piece]) -> list[Pooled]:
        return pool(embedder, batch, config.pooling, config.layer, config.bf16)

    tokenizer = embedder.parts.tokenizer
    tokenised = sides(tokenizer, records, both_strands=config.strands == "average")
    windows = pieces(tokenised, size, overlap)
    seen = read(windows, model, config.tokens_per_batch, progress)
    if config.pooling == "token":
        return per_token(seen, embedder)
    if config.pooling == "ggram":
        return per_ggram(seen, embedder)
    return per_record(seen, config.pooling, embedder.parts.config.hidden_size)


def columns(pooling: Pooling) -> Columns:
    """What stands beside each row that ``dnazen embed`` writes."""
    place = {"name": str, "chrom": str, "start": int, "end": int, "strand": str}
    if pooling == "token":
        return {"record": int, **place, "token": str}
    if pooling == "ggram":
        return {"record": int, **place, "ggram": str, "ggram_id": int, "occurrences": int}
    return {**place, "tokens": int}


def embed_command(config: EmbedConfig) -> None:
    """Run ``dnazen embed``.

    Raises
    ------
    InputError
        If the model or a sequence cannot be read, or the output needs a package that is missing.
    ConfigError
        If the model cannot give what is asked for.
    OutputError
        If the file cannot be written.
    """
    inputs = Inputs(config.sequences, config)
    embedder = open_embedder(config.model, config.device)
    counts, records, empty, rows = Counts(), 0, 0, 0

    def counted() -> Iterator[InputRecord]:
        nonlocal counts, records, empty
        for record in inputs:
            _, here = normalise(record.sequence)
            counts = counts.plus(here)
            records += 1
            empty += here.bases == here.ambiguous
            yield record

    width = embedder.parts.config.hidden_size
    kinds = columns(config.pooling)
    with tqdm(desc="embedding", unit=" tokens", unit_scale=True, disable=None) as progress:
        found = embeddings(embedder, counted(), config, progress.update)
        with vector_file(config.output, width, kinds, run_record("embed", config)) as append:
            for vectors in found:
                append(_block(vectors))
                rows += len(vectors.rows)
    print(
        f"{config.output}: {rows:,} vectors of {width} from {records:,} records, {empty:,} of them "
        f"without A, C, G or T ({counts.told()}; {inputs.padded:,} bp off the contigs read as N)",
        file=sys.stderr,
    )


def _block(vectors: Vectors) -> Block:
    """Rows as a file has them; it takes the columns it wants."""
    size, record = len(vectors.rows), vectors.record
    return Block(
        {
            "record": [vectors.number] * size,
            "name": [record.name] * size,
            "chrom": [record.region.chrom] * size,
            "start": vectors.starts.tolist(),
            "end": vectors.ends.tolist(),
            "strand": [record.region.strand] * size,
            **vectors.more,
        },
        vectors.rows,
    )


def _window_size(embedder: Embedder, config: EmbeddingConfig) -> tuple[int, int]:
    """Tokens of a window, special ones not counted, and of an overlap."""
    fine_tuned = embedder.parts.config.max_tokens or MAX_TOKENS
    max_tokens: int = config.max_tokens or fine_tuned
    check_overlap(config.overlap, max_tokens)
    size = max_tokens - 2
    return size, size // 4 if config.overlap is None else config.overlap


def _check_layer(embedder: Embedder, config: EmbeddingConfig) -> None:
    shape = embedder.parts.config
    ggram = config.pooling == "ggram"
    if ggram and embedder.parts.vocabulary is None:
        raise ConfigError("pooling ggram: the model has no G-grams; expected a DNAZEN model")
    most = shape.num_hidden_ggram_layers if ggram else shape.num_hidden_layers
    if config.layer is not None and config.layer > most:
        encoder = "G-gram encoder" if ggram else "model"
        raise ConfigError(f"layer {config.layer}: the {encoder} has {most}; expected 0 to {most}")
