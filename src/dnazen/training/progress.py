"""A line an epoch on stderr, in place of the Trainer's dictionaries."""

from __future__ import annotations

import sys
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments


class EpochLines(TrainerCallback):
    """Says after each epoch how training and dev stand."""

    def __init__(self, metric: str | None) -> None:
        self.metric = metric
        self._losses: list[float] = []

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Gather losses; speak when dev was scored."""
        logs = logs or {}
        if "loss" in logs:
            self._losses.append(logs["loss"])
        if "eval_loss" not in logs or not state.is_world_process_zero:
            return
        parts = [f"dev loss {logs['eval_loss']:.4f}"]
        if self._losses:
            parts.insert(0, f"train loss {sum(self._losses) / len(self._losses):.4f}")
        if self.metric is not None:
            parts.append(f"dev {self.metric} {logs[f'eval_{self.metric}']:.4f}")
        if logs.get("eval_collapsed"):
            parts.append("the deep head says the same of all")
        print(f"epoch {state.epoch:g}: {', '.join(parts)}", file=sys.stderr)
        self._losses.clear()
