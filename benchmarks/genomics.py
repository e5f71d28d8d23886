"""Speed and memory of the commands that go from genomics files to genomics files.

    python benchmarks/genomics.py -o genomics.json

``embed-speed``      ``dnazen.embed`` on sequences as long as GUE's, beside a naive arm: batches of
                     8 in the order of the input, float32, padded to 512 positions, dense boxes
``embed-memory``     peak memory of ``dnazen embed`` on few and on many tiny records, and a long one
``variants-speed``   ``dnazen variants`` on SNVs and indels, in windows of two lengths
``variants-memory``  peak memory of ``dnazen variants`` on few and on many SNVs

By default all is made up: a simulated genome, its tokens and G-grams, random weights. Every run is
a process of its own, so peak memory is its own; arms take turns, and the best of them counts.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal, get_args

import numpy as np
import torch
import tyro

from dnazen.cli import main
from dnazen.ggrams.vocabulary import GGramVocabulary
from dnazen.inference.embedding import EmbeddingConfig, embed
from dnazen.inference.opened import OpenedModel
from dnazen.model.batches import Example
from dnazen.model.configuration import DnazenConfig
from dnazen.model.directory import save_directory
from dnazen.model.modeling import DnazenForMaskedLM
from dnazen.model.settings import Size
from dnazen.outputs import new_file
from dnazen.sequences.reader import read_records
from dnazen.tokens.encoding import Length, encode_examples
from dnazen.tokens.tokenizer import load_tokenizer
from naive import WIDTH, NaiveForMaskedLM, naive_batch

GUE_BP = {"EMP": 500, "prom_300": 300, "splice": 400, "tf and mouse": 101, "prom_core": 70}
"""Lengths of GUE sequences, task group by task group."""

Measure = Literal["embed-speed", "embed-memory", "variants-speed", "variants-memory"]

ARMS = ("naive", "float32", "bf16")


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig:
    """Measure the commands on genomics files."""

    measures: tuple[Measure, ...] = get_args(Measure)
    """What to measure."""
    size: Size = "base"
    """Shape of the model whose speed is measured."""
    gue: Path | None = None
    """Folder with GUE's tasks (``*/*/test.csv``), to take sequences from; by default made up."""
    tokenizer: Path | None = None
    """Tokenizer directory; by default one of 4,096 tokens, trained on the simulated genome."""
    sequences: int = 120
    """Sequences to embed, the same number of each length of GUE."""
    turns: int = 2
    """Times that each arm of embed-speed takes its turn."""
    records: tuple[int, ...] = (1_000, 1_000_000)
    """Tiny records, 8 to 39 bp each, of the runs of embed-memory, and SNVs of variants-memory."""
    formats: tuple[str, ...] = (".npy", ".npz", ".parquet", ".h5ad")
    """Formats of embed-memory."""
    variants: int = 200
    """Variants of each run of variants-speed; one in five an insertion, one in five a deletion."""
    variant_windows: tuple[int, ...] = (128, 512)
    """Window lengths of variants-speed, in bases."""
    long_bp: int = 50_000_000
    """Bases of the one long record."""
    threads: int = 2
    """Threads of every run."""
    arm: str | None = None
    """Measure one arm of embed-speed in this process (what the command runs for each arm)."""
    ground: Path | None = None
    """Where the arm finds model and sequences."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """JSON file to write."""


Results = dict[str, dict[str, float]]

COMMAND = """
import re, sys, time
from pathlib import Path
from dnazen.cli import main
status = main(sys.argv[1:])
print(time.process_time(), re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
sys.exit(status)
"""
"""Runs a command and tells its processor time and its peak memory (Linux). The resource usage of a
child would not do: it begins with the memory of the process that forked it."""


def make_ground(folder: Path, config: BenchmarkConfig) -> None:
    """A simulated genome with its tokens and G-grams, and two models of random weights."""
    genome, tokenizer = folder / "simulated/genome.fa", folder / "tokenizer"
    dnazen("simulate", "-o", folder / "simulated")
    if config.tokenizer is None:
        dnazen("tokenizer", "train", genome, "-o", tokenizer)
    tokenizer = tokenizer if config.tokenizer is None else config.tokenizer
    dnazen("corpus", "build", genome, "--tokenizer", tokenizer, "-o", folder / "corpus")
    dnazen("ggrams", "mine", folder / "corpus", "-o", folder / "ggrams.tsv")
    save_model(folder / "model", folder, tokenizer, DnazenConfig.of_size(config.size))
    smallest = DnazenConfig.of_size("tiny", num_hidden_layers=1)
    save_model(folder / "smallest", folder, tokenizer, smallest)


def save_model(target: Path, ground: Path, tokenizer: Path, shape: DnazenConfig) -> None:
    """A model directory with random weights."""
    vocabulary = GGramVocabulary.load(ground / "ggrams.tsv")
    shape.ggram_vocab_size = len(vocabulary) + 1
    torch.manual_seed(0)
    target.mkdir()
    save_directory(target, DnazenForMaskedLM(shape), load_tokenizer(tokenizer), vocabulary)


def dnazen(*words: object) -> None:
    """Run a command in this process."""
    if main([str(word) for word in words]):
        sys.exit("the benchmark's ground could not be made")


def gue_sequences(config: BenchmarkConfig) -> list[str]:
    """As many sequences of each length of GUE: real ones, or random ones."""
    rng = np.random.default_rng(0)
    each = config.sequences // len(GUE_BP)
    if config.gue is None:
        found = [
            "".join(rng.choice(list("ACGT"), size)) for size in GUE_BP.values() for _ in range(each)
        ]
    else:
        known: dict[int, list[str]] = {size: [] for size in GUE_BP.values()}
        for path in sorted(config.gue.glob("*/*/test.csv")):
            with path.open(newline="") as handle:
                for row in csv.DictReader(handle):
                    known.get(len(row["sequence"]), []).append(row["sequence"])
        found = [str(s) for some in known.values() for s in rng.choice(some, each, replace=False)]
    return [found[i] for i in rng.permutation(len(found))]


def naive_embed(embedder: OpenedModel, sequences: list[str]) -> np.ndarray:
    """Mean states of each sequence as the plain way has them."""
    model = NaiveForMaskedLM(embedder.config).eval()
    model.dnazen.load_state_dict(embedder.encoder.state_dict(), strict=False)
    collator = embedder.collator
    rows = []
    for start in range(0, len(sequences), 8):
        letters = [(s.encode(),) for s in sequences[start : start + 8]]
        places = [""] * len(letters)
        encoded = encode_examples(embedder.tokenizer, letters, Length(WIDTH, "refuse"), places)
        box = naive_batch(collator([Example(tokens) for tokens in encoded.tokens]))
        here = box.attention_mask[..., None].clone()
        for row, tokens in enumerate(encoded.tokens):
            here[row, [0, len(tokens) + 1]] = 0
        rows.append((model.dnazen(box) * here).sum(1) / here.sum(1))
    return torch.cat(rows).numpy()


@torch.inference_mode()
def speed_arm(config: BenchmarkConfig, arm: str) -> dict[str, float]:
    """One arm's turn: seconds for all sequences, after some that do not count."""
    assert config.ground is not None
    torch.set_num_threads(config.threads)
    embedder = OpenedModel.open(config.ground / "model", "cpu")
    sequences = json.loads((config.ground / "sequences.json").read_text())
    settings = EmbeddingConfig(bf16=arm == "bf16")
    run: Callable[[list[str]], np.ndarray]
    if arm == "naive":
        run = lambda some: naive_embed(embedder, some)  # noqa: E731
    else:
        run = lambda some: embed(embedder, some, settings)  # noqa: E731
    run(sequences[:8])
    start = time.perf_counter()
    found = run(sequences)
    seconds = time.perf_counter() - start
    exact = embed(embedder, sequences[:8])
    return {
        "seconds": seconds,
        "sequences_per_s": len(sequences) / seconds,
        "bases_per_s": sum(map(len, sequences)) / seconds,
        "largest_difference": float(np.abs(found[:8] - exact).max()),
    }


def embed_speed(config: BenchmarkConfig, folder: Path) -> Results:
    """Each arm's best turn, each turn in a process of its own."""
    (folder / "sequences.json").write_text(json.dumps(gue_sequences(config)))
    turns: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for _ in range(config.turns):
        for arm in ARMS:
            flags = [f"--arm={arm}", f"--ground={folder}", f"--threads={config.threads}"]
            done = subprocess.run(
                [sys.executable, __file__, *flags],
                check=True,
                stdout=subprocess.PIPE,
                env=limited(config),
            )
            turns[arm].append(json.loads(done.stdout))
    best = {f"embed, {arm}": min(some, key=lambda t: t["seconds"]) for arm, some in turns.items()}
    for result in best.values():
        result["naive_over_this"] = best["embed, naive"]["seconds"] / result["seconds"]
    return best


def embed_memory(config: BenchmarkConfig, folder: Path) -> Results:
    """Peak memory of the command, format by format, record count by record count."""
    found = {}
    for records in config.records:
        write_fasta(folder / "records.fa", tiny_records(records))
        for suffix in config.formats:
            found[f"embed, {records:,} records to {suffix}"] = peak(config, folder, suffix)
    write_fasta(folder / "records.fa", [long_record(config.long_bp)])
    found[f"embed, one record of {config.long_bp:,} bp"] = peak(config, folder, ".npy")
    return found


def peak(config: BenchmarkConfig, folder: Path, suffix: str) -> dict[str, float]:
    """Seconds and peak memory of one run of ``dnazen embed``."""
    output = folder / f"vectors{suffix}"
    return timed(config, "embed", folder / "smallest", folder / "records.fa", "-o", output)


def timed(config: BenchmarkConfig, *words: object) -> dict[str, float]:
    """Seconds by the clock and of processor time, and peak memory of a command's own process."""
    start = time.perf_counter()
    run = subprocess.run(
        [sys.executable, "-c", COMMAND, *map(str, words), "--device", "cpu"],
        env=limited(config),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if run.returncode:
        sys.exit(f"dnazen {' '.join(map(str, words))} failed")
    cpu_s, peak_kb = map(float, run.stdout.split()[-2:])
    return {
        "seconds": time.perf_counter() - start,
        "cpu_s": cpu_s,
        "peak_gb": peak_kb * 1024 / 1e9,
    }


def variants_speed(config: BenchmarkConfig, folder: Path) -> Results:
    """Variants a second of the command, start-up left out, in windows of each length."""
    genome = folder / "simulated/genome.fa"
    write_vcf(folder / "one.vcf", genome, 1, indels=0)
    write_vcf(folder / "some.vcf", genome, config.variants, indels=0.4)
    found = {}
    for window_bp in config.variant_windows:
        best: dict[str, dict[str, float]] = {}
        for name in ("one", "some"):
            words = ["variants", folder / "model", genome, folder / f"{name}.vcf"]
            words += ["--window-bp", window_bp, "-o", folder / f"{name}.out.vcf.gz"]
            runs = [timed(config, *words) for _ in range(config.turns)]
            best[name] = {key: min(run[key] for run in runs) for key in runs[0]}
        found[f"variants, {config.size}, windows of {window_bp} bp"] = {
            rate: (config.variants - 1) / (best["some"][key] - best["one"][key])
            for rate, key in (("variants_per_s", "seconds"), ("variants_per_cpu_s", "cpu_s"))
        }
    return found


def variants_memory(config: BenchmarkConfig, folder: Path) -> Results:
    """Peak memory of the command on few and on many SNVs, in short windows."""
    genome = folder / "simulated/genome.fa"
    found = {}
    for rows in config.records:
        write_vcf(folder / "snvs.vcf", genome, rows, indels=0)
        words = ["variants", folder / "smallest", genome, folder / "snvs.vcf", "--window-bp", 16]
        found[f"variants, {rows:,} SNVs"] = timed(config, *words, "-o", folder / "out.vcf.gz")
    return found


def write_vcf(path: Path, genome: Path, rows: int, *, indels: float) -> None:
    """Sorted SNVs at random places, the given fraction insertions and deletions of 1 to 8 bases."""
    rng = np.random.default_rng(0)
    name, letters = next(iter(read_records(genome)))
    text = letters.decode().upper()
    with path.open("w") as handle:
        print("##fileformat=VCFv4.3", file=handle)
        print("#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", sep="\t", file=handle)
        for start in np.sort(rng.integers(0, len(text) - 9, rows)).tolist():
            ref = alt = text[start]
            more, kind = int(rng.integers(1, 9)), rng.random()
            if kind < indels / 2:
                alt += random_bases(rng, more)
            elif kind < indels:
                ref = text[start : start + 1 + more]
            else:
                alt = "ACGT"[("ACGT".index(ref) + int(rng.integers(1, 4))) % 4]
            print(name, start + 1, ".", ref, alt, ".", ".", ".", sep="\t", file=handle)


def tiny_records(count: int) -> Iterator[str]:
    """Random sequences of 8 to 39 bp."""
    rng = np.random.default_rng(0)
    for size in rng.integers(8, 40, count):
        yield random_bases(rng, size)


def long_record(size: int) -> str:
    """A megabase of random sequence, over and over."""
    megabase = random_bases(np.random.default_rng(0), 1_000_000)
    return (megabase * (size // len(megabase) + 1))[:size]


def random_bases(rng: np.random.Generator, size: int) -> str:
    """So many."""
    return np.frombuffer(b"ACGT", dtype=np.uint8)[rng.integers(0, 4, size)].tobytes().decode()


def write_fasta(path: Path, sequences: Iterator[str] | list[str]) -> None:
    """Sequences in lines of 60 bases, numbered."""
    with path.open("w") as handle:
        for number, bases in enumerate(sequences):
            lines = "\n".join(bases[i : i + 60] for i in range(0, len(bases), 60))
            handle.write(f">{number}\n{lines}\n")


def limited(config: BenchmarkConfig) -> dict[str, str]:
    """The environment of a run."""
    return {**os.environ, "OMP_NUM_THREADS": str(config.threads)}


MEASURES: dict[str, Callable[[BenchmarkConfig, Path], Results]] = {
    "embed-speed": embed_speed,
    "embed-memory": embed_memory,
    "variants-speed": variants_speed,
    "variants-memory": variants_memory,
}


def benchmark(config: BenchmarkConfig) -> None:
    """Measure; print a table and write JSON."""
    results: Results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_ground(folder, config)
        for measure in config.measures:
            print(f"measuring {measure}", file=sys.stderr)
            results |= MEASURES[measure](config, folder)
    for name, numbers in results.items():
        told = "  ".join(f"{key} {value:,.4g}" for key, value in numbers.items())
        print(f"{name:<40}{told}")
    if config.output is not None:
        record = {
            "machine": {"processor": platform.processor() or platform.machine()},
            "versions": {name: version(name) for name in ("dnazen", "torch", "transformers")},
            "settings": dataclasses.asdict(config),
            "results": results,
        }
        with new_file(config.output) as temporary:
            temporary.write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")


if __name__ == "__main__":
    settings = tyro.cli(BenchmarkConfig)
    if settings.arm is None:
        benchmark(settings)
    else:
        json.dump(speed_arm(settings, settings.arm), sys.stdout)
