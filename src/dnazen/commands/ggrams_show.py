"""``dnazen ggrams show``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..outputs import refuse_inputs
from ..settings import require_numbers
from ..tables import check_table_name, new_table


@dataclass(frozen=True, kw_only=True)
class GGramsShowCommand:
    """Print a vocabulary's G-grams as a table."""

    vocabulary: tyro.conf.Positional[Path]
    """G-gram vocabulary."""
    top: int = 20
    """G-grams to print, at most."""
    by: Literal["count", "pmi", "bases"] = "count"
    """What to order by, greatest first: the count, the PMI, or the number of bases."""
    containing: str = ""
    """Only G-grams with these bases in them."""
    provenance: bool = False
    """Print what the vocabulary was made from, as JSON, and no table."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("-")
    """Table to write: .tsv or .csv, compressed by bgzip where .gz follows; '-' for stdout."""

    def __post_init__(self) -> None:
        check_table_name(self.output)
        require_numbers(self, names="top", least=1)


def run(settings: GGramsShowCommand) -> None:
    """Print the chosen G-grams: id, count, PMI, tokens, bases."""
    from itertools import islice

    from ..ggrams.show import ranked
    from ..ggrams.vocabulary import GGramVocabulary

    vocabulary = GGramVocabulary.load(settings.vocabulary)
    if settings.provenance:
        print(json.dumps(vocabulary.provenance, indent=2))
        return
    bases = vocabulary.bases or ("",) * len(vocabulary)
    wanted = settings.containing.upper()
    rows = (row for row in ranked(vocabulary, settings.by).tolist() if wanted in bases[row])
    refuse_inputs(settings.output, [settings.vocabulary])
    with new_table(settings.output) as write:
        write(["id", "count", "pmi", "tokens", "bases"])
        for row in islice(rows, settings.top):
            tokens = " ".join(map(str, vocabulary.ggram(row + 1)))
            count, pmi = vocabulary.counts[row], vocabulary.pmi[row]
            write([row + 1, count, f"{pmi:.4f}", tokens, bases[row]])
