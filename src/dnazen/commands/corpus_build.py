"""``dnazen corpus build``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import ConfigError
from ..outputs import new_directory
from ..records import hash_file, run_record, write_json
from ..settings import FLAT
from ..tokens.settings import CorpusConfig


@dataclass(frozen=True, kw_only=True)
class CorpusBuildCommand:
    """Tokenise genomes to a memory-mapped corpus."""

    genomes: tyro.conf.Positional[tuple[Path, ...]]
    """Sequence files: FASTA, FASTQ, table, lines or 2bit, packed (gzip, xz, zip ...) or not;
    '-' for stdin."""
    tokenizer: Path
    """Directory of the tokenizer, or its tokenizer.json."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """New directory for the corpus."""
    corpus: Annotated[CorpusConfig, FLAT] = field(default_factory=CorpusConfig)
    ray: str | None = None
    """Tokenise on a Ray cluster: its address HOST:PORT, or 'local'. Files are read and written
    here. The result does not depend on it."""

    def __post_init__(self) -> None:
        if not self.genomes:
            raise ConfigError("no genome given; expected one or more sequence files")


def run(settings: CorpusBuildCommand) -> None:
    """Tokenise genomes into a new corpus directory; a note of what was read goes to stderr."""
    from ..sequences.genomes import Genomes
    from ..tokens.corpus import RECORD_FILE, write_corpus
    from ..tokens.tokenizer import load_tokenizer
    from ..tokens.weights import WindowWeights

    tokenizer = load_tokenizer(settings.tokenizer)
    genomes = Genomes(settings.genomes, keep_case=True)
    weights = WindowWeights(settings.corpus, settings.genomes)
    with new_directory(settings.output) as directory:
        contents = write_corpus(
            directory, genomes, tokenizer, settings.corpus, weights, ray=settings.ray
        )
        bed = [] if settings.corpus.regions is None else [hash_file(settings.corpus.regions)]
        record = run_record("corpus build", settings, [*genomes.inputs, *bed])
        write_json(directory / RECORD_FILE, contents | record)
    print(
        f"{settings.output}: {contents['sequences']:,} sequences, {contents['tokens']:,} tokens, "
        f"{contents['bases']:,} bp from {contents['records']:,} records "
        f"({genomes.counts.summary()}); {contents['repeat_tokens']:,} tokens in repeats",
        file=sys.stderr,
    )
