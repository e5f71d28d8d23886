"""Settings of a run as Hugging Face's, and whether a run starts, goes on or is refused."""

from __future__ import annotations

import math
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters
from transformers import Trainer

from dnazen import cli
from dnazen.errors import ConfigError
from dnazen.model.configuration import DnazenConfig
from dnazen.model.modeling import DnazenForMaskedLM
from dnazen.training.settings import OptimizerConfig, PretrainConfig, RunConfig
from dnazen.training.trainer import (
    choose_attention,
    compile_layers,
    tensorboard,
    training_arguments,
    use_bf16,
)
from model.test_modeling import Sequence, batch_of, labels_of, random_model

CPU = RunConfig(device="cpu", precision="float32")
FIXED = OptimizerConfig(learning_rate=5e-5, warmup_steps=0)


def trainer_of(tmp_path, optimizer=None, run=CPU, steps=10):
    torch.manual_seed(0)
    config = DnazenConfig.of_size("tiny", vocab_size=16, ggram_vocab_size=5, fusion="gated")
    arguments = training_arguments(tmp_path, optimizer or FIXED, run, max_steps=steps)
    trainer = Trainer(model=DnazenForMaskedLM(config), args=arguments)
    trainer.create_optimizer_and_scheduler(steps)
    return trainer


def learning_rates(trainer, steps):
    rates = []
    for _ in range(steps):
        rates.append(trainer.lr_scheduler.get_last_lr()[0])
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
    return rates


@pytest.mark.parametrize(
    ("schedule", "share"),
    [
        ("linear", lambda x: 1 - x),
        ("cosine", lambda x: (1 + math.cos(math.pi * x)) / 2),
        ("constant", lambda x: 1.0),
    ],
)
def test_the_learning_rate_rises_and_then_decays(tmp_path, schedule, share):
    optimizer = OptimizerConfig(learning_rate=0.4, warmup_steps=4, schedule=schedule)
    found = learning_rates(trainer_of(tmp_path, optimizer, steps=12), 12)
    expected = [0.1 * n for n in range(4)] + [0.4 * share((n - 4) / 8) for n in range(4, 12)]
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("warmup", "rising"), [(0.25, 3), (0.0, 0), (1, 1), (5, 5)])
def test_a_warm_up_below_1_is_a_share_of_all_steps(tmp_path, warmup, rising):
    optimizer = OptimizerConfig(learning_rate=0.6, warmup_steps=warmup, schedule="constant")
    found = learning_rates(trainer_of(tmp_path, optimizer, steps=12), 12)
    expected = [0.6 * n / rising for n in range(rising)] + [0.6] * (12 - rising)
    assert found == pytest.approx(expected, abs=1e-9)


def test_the_optimizer_is_adamw_as_set(tmp_path):
    settings = OptimizerConfig(
        learning_rate=0.1, weight_decay=0.2, adam_beta1=0.7, adam_beta2=0.8, adam_epsilon=1e-5
    )
    trainer = trainer_of(tmp_path, settings)
    assert isinstance(trainer.optimizer, torch.optim.AdamW)
    assert trainer.args.max_grad_norm == 1.0
    names = {id(p): n for n, p in trainer.model.named_parameters()}
    decayed = {}
    for group in trainer.optimizer.param_groups:
        assert group["betas"] == (0.7, 0.8)
        assert group["eps"] == 1e-5
        decayed |= {names[id(p)]: group["weight_decay"] for p in group["params"]}
    assert set(decayed) == set(names.values())
    for name, decay in decayed.items():
        spared = "bias" in name or "norm" in name
        assert decay == (0.0 if spared else 0.2), name


@pytest.mark.parametrize("wanted", [True, False])
def test_gradient_checkpointing_is_on_when_asked_for_and_without_a_warning(tmp_path, wanted):
    run = RunConfig(device="cpu", precision="float32", gradient_checkpointing=wanted)
    trainer = trainer_of(tmp_path, run=run)
    assert bool(trainer.args.gradient_checkpointing) is wanted


def test_precision_is_the_users_or_the_hardwares(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    for has_it in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has_it: has)
        assert use_bf16(RunConfig(device="cpu", precision="bf16"))
        assert not use_bf16(RunConfig(device="cpu", precision="float32"))
        assert use_bf16(RunConfig(device="cpu")) is has_it


