"""Check the model on a GPU, then time it: SDPA over boxes beside FlexAttention over packed rows.

    python benchmarks/gpu.py -o gpu.json

One go: both attentions must agree on a small model in float32 (outputs and gradients, between
sequences of many lengths), then pre-training steps are timed in bf16 with each, on batches of mixed
length as the token budget makes them. Said are tokens a second, peak memory, the share of the
measured bf16 matrix rate that the steps' products reach, and the share of a step that waits for a
loader which masks and matches in processes of its own.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from dnazen import DnazenConfig, DnazenForMaskedLM
from dnazen.ggrams.matching import Matcher
from dnazen.ggrams.settings import MaskingConfig
from dnazen.ggrams.vocabulary import GGramVocabulary
from dnazen.model.batches import Collator, Example
from dnazen.model.settings import Size
from dnazen.outputs import new_file
from dnazen.training.settings import OptimizerConfig, RunConfig
from dnazen.training.trainer import rowwise_optimizer

VOCAB = 4096
ATTENTION = ("sdpa", "flex_attention")


@dataclass(frozen=True, kw_only=True)
class GpuConfig:
    """Check and time the model on a GPU."""

    sizes: tuple[Size, ...] = ("base", "large")
    """Shapes to time."""
    tokens: int = 32_768
    """Tokens a batch, about."""
    longest: int = 256
    """Longest sequence, in tokens; the shortest is a quarter of it."""
    ggrams: int = 160_000
    """Size of the made-up G-gram vocabulary, of pairs."""
    steps: int = 20
    """Timed steps, after five that are not."""
    workers: int = 8
    """Processes of the loader."""
    device: str = "cuda"
    """cpu tries the script itself out; FlexAttention is then left alone."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """JSON file to write."""


def vocabulary(size: int) -> GGramVocabulary:
    """Pairs of neighbouring token ids: as many of random neighbours as mining finds."""
    pairs = np.arange(size)
    first, second = 5 + pairs // (VOCAB - 5), 5 + pairs % (VOCAB - 5)
    return GGramVocabulary(
        tokens=np.stack([first, second], 1).ravel().astype(np.uint16),
        offsets=np.arange(size + 1, dtype=np.int64) * 2,
        counts=np.full(size, 9, dtype=np.int64),
        pmi=np.ones(size, dtype=np.float32),
        vocab_size=VOCAB,
        tokenizer_sha256="0" * 64,
    )


class Batches(Dataset[list[Example]]):
    """Made-up batches of like length within the token budget; tokens low, so that pairs match."""

    def __init__(self, config: GpuConfig, count: int) -> None:
        self.config = config
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> list[Example]:
        if number >= self.count:
            raise IndexError(number)
        rng = np.random.default_rng(number)
        longest = int(rng.integers(self.config.longest // 4, self.config.longest + 1))
        lengths = rng.integers(longest * 9 // 10, longest + 1, self.config.tokens // longest)
        firsts = 5 + self.config.ggrams // (VOCAB - 5)
        examples = []
        for key, length in enumerate(lengths):
            tokens = rng.integers(5, VOCAB, length - 2)
            common = rng.random(length - 2) < 0.2  # a fifth of the tokens begin a G-gram
            tokens[common] = rng.integers(5, firsts, int(common.sum()))
            examples.append(Example(tokens.astype(np.uint16), number * 100_000 + key))
        return examples


def synchronise(device: str) -> None:
    """Wait for the GPU."""
    if device == "cuda":
        torch.cuda.synchronize()


def check(config: GpuConfig, collator: Collator) -> dict[str, float]:
    """Largest relative differences of FlexAttention from SDPA in float32."""
    found: dict[str, list[Tensor]] = {}
    examples = Batches(config, 1)[0]
    some = [
        example._replace(tokens=example.tokens[: 5 + 13 * n])
        for n, example in enumerate(examples[:16])
    ]
    batch = {name: x.to(config.device) for name, x in collator(some).items()}
    for attention in ATTENTION:
        torch.manual_seed(0)
        model = DnazenForMaskedLM(
            DnazenConfig.of_size(
                "small", ggram_vocab_size=config.ggrams + 1, hidden_dropout_prob=0.0
            )
        ).to(config.device)
        model.set_attn_implementation(attention)
        loss = model(**batch).loss
        loss.backward()
        found[attention] = [loss.detach(), *(p.grad for p in model.parameters())]
    apart = [
        float((one - other).norm() / other.norm().clamp(min=1e-12))
        for one, other in zip(found["flex_attention"], found["sdpa"], strict=True)
    ]
    result = {"loss": apart[0], "gradients": max(apart[1:])}
    if max(result.values()) > 1e-3:
        raise SystemExit(f"FlexAttention and SDPA do not agree: {result}")
    return result


def matrix_rate(config: GpuConfig) -> float:
    """FLOP/s of a large bf16 product, the best of some."""
    side = 8192 if config.device == "cuda" else 1024
    a, b = torch.randn(2, side, side, device=config.device, dtype=torch.bfloat16)
    best = 0.0
    for _ in range(10):
        synchronise(config.device)
        start = time.perf_counter()
        a @ b
        synchronise(config.device)
        best = max(best, 2 * side**3 / (time.perf_counter() - start))
    return best


def flops(shape: DnazenConfig, batch: dict[str, Tensor]) -> float:
    """Of a step's matrix products: 6 a weight and row, and those of attention itself."""
    hidden, inner = shape.hidden_size, shape.intermediate_size
    rows = batch["attention_mask"].sum(1).double()
    slots = batch["ggram_offsets"].diff().double()
    predicted = float((batch["labels"] != -100).sum())
    layer, ggram_layer = hidden * (4 * hidden + 3 * inner), hidden * (4 * hidden + 2 * inner)
    weights = float(rows.sum()) * shape.num_hidden_layers * layer
    weights -= (float(rows.sum()) - predicted) * hidden * (hidden + 3 * inner)  # the last layer
    weights += float(slots.sum()) * shape.num_hidden_ggram_layers * ggram_layer
    weights += predicted * hidden * (hidden + shape.vocab_size)
    pairs = shape.num_hidden_layers * float((rows**2).sum())
    pairs += shape.num_hidden_ggram_layers * float((slots**2).sum())
    return 6 * weights + 12 * hidden * pairs


