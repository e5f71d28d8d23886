"""``dnazen ggrams stats``: how a vocabulary meets sequences, as JSON and as pictures."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from jaxtyping import Int64
from matplotlib.figure import Figure
from tokenizers import Tokenizer

from ..errors import ConfigError
from ..outputs import new_file
from ..report.page import code, figure, heading, page
from ..sequences.alphabet import normalise, windows
from ..sequences.inputs import InputConfig, InputRecord, Inputs
from ..tokens.tokenizer import encode, load_tokenizer, token_lengths, tokenizer_sha256
from .matching import Matcher
from .vocabulary import GGramVocabulary

_SEQUENCES_A_BATCH = 4096


@dataclass(frozen=True, kw_only=True)
class StatsConfig(InputConfig):
    """Measure how the G-grams of a vocabulary cover sequences."""

    vocabulary: tyro.conf.Positional[Path]
    """G-gram vocabulary."""
    sequences: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Sequence files: FASTA, FASTQ, table or lines; plain, gzip or bgzip; 2bit; '-' for stdin."""
    tokenizer: Path
    """Directory of the tokenizer, or its tokenizer.json."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """HTML report to write; None writes none."""
    window_bp: int = 1000
    """Longer runs of ACGT are cut into windows, each a sequence of its own."""

    def __post_init__(self) -> None:
        if self.window_bp < 1:
            raise ConfigError(f"window_bp must be at least 1, got {self.window_bp}")


@dataclass
class Coverage:
    """What G-grams cover in some sequences; numbers add up as sequences come."""

    ggrams: int
    sequences: int = 0
    tokens: int = 0
    covered_tokens: int = 0
    """Tokens inside at least one G-gram."""
    bases: int = 0
    covered_bases: int = 0

    def __post_init__(self) -> None:
        self.distinct: Int64[np.ndarray, "most+1"] = np.zeros(1, dtype=np.int64)
        """Sequences by their number of distinct G-grams."""
        self.occurrences: Int64[np.ndarray, "ggrams+1"] = np.zeros(self.ggrams + 1, dtype=np.int64)
        """Occurrences of each G-gram, by id."""

    def add(self, matcher: Matcher, tokenizer: Tokenizer, texts: Sequence[str]) -> None:
        """Count some more sequences of upper-case ACGT."""
        tokens, offsets = encode(tokenizer, texts)
        matches = matcher.match(tokens, offsets)
        covered = np.unique(matches.cover_token)
        bases = token_lengths(tokenizer)
        self.sequences += len(texts)
        self.tokens += len(tokens)
        self.covered_tokens += len(covered)
        self.bases += int(bases[tokens].sum())
        self.covered_bases += int(bases[tokens[covered]].sum())
        distinct = np.bincount(np.diff(matches.slot_offsets), minlength=len(self.distinct))
        distinct[: len(self.distinct)] += self.distinct
        self.distinct = distinct
        ids = matcher.occurrences(tokens, offsets).ggram_id
        self.occurrences += np.bincount(ids, minlength=self.ggrams + 1)

    def summary(self, lengths: Int64[np.ndarray, "ggrams+1"]) -> dict[str, Any]:
        """The numbers as JSON values; fractions of nothing are None."""
        cumulated = np.cumsum(self.distinct)
        return {
            "sequences": self.sequences,
            "tokens": self.tokens,
            "bases": self.bases,
            "covered_tokens": _fraction(self.covered_tokens, self.tokens),
            "covered_bases": _fraction(self.covered_bases, self.bases),
            "sequences_without": _fraction(int(self.distinct[0]), self.sequences),
            "ggrams_per_sequence": {
                "mean": _fraction(
                    int(self.distinct @ np.arange(len(self.distinct))), self.sequences
                ),
                "median": int(np.searchsorted(cumulated, self.sequences / 2)),
                "most": len(self.distinct) - 1,
            },
            "ggrams_used": int(np.count_nonzero(self.occurrences)),
            "occurrences_by_length": {
                str(n): int(self.occurrences[lengths == n].sum()) for n in np.unique(lengths[1:])
            },
        }


def stats_command(config: StatsConfig) -> None:
    """Print the numbers as JSON; write the pictures, if asked, as one HTML file."""
    vocabulary = GGramVocabulary.load(config.vocabulary)
    tokenizer = load_tokenizer(config.tokenizer)
    vocabulary.require_tokenizer(tokenizer_sha256(tokenizer), config.vocabulary)
    matcher = Matcher(vocabulary)
    covered: dict[str, Coverage] = {}
    asked = config.sequences or config.by_region
    parts = Inputs(config.sequences, config).parts() if asked else ()
    for file, records in zip(config.sequences, parts, strict=True):
        coverage = covered[str(file)] = Coverage(len(vocabulary))
        texts = _texts(records, config.window_bp)
        while batch := list(islice(texts, _SEQUENCES_A_BATCH)):
            coverage.add(matcher, tokenizer, batch)
    numbers = {
        "vocabulary": {
            "file": str(config.vocabulary),
            "ggrams": len(vocabulary),
            "by_length": {
                str(n): int(c)
                for n, c in zip(*np.unique(vocabulary.lengths, return_counts=True), strict=True)
            },
        },
        "sequences": {file: c.summary(matcher.lengths) for file, c in covered.items()},
    }
    if config.output is not None:
        with new_file(config.output) as temporary:
            temporary.write_text(_report(vocabulary, covered, numbers), encoding="utf-8")
    print(json.dumps(numbers, indent=2))


def _texts(records: Iterator[InputRecord], window_bp: int) -> Iterator[str]:
    for record in records:
        for _, bases in windows(normalise(record.sequence)[0], window_bp):
            yield bases.decode()


def _fraction(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _report(
    vocabulary: GGramVocabulary, covered: dict[str, Coverage], numbers: dict[str, Any]
) -> str:
    figures = [
        figure(_lengths_picture(numbers), "Lengths in the vocabulary."),
        figure(_zipf_picture(vocabulary, covered), "Occurrences by rank, in the mined corpus too."),
    ]
    if covered:
        figures += [
            figure(_coverage_picture(numbers), "Fraction inside at least one G-gram."),
            figure(_distinct_picture(covered), "Distinct G-grams of a sequence."),
        ]
    return page(
        f"G-grams of {numbers['vocabulary']['file']}",
        [*figures, heading("Numbers"), code(json.dumps(numbers, indent=2))],
    )


def _lengths_picture(numbers: dict[str, Any]) -> Figure:
    drawing = Figure(figsize=(8, 3.5))
    axes = drawing.subplots()
    by_length = numbers["vocabulary"]["by_length"]
    axes.bar(list(by_length), list(by_length.values()))
    axes.set(xlabel="tokens", ylabel="G-grams")
    return drawing


def _zipf_picture(vocabulary: GGramVocabulary, covered: dict[str, Coverage]) -> Figure:
    """Frequency against rank, both on log scales: a straight line is Zipf's law."""
    drawing = Figure(figsize=(8, 4))
    axes = drawing.subplots()
    curves = {"corpus": vocabulary.counts, **{f: c.occurrences for f, c in covered.items()}}
    for name, counts in curves.items():
        seen = np.sort(counts[counts > 0])[::-1]
        if len(seen):
            # About 200 points, evenly spread on the log scale.
            ranks = np.unique(np.geomspace(1, len(seen), 200).astype(np.int64))
            axes.loglog(ranks, seen[ranks - 1], label=name)
            axes.legend(fontsize="small")
    axes.set(xlabel="rank", ylabel="occurrences")
    return drawing


def _coverage_picture(numbers: dict[str, Any]) -> Figure:
    files = numbers["sequences"]
    drawing = Figure(figsize=(8, 1 + 0.5 * len(files)))
    axes = drawing.subplots()
    places = np.arange(len(files))
    for shift, key in ((-0.2, "covered_tokens"), (0.2, "covered_bases")):
        axes.barh(places + shift, [s[key] or 0 for s in files.values()], 0.4, label=key)
    axes.set(yticks=places, yticklabels=list(files), xlabel="fraction")
    axes.legend(fontsize="small")
    return drawing


def _distinct_picture(covered: dict[str, Coverage]) -> Figure:
    drawing = Figure(figsize=(8, 3.5))
    axes = drawing.subplots()
    for name, coverage in covered.items():
        shares = coverage.distinct / max(coverage.sequences, 1)
        axes.step(np.arange(len(shares)), shares, where="mid", label=name)
    axes.set(xlabel="distinct G-grams", ylabel="fraction of sequences")
    axes.legend(fontsize="small")
    return drawing
