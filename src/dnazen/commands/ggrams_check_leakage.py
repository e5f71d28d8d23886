"""``dnazen ggrams check-leakage``."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import ConfigError
from ..ggrams.settings import SHORTEST_OVERLAP_BP
from ..outputs import refuse_inputs
from ..settings import require_numbers
from ..tables import check_table_name, new_table

_COLUMNS = (
    *("file", "sequences", "partly_mined", "wholly_mined", "bases", "mined_bases"),
    *("mined_fraction", "too_short"),
)


@dataclass(frozen=True, kw_only=True)
class GGramsCheckLeakageCommand:
    """Report how much of some sequences stands in what a vocabulary was mined from."""

    vocabulary: tyro.conf.Positional[Path]
    """Vocabulary that 'dnazen ggrams mine' wrote."""
    sequences: tyro.conf.Positional[tuple[Path, ...]]
    """Sequence files, such as a benchmark's test sets."""
    corpus: Path | None = None
    """Where the mined corpus is now; None: where the vocabulary says."""
    excluded: tuple[Path, ...] = ()
    """Where the files are now that were excluded from mining; by default where the vocabulary
    says."""
    overlap_bp: int = 50
    """Shortest shared stretch that counts, in bases."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Table of every sequence to write: .tsv or .csv, compressed by bgzip where .gz follows."""
    threads: int = 1
    """Threads to search with."""

    def __post_init__(self) -> None:
        if self.output is not None:
            check_table_name(self.output)
        require_numbers(self, names="overlap_bp", least=SHORTEST_OVERLAP_BP)
        require_numbers(self, names="threads", least=1, most=4096)
        if not self.sequences:
            raise ConfigError("no sequence file given; expected one or more")


def run(settings: GGramsCheckLeakageCommand) -> None:
    """Print, per file, the sequences and bases that were mined; nothing of it should be tested on.

    What the vocabulary's own ``--exclude`` left out of mining is left out here too.
    """
    from ..ggrams.leakage import in_words, mined_part, shared_with
    from ..ggrams.vocabulary import GGramVocabulary

    if settings.output is not None:
        refuse_inputs(settings.output, [settings.vocabulary, *settings.sequences])
    vocabulary = GGramVocabulary.load(settings.vocabulary)
    print(f"searching what {settings.vocabulary} was mined from", file=sys.stderr)
    corpus, keep = mined_part(
        settings.vocabulary,
        vocabulary,
        corpus=settings.corpus,
        excluded=settings.excluded,
        threads=settings.threads,
    )
    shared = shared_with(corpus, keep, settings.sequences, settings.overlap_bp, settings.threads)
    with new_table(Path("-")) as write:
        write(_COLUMNS)
        for part in shared:
            *numbers, bases, mined_bases = part.numbers
            fraction = f"{mined_bases / bases:.4f}"
            write([part.file.path, *numbers, bases, mined_bases, fraction, part.file.too_short])
    if settings.output is not None:
        with new_table(settings.output) as write:
            write(["file", "name", "length_bp", "mined_bp"])
            for file, mined in shared:
                for record, mined_bp in zip(file.records, mined.tolist(), strict=True):
                    write([file.path, record.name, len(record.sequence), mined_bp])
    print(
        f"checked: {in_words([file for file, _ in shared], settings.overlap_bp)}", file=sys.stderr
    )
    print(
        f"mined: stretches of {settings.overlap_bp} bases or more, on either strand, that the "
        "G-grams were mined from; leave them out with 'dnazen ggrams mine --exclude'",
        file=sys.stderr,
    )
