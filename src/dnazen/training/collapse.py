"""A collapse, the deep head predicting the same for everything, seen while there is time."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

_SHARE = 0.3
"""Of the epochs; a model that has said but one thing by then is given up."""
_LEAST_EVALUATIONS = 2


class StopWhenCollapsed(TrainerCallback):
    """Notes whether the deep head has ever told rows of dev apart, and stops if it never does."""

    def __init__(self, *, may_stop: bool) -> None:
        self.may_stop = may_stop

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        **_: Any,
    ) -> None:
        """Look at the scores of dev; those before a resumption stand in the history."""
        late = (state.epoch or 0) >= _SHARE * args.num_train_epochs
        seen = len(_evaluations(state.log_history)) >= _LEAST_EVALUATIONS
        if self.may_stop and late and seen and never_told_apart(state.log_history):
            control.should_training_stop = True


def never_told_apart(history: list[dict[str, Any]]) -> bool:
    """Whether no evaluation of a training found that the deep head tells rows of dev apart."""
    return all(entry["eval_collapsed"] for entry in _evaluations(history))


def _evaluations(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for entry in history if "eval_collapsed" in entry]
