"""Speed and memory of the model: a training step and embedding, against arms of the same run.

    python benchmarks/model.py -o model.json

Arms of training, on sequences of 128 tokens with 25 G-grams each:

``naive``   the method written down plainly: float32, padded to 512, dense boxes, dense AdamW
``bert``    transformers' BertForMaskedLM of E4BU's width and depth, bf16, fused AdamW, no padding
``e4bu``    this package without G-grams
``dnazen``  this package

``bert+``   BertForMaskedLM with half as much again in the feed-forward: the weights of E4BU's GEGLU

and of inference, embedding sequences of mixed length: ``naive`` and ``dnazen``; with ``--gue`` and
``--tokenizer`` the sequences are GUE's own.

Every arm is a process of its own, so peak memory is its own; arms take turns, and the best of their
turns counts. Beside the clock stand processor seconds, which other work on the machine disturbs
less. The matrix rate is measured in the same run and says how far an arm is from its floor.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import tyro
from torch import Tensor
from transformers import BertConfig, BertForMaskedLM

from dnazen import DnazenConfig, DnazenForMaskedLM, DnazenModel
from dnazen.model.settings import Size
from dnazen.outputs import new_file
from dnazen.records import plain
from dnazen.tokens.tokenizer import encode, load_tokenizer
from dnazen.training.settings import OptimizerConfig, RunConfig
from dnazen.training.trainer import rowwise_optimizer, use_bf16
from naive import WIDTH, NaiveForMaskedLM, NaiveModel, naive_batch

RELEASED_GGRAMS = 162_708
MASKED = 0.15
GUE_TOKENS = {"EMP": 100, "prom_300": 61, "splice": 81, "tf and mouse": 21, "prom_core": 15}
"""Mean tokens of GUE sequences under the released tokenizer, task group by task group."""


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Measure the model against a naive arm and BERT."""

    size: Size = "base"
    """Shape of E4BU and G-gram encoder."""
    layers: int | None = None
    """E4BU layers for a quick look, with half as many G-gram layers; by default the size's."""
    batch: int = 8
    """Sequences of 128 tokens per training step."""
    steps: int = 3
    """Training steps a turn, after one that does not count."""
    turns: int = 2
    """Times that each arm takes its turn."""
    ggrams: int = 25
    """Matched G-grams a sequence."""
    dropout: float = 0.1
    """Of hidden states, in this package's arms."""
    threads: int = 2
    """Threads of every arm."""
    gue: Path | None = None
    """GUE directory (TASK/.../test.csv); by default lengths are made up to be like its."""
    tokenizer: Path | None = None
    """Tokenizer directory for ``gue``."""
    arm: str | None = None
    """Measure one arm in this process and print JSON (what the command runs for each arm)."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """JSON file to write."""


TRAINING = ("naive", "bert", "bert+", "e4bu", "dnazen")
INFERENCE = ("naive-embed", "dnazen-embed-float32", "dnazen-embed")
FLOPS_PER_WEIGHT = 6  # in training: a multiply and an add, forward and twice backward


def shape(config: BenchmarkConfig, *, ggrams: bool) -> DnazenConfig:
    """The configuration, with the released number of G-grams or none."""
    rows = RELEASED_GGRAMS + 1 if ggrams else 0
    wide = DnazenConfig.of_size(
        config.size, ggram_vocab_size=rows, hidden_dropout_prob=config.dropout
    )
    if config.layers is not None:
        wide.num_hidden_layers, wide.num_hidden_ggram_layers = config.layers, config.layers // 2
    return wide


def made_up(lengths: list[int], ggrams: int, *, labels: bool, seed: int = 0) -> dict[str, Tensor]:
    """A collated batch of random tokens with ``ggrams`` matches a sequence of 128 tokens."""
    rng = np.random.default_rng(seed)
    width = max(lengths)
    here = np.arange(width) < np.array(lengths)[:, None]
    ids = np.where(here, rng.integers(5, 4096, here.shape), 3)
    slots = np.array([max(1, round(ggrams * n / 128)) for n in lengths])
    owner = np.repeat(np.arange(len(lengths)), slots)
    spans = rng.choice([2, 3, 4, 5], len(owner), p=[0.8, 0.14, 0.04, 0.02])
    first = rng.integers(1, np.array(lengths)[owner] - 6)
    slot = np.repeat(np.arange(len(owner)), spans)
    within = np.arange(len(slot)) - np.repeat(np.cumsum(spans) - spans, spans)
    batch = {
        "input_ids": ids,
        "attention_mask": here.astype(np.int64),
        "ggram_ids": rng.integers(1, RELEASED_GGRAMS + 1, len(owner)),
        "ggram_offsets": np.concatenate(([0], np.cumsum(slots))),
        "cover_token": (owner * width + first)[slot] + within,
        "cover_slot": slot,
    }
    if labels:
        batch["labels"] = np.where(here & (rng.random(here.shape) < MASKED), ids, -100)
    return {name: torch.from_numpy(values) for name, values in batch.items()}


class Time(NamedTuple):
    """The fastest of some calls."""

    seconds: float
    cpu_seconds: float
    """Of all threads together."""


def best_time(call: Callable[[], object], times: int, warm_up: int = 1) -> Time:
    """Time ``call``; clock and processor time each of the fastest of ``times``."""
    for _ in range(warm_up):
        call()
    elapsed, busy = [], []
    for _ in range(times):
        start, busy_before = time.perf_counter(), time.process_time()
        call()
        elapsed.append(time.perf_counter() - start)
        busy.append(time.process_time() - busy_before)
    return Time(min(elapsed), min(busy))


def matrix_rate(dtype: torch.dtype, config: BenchmarkConfig) -> float:
    """FLOP/s of the feed-forward's matrix product."""
    wide = shape(config, ggrams=False)
    x = torch.randn(128 * config.batch, wide.hidden_size).to(dtype)
    w = torch.randn(2 * wide.intermediate_size, wide.hidden_size).to(dtype)
    product = 2 * x.shape[0] * w.numel()
    return product / best_time(lambda: torch.nn.functional.linear(x, w), 10).seconds


