"""The page of a search: the best settings, every trial, and which settings made a difference."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..report.document import Block, Code, Document, Picture, Section, Table, Text, to_html
from .charts import importance_chart, settings_chart, trials_chart
from .search import LEAST_FOR_IMPORTANCE, importances
from .space import Range, Space, short
from .trials import MEANINGS, Trial, best_trial, spelt


@dataclass(frozen=True)
class SearchResults:
    """The trials of a search, at least one of which came to its end."""

    space: Space
    trials: list[Trial]
    metric: str
    higher_is_better: bool
    first_as_given: bool
    """Whether the first trial has the settings as they were given."""
    kmers: float
    """Score on dev of the k-mer regression alone."""

    @cached_property
    def best(self) -> Trial:
        """The best trial."""
        best = best_trial(self.trials, higher_is_better=self.higher_is_better)
        assert best is not None
        return best

    @cached_property
    def ends(self) -> str:
        """How many trials came to which end, in words."""
        counts = Counter[str](trial.outcome.end for trial in self.trials)
        return ", ".join(f"{counts[end]:,} {end}" for end in MEANINGS if counts[end])

    def verdict(self) -> list[str]:
        """What came out, in a sentence or two each."""
        best, first = self.best, self.trials[0]
        text = f"Best {self.metric} on dev: {best.score:.3f}, trial {best.number}."
        if best.number == 1 and self.first_as_given:
            text += " These are the settings as they were given: no trial did better."
        elif self.first_as_given and first.score is not None:
            text += f" The settings as they were given have {first.score:.3f}."
        return [
            f"{text} K-mers alone have {self.kmers:.3f}. Trials: {self.ends}.",
            "Test was not read. The best of many scores on dev is better than the same settings "
            "will be on other rows: the test score of one fine-tuning with them tells.",
        ]

    @property
    def ranked(self) -> list[Trial]:
        """The best first, those that may not win last."""
        sign = 1 if self.higher_is_better else -1

        def order(trial: Trial) -> tuple[bool, bool, float]:
            score = trial.outcome.score
            return trial.score is None, score is None, -sign * (score or 0.0)

        return sorted(self.trials, key=order)


def search_page(
    results: SearchResults, recipe: str, fitting: str, record: Mapping[str, Any]
) -> str:
    """The whole page.

    Parameters
    ----------
    recipe
        The best settings.
    fitting
        The command that fits a model with them.
    record
        Of the run, as ``run.json`` has it.
    """
    sections = [
        Section("Best settings", [Code(recipe.strip()), Text("To fit them:"), Code(fitting)]),
        Section("Trials", list(_trials(results))),
        Section("What the settings do", list(_settings(results))),
        Section("How this was made", list(_making(results, record)), folded=True),
    ]
    data = "/".join(Path(record["settings"]["data"]).parts[-2:])
    best = results.best.score
    title = f"Settings for {data}: {results.metric} {best:.3f} on dev"
    return to_html(Document(title, sections, results.verdict()))


def _trials(results: SearchResults) -> Iterator[Block]:
    chart = trials_chart(
        results.trials,
        results.metric,
        higher_is_better=results.higher_is_better,
        kmers=results.kmers,
    )
    first = "; the first trial has the settings as they were given" * results.first_as_given
    yield Picture("trials", chart, f"Score of each trial, in the order they were made{first}.")
    header = [
        "trial",
        "end",
        results.metric,
        "best epoch",
        "epochs run",
        *map(short, results.space),
        "seconds",
    ]
    rows = [
        [
            str(trial.number),
            trial.outcome.end,
            "-" if trial.outcome.score is None else f"{trial.outcome.score:.3f}",
            "-" if trial.outcome.best_epoch is None else f"{trial.outcome.best_epoch:g}",
            str(len(trial.epoch_scores)),
            *(spelt(trial.values[name]) for name in results.space),
            f"{trial.seconds:.0f}",
        ]
        for trial in results.ranked
    ]
    yield Table(header, rows, names=2)
    seen = {trial.outcome.end for trial in results.trials}
    for end in MEANINGS:
        if end in seen:
            yield Text(f"{end.capitalize()}: {MEANINGS[end]}.")
    for trial in results.trials:
        if trial.outcome.problem:
            yield Text(f"Trial {trial.number} failed: {trial.outcome.problem}")


def _settings(results: SearchResults) -> Iterator[Block]:
    chart = settings_chart(results.trials, results.space, results.metric)
    yield Picture("settings", chart, "Score by the value of each setting; a point is a trial.")
    shares = importances(results.space, results.trials, higher_is_better=results.higher_is_better)
    if not shares:
        yield Text(
            "Which settings matter is told from "
            f"{LEAST_FOR_IMPORTANCE} trials on that came to their end and differ."
        )
        return
    caption = "How much of the differences between scores goes with each setting (fANOVA)."
    yield Picture("importance", importance_chart(shares), caption)
    yield Text(
        "Only trials that came to their end count. The shares say nothing of values that were not "
        "tried, and with few trials they are a rough guess."
    )


def _making(results: SearchResults, record: Mapping[str, Any]) -> Iterator[Block]:
    domains = [[name, _spelt_domain(domain)] for name, domain in results.space.items()]
    yield Table(["setting", "tried"], domains, names=2)
    yield Text(
        "Settings were proposed by Optuna's tree-structured Parzen estimator, the first ten at "
        "random. All trials have the same seed: a difference that another seed would turn round is "
        "chance."
    )
    keys = ("dnazen", "optuna", "torch", "python", "platform")
    yield Table(["what", "version"], [[key, str(record.get(key, "-"))] for key in keys], names=2)
    files = [[item["path"], item["sha256"][:16]] for item in record["inputs"]]
    yield Table(["file", "sha256"], files, names=2)
    yield Code("dnazen " + shlex.join(record["argv"]))


def _spelt_domain(domain: Any) -> str:
    if isinstance(domain, Range):
        scale = ", logarithmic" * domain.log
        return f"{spelt(domain.low)} to {spelt(domain.high)}{scale}"
    return ", ".join(map(spelt, domain))
