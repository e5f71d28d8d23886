"""The page of ``dnazen ggrams stats``."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from ..report.charts import label, styles
from ..report.document import Document, Picture, Section, Table, Text, files_section, to_html
from ..report.text import name_of
from .stats import Coverage
from .vocabulary import GGramVocabulary

_CORPUS = "mining corpus"


def stats_page(
    vocabulary: GGramVocabulary,
    by_file: Mapping[str, Coverage],
    numbers: dict[str, Any],
    regions: str = "",
) -> str:
    """The whole page.

    Parameters
    ----------
    numbers
        As ``stats.numbers_of`` gives them.
    regions
        What was read of the files, if not all of them.
    """
    names = _names(by_file, regions)
    by_name = dict(zip(names, by_file.values(), strict=True))
    summaries = dict(zip(names, numbers["sequences"].values(), strict=True))
    sections = [_vocabulary_section(vocabulary, by_name, numbers["vocabulary"])]
    if by_name:
        sections.append(_coverage_section(by_name, summaries))
    files = {"vocabulary": [numbers["vocabulary"]["file"]], "sequences": list(by_file)}
    sections.append(files_section(files))
    title = f"G-grams of {name_of(numbers['vocabulary']['file'])}"
    return to_html(Document(title, sections, [_message(len(vocabulary), summaries)]))


def _names(files: Collection[str], regions: str) -> list[str]:
    """What the files are called on the page, each otherwise."""
    short = [name_of(file) for file in files]
    names = [
        file if short.count(name) > 1 else name for file, name in zip(files, short, strict=True)
    ]
    return [f"{regions} of {name}" for name in names] if regions else names


def _message(ggrams: int, summaries: dict[str, Any]) -> str:
    parts = [f"{ggrams:,} G-grams."]
    for name, summary in summaries.items():
        if summary["tokens"]:
            parts.append(
                f"They cover {summary['covered_tokens']:.1%} of the tokens of {name}, and "
                f"{summary['sequences_without']:.1%} of its {summary['sequences']:,} sequences "
                "have none."
            )
        else:
            parts.append(f"{name} holds no A, C, G or T.")
    return " ".join(parts)


def _vocabulary_section(
    vocabulary: GGramVocabulary, by_name: Mapping[str, Coverage], numbers: dict[str, Any]
) -> Section:
    rows = [[length, count] for length, count in numbers["by_length"].items()]
    return Section(
        "Vocabulary",
        [
            Table(["tokens in a G-gram", "G-grams"], rows),
            Picture("lengths", _lengths_chart(numbers["by_length"]), "G-grams by length."),
            Picture(
                "ranks",
                _rank_chart(vocabulary, by_name),
                "Occurrences of G-grams by their rank; a straight line is Zipf's law.",
            ),
        ],
    )


def _coverage_section(by_name: Mapping[str, Coverage], summaries: dict[str, Any]) -> Section:
    header = ["sequences of", "sequences", "tokens", "bases", "token coverage", "base coverage"]
    header += ["without a G-gram", "G-grams, mean", "median", "most", "distinct G-grams used"]
    rows = [[name, *_cells(summary)] for name, summary in summaries.items()]
    lengths = list(next(iter(summaries.values()))["occurrences_by_length"])
    by_length = [
        [name, *(summary["occurrences_by_length"][length] for length in lengths)]
        for name, summary in summaries.items()
    ]
    return Section(
        "Coverage of sequences",
        [
            Text(
                "Runs of A, C, G and T, long ones in windows, are sequences. Fractions are of 1; "
                "mean, median and most are distinct G-grams a sequence."
            ),
            Table(header, rows),
            Text("Occurrences by the tokens of the G-gram:"),
            Table(["sequences of", *lengths], by_length),
            Picture("coverage", _coverage_chart(summaries), "Coverage of tokens and of bases."),
            Picture("distinct", _distinct_chart(by_name), "Distinct G-grams of a sequence."),
        ],
    )


def _cells(summary: dict[str, Any]) -> Iterator[str | float]:
    """A row of the table; fractions of nothing are NaN."""
    yield from (summary[key] for key in ("sequences", "tokens", "bases"))
    fractions = (summary[k] for k in ("covered_tokens", "covered_bases", "sequences_without"))
    yield from (float("nan") if fraction is None else fraction for fraction in fractions)
    spread = summary["ggrams_per_sequence"]
    yield float("nan") if spread["mean"] is None else spread["mean"]
    yield from (spread["median"], spread["most"], summary["ggrams_used"])


def _lengths_chart(by_length: dict[str, int]) -> Figure:
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    axes.bar(list(by_length), list(by_length.values()), color="#0072b2")
    axes.set(xlabel="tokens in a G-gram", ylabel="G-grams")
    return figure


def _rank_chart(vocabulary: GGramVocabulary, by_name: Mapping[str, Coverage]) -> Figure:
    """Frequency against rank, both on log scales."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    curves = {_CORPUS: vocabulary.counts, **{n: c.occurrences for n, c in by_name.items()}}
    colours = _colours(curves)
    for name, counts in curves.items():
        ranked = np.sort(counts[counts > 0])[::-1]
        if len(ranked):
            # About 200 points, evenly spread on the log scale.
            ranks = np.unique(np.geomspace(1, len(ranked), 200).astype(np.int64))
            axes.loglog(ranks, ranked[ranks - 1], label=label(name), color=colours[name])
    axes.set(xlabel="rank", ylabel="occurrences")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(LogFormatter())
    _legend(figure, axes)
    return figure


def _coverage_chart(summaries: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(8, 1.4 + 0.6 * len(summaries)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(summaries))
    keys = (("covered_tokens", "of tokens", "#0072b2"), ("covered_bases", "of bases", "#e69f00"))
    for shift, (key, name, colour) in zip((-0.2, 0.2), keys, strict=True):
        shares = [summary[key] or 0 for summary in summaries.values()]
        bars = axes.barh(places + shift, shares, 0.4, label=name, color=colour)
        axes.bar_label(bars, fmt="%.3f", padding=3, fontsize="small")
    axes.set(yticks=places, xlabel="fraction inside at least one G-gram", xlim=(0, 1))
    axes.set_yticklabels([label(name) for name in summaries])
    axes.invert_yaxis()
    _legend(figure, axes)
    return figure


def _distinct_chart(by_name: Mapping[str, Coverage]) -> Figure:
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    colours = _colours(by_name)
    for name, coverage in by_name.items():
        shares = coverage.distinct / max(coverage.sequences, 1)
        places = np.arange(len(shares))
        axes.step(places, shares, where="mid", label=label(name), color=colours[name])
    axes.set(xlabel="distinct G-grams in a sequence", ylabel="fraction of sequences")
    _legend(figure, axes)
    return figure


def _colours(names: Mapping[str, Any]) -> dict[str, str]:
    looks = styles(dict.fromkeys(names, "file"))
    return {name: look["color"] for name, look in looks.items()}


def _legend(figure: Figure, axes: Axes) -> None:
    """Names above the chart, where they lie over nothing."""
    handles, _ = axes.get_legend_handles_labels()
    if handles:
        figure.legend(handles=handles, loc="outside upper left", ncols=2, frameon=False)