@pytest.mark.parametrize(
    ("kind", "setting", "message"),
    [
        (
            OptimizerConfig,
            {"learning_rate": 0.0},
            "learning_rate must be > 0, at most 1000,",
        ),
        (
            OptimizerConfig,
            {"learning_rate": "fast"},
            "learning_rate must be a number or one of auto, got 'fast'",
        ),
        (PretrainConfig, {"optimizer": OptimizerConfig()}, "learning_rate auto is for fine-tuning"),
        (OptimizerConfig, {"warmup_steps": -1}, "warmup_steps must be at least 0, got -1"),
        (OptimizerConfig, {"weight_decay": -0.1}, "weight_decay must be at least 0, got -0.1"),
        (OptimizerConfig, {"adam_beta1": 1.0}, "adam_beta1 must lie in 0 <= beta < 1, got 1.0"),
        (OptimizerConfig, {"adam_beta2": -1.0}, "adam_beta2 must lie in 0 <= beta < 1, got -1.0"),
        (OptimizerConfig, {"adam_epsilon": -1.0}, "adam_epsilon must be at least 0, got -1.0"),
        (OptimizerConfig, {"max_grad_norm": -1.0}, "max_grad_norm must be at least 0, got -1.0"),
        (
            RunConfig,
            {"gradient_accumulation": 0},
            "gradient_accumulation must be at least 1,",
        ),
        (RunConfig, {"workers": -1}, "workers must be 0 to 4096, got -1"),
        (RunConfig, {"logging_steps": 0}, "logging_steps must be at least 1, got 0"),
        (RunConfig, {"seed": -1}, "seed must be 0 to 4294967295, got -1"),
        (RunConfig, {"seed": 2**32}, "seed must be 0 to 4294967295"),
    ],
)
def test_settings_out_of_range_are_refused(kind, setting, message):
    with pytest.raises(ConfigError, match=message):
        kind(**setting)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_flex_attention_is_for_gpus():
    model = DnazenForMaskedLM(DnazenConfig.of_size("tiny", vocab_size=16))
    with pytest.raises(ConfigError, match="flex_attention trains on GPUs only, and none is used"):
        choose_attention(model, RunConfig(attention="flex_attention"))
    choose_attention(model, RunConfig())
    assert model.config._attn_implementation == "sdpa"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiled_layers_compute_the_same_and_are_compiled_a_few_times_only():
    torch._dynamo.reset()
    counters.clear()
    compiled, plain = random_model().train(), random_model().train()
    compile_layers(compiled, RunConfig(compile=True), "aot_eager")
    rng = np.random.default_rng(0)
    shapes = set()
    for number in range(30):
        some = [
            Sequence(rng, int(rng.integers(6, 20)), int(rng.integers(0, 4)))
            for _ in range(int(rng.integers(2, 6)))
        ]
        batch, labels = batch_of(some), labels_of(some)
        shapes.add((*batch["input_ids"].shape, len(batch["ggram_ids"]), len(batch["cover_slot"])))
        losses = [model(**batch, labels=labels).loss for model in (compiled, plain)]
        torch.testing.assert_close(*losses)
        for loss in losses:
            loss.backward()
        for one, other in zip(compiled.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.grad, atol=1e-4, rtol=1e-4)
        for model in (compiled, plain):
            torch.optim.SGD(model.parameters(), lr=1e-3).step()
            model.zero_grad()
        if number == 0:
            assert counters["stats"]["unique_graphs"] >= 2  # it is compiled at all
    assert not counters["graph_break"]
    assert len(shapes) > 25
    # Lengths of 0 and 1 and full batches have graphs of their own; no other shape has.
    assert counters["stats"]["unique_graphs"] <= 12
    assert compiled.state_dict().keys() == plain.state_dict().keys()


def test_nothing_is_compiled_unasked():
    model = random_model()
    compile_layers(model, RunConfig())
    assert all(part._compiled_call_impl is None for part in model.modules())


def test_a_run_is_logged_for_tensorboard(tmp_path):
    callback = tensorboard(tmp_path)
    callback.tb_writer.add_scalar("loss", 1.0, 1)
    callback.tb_writer.close()
    assert list((tmp_path / "logs").glob("events.*"))


def test_sharding_that_cannot_be_is_refused_before_anything_is_made(ground, tmp_path, capsys):
    words = ["pretrain", "--corpus", str(ground.corpus), "-o", str(tmp_path / "out")]
    for more, message in (
        (["--run.fsdp", "full_shard"], "shards weights over processes, and there is one"),
        (["--run.deepspeed", str(tmp_path / "none.json")], "none.json: no such file"),
    ):
        assert cli.main([*words, *more]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


SHARDED = """
import sys
from datetime import timedelta

import torch
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from dnazen.model.configuration import DnazenConfig
from dnazen.model.modeling import DnazenForMaskedLM
from dnazen.training.trainer import whole_weights

distributed.init_process_group("gloo", timeout=timedelta(seconds=120))
torch.manual_seed(0)
config = DnazenConfig.of_size("tiny", vocab_size=64, ggram_vocab_size=11)
model = DnazenForMaskedLM(config)
before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
mesh = init_device_mesh("cpu", (2,))
for layer in model.dnazen.layers:
    fully_shard(layer, mesh=mesh)
fully_shard(model, mesh=mesh)
part = next(model.parameters())
assert 2 * part.to_local().numel() == part.numel()
weights = whole_weights(model)
if distributed.get_rank() == 0:
    assert set(weights) == set(before)
    assert all(torch.equal(weights[name], before[name]) for name in before)
    DnazenForMaskedLM(config).load_state_dict(weights)
else:
    assert not weights
distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_weights_that_two_processes_share_are_gathered_whole(tmp_path):
    script = tmp_path / "sharded.py"
    script.write_text(SHARDED)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(script)],
            env={**os.environ, **world, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
