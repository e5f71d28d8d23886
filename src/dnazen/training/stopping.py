"""Ctrl-C and SIGTERM in training: the step is finished and a checkpoint written, then it stops."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..errors import Terminated


class StopRequest:
    """Whether this process was asked to stop, and what to raise then."""

    reason: KeyboardInterrupt | None = None

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; a second one stops at once."""
        if self.reason is not None:
            raise self.reason
        self.reason = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        # Not by print, which may be at work itself when a signal comes.
        os.write(2, b"\ndnazen: stopping after this step, once a checkpoint is written\n")


@contextmanager
def stop_requested() -> Iterator[StopRequest]:
    """Turn SIGINT and SIGTERM into a request for the length of a block.

    Signals are left alone outside the main thread, where they are ignored, and in distributed runs,
    whose processes would have to agree on the step.
    """
    request = StopRequest()
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    before = {}
    if alone and threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, request.ask)
    try:
        yield request
        if request.reason is not None:  # it came with the last step
            raise request.reason
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StopAtCheckpoint(TrainerCallback):
    """Writes a checkpoint when a stop is asked for, and stops by raising its reason.

    Raised, not left to ``control.should_training_stop``: at a normal end of training the Trainer
    takes the best model and removes the newest checkpoint.
    """

    def __init__(self, request: StopRequest) -> None:
        self.request = request

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Find the best checkpoint again, should the run's directory have moved."""
        if state.best_model_checkpoint is not None:
            name = Path(state.best_model_checkpoint).name
            state.best_model_checkpoint = str(Path(args.output_dir) / name)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Ask for a checkpoint if a stop was asked for."""
        if self.request.reason is not None:
            control.should_save = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Stop, now that the checkpoint is there."""
        if self.request.reason is not None:
            raise self.request.reason
