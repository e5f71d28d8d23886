"""``dnazen tokenizer train``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ..errors import ConfigError
from ..outputs import new_directory
from ..records import run_record, write_json
from ..settings import require_numbers

if TYPE_CHECKING:
    from ..sequences.genomes import Genomes


@dataclass(frozen=True, kw_only=True)
class TokenizerTrainCommand:
    """Train a BPE tokenizer on genomes."""

    genomes: tyro.conf.Positional[tuple[Path, ...]]
    """Sequence files: FASTA, FASTQ, table, lines or 2bit, packed (gzip, xz, zip ...) or not;
    '-' for stdin."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """New directory for the tokenizer."""

    vocab_size: int = 4096
    """Tokens, the 5 special ones and the 4 bases included; 9 to 65536."""

    min_frequency: int = 2
    """A pair seen less often is not merged."""

    line_bp: int = 1000
    """Training text is cut to lines of at most this length; the time grows with it."""

    max_bp: int | None = 30_000_000
    """Train on a random sample of lines of about this length in all; 'None' takes everything.
    Memory is about 60 bytes per training base."""

    seed: int = 0
    """Seed of that sample."""

    def __post_init__(self) -> None:
        from ..tokens.special import MAX_VOCAB_SIZE, SPECIAL_TOKENS

        if not self.genomes:
            raise ConfigError("no genome given; expected one or more sequence files")
        lowest = len(SPECIAL_TOKENS) + 4  # the bases
        require_numbers(self, names="vocab_size", least=lowest, most=MAX_VOCAB_SIZE)
        require_numbers(self, names="line_bp", least=1, most=10_000)
        if self.max_bp is not None and self.max_bp < self.line_bp:
            raise ConfigError(f"max_bp must be at least line_bp, got {self.max_bp}")
        require_numbers(self, names="max_bp", least=1)
        require_numbers(self, names="min_frequency", least=1)
        require_numbers(self, names="seed", least=0)


def run(settings: TokenizerTrainCommand) -> None:
    """Train a tokenizer on files and write it with a record of how (``dnazen.json``)."""
    from ..sequences.genomes import Genomes
    from ..tokens.tokenizer import sample_lines, save_tokenizer, tokenizer_sha256, train

    genomes = Genomes(settings.genomes)
    with new_directory(settings.output) as directory:
        most = None if settings.max_bp is None else settings.max_bp // settings.line_bp
        lines = sample_lines(_lines(genomes, settings.line_bp), most, settings.seed)
        training_bp = sum(map(len, lines))
        tokenizer = train(
            lines, vocab_size=settings.vocab_size, min_frequency=settings.min_frequency
        )
        save_tokenizer(tokenizer, directory)
        results = {
            "normalisation": genomes.counts,
            "training_bp": training_bp,
            "tokens": tokenizer.get_vocab_size(),
            "tokenizer_sha256": tokenizer_sha256(tokenizer),
        }
        record = run_record("tokenizer train", settings, genomes.inputs, **results)
        write_json(directory / "dnazen.json", record)
    print(
        f"{settings.output}: {tokenizer.get_vocab_size()} tokens from {training_bp:,} of "
        f"{genomes.counts.bases:,} bp ({genomes.counts.summary()})",
        file=sys.stderr,
    )
    if tokenizer.get_vocab_size() < settings.vocab_size:
        print(
            f"note: {settings.vocab_size} tokens were asked for, but no further pair was seen "
            f"{settings.min_frequency} times",
            file=sys.stderr,
        )


def _lines(genomes: Genomes, line_bp: int) -> Iterator[bytes]:
    """The training text: windows of every record."""
    from tqdm import tqdm

    from ..sequences.alphabet import windows

    with tqdm(desc="reading", unit="bp", unit_scale=True, disable=None) as progress:
        for _, record in genomes:
            for _, bases in windows(record.sequence, line_bp):
                yield bases
            progress.update(len(record.sequence))
