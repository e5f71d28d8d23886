"""The numbers of a benchmark's report as CSV."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .comparison import Analysis
from .results import Run, cells_of
from .statistics import Estimate
from .tasks import published


def write_tables(folder: Path, run: Run, analysis: Analysis) -> None:
    """The numbers as CSV: scores are fractions of 1, what is not defined is empty."""
    folder.mkdir()
    _write(folder / "cells.csv", _cells(run))
    _write(folder / "scores.csv", _scores(run, analysis))
    _write(folder / "differences.csv", _differences(run, analysis))
    _write(folder / "strata.csv", _strata(analysis))
    _write(folder / "leakage.csv", _leakage(run))
    _write(folder / "published.csv", (row._asdict() for row in published()))


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """A table whose columns are the keys of the first row; without rows it is not written."""
    every = list(rows)
    if every:
        with path.open("w", encoding="utf-8", newline="") as handle:
            table = csv.DictWriter(handle, list(every[0]), lineterminator="\n")
            table.writeheader()
            table.writerows({k: _spelt(v) for k, v in row.items()} for row in every)


def _spelt(value: Any) -> Any:
    if isinstance(value, float):
        return "" if value != value else f"{value:.8g}"
    return value


def _cells(run: Run) -> Iterator[dict[str, Any]]:
    for results, model, record, score in cells_of(run):
        cost = record["cost"]
        yield {
            "task": results.task.name,
            "model": model,
            "seed": record["seed"],
            "learning_rate": float(record["learning_rate"]),
            "metric": results.task.metric,
            "test": score,
            **{f"test_{key}": value for key, value in record["test"].items()},
            "dev": record["dev"][results.task.metric],
            "best_epoch": record["best_epoch"],
            "data": results.data_state,
            **{f"{split}_rows": number for split, number in record["rows"].items()},
            **cost,
        }


def _scores(run: Run, analysis: Analysis) -> Iterator[dict[str, Any]]:
    for task, by_model in analysis.scores.items():
        results = run.tasks[task]
        for model, score in by_model.items():
            yield {
                "task": task,
                "group": results.task.group,
                "model": model,
                "metric": results.task.metric,
                "data": results.data_state,
                "test_rows": len(results.labels),
                "seeds": len(score.by_seed),
                **_estimate("mean", score.estimate),
                "sd": score.sd,
                "collapsed": int(score.collapsed.sum()),
                "mean_without_collapsed": score.mean_without_collapsed,
            }


def _differences(run: Run, analysis: Analysis) -> Iterator[dict[str, Any]]:
    for model, by_task in analysis.differences.items():
        for task, difference in by_task.items():
            yield {
                "model": model,
                "reference": analysis.reference,
                "task": task,
                "data": run.tasks[task].data_state,
                "seeds": " ".join(map(str, difference.seeds)),
                "collapsed": difference.collapsed,
                **_estimate("difference", difference.estimate),
                "p": difference.estimate.p_value,
                "p_holm": difference.holm,
                "p_benjamini_hochberg": difference.false_discovery,
                "d_z": difference.effect_size,
            }


def _strata(analysis: Analysis) -> Iterator[dict[str, Any]]:
    for task, strata in analysis.strata.items():
        for name, stratum in strata.items():
            for model, score in stratum.scores.items():
                row = {"task": task, "density": name, "test_rows": stratum.rows, "model": model}
                row |= _estimate("mean", score)
                difference = stratum.differences.get(model)
                nothing = Estimate(float("nan"), float("nan"), float("nan"))
                yield row | _estimate("difference", nothing if difference is None else difference)


def _leakage(run: Run) -> Iterator[dict[str, Any]]:
    for entry in run.leakage:
        for task, shared in entry["tasks"].items():
            about = {key: entry[key] for key in ("what", "source")}
            yield about | {"models": " ".join(entry["arms"]), "task": task} | shared


def _estimate(name: str, estimate: Estimate) -> dict[str, Any]:
    low, high = estimate.interval
    return {name: estimate.value, f"{name}_low": low, f"{name}_high": high}
