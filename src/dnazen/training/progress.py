"""How a training goes: lines on stderr, a bar on a terminal, and events in a file of JSON lines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..records import finite


def duration(seconds: float) -> str:
    """A length of time, as exactly as one waits for it.

    Examples
    --------
    >>> [duration(seconds) for seconds in (9.4, 59.9, 720, 12_000, 200_000)]
    ['9 s', '1 min', '12 min', '3 h 20 min', '2 d 8 h']
    """
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24} d {hours % 24} h"


class _Steps(TrainerCallback):
    """The steps of a training as a bar, where stderr is a terminal; lines stand above it."""

    def __init__(self) -> None:
        self._bar = tqdm(disable=True)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Draw the bar."""
        self._bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            unit="step",
            disable=None if state.is_world_process_zero else True,
            leave=False,
            dynamic_ncols=True,
            file=sys.stderr,
        )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Move on."""
        self._bar.update(state.global_step - self._bar.n)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Take the bar away."""
        self._bar.close()

    def line(self, text: str) -> None:
        """Say something that stays."""
        tqdm.write(text, file=sys.stderr)


class StepLines(_Steps):
    """Of pre-training: a line each logging step, and one each time held-out tokens are scored.

    On a terminal the bar has the numbers of the last logging step, and no line is written for it.

    Parameters
    ----------
    tokens
        How many tokens this process was trained on so far, padding left out.
    clock
        Seconds, from any start.
    """

    def __init__(
        self, tokens: Callable[[], int], clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._tokens, self._clock = tokens, clock

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clocks."""
        super().on_train_begin(args, state, control)
        self._began, self._first_step = self._clock(), state.global_step
        self._since, self._before = self._began, self._tokens()
        self._step_ended = self._began

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Note when."""
        super().on_step_end(args, state, control)
        self._step_ended = self._clock()

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Leave the time for it out of the tokens per second."""
        now = self._clock()
        self._since += now - self._step_ended
        self._step_ended = now

    on_save = on_evaluate

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Say how training, or the held-out tokens, stand."""
        logs = logs or {}
        if not state.is_world_process_zero:
            return
        step = f"step {state.global_step:,}/{state.max_steps:,}"
        if "loss" in logs:
            numbers = f"loss {logs['loss']:.3f}  rate {logs['learning_rate']:.1e}"
            pace = f"{self._tokens_per_second(args.world_size):,.0f} tokens/s"
            if self._bar.disable:
                left = duration(self._seconds_left(state))
                self.line(f"{step}  {numbers}  {pace}  {left} left")
            else:  # which tells the rest itself
                self._bar.set_postfix_str(f"{numbers}  {pace}")
        elif "eval_loss" in logs:
            self.line(f"{step}  {heldout_words(logs)}")

    def _tokens_per_second(self, processes: int) -> float:
        """Since it was last asked; the other processes have as much to do."""
        now, tokens = self._clock(), self._tokens()
        pace: float = processes * (tokens - self._before) / max(now - self._since, 1e-9)
        self._since, self._before = now, tokens
        return pace

    def _seconds_left(self, state: TrainerState) -> float:
        """As the steps of this run took so far, evaluations and checkpoints with them."""
        done: int = max(1, state.global_step - self._first_step)
        seconds: float = (self._clock() - self._began) / done
        to_come: int = state.max_steps - state.global_step
        return seconds * to_come


def heldout_words(scores: dict[str, float]) -> str:
    """Scores on held-out tokens in a line."""
    return (
        f"held out: loss {scores['eval_loss']:.3f}  bits per base {scores['eval_bits_per_bp']:.3f}"
        f"  accuracy {scores['eval_accuracy']:.3f}"
    )


class EpochLines(_Steps):
    """Of fine-tuning: says after each epoch how training and dev stand."""

    def __init__(self, metric: str | None) -> None:
        super().__init__()
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
        self.line(f"epoch {state.epoch:g}: {', '.join(parts)}")
        self._losses.clear()


class JsonLines(TrainerCallback):
    """Appends an event a line to a file, for programs that watch a training.

    Every event has ``event`` (begin, log, evaluation, end), ``time`` (seconds since 1970), ``run``
    (the run's directory), ``step`` and ``steps``; log and evaluation have the numbers of
    ``history.json``, null where one is not finite. Several runs may write to one file.
    """

    def __init__(self, path: Path, run: Path) -> None:
        self.path, self.run = path, run

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write begin."""
        self._write("begin", state)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        """Write log, or evaluation."""
        logs = logs or {}
        self._write("evaluation" if "eval_loss" in logs else "log", state, **logs)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write end."""
        self._write("end", state)

    def _write(self, event: str, state: TrainerState, **numbers: float) -> None:
        if state.is_world_process_zero:
            place = {"run": str(self.run), "step": state.global_step, "steps": state.max_steps}
            line = json.dumps(finite({"event": event, "time": time.time(), **place, **numbers}))
            with self.path.open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")
