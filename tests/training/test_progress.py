"""How a training goes: what the lines say and when, in a pipe and as JSON."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

from dnazen.cli import main
from dnazen.training.progress import EpochLines, JsonLines, StepLines


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


class Training:
    """Ten steps of 2 s and 1,000 tokens, evaluated and saved in 60 s after the fifth."""

    def __init__(self, watch_of, first_step=0, processes=1):
        self.seconds, self.tokens = 100.0, 7
        self.watch = watch_of(self)
        self.state = SimpleNamespace(
            is_world_process_zero=True, global_step=first_step, max_steps=10
        )
        self.args = SimpleNamespace(world_size=processes)

    def tell(self, event, **more):
        getattr(self.watch, f"on_{event}")(self.args, self.state, None, **more)

    def run(self):
        self.tell("train_begin")
        while self.state.global_step < self.state.max_steps:
            self.seconds += 2
            self.tokens += 1000
            self.state.global_step += 1
            self.tell("step_end")
            if self.state.global_step % 4 == 0:
                self.tell("log", logs={"loss": 1.23456, "learning_rate": 9.8e-4})
            if self.state.global_step == 5:
                self.seconds += 50
                scores = {"eval_loss": 2.5, "eval_bits_per_bp": 1.9, "eval_accuracy": 0.0625}
                self.tell("log", logs=scores)
                self.tell("evaluate")
                self.seconds += 10
                self.tell("save")
        self.tell("log", logs={"train_runtime": 80.0})
        self.tell("train_end")


def step_lines(training):
    return StepLines(lambda: training.tokens, lambda: training.seconds)


def test_a_line_each_logging_step_and_evaluation(capsys):
    Training(step_lines).run()
    # Step 4 after 8 s, 6 steps to come: 12 s. Step 8 after 76 s, 2 to come: 19 s.
    assert capsys.readouterr().err.splitlines() == [
        "step 4/10  loss 1.235  rate 9.8e-04  500 tokens/s  12 s left",
        "step 5/10  held out: loss 2.500  bits per base 1.900  accuracy 0.062",
        "step 8/10  loss 1.235  rate 9.8e-04  500 tokens/s  19 s left",
    ]


def test_a_run_that_goes_on_is_timed_from_there(capsys):
    Training(step_lines, first_step=6, processes=2).run()
    # Step 8 is the second: 2 x 2 s to come. The two steps had 2 x 2,000 tokens in 4 s.
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "step 8/10  loss 1.235  rate 9.8e-04  1,000 tokens/s  4 s left"


def test_events_are_appended_as_json(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"event": "before"}\n')
    training = Training(lambda _: JsonLines(path, tmp_path / "out"))
    training.tell("train_begin")
    training.state.global_step = 4
    training.tell("log", logs={"loss": float("nan"), "learning_rate": 0.5})
    training.tell("log", logs={"eval_loss": 2.0})
    training.tell("train_end")
    training.state.is_world_process_zero = False
    training.tell("train_end")
    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert [event.pop("event") for event in events] == [
        "before",
        "begin",
        "log",
        "evaluation",
        "end",
    ]
    assert all(isinstance(event.pop("time"), float) for event in events[1:])
    place = {"run": str(tmp_path / "out"), "steps": 10}
    assert events[1:] == [
        {**place, "step": 0},
        {**place, "step": 4, "loss": None, "learning_rate": 0.5},
        {**place, "step": 4, "eval_loss": 2.0},
        {**place, "step": 4},
    ]


PRETRAIN = (
    "--max-steps 4 --tokens-per-batch 400 --max-tokens 64 --heldout-fraction 0.1 --eval-steps 4 "
    "--model.size tiny --run.device cpu --run.precision float32 --run.logging-steps 2"
)


def pretrain_in_a_pipe(ground, output, *more):
    words = ["--corpus", str(ground.corpus), "-o", str(output), *PRETRAIN.split(), *more]
    return subprocess.run(
        [sys.executable, "-m", "dnazen", "pretrain", *words],
        capture_output=True,
        text=True,
        check=True,
    )


def test_pre_training_in_a_pipe(ground, tmp_path):
    done = pretrain_in_a_pipe(ground, tmp_path / "out dir")
    first, *lines = done.stderr.splitlines()
    assert first.startswith("pre-training on ")
    number, time = r"\d+\.\d{3}", r"\d+ s left"
    forms = [
        rf"step 2/4  loss {number}  rate \d\.\de-\d\d  [\d,]+ tokens/s  {time}",
        rf"step 4/4  loss {number}  rate \d\.\de-\d\d  [\d,]+ tokens/s  {time}",
        rf"step 4/4  held out: loss {number}  bits per base {number}  accuracy {number}",
        r"warning: this model guesses hidden bases no better than a count .*",
        rf"{re.escape(str(tmp_path / 'out dir'))}: a model of 0\.\d million parameters, 4 steps .*",
        rf"held out: {number} bits per base of the hidden tokens .*",
        rf"next: dnazen finetune --data DATA --model '{re.escape(str(tmp_path / 'out dir'))}' .*",
    ]
    assert len(lines) == len(forms)
    for form, line in zip(forms, lines, strict=True):
        assert re.fullmatch(form, line)
    assert "\x1b" not in done.stderr


def test_quiet_leaves_the_result(ground, tmp_path):
    done = pretrain_in_a_pipe(ground, tmp_path / "out", "--quiet")
    assert done.stderr == ""
    assert "eval_loss\t" in done.stdout


def test_quiet_leaves_errors(ground, tmp_path, capsys):
    assert main(["pretrain", "--quiet", "--corpus", str(tmp_path), "-o", str(tmp_path / "o")]) == 2
    assert capsys.readouterr().err.startswith("dnazen: error: ")


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_a_log_that_cannot_be_written_is_refused(tmp_path, capsys, command):
    own = {"pretrain": ["--corpus", "c"], "finetune": ["--data", "d", "--model", "m"]}[command]
    log = ["--run.log-json", str(tmp_path / "no" / "log.jsonl")]
    assert main([command, *own, "-o", str(tmp_path / "o"), *log]) == 2
    assert "log.jsonl: No such file or directory; expected" in capsys.readouterr().err
    assert not (tmp_path / "o").exists()
