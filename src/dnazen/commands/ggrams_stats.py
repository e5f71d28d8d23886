"""``dnazen ggrams stats``."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ..outputs import new_file, refuse_inputs
from ..sequences.settings import RegionConfig
from ..settings import FLAT, require_numbers


@dataclass(frozen=True, kw_only=True)
class GGramsStatsCommand:
    """Measure how the G-grams of a vocabulary cover sequences."""

    vocabulary: tyro.conf.Positional[Path]
    """G-gram vocabulary."""
    sequences: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Sequence files: FASTA, FASTQ, table, lines or 2bit, packed (gzip, xz, zip ...) or not;
    '-' for stdin."""
    tokenizer: Path
    """Directory of the tokenizer, or its tokenizer.json."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """HTML report to write; None writes none."""
    window_bp: int = 1000
    """Longer runs of ACGT are cut into windows, each a sequence of its own."""
    regions: Annotated[RegionConfig, FLAT] = field(default_factory=RegionConfig)

    def __post_init__(self) -> None:
        require_numbers(self, names="window_bp", least=1, most=100_000)


def run(settings: GGramsStatsCommand) -> None:
    """Print the numbers as JSON; write the pictures, if asked, as one HTML file."""
    from ..ggrams.stats import coverages, numbers_of
    from ..ggrams.stats_page import stats_page
    from ..ggrams.vocabulary import GGramVocabulary
    from ..sequences.inputs import Inputs
    from ..tokens.tokenizer import load_tokenizer, tokenizer_sha256

    if settings.output is not None:
        inputs = (settings.vocabulary, *settings.sequences, *filter(None, [settings.regions.bed]))
        refuse_inputs(settings.output, [*inputs, settings.tokenizer, *settings.tokenizer.glob("*")])
    vocabulary = GGramVocabulary.load(settings.vocabulary)
    tokenizer = load_tokenizer(settings.tokenizer)
    vocabulary.require_tokenizer(tokenizer_sha256(tokenizer), settings.vocabulary)
    has_sequences = settings.sequences or settings.regions.any
    parts = Inputs(settings.sequences, settings.regions).parts() if has_sequences else ()
    by_file = {
        str(path): coverage
        for path, coverage in zip(
            settings.sequences,
            coverages(vocabulary, tokenizer, parts, settings.window_bp),
            strict=True,
        )
    }
    numbers = numbers_of(settings.vocabulary, vocabulary, by_file)
    if settings.regions.any:
        numbers["regions"] = settings.regions.in_words
    if settings.output is not None:
        with new_file(settings.output) as temporary:
            text = stats_page(vocabulary, by_file, numbers, settings.regions.in_words)
            temporary.write_text(text, encoding="utf-8")
    print(json.dumps(numbers, indent=2))
