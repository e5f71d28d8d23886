"""Trials: settings that were tried, and what dev said of them. Kept in a file after each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from ..errors import InputError
from ..records import COUNT, read_json, write_json
from .space import Values

End = Literal["complete", "pruned", "collapsed", "diverged", "failed"]

MEANINGS = {
    "complete": "trained to its end",
    "pruned": "stopped, its scores being below the median of earlier trials",
    "collapsed": "its deep head predicted the same for every row of dev; what it scores is by "
    "k-mers",
    "diverged": "its weights, or its score, were no numbers",
    "failed": "ended by an error",
}
"""Of the ends of a trial."""


class Outcome(NamedTuple):
    """What came of some settings."""

    end: End
    score: float | None
    """Of the best epoch on dev; ``None`` where there is none."""
    best_epoch: float | None = None
    problem: str = ""
    """Why it failed."""


class Trial(NamedTuple):
    """Settings that were tried, and what came of it."""

    number: int
    """From 1."""
    values: Values
    outcome: Outcome
    epoch_scores: tuple[tuple[int, float], ...]
    """On dev after each epoch, where it is defined."""
    seconds: float

    @property
    def score(self) -> float | None:
        """What may win: the score of a training that came to its end."""
        return self.outcome.score if self.outcome.end == "complete" else None


def best_trial(trials: Sequence[Trial], *, higher_is_better: bool) -> Trial | None:
    """The best that came to its end, the first of equals; ``None`` where none did."""
    sign = 1 if higher_is_better else -1
    scored = [(sign * trial.score, trial) for trial in trials if trial.score is not None]
    return max(scored, key=lambda pair: pair[0])[1] if scored else None


_FORM = {
    "trials": [
        {
            "values": dict,
            "end": str,
            "score?": float,
            "best_epoch?": float,
            "problem": str,
            "epoch_scores": [{"epoch": COUNT, "score": float}],
            "seconds": float,
        }
    ]
}


def write_trials(path: Path, trials: Sequence[Trial]) -> None:
    """Write all trials; the file is whole whatever happens."""
    rows = [
        {
            "values": trial.values,
            **trial.outcome._asdict(),
            "epoch_scores": [{"epoch": e, "score": score} for e, score in trial.epoch_scores],
            "seconds": trial.seconds,
        }
        for trial in trials
    ]
    write_json(path, {"trials": rows})


def read_trials(path: Path) -> list[Trial]:
    """The trials of a file, none where there is none yet.

    Raises
    ------
    InputError
        If it is damaged.
    """
    if not path.exists():
        return []
    rows = read_json(path, "the trials of a search", _FORM)["trials"]
    for row in rows:
        if row["end"] not in get_args(End):
            raise InputError(f"no end of a trial: {row['end']!r}", path=path)
    return [
        Trial(
            number,
            row["values"],
            Outcome(row["end"], row.get("score"), row.get("best_epoch"), row["problem"]),
            tuple((each["epoch"], each["score"]) for each in row["epoch_scores"]),
            row["seconds"],
        )
        for number, row in enumerate(rows, 1)
    ]


def trial_rows(trials: Sequence[Trial], names: Sequence[str]) -> Iterator[list[str | float]]:
    """A line a trial, after a header; ``names`` are the settings that get a column."""
    yield ["trial", "end", "score", "best_epoch", "epochs_run", "seconds", *names, "problem"]
    for trial in trials:
        outcome = trial.outcome
        yield [
            str(trial.number),
            outcome.end,
            "NA" if outcome.score is None else f"{outcome.score:.6g}",
            "NA" if outcome.best_epoch is None else f"{outcome.best_epoch:g}",
            str(len(trial.epoch_scores)),
            f"{trial.seconds:.1f}",
            *(spelt(trial.values[name]) for name in names),
            outcome.problem,
        ]


def spelt(value: object) -> str:
    """A value of a setting in a table or a chart."""
    return f"{value:g}" if isinstance(value, float) else str(value)
