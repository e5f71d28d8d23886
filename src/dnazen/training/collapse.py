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
        self.collapsed = False
        """Whether it is, by the newest checkpoint's evaluations: none told rows apart."""

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float],
        **_: Any,
    ) -> None:
        """Look at the scores of dev; those before a resumption stand in the history."""
        seen = [entry for entry in state.log_history if "eval_collapsed" in entry]
        self.collapsed = all(entry["eval_collapsed"] for entry in seen)
        late = (state.epoch or 0) >= _SHARE * args.num_train_epochs
        if self.may_stop and self.collapsed and late and len(seen) >= _LEAST_EVALUATIONS:
            control.should_training_stop = True