def half() -> torch.autocast:
    """Bf16 where the hardware has it."""
    return torch.autocast("cpu", torch.bfloat16, enabled=use_bf16(RunConfig()))


def training_arm(config: BenchmarkConfig, arm: str) -> dict[str, float]:
    """Seconds a step and peak memory of one arm."""
    batch = made_up([128] * config.batch, config.ggrams, labels=True)
    torch.manual_seed(0)
    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[[], Tensor]
    if arm == "naive":
        model = NaiveForMaskedLM(shape(config, ggrams=True)).train()
        dense = naive_batch(batch)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
        loss = lambda: model(dense)  # noqa: E731
    elif arm.startswith("bert"):
        wide = shape(config, ggrams=False)
        model = BertForMaskedLM(
            BertConfig(
                vocab_size=wide.vocab_size,
                hidden_size=wide.hidden_size,
                num_hidden_layers=wide.num_hidden_layers,
                num_attention_heads=wide.num_attention_heads,
                intermediate_size=wide.intermediate_size * (3 if arm == "bert+" else 2) // 2,
            )
        ).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        tokens = {name: batch[name] for name in ("input_ids", "attention_mask", "labels")}

        def loss() -> Tensor:
            with half():
                return model(**tokens).loss
    else:
        model = DnazenForMaskedLM(shape(config, ggrams=arm == "dnazen")).train()
        settings = OptimizerConfig(learning_rate=1e-4, max_grad_norm=0.0)
        optimizer = rowwise_optimizer(model, settings, RunConfig()) or torch.optim.AdamW(
            model.parameters(), lr=1e-4, fused=True
        )

        def loss() -> Tensor:
            with half():
                return model(**batch).loss

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    taken = best_time(step, config.steps)._asdict()
    return {**taken, "weights": float(sum(p.numel() for p in model.parameters()))}


def mixed_lengths(config: BenchmarkConfig, count: int = 32) -> list[int]:
    """Tokens of sequences drawn from all test files of GUE alike, or made up to be like those."""
    rng = np.random.default_rng(1)
    if config.gue is None or config.tokenizer is None:
        means = rng.choice(list(GUE_TOKENS.values()), count)
        return [int(n) for n in np.clip(rng.normal(means, 0.08 * means), 8, WIDTH - 2)]
    files = sorted(config.gue.rglob("test.csv"))
    chosen = []
    for path in rng.choice(np.array(files), count):
        rows = path.read_text().splitlines()[1:]
        chosen.append(rows[rng.integers(len(rows))].split(",")[0])
    _, offsets = encode(load_tokenizer(config.tokenizer), chosen)
    return [int(n) + 2 for n in np.diff(offsets)]


