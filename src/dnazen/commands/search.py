"""``dnazen search``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from ..search.settings import SearchConfig
from ..search.space import resolve_space
from ..sequences.settings import LabelConfig, SplitConfig
from ..settings import FLAT
from ..training.settings import FinetuneConfig

if TYPE_CHECKING:
    from ..search.objective import DevObjective
    from ..search.page import SearchResults
    from ..search.space import Space, Values
    from ..search.trials import Trial
    from ..sequences.splits import Splits

TRIALS, RECORD, BEST = "trials.json", "run.json", "best.toml"


@dataclass(frozen=True, kw_only=True)
class SearchCommand:
    """Search for the settings of fine-tuning that are the best on dev; test is not read.

    Writes OUTPUT/: best.toml (a recipe for 'dnazen finetune'), report.html, trials.tsv, run.json
    (settings and inputs) and trials.json (after each trial, to go on from). Needs the extra
    'optuna'.
    """

    data: Path
    """Labelled sequences, as for 'dnazen finetune'."""
    model: Path
    """Model to start from: a DNAZEN directory, ours or released, or a DNABERT-2 directory; or
    ORG/NAME[@REVISION] of the Hugging Face hub."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write."""
    resume: bool = False
    """Go on with an interrupted search in OUTPUT, or with a finished one and more --trials."""
    finetune: bool = False
    """Then fine-tune with the best settings into OUTPUT/finetuned, and score test, once."""
    search: Annotated[SearchConfig, FLAT] = field(default_factory=SearchConfig)
    finetuning: Annotated[FinetuneConfig, FLAT] = field(default_factory=FinetuneConfig)
    labels: LabelConfig = field(default_factory=LabelConfig)
    """What the labels are."""
    splits: SplitConfig = field(default_factory=SplitConfig)
    """What is train, dev and test."""

    def __post_init__(self) -> None:
        self.finetuning.metric(self.labels.problem_type)
        resolve_space(self.search.space, self.finetuning)


def run(settings: SearchCommand) -> None:
    """Search, write what was found, and say how it came out.

    Raises
    ------
    DnazenError
        If no trial came to its end.
    """
    import os

    from ..errors import ConfigError, DnazenError
    from ..outputs import failures_explained, refuse_existing
    from ..runs import claimed
    from ..search.objective import DevObjective
    from ..search.search import require_optuna
    from ..search.space import given_values
    from ..sequences.splits import load_splits
    from ..training.trainer import require_launch

    require_optuna()
    config, output = settings.finetuning, settings.output
    require_launch(config.run)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("a search runs in one process; start it without torchrun")
    if not settings.resume:
        refuse_existing(output)
    splits = load_splits(settings.data, settings.labels, settings.splits, with_test=False)
    objective = DevObjective(settings.model, splits, config, output)
    space, automatic = objective.space(settings.search.space)
    first = given_values(space, config, automatic)
    with claimed(output):
        with failures_explained(output):
            output.mkdir(parents=True, exist_ok=True)
        record = _begin(settings, splits, space)
        try:
            trials = _search(settings, objective, space, first)
        except KeyboardInterrupt as stop:
            stop.add_note(f"'dnazen search ... -o {output} --resume' goes on with it")
            raise
        results = _results(objective, space, trials, first)
        if not any(trial.score is not None for trial in trials):
            problem = next((t.outcome.problem for t in trials if t.outcome.problem), results.ends)
            raise DnazenError(f"{output}: no trial came to its end: {problem}")
        _write_results(settings, results, record)
    if settings.finetune:
        _finetune(settings, results.best.values)


def _begin(settings: SearchCommand, splits: Splits, space: Space) -> dict[str, Any]:
    """Write the record of the search or, where one began here, require the same."""
    import optuna
    import torch

    from ..model.source import find_model
    from ..records import read_json, run_record, write_json
    from ..runs import require_same
    from ..training.checkpoints import finetuning_identity, starting_file

    config = settings.finetuning
    start = starting_file(settings.model, config)
    identity = finetuning_identity(
        config,
        settings.labels,
        settings.splits,
        splits.inputs,
        start,
        space=space,
        prune=settings.search.prune,
    )
    path = settings.output / RECORD
    if path.exists():
        require_same(
            settings.output, read_json(path, "the record of a search")["identity"], identity
        )
    versions = {"optuna": optuna.__version__, "torch": torch.__version__}
    record = run_record(
        "search",
        settings,
        [*splits.inputs, start],
        model=find_model(settings.model).record,
        **versions,
        identity=identity,
    )
    write_json(path, record)
    return record


