"""``dnazen ggrams motifs``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import ConfigError
from ..ggrams.settings import EnrichmentConfig
from ..outputs import new_directory
from ..records import hash_file, run_record, write_json
from ..settings import FLAT


@dataclass(frozen=True, kw_only=True)
class GGramsMotifsCommand:
    """Find the known motifs that G-grams resemble, and test whether controls resemble as many."""

    vocabulary: tyro.conf.Positional[Path]
    """G-gram vocabulary."""
    database: tuple[Path, ...]
    """Motif files in MEME format."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """New directory for matches.tsv, motifs.tsv, summary.json, index.html and logos/."""
    random: Path | None = None
    """Vocabulary of random G-grams, as 'dnazen ggrams mine --method random' writes it: one more
    control, of G-grams with the same length and number of G and C."""
    enrichment: Annotated[EnrichmentConfig, FLAT] = field(default_factory=EnrichmentConfig)

    def __post_init__(self) -> None:
        if not self.database:
            raise ConfigError("no database given; expected one or more MEME files")


def run(settings: GGramsMotifsCommand) -> None:
    """Compare, and write tables, logos and a page."""
    from ..ggrams.motifs.comparison import in_words, summary, write_matches, write_motifs
    from ..ggrams.motifs.enrichment import compare_with_motifs
    from ..ggrams.motifs.meme import read_motifs
    from ..ggrams.motifs.page import motifs_page
    from ..ggrams.vocabulary import GGramVocabulary

    vocabulary = GGramVocabulary.load(settings.vocabulary)
    random = None if settings.random is None else GGramVocabulary.load(settings.random)
    motifs = [motif for path in settings.database for motif in read_motifs(path)]
    with new_directory(settings.output) as directory:
        comparison = compare_with_motifs(vocabulary, motifs, settings.enrichment, random=random)
        paths = (settings.vocabulary, *settings.database, *filter(None, [settings.random]))
        inputs = [hash_file(path) for path in paths]
        record = run_record("ggrams motifs", settings, inputs, **summary(comparison, motifs))
        write_json(directory / "summary.json", record)
        write_matches(directory / "matches.tsv", comparison, motifs)
        write_motifs(directory / "motifs.tsv", comparison, motifs)
        (directory / "logos").mkdir()
        title = f"G-grams of {settings.vocabulary.name} and known motifs"
        text = motifs_page(title, comparison, motifs, directory / "logos")
        (directory / "index.html").write_text(text, encoding="utf-8")
    print(f"{settings.output}: {in_words(comparison, motifs)}", file=sys.stderr)
