"""When a training is given up: by histories of evaluations written by hand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from transformers import TrainerControl

from dnazen.training.collapse import StopWhenCollapsed, never_told_apart


def watched(history, epochs, *, may_stop=True):
    """The log after evaluations at the ends of epochs, and the epochs in which it said stop."""
    watch, stopped = StopWhenCollapsed(may_stop=may_stop), []
    log = []
    for epoch, collapsed in enumerate(history, 1):
        log += [{"loss": 1.0}, {"eval_collapsed": float(collapsed)}]
        control = TrainerControl()
        state = SimpleNamespace(log_history=log, epoch=float(epoch))
        watch.on_evaluate(SimpleNamespace(num_train_epochs=epochs), state, control, {})
        if control.should_training_stop:
            stopped.append(epoch)
    return log, stopped


@pytest.mark.parametrize(
    ("history", "epochs", "stopped"),
    [
        ([1, 1, 1, 1], 10, [3, 4]),  # not before three tenths of the epochs ...
        ([1, 1, 1], 3, [2, 3]),  # ... nor by one evaluation
        ([1, 0, 1, 1], 10, []),  # it has once told rows apart
        ([0, 1, 1, 1], 10, []),
    ],
)
def test_a_training_that_never_told_rows_apart_is_stopped(history, epochs, stopped):
    log, found = watched(history, epochs)
    assert found == stopped
    assert never_told_apart(log) == all(history)


def test_at_a_rate_of_the_user_s_it_is_noted_and_not_stopped():
    log, stopped = watched([1, 1, 1, 1], 4, may_stop=False)
    assert never_told_apart(log)
    assert stopped == []