def _search(
    settings: SearchCommand, objective: DevObjective, space: Space, first: Values | None
) -> list[Trial]:
    """Go on from the trials that were made, keep each that is, and say how it came out."""
    import shutil
    import time

    from ..search.objective import TRIAL
    from ..search.search import search
    from ..search.trials import best_trial, read_trials, spelt, write_trials

    config, higher = settings.search, objective.higher_is_better
    trials = read_trials(settings.output / TRIALS)
    shutil.rmtree(settings.output / TRIAL, ignore_errors=True)  # of a killed run
    start = time.monotonic()
    if trials:
        print(f"going on after {len(trials):,} trials", file=sys.stderr)
    else:
        print(f"at most {config.trials:,} trials, a line after each", file=sys.stderr)
    new = search(
        space,
        objective,
        trials,
        trials=config.trials,
        seed=settings.finetuning.run.seed,
        first=first,
        higher_is_better=higher,
        prune=config.prune,
    )
    for trial in new:
        trials.append(trial)
        write_trials(settings.output / TRIALS, trials)
        outcome, best = trial.outcome, best_trial(trials, higher_is_better=higher)
        score = "" if outcome.score is None else f", {objective.metric} {outcome.score:.3f}"
        leader = "" if best is None else f"; best {best.score:.3f}, trial {best.number}"
        values = ", ".join(f"{name} {spelt(value)}" for name, value in trial.values.items())
        problem = f" ({outcome.problem})" if outcome.problem else ""
        print(
            f"trial {trial.number} of {config.trials}: {outcome.end}{problem}{score}{leader}: "
            f"{values}",
            file=sys.stderr,
        )
        if config.timeout_minutes and time.monotonic() - start > 60 * config.timeout_minutes:
            print(f"{config.timeout_minutes:g} minutes are over", file=sys.stderr)
            return trials
    if len(trials) < config.trials:
        print("all that could be tried was tried", file=sys.stderr)
    return trials


def _results(
    objective: DevObjective, space: Space, trials: list[Trial], first: Values | None
) -> SearchResults:
    from ..search.page import SearchResults

    return SearchResults(
        space,
        trials,
        objective.metric,
        objective.higher_is_better,
        first is not None,
        objective.kmers,
    )


def _write_results(
    settings: SearchCommand, results: SearchResults, record: Mapping[str, Any]
) -> None:
    """Write the best settings, the table and the page, and print the settings."""
    import shlex

    from ..outputs import new_file
    from ..search.page import search_page
    from ..search.recipe import finetune_recipe
    from ..search.trials import trial_rows
    from ..tables import new_table

    output, best = settings.output, results.best
    recipe = finetune_recipe(settings.finetuning, best.values, settings.labels, settings.splits)
    places = ["--data", str(settings.data), "--model", str(settings.model)]
    words = ["dnazen", "finetune", str(output / BEST), *places, "-o", "finetuned"]
    with new_file(output / BEST) as partial:
        partial.write_text(recipe, encoding="utf-8")
    with new_table(output / "trials.tsv") as write:
        for row in trial_rows(results.trials, list(results.space)):
            write(row)
    page = search_page(results, recipe, shlex.join(words), record)
    with new_file(output / "report.html") as partial:
        partial.write_text(page, encoding="utf-8")
    print(recipe, end="")
    print("\n".join(results.verdict()), file=sys.stderr)
    if not settings.finetune:
        print(shlex.join(words), file=sys.stderr)


def _finetune(settings: SearchCommand, values: Values) -> None:
    """Fit the best settings and score test, unless that was done."""
    from ..search.space import with_values
    from .finetune import FinetuneCommand
    from .finetune import run as finetune

    output = settings.output / "finetuned"
    finetune(
        FinetuneCommand(
            data=settings.data,
            model=settings.model,
            output=output,
            resume=settings.resume and output.exists(),
            finetuning=with_values(settings.finetuning, values),
            labels=settings.labels,
            splits=settings.splits,
        )
    )