def inference_arm(config: BenchmarkConfig, arm: str) -> dict[str, float]:
    """Seconds to embed sequences as long as those of GUE, by the mean over their tokens."""
    lengths = mixed_lengths(config)
    torch.manual_seed(0)
    wide = shape(config, ggrams=True)
    if arm == "naive-embed":
        naive = NaiveModel(wide).eval()
        boxes = [
            naive_batch(made_up(lengths[i : i + 8], config.ggrams, labels=False))
            for i in range(0, len(lengths), 8)
        ]

        def embed() -> None:
            for box in boxes:
                here = box.attention_mask[..., None]
                _ = (naive(box) * here).sum(1) / here.sum(1)
    else:
        model = DnazenModel(wide).eval()
        ordered = sorted(lengths)  # like lengths together
        batches = [
            made_up(ordered[i : i + 32], config.ggrams, labels=False)
            for i in range(0, len(ordered), 32)
        ]

        def embed() -> None:
            for batch in batches:
                states = model(**batch).last_hidden_state
                here = batch["attention_mask"][..., None]
                _ = (states * here).sum(1) / here.sum(1)

    arithmetic = half() if arm == "dnazen-embed" else torch.autocast("cpu", enabled=False)
    with torch.no_grad(), arithmetic:
        taken = best_time(embed, config.steps)._asdict()
    return {**taken, "sequences": len(lengths), "tokens": float(sum(lengths))}


def measured(config: BenchmarkConfig, arm: str) -> dict[str, float]:
    """One arm in this process."""
    torch.set_num_threads(config.threads)
    run = training_arm if arm in TRAINING else inference_arm
    result = run(config, arm)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {**result, "peak_gb": peak / (1e9 if sys.platform == "darwin" else 1e6)}


def in_own_process(config: BenchmarkConfig, arm: str) -> dict[str, float]:
    """One arm's turn in a fresh process."""
    flags = [
        f"--{field.name}={getattr(config, field.name)}"
        for field in dataclasses.fields(config)
        if field.name not in ("arm", "output", "turns") and getattr(config, field.name) is not None
    ]
    done = subprocess.run(
        [sys.executable, __file__, f"--arm={arm}", *flags],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": str(config.threads)},
    )
    turn: dict[str, float] = json.loads(done.stdout)
    return turn


def arithmetic(config: BenchmarkConfig) -> dict[str, float]:
    """Multiply-add weights a token passes through, by part of the model (docs/performance.md)."""
    wide = shape(config, ggrams=True)
    hidden, inner = wide.hidden_size, wide.intermediate_size
    head = hidden * (hidden + wide.vocab_size)
    return {
        "e4bu": wide.num_hidden_layers * hidden * (4 * hidden + 3 * inner),
        "ggram_encoder": wide.num_hidden_ggram_layers * hidden * (4 * hidden + 2 * inner),
        "bert": wide.num_hidden_layers * hidden * (4 * hidden + 2 * inner),
        "spared": hidden * (hidden + 3 * inner),
        "head": head,
    }


def floor_seconds(config: BenchmarkConfig, arm: str, rates: dict[str, float]) -> float:
    """Time of the arm's matrix products alone, attention's own left out, at the measured rate."""
    parts = arithmetic(config)
    tokens = 128 * config.batch
    slots = config.ggrams * config.batch
    # In the last layer, all but the queries, keys and values is of predicted positions alone.
    ours = tokens * (parts["e4bu"] - (1 - MASKED) * parts["spared"] + MASKED * parts["head"])
    work = {
        "naive": config.batch * WIDTH * (parts["e4bu"] + parts["head"])
        + slots * parts["ggram_encoder"],
        "bert": tokens * (parts["bert"] + parts["head"]),
        "bert+": tokens * (parts["e4bu"] + parts["head"]),
        "e4bu": ours,
        "dnazen": ours + slots * parts["ggram_encoder"],
    }[arm]
    in_bf16 = arm != "naive" and use_bf16(RunConfig())
    return FLOPS_PER_WEIGHT * work / rates["bf16" if in_bf16 else "float32"]


