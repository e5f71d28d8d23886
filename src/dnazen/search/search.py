"""The search itself: settings are proposed by Optuna, tried one after the other, and kept.

Decided here: proposals are those of a tree-structured Parzen estimator (TPE; Bergstra and others
2011), the first ten at random; a trial is stopped by the median rule. Each proposal is asked of a
study that is made anew of the trials before it, with a seed of its own, so a search that was
interrupted goes on exactly as if it had not been.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ConfigError
from .space import Domain, Range, Space, Value, Values
from .trials import Outcome, Trial

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

Report = Callable[[int, float], bool]
"""Given the number of an epoch and its score on dev, whether the trial is to be stopped."""
Objective = Callable[[Values, Report], Outcome]
"""Tries settings."""

LEAST_COMPLETE = 5
"""Trials that came to their end before one is stopped."""
FIRST_JUDGED_EPOCH = 2
LEAST_FOR_IMPORTANCE = 8
_SCORED = ("complete", "pruned")
_DRAWS = 50
"""Proposals that were all tried before, after which a space counts as searched through."""


def require_optuna() -> None:
    """Raise ConfigError unless ``optuna`` is installed."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise ConfigError(
            "dnazen search needs optuna, which is not installed; run: pip install 'dnazen[optuna]'"
        ) from None


def search(
    space: Space,
    objective: Objective,
    done: Sequence[Trial],
    *,
    trials: int,
    seed: int,
    first: Values | None,
    higher_is_better: bool,
    prune: bool,
) -> Iterator[Trial]:
    """Try settings until there are so many trials, and yield each trial when it has ended.

    Settings that were tried before are not tried again; where nothing else is proposed the search
    is at its end.

    Parameters
    ----------
    done
        Trials of the same search, to go on from.
    seed
        The same seed, space and scores give the same trials.
    first
        What to try first; by default as proposed.
    """
    past = list(done)
    while len(past) < trials:
        asked = _proposal(space, past, seed, first if not past else None, higher_is_better, prune)
        if asked is None:
            return
        study_trial, values = asked
        epoch_scores: dict[int, float] = {}

        def report(
            epoch: int,
            score: float,
            scores: dict[int, float] = epoch_scores,
            judge: Any = study_trial,
        ) -> bool:
            if not math.isfinite(score):
                return False
            scores[epoch] = score
            judge.report(score, epoch)
            return prune and bool(judge.should_prune())

        start = time.monotonic()
        outcome = objective(values, report)
        seconds = round(time.monotonic() - start, 3)
        past.append(Trial(len(past) + 1, values, outcome, tuple(epoch_scores.items()), seconds))
        yield past[-1]


def importances(
    space: Space, trials: Sequence[Trial], *, higher_is_better: bool
) -> dict[str, float]:
    """The share of the differences between scores that goes with each setting, largest first.

    Optuna's functional analysis of variance (Hutter and others 2014) of the trials that came to
    their end; empty where these are fewer than ``LEAST_FOR_IMPORTANCE``, or all alike.
    """
    from optuna.importance import FanovaImportanceEvaluator, get_param_importances

    complete = [trial for trial in trials if trial.score is not None]
    if len(complete) < LEAST_FOR_IMPORTANCE or len({trial.score for trial in complete}) < 2:
        return {}
    study = _study(space, complete, higher_is_better)
    shares = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    return {name: float(share) for name, share in shares.items()}


def _proposal(
    space: Space,
    past: Sequence[Trial],
    seed: int,
    first: Values | None,
    higher_is_better: bool,
    prune: bool,
) -> tuple[Any, Values] | None:
    """Optuna's next trial and its settings, none of which were tried; ``None`` if all were."""
    from optuna.samplers import TPESampler

    tried = [trial.values for trial in past]
    for draw in range(_DRAWS):
        study = _study(space, past, higher_is_better)
        own = np.random.SeedSequence([seed, len(past), draw]).generate_state(1)
        study.sampler = TPESampler(seed=int(own[0]))
        if first is not None:
            study.enqueue_trial(dict(first))
        asked = study.ask(_distributions(space))
        values = {name: _rounded(asked.params[name], domain) for name, domain in space.items()}
        if values not in tried:
            return asked, values
    return None


def _study(space: Space, trials: Sequence[Trial], higher_is_better: bool) -> Study:
    """Optuna's view of trials.

    One that collapsed or diverged is to it one that was stopped before its first score, the worst
    there is; one that failed says nothing.
    """
    import optuna
    from optuna.trial import TrialState, create_trial

    optuna.logging.set_verbosity(optuna.logging.WARNING)  # a study is made for each proposal
    study = optuna.create_study(
        direction="maximize" if higher_is_better else "minimize",
        pruner=optuna.pruners.MedianPruner(
            n_startup_trials=LEAST_COMPLETE, n_warmup_steps=FIRST_JUDGED_EPOCH
        ),
    )
    for trial in trials:
        end = trial.outcome.end
        states = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL}
        study.add_trial(
            create_trial(
                state=states.get(end, TrialState.PRUNED),
                value=trial.score,
                params=dict(trial.values),
                distributions=_distributions(space),
                intermediate_values=dict(trial.epoch_scores) if end in _SCORED else {},
            )
        )
    return study


def _distributions(space: Space) -> dict[str, BaseDistribution]:
    return {name: _distribution(domain) for name, domain in space.items()}


def _distribution(domain: Domain) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if not isinstance(domain, Range):
        return CategoricalDistribution(domain)
    if isinstance(domain.low, int) and isinstance(domain.high, int):
        return IntDistribution(domain.low, domain.high, log=domain.log)
    return FloatDistribution(domain.low, domain.high, log=domain.log)


def _rounded(value: Value, domain: Domain) -> Value:
    """A number of a range to three digits, which a recipe shows well."""
    if not isinstance(domain, Range) or not isinstance(value, float):
        return value
    return min(domain.high, max(domain.low, float(f"{value:.3g}")))
