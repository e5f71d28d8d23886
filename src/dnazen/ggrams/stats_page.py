"""The page of ``dnazen ggrams stats``."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..report.page import code, figure, heading, page
from .stats import Coverage
from .vocabulary import GGramVocabulary


def stats_page(
    vocabulary: GGramVocabulary, covered: dict[str, Coverage], numbers: dict[str, Any]
) -> str:
    """The whole page; ``numbers`` as ``stats.numbers_of`` gives them."""
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
