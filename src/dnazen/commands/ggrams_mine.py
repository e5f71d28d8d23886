"""``dnazen ggrams mine``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import ConfigError
from ..ggrams.settings import SHORTEST_OVERLAP_BP, MiningConfig, check_vocabulary_name
from ..outputs import refuse_inputs
from ..settings import FLAT, require_numbers


@dataclass(frozen=True, kw_only=True)
class GGramsMineCommand:
    """Mine a G-gram vocabulary from a corpus."""

    corpus: tyro.conf.Positional[Path]
    """Corpus directory that 'dnazen corpus build' wrote."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Vocabulary file to write; compressed by bgzip where its name ends in .gz."""
    mining: Annotated[MiningConfig, FLAT] = field(default_factory=MiningConfig)
    exclude: tuple[Path, ...] = ()
    """Sequence files, such as a benchmark's dev and test sets. Corpus sequences that share a
    stretch with them, on either strand, are not mined."""
    exclude_overlap_bp: int = 50
    """Shortest shared stretch that counts, in bases (Decided here)."""
    skip_repeats: bool = False
    """Mine no G-gram that holds a token of a repeat, which genomes have in lower case."""
    threads: int | None = None
    """Threads; None takes one a core. The result does not depend on it."""
    ray: str | None = None
    """Mine on a Ray cluster: its address HOST:PORT, or 'local'. Its machines must see the corpus
    under the same path. The result does not depend on it."""
    memory_gb: float = 1.0
    """What the working tables may take on one machine; the corpus is read more often where they
    must be small. The result does not depend on it."""

    def __post_init__(self) -> None:
        check_vocabulary_name(self.output)
        require_numbers(self, names="threads", least=1, most=4096)
        require_numbers(self, names="exclude_overlap_bp", least=SHORTEST_OVERLAP_BP)
        require_numbers(self, names="memory_gb", least=0, most=1 << 20)
        if not self.memory_gb:
            raise ConfigError(f"memory_gb must be more than 0, got {self.memory_gb}")


def run(settings: GGramsMineCommand) -> None:
    """Mine, write the vocabulary, and say what became of it."""
    from ..ggrams.mining.mine import mine_corpus
    from ..tokens.corpus import Corpus

    corpus = Corpus.open(settings.corpus)
    refuse_inputs(settings.output, [*settings.exclude, *settings.corpus.rglob("*")])
    vocabulary, excluded = mine_corpus(
        corpus,
        settings.mining,
        exclude=settings.exclude,
        exclude_overlap_bp=settings.exclude_overlap_bp,
        skip_repeats=settings.skip_repeats,
        threads=settings.threads,
        ray=settings.ray,
        memory_gb=settings.memory_gb,
    )
    vocabulary.save(settings.output)
    print(
        f"{settings.output}: {len(vocabulary):,} G-grams; "
        f"{excluded:,} of {len(corpus):,} sequences excluded",
        file=sys.stderr,
    )
    if not len(vocabulary):
        print("note: no G-gram; lower --min-pmi or the least counts", file=sys.stderr)