def loader(config: GpuConfig, collator: Collator) -> Iterator[dict[str, Tensor]]:
    """Batches without end from processes of their own."""
    batches: Iterator[dict[str, Tensor]] = iter(
        DataLoader(
            Batches(config, config.steps + 5),
            batch_size=None,
            collate_fn=collator,
            num_workers=config.workers,
            pin_memory=config.device == "cuda",
        )
    )
    return batches


def arm(config: GpuConfig, size: Size, attention: str, collator: Collator) -> dict[str, Any]:
    """Time steps of one size with one attention."""
    torch.manual_seed(0)
    shape = DnazenConfig.of_size(size, ggram_vocab_size=config.ggrams + 1)
    model = DnazenForMaskedLM(shape).to(config.device).train()
    model.set_attn_implementation(attention)
    optimizer = rowwise_optimizer(model, OptimizerConfig(learning_rate=1e-4), RunConfig())
    assert optimizer is not None
    if config.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    taken = waited = work = tokens = 0.0
    batches = loader(config, collator)
    for number in range(config.steps + 5):
        synchronise(config.device)
        start = time.perf_counter()
        raw = next(batches)
        batch = {name: x.to(config.device, non_blocking=True) for name, x in raw.items()}
        arrived = time.perf_counter()
        with torch.autocast(config.device, torch.bfloat16):
            loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        synchronise(config.device)
        if number >= 5:
            taken += time.perf_counter() - start
            waited += arrived - start
            work += flops(shape, raw)
            tokens += float(raw["attention_mask"].sum())
    peak = torch.cuda.max_memory_allocated() / 1e9 if config.device == "cuda" else float("nan")
    return {
        "tokens_per_s": tokens / taken,
        "flop_per_s": work / taken,
        "peak_gb": peak,
        "share_waiting_for_batches": waited / taken,
    }


def main(config: GpuConfig) -> None:
    """Check, then time; print a table and write JSON."""
    if config.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no GPU here; expected CUDA; --device cpu tries the script out")
    collator = Collator(
        Matcher(vocabulary(config.ggrams)), VOCAB, masking=MaskingConfig(), max_ggrams=None
    )
    attentions = ATTENTION if config.device == "cuda" else ATTENTION[:1]
    agreement = check(config, collator) if config.device == "cuda" else None
    rate = matrix_rate(config)
    name = torch.cuda.get_device_name() if config.device == "cuda" else "cpu"
    print(f"{name}: bf16 matrix rate {rate / 1e12:.1f} TFLOP/s; agreement {agreement}")
    print(f"{'size':<8}{'attention':<16}{'tokens/s':>12}{'share':>8}{'GB':>8}{'waiting':>9}")
    arms: dict[str, dict[str, Any]] = {}
    for size in config.sizes:
        for attention in attentions:
            found = arm(config, size, attention, collator)
            arms[f"{size} {attention}"] = {**found, "share_of_rate": found["flop_per_s"] / rate}
            print(
                f"{size:<8}{attention:<16}{found['tokens_per_s']:>12,.0f}"
                f"{found['flop_per_s'] / rate:>8.2f}{found['peak_gb']:>8.1f}"
                f"{found['share_waiting_for_batches']:>9.3f}"
            )
    if config.output is not None:
        record = {"device": name, "torch": torch.__version__, "bf16_flop_per_s": rate}
        settings = {**asdict(config), "output": None}
        record |= {"agreement": agreement, "settings": settings, "arms": arms}
        with new_file(config.output) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(GpuConfig))
    sys.exit(0)
