"""Whether a run starts, goes on, from which checkpoint, or is refused; alone and the same."""

from __future__ import annotations

import json
import os
import shutil
from contextlib import nullcontext

import pytest
import torch
from safetensors.torch import save_file

from dnazen.errors import ConfigError, OutputError
from dnazen.runs import claimed
from dnazen.training.checkpoints import (
    CHECKPOINTS,
    training_directory,
    training_identity,
    was_only_left_uncleaned,
    write_training_record,
)
from dnazen.training.settings import FinetuneConfig, OptimizerConfig, PretrainConfig, RunConfig


def write_checkpoint(run, step, best=None):
    folder = run / CHECKPOINTS / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    save_file({"weight": torch.zeros(100)}, folder / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"step": step}, folder / name)
    state = {"global_step": step}
    if best is not None:
        state["best_model_checkpoint"] = f"/elsewhere/{CHECKPOINTS}/checkpoint-{best}"
    (folder / "trainer_state.json").write_text(json.dumps(state))
    return folder


def checkpoint_of(run):
    with training_directory(run, resume=True) as checkpoint:
        return checkpoint


def test_a_fresh_start_needs_a_place_of_its_own(tmp_path):
    with training_directory(tmp_path / "new", resume=False) as checkpoint:
        assert checkpoint is None
        assert (tmp_path / "new").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    (tmp_path / "new" / "anything").write_text("")
    with (
        pytest.raises(OutputError, match="not empty"),
        training_directory(tmp_path / "new", resume=False),
    ):
        pass


def test_two_runs_do_not_share_a_directory(tmp_path):
    with training_directory(tmp_path / "run", resume=False):
        for resume in (False, True):
            with (
                pytest.raises(OutputError, match="another run is at work here"),
                training_directory(tmp_path / "run", resume=resume),
            ):
                pass
        with pytest.raises(OutputError, match="at work"), claimed(tmp_path / "run"):
            pass


def test_a_run_goes_on_from_its_newest_checkpoint(tmp_path, capsys):
    run = tmp_path / "run"
    assert checkpoint_of(run) is None
    assert "has no checkpoint yet: starting anew" in capsys.readouterr().err
    for step in (9, 10, 8):
        write_checkpoint(run, step)
    assert checkpoint_of(run) == run / CHECKPOINTS / "checkpoint-10"
    assert capsys.readouterr().err == ""
    (run / "model.safetensors").write_text("")
    with pytest.raises(OutputError, match="this run is complete; name another output"):
        checkpoint_of(run)


FILES = ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["absent", "empty", "half", "zeros", "a folder"])
def test_a_checkpoint_that_is_not_whole_is_passed_over(tmp_path, capsys, name, damage):
    run = tmp_path / "run"
    whole, broken = write_checkpoint(run, 5), write_checkpoint(run, 10)
    file = broken / name
    content = file.read_bytes()
    file.unlink()
    if damage == "a folder":
        file.mkdir()
    elif damage != "absent":
        half = content[: len(content) // 2]
        file.write_bytes({"empty": b"", "half": half, "zeros": bytes(len(content))}[damage])
    assert checkpoint_of(run) == whole
    assert "checkpoint-10 is not whole: going on from checkpoint-5" in capsys.readouterr().err
    assert not broken.exists()  # or the next one to be written would be taken for an older


def test_without_a_whole_checkpoint_a_run_starts_anew(tmp_path, capsys):
    run = tmp_path / "run"
    for step in (5, 10):
        (write_checkpoint(run, step) / "trainer_state.json").write_text("[]")
    assert checkpoint_of(run) is None
    assert "checkpoint-10, checkpoint-5 is not whole: starting anew" in capsys.readouterr().err


def test_the_best_checkpoint_must_be_whole_too(tmp_path):
    run = tmp_path / "run"
    first, second, third = (
        write_checkpoint(run, step, best) for step, best in ((1, 1), (2, 1), (3, 2))
    )
    assert checkpoint_of(run) == third
    (second / "model.safetensors").unlink()
    assert checkpoint_of(run) == first


def test_adapters_and_sharded_weights_have_files_of_their_own(tmp_path):
    run = tmp_path / "run"
    folder = write_checkpoint(run, 1)
    os.replace(folder / "model.safetensors", folder / "adapter_model.safetensors")
    assert checkpoint_of(run) == folder
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "trainer_state.json").write_text('{"global_step": 1}')
    with training_directory(run, resume=True, sharded=True) as checkpoint:
        assert checkpoint == folder


def test_a_run_that_was_killed_while_it_cleaned_up_is_complete(tmp_path, capsys):
    run = tmp_path / "run"
    write_checkpoint(run, 1)
    assert not was_only_left_uncleaned(run)
    (run / "model.safetensors").write_text("")
    assert was_only_left_uncleaned(run)
    assert "this run was complete" in capsys.readouterr().err
    assert [path.name for path in run.iterdir()] == ["model.safetensors"]
    assert not was_only_left_uncleaned(run)


def test_a_process_that_does_not_lead_claims_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with claimed(tmp_path / "run"), training_directory(tmp_path / "run", resume=False) as start:
        assert start is None


# -- the same run


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"epochs": 4}, "epochs"),
        ({"batch_size": 8}, "batch_size"),
        ({"run": RunConfig(seed=7)}, "run.seed"),
        ({"run": RunConfig(gradient_accumulation=2)}, "run.gradient_accumulation"),
        ({"optimizer": OptimizerConfig(weight_decay=0.3)}, "optimizer.weight_decay"),
        ({"run": RunConfig(workers=2, logging_steps=1, device="cpu", compile=True)}, None),
    ],
)
def test_a_run_goes_on_with_the_settings_that_it_began_with(tmp_path, change, name):
    begun = training_identity(FinetuneConfig(), data=["a"], model="m")
    write_training_record(tmp_path, {"command": "finetune"}, begun, None)
    now = training_identity(FinetuneConfig(**change), data=["a"], model="m")
    refusal = (
        nullcontext()
        if name is None
        else pytest.raises(ConfigError, match=f"was begun with another {name}: ")
    )
    with refusal:
        write_training_record(tmp_path, {}, now, tmp_path / "checkpoint-1")


def test_a_run_goes_on_with_what_it_was_begun_on(tmp_path):
    config = PretrainConfig()
    write_training_record(tmp_path, {}, training_identity(config, corpus="a"), None)
    checkpoint = tmp_path / "checkpoint-1"
    for inputs in ({"corpus": "b"}, {"corpus": "a", "ggrams": "g"}, {}):
        with pytest.raises(ConfigError, match="was begun with another"):
            write_training_record(tmp_path, {}, training_identity(config, **inputs), checkpoint)
    often = PretrainConfig(eval_steps=7, save_steps=9)
    write_training_record(tmp_path, {}, training_identity(often, corpus="a"), checkpoint)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["resumed_from"] == "checkpoint-1"
    (tmp_path / "run.json").write_text("{}")  # of an earlier version
    with pytest.raises(ConfigError, match="was begun with another"):
        write_training_record(tmp_path, {}, training_identity(config, corpus="a"), checkpoint)
