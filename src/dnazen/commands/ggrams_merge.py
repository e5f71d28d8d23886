"""``dnazen ggrams merge``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import ConfigError
from ..ggrams.settings import check_vocabulary_name
from ..outputs import refuse_inputs
from ..records import hash_file, plain
from ..settings import require_numbers


@dataclass(frozen=True, kw_only=True)
class GGramsMergeCommand:
    """Merge vocabularies: counts add up."""

    vocabularies: tyro.conf.Positional[tuple[Path, ...]]
    """G-gram vocabularies of one tokenizer, two or more."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Vocabulary file to write; compressed by bgzip where its name ends in .gz."""
    max_size: int | None = None
    """Keep at most this many G-grams, the most frequent; None keeps all."""

    def __post_init__(self) -> None:
        if len(self.vocabularies) < 2:
            raise ConfigError("nothing to merge; expected two vocabularies or more")
        check_vocabulary_name(self.output)
        require_numbers(self, names="max_size", least=1)


def run(settings: GGramsMergeCommand) -> None:
    """Merge vocabulary files and write one with the provenance of all."""
    from ..ggrams.merge import merge
    from ..ggrams.vocabulary import GGramVocabulary

    paths = settings.vocabularies
    refuse_inputs(settings.output, paths)
    parts = [GGramVocabulary.load(path) for path in paths]
    for path, part in zip(paths[1:], parts[1:], strict=True):
        part.require_tokenizer(parts[0].tokenizer_sha256, path)
    sources = [
        {"file": hash_file(path), "provenance": part.provenance}
        for path, part in zip(paths, parts, strict=True)
    ]
    provenance = plain({"merged": sources, "max_size": settings.max_size})
    merged = replace(merge(parts, settings.max_size), provenance=provenance)
    merged.save(settings.output)
    print(f"{settings.output}: {len(merged):,} G-grams", file=sys.stderr)
