"""The page of a fine-tuned model: how good it is, beside the simple tools, and how far to trust it.

One file that fetches nothing; ``report.document`` draws it.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from sklearn.metrics import confusion_matrix

from ..inference.labels import probabilities
from ..report.document import Block, Code, Document, Picture, Section, Table, Text, to_html
from ..sequences.splits import strandless
from .charts import calibration_chart, confusion_chart, curves_chart, ranking_chart, scatter_chart
from .metrics import score
from .results import MODEL, Results
from .rows import example_of_row, label_rows
from .settings import METRICS

MOST_DRAWN = 8
"""Classes, labels or targets that have charts of their own."""

_MEANINGS = {
    "mcc": "MCC, Matthews correlation of predicted and true labels, counts all four kinds of right "
    "and wrong calls. 1 is perfect, 0 is chance, and it stays near 0 for a model that always names "
    "the larger class.",
    "f1": "F1 is the harmonic mean of precision and recall, averaged over classes or labels. 1 is "
    "perfect; what chance gives depends on how even the classes are.",
    "accuracy": "Accuracy is the fraction of rows, or of labels, that is called right. With uneven "
    "classes it can be high for a model that says nothing.",
    "auroc": "AUROC is the chance that a positive sequence scores above a negative one, whatever "
    "the threshold. 0.5 is chance and 1 is perfect, however many positives there are.",
    "auprc": "AUPRC is the mean precision over all recalls. Chance gives the share of positives, "
    "so it is the score to look at when positives are rare.",
    "pearson": "Pearson's correlation says how well predictions follow the targets on a straight "
    "line. 1 is perfect, 0 is chance, and it does not see a wrong scale or offset.",
    "spearman": "Spearman's correlation says how well predictions order the targets. 1 is perfect, "
    "0 is chance.",
    "mse": "The mean squared error is in the targets' unit, squared. 0 is perfect; the variance of "
    "the targets is what their mean alone would give.",
}


def finetune_page(results: Results, record: Mapping[str, Any]) -> str:
    """The whole page.

    Parameters
    ----------
    record
        Of the run, as ``run.json`` has it.
    """
    sections = [
        Section("Scores on test", list(_scores(results))),
        Section("Training", list(_training(results))),
        *_charts(results),
        Section("Data", list(_data(results, record))),
        Section("How this was made", list(_making(results, record)), folded=True),
    ]
    metric = results.fitted.test[results.metric]
    data = "/".join(Path(results.splits.train.table.source.path).parts[-3:-1])
    title = f"A model of {data}: {results.metric} {metric:.3f} on test"
    return to_html(Document(title, sections, results.verdict().splitlines()))


def _scores(results: Results) -> Iterator[Block]:
    fitted = results.fitted
    header = ["score", MODEL, *results.baselines, "deep head alone"]
    rows: list[list[str | float]] = [
        [
            name,
            fitted.test[name],
            *(each.scores[name] for each in results.baselines.values()),
            fitted.deep[name],
        ]
        for name in METRICS[results.splits.task.problem_type]
    ]
    yield Table(header, rows)
    bounds = [
        [
            name,
            f"{results.intervals[name].low:.3f} to {results.intervals[name].high:.3f}",
            "" if name == MODEL else _spelt_gain(results, name),
        ]
        for name in (MODEL, *results.baselines)
    ]
    drawn = "sequences of test drawn again, all bases of each together, 500 times"
    if not results.of_bases:
        drawn = "test rows drawn again 500 times (fewer of large tests)"
    yield Text(
        f"95 % intervals of {results.metric}, from {drawn}. They say nothing of how another "
        "training would come out."
    )
    yield Table(["", results.metric, "this model has more by"], bounds, names=3)
    if results.loses:
        advice = results.advice()
        yield Text(f"{results.best_baseline} do better than this model. {advice.capitalize()}.")
    if results.by_class:
        columns = ["precision", "recall", "f1", "auprc", "support"]
        lines: list[list[str | float]] = [
            [name, *(scores[column] for column in columns)]
            for name, scores in results.by_class.items()
        ]
        yield Text("The bases of test by class; support is the number that are of it.")
        yield Table(["class", *columns], lines)
    for name in METRICS[results.splits.task.problem_type]:
        yield Text(_MEANINGS[name])


def _spelt_gain(results: Results, name: str) -> str:
    gain = results.gains[name]
    return f"{gain.low:+.3f} to {gain.high:+.3f}"


def _training(results: Results) -> Iterator[Block]:
    fitted, blend = results.fitted, results.fitted.blend
    chart = curves_chart(fitted.history, results.metric)
    yield Picture("curves", chart, "Loss and dev score by epoch; dev chose the epoch.")
    best = "-" if fitted.best_epoch is None else f"{fitted.best_epoch:g}"
    yield Text(
        f"{fitted.epochs:g} epochs were trained, {best} was the best on dev. "
        f"{fitted.rate.sentence().capitalize()}."
        + (f" It was begun anew {fitted.restarts} times, after collapses." * bool(fitted.restarts))
    )
    strands = "both strands" if results.plan.strands == "average" else "one strand"
    name = "regression on neighbouring bases" if results.of_bases else "k-mer regression"
    mixed = (
        f"Its logits are {blend.deep:.2f} times those of the deep head and {blend.kmers:.2f} times "
        f"those of the {name}, as dev chose."
    )
    yield Text(f"The model reads {strands} of each sequence. {mixed}")


def _charts(results: Results) -> Iterator[Section]:
    kind = results.splits.task.problem_type
    names = results.splits.task.label_names
    labels: Any = results.labels
    models = {MODEL: results.fitted.logits} | {
        name: each.logits for name, each in results.baselines.items()
    }
    if not all(np.isfinite(logits).all() for logits in models.values()):
        return
    if kind == "regression":
        truth = labels.reshape(len(labels), -1)
        pictures = [
            Picture(f"scatter-{n}", scatter_chart(truth[:, n], models[MODEL][:, n], name), name)
            for n, name in enumerate(names[:MOST_DRAWN])
        ]
        yield Section("Predictions", pictures)
        return
    likely = {name: probabilities(kind, logits) for name, logits in models.items()}
    single = results.of_bases or kind == "single_label_classification"
    if single:
        counts = confusion_matrix(labels, models[MODEL].argmax(1), labels=range(len(names)))
        if len(names) <= 3 * MOST_DRAWN:
            what = "Bases of test." if results.of_bases else "Rows of test."
            picture = Picture("confusion", confusion_chart(counts, names), what)
            yield Section("Confusion", [picture])
    yield Section("Ranking and calibration", list(_sides(single, names, labels, likely)))


def _sides(
    single: bool,
    names: Sequence[str],
    labels: Any,
    likely: Mapping[str, Float[np.ndarray, "rows labels"]],
) -> Iterator[Block]:
    """The curves of each class or label against the rest; of two classes the second."""
    numbers = range(1, 2) if single and len(names) == 2 else range(min(MOST_DRAWN, len(names)))
    for number in numbers:
        positive: Bool[np.ndarray, "rows"] = (
            labels == number if single else labels[:, number].astype(bool)
        )
        if positive.all() or not positive.any():
            continue
        chances = {name: table[:, number] for name, table in likely.items()}
        ranking = ranking_chart(positive, chances)
        caption = f"{names[number]} against the rest: ROC and precision-recall; grey is chance."
        yield Picture(f"ranking-{number}", ranking, caption)
        calibration = calibration_chart(positive, chances)
        caption = f"Calibration of {names[number]}: on the line, probabilities mean what they say."
        yield Picture(f"calibration-{number}", calibration, caption)
        error = _calibration_error(positive, chances[MODEL])
        yield Text(f"The expected calibration error of {names[number]} is {error:.3f}.")


def _calibration_error(
    positive: Bool[np.ndarray, "rows"], chance: Float[np.ndarray, "rows"]
) -> float:
    """Mean distance of probability and frequency over ten bins of like size (ECE)."""
    bins = np.array_split(np.argsort(chance), 10)
    gaps = [
        abs(positive[rows].mean() - chance[rows].mean()) * len(rows) for rows in bins if len(rows)
    ]
    return float(sum(gaps) / len(positive))


def _data(results: Results, record: Mapping[str, Any]) -> Iterator[Block]:
    splits = results.splits
    if results.of_bases or splits.task.problem_type == "single_label_classification":
        counts = {n: Counter(label_rows(part.labels).tolist()) for n, part in splits.parts.items()}
        names = splits.task.label_names
        table: list[list[str | float]] = [
            [name, len(part.labels), *(counts[name][number] for number in range(len(names)))]
            for name, part in splits.parts.items()
        ]
        of = "bases of " if results.of_bases else ""
        yield Table(["split", "rows", *(f"{of}{name}" for name in names)], table)
    else:
        yield Table(["split", "rows"], [[n, len(part.labels)] for n, part in splits.parts.items()])
    shared = {" and ".join(key.split("_")): n for key, n in splits.duplicates.items() if n}
    if not shared:
        yield Text("No sequence stands in two splits, on either strand.")
    else:
        said = ", ".join(f"{number:,} of {names}" for names, number in shared.items())
        yield Text(f"Sequences that stand in two splits, on either strand: {said}.")
    if splits.duplicates["train_test"]:
        yield Text(_without_shared(results))
    cut = {name: number for name, number in record.get("cut", {}).items() if number}
    if cut:
        said = ", ".join(f"{number:,} in {name}" for name, number in cut.items())
        yield Text(f"Sequences that were cut to the longest length: {said}.")
    files = [[item["path"], item["size"], item["sha256"][:16]] for item in record["inputs"]]
    yield Table(["file", "bytes", "sha256"], [[a, f"{b:,}", c] for a, b, c in files], names=3)


def _without_shared(results: Results) -> str:
    """The score on the rows of test that train does not have."""
    splits = results.splits
    seen = {strandless(row.sequences) for row in splits.train.table.rows}
    new = np.array([strandless(row.sequences) not in seen for row in splits.test.table.rows])
    if not new.any():
        return "Train has every row of test."
    rows = new[example_of_row(splits.test.labels)]
    logits = results.fitted.logits[rows]
    value = score(splits.task.problem_type, results.labels[rows], logits)[results.metric]
    return f"On the {new.sum():,} rows of test that train lacks, {results.metric} is {value:.3f}."


def _making(results: Results, record: Mapping[str, Any]) -> Iterator[Block]:
    yield Text(results.plan.baseline.sentence())
    keys = ("dnazen", "python", "torch", "platform")
    yield Table(["what", "version"], [[key, str(record.get(key, "-"))] for key in keys], names=2)
    yield Code("dnazen " + shlex.join(record["argv"]))
