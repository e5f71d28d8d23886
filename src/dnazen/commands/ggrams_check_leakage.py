"""``dnazen ggrams check-leakage``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import ConfigError
from ..ggrams.settings import SHORTEST_OVERLAP_BP
from ..outputs import new_file
from ..settings import require_numbers


@dataclass(frozen=True, kw_only=True)
class GGramsCheckLeakageCommand:
    """Report how much of some sequences stands in what a vocabulary was mined from."""

    vocabulary: tyro.conf.Positional[Path]
    """Vocabulary that 'dnazen ggrams mine' wrote."""
    sequences: tyro.conf.Positional[tuple[Path, ...]]
    """Sequence files, such as a benchmark's test sets."""
    corpus: Path | None = None
    """Where the mined corpus is now; None: where the vocabulary says."""
    overlap_bp: int = 50
    """Shortest shared stretch that counts, in bases."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Table of every sequence to write; None writes none."""
    threads: int = 1
    """Threads to search with."""

    def __post_init__(self) -> None:
        require_numbers(self, names="overlap_bp", least=SHORTEST_OVERLAP_BP)
        require_numbers(self, names="threads", least=1, most=4096)
        if not self.sequences:
            raise ConfigError("no sequence file given; expected one or more")


def run(settings: GGramsCheckLeakageCommand) -> None:
    """Print, per file, the sequences and bases that were mined; nothing of it should be tested on.

    What the vocabulary's own ``--exclude`` left out of mining is left out here too.
    """
    from ..ggrams.leakage import mined_part, shared_with
    from ..ggrams.vocabulary import GGramVocabulary

    vocabulary = GGramVocabulary.load(settings.vocabulary)
    corpus, keep = mined_part(
        settings.vocabulary, vocabulary, corpus=settings.corpus, threads=settings.threads
    )
    files = shared_with(corpus, keep, settings.sequences, settings.overlap_bp, settings.threads)
    print("file\tsequences\tpartly_mined\twholly_mined\tbases\tmined_bases\tmined_fraction")
    for shared in files:
        fraction = f"{shared.mined_bases / shared.bases:.4f}" if shared.bases else "-"
        print(shared.path, *shared.numbers, fraction, sep="\t")
    if settings.output is not None:
        with new_file(settings.output) as temporary, temporary.open("w") as table:
            table.write("file\tname\tlength_bp\tmined_bp\n")
            for shared in files:
                for record, mined in zip(shared.records, shared.mined.tolist(), strict=True):
                    row = (shared.path, record.name, len(record.sequence), mined)
                    print(*row, sep="\t", file=table)
    print(
        f"mined: stretches of {settings.overlap_bp} bases or more, on either strand, that the "
        "G-grams were mined from; leave them out with 'dnazen ggrams mine --exclude'",
        file=sys.stderr,
    )
