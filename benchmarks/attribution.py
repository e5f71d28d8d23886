"""Do attributions find planted motifs? AUROC of planted bases, method by method.

    dnazen explain MODEL simulated/test.csv --target 1 -o explained
    python benchmarks/attribution.py explained simulated/task.bed

prints a row for each method, tab-separated. Only sequences with both motifs count: their planted
bases are the positives, all other bases of the same sequence the negatives. ``permuted`` is the
integrated gradients of the same tokens in random order: what widths of tokens alone give.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro
from jaxtyping import Bool, Float
from scipy.stats import bootstrap
from sklearn.metrics import average_precision_score, roc_auc_score

MOTIFS = 2


@dataclass(frozen=True, kw_only=True)
class AttributionConfig:
    """Measure how well attributions find planted motifs."""

    explained: tyro.conf.Positional[Path]
    """What 'dnazen explain' wrote of a simulated task's split."""
    planted: tyro.conf.Positional[Path]
    """task.bed of the simulation."""
    split: str = "test"
    """The split that was explained."""
    seed: int = 0
    """Of the permuted baseline and of the intervals."""


class Sequence(NamedTuple):
    """One sequence, base by base."""

    planted: Bool[np.ndarray, "bases"]
    values: dict[str, Float[np.ndarray, "bases"]]
    """By method."""


def planted_places(path: Path, split: str) -> dict[str, list[tuple[int, int]]]:
    """Where motifs were planted, by row of the split, of rows that have all of them."""
    places = defaultdict(list)
    for line in path.read_text().splitlines():
        name, start, end, *_ = line.split("\t")
        if name.startswith(f"{split}/"):
            places[name.removeprefix(f"{split}/")].append((int(start), int(end)))
    return {name: some for name, some in places.items() if len(some) == MOTIFS}


def sequences(config: AttributionConfig) -> Iterator[Sequence]:
    """The sequences with all motifs, and what each method says of their bases."""
    rng = np.random.default_rng(config.seed)
    planted = planted_places(config.planted, config.split)
    tokens, ggrams = (by_record(config.explained / f"{name}.tsv") for name in ("tokens", "ggrams"))
    for record, rows in tokens.items():
        if rows[0]["name"] not in planted:
            continue
        widths = np.array([int(row["end"]) - int(row["start"]) for row in rows])
        total = int(widths.sum())
        truth = np.zeros(total, dtype=bool)
        for start, end in planted[rows[0]["name"]]:
            truth[start:end] = True
        found = np.array([float(row["attribution"]) for row in rows])
        values = {
            "integrated gradients": spread(found, widths),
            "integrated gradients, absolute": spread(abs(found), widths),
            "integrated gradients, tokens only": spread(column(rows, "from_token"), widths),
            "integrated gradients, G-grams only": spread(column(rows, "from_ggrams"), widths),
            "removal of G-grams": removals(ggrams[record], total),
        }
        if rows[0]["occlusion"] != "NA":
            hidden = column(rows, "occlusion")
            values["occlusion"] = spread(hidden, widths)
            values["occlusion, absolute"] = spread(abs(hidden), widths)
        shuffled = rng.permutation(found)
        values["permuted"] = spread(shuffled, widths)
        values["permuted, absolute"] = spread(abs(shuffled), widths)
        yield Sequence(truth, values)


def column(rows: list[dict[str, str]], name: str) -> Float[np.ndarray, "rows"]:
    """A column as numbers."""
    return np.array([float(row[name]) for row in rows])


def spread(values: Float[np.ndarray, "tokens"], widths: Any) -> Float[np.ndarray, "bases"]:
    """The value of each token, evenly over its bases."""
    return np.repeat(values / widths, widths)


def removals(rows: list[dict[str, str]], total: int) -> Float[np.ndarray, "bases"]:
    """What the removal of each G-gram takes away, evenly over the bases it covers; summed."""
    values = np.zeros(total)
    for row in rows:
        places = [tuple(map(int, place.split("-"))) for place in row["places"].split(",")]
        bases = np.unique(np.concatenate([np.arange(start, end) for start, end in places]))
        values[bases] += float(row["removal"]) / len(bases)
    return values


def by_record(path: Path) -> dict[str, list[dict[str, str]]]:
    """Rows of a table, record by record."""
    rows = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as handle:
        for row in csv.DictReader(handle, delimiter="\t"):
            rows[row["record"]].append(row)
    return rows


def main(config: AttributionConfig) -> None:
    """Print the table."""
    some = list(sequences(config))
    print("method\tsequences\tmean AUROC\t95 % interval\tmean AP\tpooled AUROC")
    for method in some[0].values if some else ():
        areas = scores_of(roc_auc_score, some, method)
        interval = bootstrap((areas,), np.mean, rng=np.random.default_rng(config.seed))
        low, high = interval.confidence_interval
        precision = scores_of(average_precision_score, some, method).mean()
        pooled = roc_auc_score(
            np.concatenate([s.planted for s in some]),
            np.concatenate([s.values[method] for s in some]),
        )
        print(
            f"{method}\t{len(some)}\t{areas.mean():.3f}\t{low:.3f} to {high:.3f}"
            f"\t{precision:.3f}\t{pooled:.3f}"
        )


def scores_of(
    score: Callable[[Any, Any], float], some: list[Sequence], method: str
) -> Float[np.ndarray, "sequences"]:
    """The score of each sequence."""
    return np.array([score(s.planted, s.values[method]) for s in some])


if __name__ == "__main__":
    main(tyro.cli(AttributionConfig))
