"""A line an epoch: what it says, and when."""

from __future__ import annotations

from types import SimpleNamespace

from dnazen.training.progress import EpochLines


def lines_of(capsys, metric, *logs, leads=True):
    watch = EpochLines(metric)
    for epoch, entry in enumerate(logs, 1):
        state = SimpleNamespace(is_world_process_zero=leads, epoch=float(epoch))
        watch.on_log(None, state, None, logs=entry)
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_losses_since_the_last_line_are_averaged(capsys):
    found = lines_of(
        capsys,
        "mcc",
        {"loss": 1.0},
        {"loss": 2.0},
        {"eval_loss": 0.5, "eval_mcc": 0.25, "eval_collapsed": 1.0},
        {"loss": 4.0},
        {"eval_loss": 0.25, "eval_mcc": 0.75, "eval_collapsed": 0.0},
        {"train_runtime": 3.0},
    )
    assert found == [
        "epoch 3: train loss 1.5000, dev loss 0.5000, dev mcc 0.2500, "
        "the deep head says the same of all",
        "epoch 5: train loss 4.0000, dev loss 0.2500, dev mcc 0.7500",
    ]


def test_without_a_score_the_loss_is_told(capsys):
    assert lines_of(capsys, None, {"eval_loss": 0.5}) == ["epoch 1: dev loss 0.5000"]


def test_a_process_that_does_not_lead_is_silent(capsys):
    assert lines_of(capsys, None, {"eval_loss": 0.5}, leads=False) == []