MEMORY = ("training memory, dnazen / naive", "G-grams' part of memory beyond the table")


def memory_ratios(config: BenchmarkConfig, best: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Peak memory beside the naive arm's, and what the G-grams add to E4BU's."""
    table_gb = (RELEASED_GGRAMS + 1) * shape(config, ggrams=True).hidden_size * 4 / 1e9
    peak = {arm: result["peak_gb"] for arm, result in best.items()}
    beyond = peak["dnazen"] - table_gb - peak["e4bu"]
    return {MEMORY[0]: peak["dnazen"] / peak["naive"], MEMORY[1]: beyond / peak["e4bu"]}


def time_ratios(taken: dict[str, float]) -> dict[str, float]:
    """How arms compare in one kind of seconds."""
    return {
        "training, naive / dnazen": taken["naive"] / taken["dnazen"],
        "training, bert / dnazen": taken["bert"] / taken["dnazen"],
        "training, bert+ / dnazen": taken["bert+"] / taken["dnazen"],
        "G-grams' part of a step, dnazen / e4bu - 1": taken["dnazen"] / taken["e4bu"] - 1,
        "embedding, naive / dnazen in float32": taken["naive-embed"]
        / taken["dnazen-embed-float32"],
        "embedding, naive / dnazen": taken["naive-embed"] / taken["dnazen-embed"],
    }


def benchmark(config: BenchmarkConfig) -> None:
    """Measure all arms in turn; print a table and write JSON."""
    torch.set_num_threads(config.threads)
    rates = {
        "float32": matrix_rate(torch.float32, config),
        "bf16": matrix_rate(torch.bfloat16, config),
    }
    turns: dict[str, list[dict[str, float]]] = {}
    for number in range(config.turns):
        for arm in (*TRAINING, *INFERENCE):
            print(f"turn {number + 1} of {config.turns}: {arm}", file=sys.stderr)
            turns.setdefault(arm, []).append(in_own_process(config, arm))
    counted = ("seconds", "cpu_seconds", "peak_gb")
    best = {
        arm: {**some[0], **{key: min(turn[key] for turn in some) for key in counted}}
        for arm, some in turns.items()
    }
    ratios = {
        **memory_ratios(config, best),
        "by the clock": time_ratios({arm: result["seconds"] for arm, result in best.items()}),
        "in processor time": time_ratios(
            {arm: result["cpu_seconds"] for arm, result in best.items()}
        ),
    }
    print(
        f"matrix rate: float32 {rates['float32'] / 1e9:.0f}, bf16 {rates['bf16'] / 1e9:.0f} GFLOP/s"
    )
    print(f"{'arm':<22}{'seconds':>9}{'floor':>9}{'CPU s':>9}{'peak GB':>9}")
    floors = {arm: floor_seconds(config, arm, rates) for arm in TRAINING}
    for arm, result in best.items():
        floor = f"{floors[arm]:.2f}" if arm in floors else ""
        print(
            f"{arm:<22}{result['seconds']:>9.2f}{floor:>9}{result['cpu_seconds']:>9.2f}"
            f"{result['peak_gb']:>9.2f}"
        )
    print(f"{'clock':>8}{'CPU':>8}")
    for name, value in ratios["by the clock"].items():
        print(f"{value:>8.2f}{ratios['in processor time'][name]:>8.2f}  {name}")
    for name in MEMORY:
        print(f"{ratios[name]:>8.2f}{'':>8}  {name}")
    if config.output is not None:
        record = {
            "machine": {"processor": platform.processor() or platform.machine()},
            "versions": {name: version(name) for name in ("dnazen", "torch", "transformers")},
            "settings": plain(dataclasses.replace(config, output=None)),
            "flop_per_s": rates,
            "weights_per_token": arithmetic(config),
            "floor_seconds": floors,
            "arms": best,
            "turns": turns,
            "ratios": ratios,
        }
        with new_file(config.output) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    settings = tyro.cli(BenchmarkConfig)
    if settings.arm is None:
        benchmark(settings)
    else:
        json.dump(measured(settings, settings.arm), sys.stdout)
