"""``dnazen demo``: every step on synthetic data, with and without G-grams, and a report."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..errors import DnazenError
from ..outputs import new_file, refuse_existing
from ..records import read_json, run_record, write_json
from ..settings import require_numbers

RECORD_FILE = "demo.json"


@dataclass(frozen=True, kw_only=True)
class DemoCommand:
    """Go through every step on synthetic data, with and without G-grams.

    Simulates a genome and a promoter-like task with planted motifs, trains a tokenizer, mines
    G-grams, pre-trains and fine-tunes a tiny model twice (on the same tokens, masks and steps),
    predicts, and writes OUTPUT/report.html. A few minutes on two CPU cores; nothing is downloaded.
    """

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("demo")
    """Directory to write."""
    overwrite: bool = False
    """Replace what an earlier demo left in OUTPUT."""
    genome_bp: int = 1_000_000
    """Length of the genome."""
    train: int = 2000
    """Labelled sequences to train on."""
    pretrain_steps: int = 300
    """Optimizer steps of pre-training."""
    seed: int = 0
    """Of the data and of both models."""

    def __post_init__(self) -> None:
        require_numbers(self, names="genome_bp pretrain_steps", least=1)
        require_numbers(self, names="train", least=2)
        require_numbers(self, names="seed", least=0, most=2**32 - 1)


def run(settings: DemoCommand) -> None:
    """Run ``dnazen demo``.

    Raises
    ------
    OutputError
        If the output directory is taken by something that is no demo.
    DnazenError
        If a step fails.
    """
    from .demo_page import ARMS, Outcome, demo_page

    out = settings.output
    if settings.overwrite and _is_demo(out):
        shutil.rmtree(out)
    refuse_existing(out)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / RECORD_FILE, run_record("demo", settings))
    seconds = {line: _seconds_of(line, out) for line in command_lines(settings)}
    outcomes = {arm: Outcome.read(out, arm) for arm in ARMS}
    with new_file(out / "report.html") as path:
        path.write_text(demo_page(out, seconds, outcomes), encoding="utf-8")
    print("arm\theld-out bits per bp\ttest MCC\ttest AUROC\tMCC of k-mers")
    for arm, (held_out, test) in outcomes.items():
        kmers = test["baselines"]["k-mers"]["mcc"]
        numbers = held_out["eval_bits_per_bp"], test["mcc"], test["auroc"], kmers
        print(ARMS[arm], *(f"{number:.3f}" for number in numbers), sep="\t")
    print(f"report\t{out / 'report.html'}")


def command_lines(settings: DemoCommand) -> list[str]:
    """The commands of the demo, to be run one after the other inside its directory."""
    held = 500 if settings.train >= 500 else 50
    seed = settings.seed
    pretrain = (
        "dnazen pretrain --corpus corpus {which} ggrams.tsv -o pretrained-{arm}"
        " --model.size tiny --model.fusion gated --model.hidden-dropout-prob 0"
        f" --tokens-per-batch 4096 --max-steps {settings.pretrain_steps} --eval-steps 50"
        f" --optimizer.learning-rate 2e-3 --optimizer.warmup-steps 30 --run.seed {seed}"
    )
    finetune = (
        "dnazen finetune --data simulated --model pretrained-{arm} -o finetuned-{arm}"
        f" --run.seed {seed}"
    )
    return [
        f"dnazen simulate -o simulated --genome-bp {settings.genome_bp} --train {settings.train}"
        f" --dev {held} --test {held} --seed {seed}",
        "dnazen tokenizer train simulated/genome.fa -o tokenizer --vocab-size 256",
        "dnazen corpus build simulated/genome.fa --tokenizer tokenizer --strands both -o corpus",
        "dnazen ggrams mine corpus -o ggrams.tsv --min-pmi 2"
        " --exclude simulated/dev.csv simulated/test.csv",
        pretrain.format(which="--ggrams", arm="ggrams"),
        pretrain.format(which="--mask-ggrams", arm="e4bu"),
        finetune.format(arm="ggrams"),
        finetune.format(arm="e4bu"),
        "dnazen predict finetuned-ggrams simulated/test.csv -o predictions.tsv",
    ]


def _is_demo(directory: Path) -> bool:
    """Whether a directory is an earlier demo's, which alone may be removed."""
    record = directory / RECORD_FILE
    return record.is_file() and read_json(record, "a demo's record").get("command") == "demo"


def _seconds_of(line: str, directory: Path) -> float:
    """Run one command as a user would, inside the demo's directory; how long it took."""
    print(f"$ {line}", file=sys.stderr, flush=True)
    began = time.monotonic()
    status = subprocess.run(
        [sys.executable, "-m", "dnazen", *line.split()[1:]],
        cwd=directory,
        stdout=sys.stderr,  # what a step prints is not the demo's result
        stderr=sys.stderr,
        check=False,
    ).returncode
    if status:
        raise DnazenError(
            f"the step '{line}' failed with exit status {status}; run it in {directory} to see why"
        )
    return time.monotonic() - began
