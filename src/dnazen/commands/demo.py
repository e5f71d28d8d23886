"""``dnazen demo``: every step on synthetic data, with and without G-grams, and a report."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import tyro
from matplotlib.figure import Figure

from ..errors import DnazenError
from ..ggrams.matching import Matcher
from ..ggrams.vocabulary import GGramVocabulary
from ..outputs import new_file, refuse_existing
from ..records import read_json, run_record, write_json
from ..report.charts import styles
from ..report.document import Code, Document, Picture, Section, Table, Text, to_html
from ..report.tracks import Box, Drawing, Track
from ..sequences.reader import read_records
from ..tokens.tokenizer import encode, load_tokenizer, token_lengths

RECORD_FILE = "demo.json"
ARMS = {"ggrams": "with G-grams", "e4bu": "without (E4BU alone)"}


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
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
    train: int = 4000
    """Labelled sequences to train on."""
    pretrain_steps: int = 300
    """Optimizer steps of pre-training."""
    epochs: int = 4
    """Passes of fine-tuning."""
    seed: int = 0
    """Of the data and of both models."""


class Step(NamedTuple):
    """A command that was run, and how long it took."""

    command: str
    seconds: float


def run(config: DemoConfig) -> None:
    """Run ``dnazen demo``.

    Raises
    ------
    OutputError
        If the output directory is taken by something that is no demo.
    DnazenError
        If a step fails.
    """
    out = config.output
    if config.overwrite and _is_demo(out):
        shutil.rmtree(out)
    refuse_existing(out)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / RECORD_FILE, run_record("demo", config))
    steps = [_run(line, out) for line in command_lines(config)]
    scores = {arm: read_json(out / f"finetuned-{arm}/test_metrics.json", "scores") for arm in ARMS}
    pretraining = {arm: read_json(out / f"pretrained-{arm}/metrics.json", "scores") for arm in ARMS}
    with new_file(out / "report.html") as path:
        path.write_text(report(out, steps, scores, pretraining), encoding="utf-8")
    print("arm\theld-out bits per bp\ttest MCC\ttest AUROC")
    for arm, name in ARMS.items():
        bits = pretraining[arm]["eval_bits_per_bp"]
        print(f"{name}\t{bits:.3f}\t{scores[arm]['mcc']:.3f}\t{scores[arm]['auroc']:.3f}")
    print(f"report\t{out / 'report.html'}")


def command_lines(config: DemoConfig) -> list[str]:
    """The commands of the demo, to be run one after the other inside its directory."""
    held = 500 if config.train >= 500 else 50
    seed = config.seed
    pretrain = (
        "dnazen pretrain --corpus corpus {which} ggrams.tsv -o pretrained-{arm}"
        " --model.size tiny --model.fusion gated --model.hidden-dropout-prob 0"
        f" --tokens-per-batch 4096 --max-steps {config.pretrain_steps} --eval-steps 50"
        f" --optimizer.learning-rate 2e-3 --optimizer.warmup-steps 30 --run.seed {seed}"
    )
    finetune = (
        "dnazen finetune --data simulated --model pretrained-{arm} -o finetuned-{arm}"
        f" --epochs {config.epochs} --optimizer.learning-rate 1e-3 --run.seed {seed}"
    )
    return [
        f"dnazen simulate -o simulated --genome-bp {config.genome_bp} --train {config.train}"
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


def report(
    out: Path,
    steps: list[Step],
    scores: dict[str, dict[str, Any]],
    pretraining: dict[str, dict[str, Any]],
) -> str:
    """The page that tells what was done and what came of it."""
    ceiling = read_json(out / "simulated/dnazen.json", "a simulation's record")["ceiling_mcc"]
    rows = [
        [name, pretraining[arm]["eval_bits_per_bp"], pretraining[arm]["eval_accuracy"]]
        + [float(scores[arm][metric]) for metric in ("mcc", "f1", "accuracy", "auroc")]
        for arm, name in ARMS.items()
    ]
    header = ["arm", "held-out bits per bp", "held-out accuracy"]
    header += ["test MCC", "test F1", "test accuracy", "test AUROC"]
    vocabulary = GGramVocabulary.load(out / "ggrams.tsv")
    curves = Picture(
        "loss",
        loss_curves(out),
        "Held-out loss of pre-training, training loss of fine-tuning, in nats.",
    )
    commands = "\n".join(f"# {step.seconds:.0f} s\n{step.command}" for step in steps)
    sections = [
        Section(
            "Scores",
            [
                Table(header, rows),
                Text(f"The best possible test MCC of this task is about {ceiling:.3f}."),
            ],
        ),
        Section("Loss", [curves]),
        Section("A sequence as the model reads it", [example_drawing(out, vocabulary)]),
        Section(
            "G-grams",
            [
                Text(f"{len(vocabulary):,} were mined; these have the highest PMI."),
                _strongest(vocabulary),
            ],
        ),
        Section("Commands", [Code(commands)]),
    ]
    message = (
        "A tiny model was pre-trained twice on a synthetic genome, once with G-grams and once "
        "without, on the same tokens, masks and steps, and fine-tuned to tell sequences with two "
        "planted motifs from sequences without. One seed and a synthetic task: this shows that "
        "every step works, not that G-grams help."
    )
    return to_html(Document("dnazen demo", sections, [message]))


def loss_curves(out: Path) -> Figure:
    """Held-out loss of pre-training and training loss of fine-tuning, both arms."""
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    pretraining, finetuning = figure.subplots(1, 2)
    looks = styles(dict.fromkeys(ARMS, "dnazen"))
    for arm, name in ARMS.items():
        for axis, run, key in (
            (pretraining, f"pretrained-{arm}", "eval_loss"),
            (finetuning, f"finetuned-{arm}", "loss"),
        ):
            log = read_json(out / run / "history.json", "the curves of a training")["log"]
            points = [(entry["step"], entry[key]) for entry in log if key in entry]
            axis.plot(*zip(*points, strict=True), label=name, **looks[arm])
    pretraining.set(title="pre-training", xlabel="step", ylabel="held-out loss (nats a token)")
    finetuning.set(title="fine-tuning", xlabel="step", ylabel="training loss (nats)")
    pretraining.legend(frameon=False)
    return figure


def example_drawing(out: Path, vocabulary: GGramVocabulary) -> Drawing:
    """The first positive test sequence with its tokens, G-grams and planted motifs."""
    tokenizer = load_tokenizer(out / "tokenizer")
    with (out / "simulated/test.csv").open(encoding="utf-8") as handle:
        labels = [row["label"] for row in csv.DictReader(handle)]
    number = labels.index("1")
    records = list(read_records(out / "simulated/test.csv"))
    sequence = records[number].sequence.decode()
    tokens, _ = encode(tokenizer, [sequence])
    ends = token_lengths(tokenizer)[tokens].cumsum().tolist()
    starts = [0, *ends[:-1]]
    matches = Matcher(vocabulary).occurrences(tokens, np.array([0, len(tokens)]))
    ggrams = []
    for first, ggram in zip(matches.start.tolist(), matches.ggram_id.tolist(), strict=True):
        last = first + int(vocabulary.lengths[ggram - 1]) - 1
        values = f"{ggram}", float(vocabulary.pmi[ggram - 1])
        ggrams.append(Box(starts[first], ends[last], vocabulary.bases[ggram - 1], values))
    rows = csv.reader(
        (out / "simulated/task.bed").read_text(encoding="utf-8").splitlines(), delimiter="\t"
    )
    motifs = [
        Box(int(start), int(end), motif)
        for name, start, end, motif, *_ in rows
        if name == f"test/{number + 1}"
    ]
    pieces = zip(starts, ends, strict=True)
    return Drawing(
        "The first positive test sequence",
        "The first positive test sequence: its tokens, the G-grams that the model matches in them, "
        "and the motifs that were planted.",
        sequence,
        [
            Track("tokens", [Box(start, end, sequence[start:end]) for start, end in pieces]),
            Track("G-grams", ggrams, ("id", "PMI (bits)")),
            Track("planted", motifs),
        ],
    )


def _strongest(vocabulary: GGramVocabulary) -> Table:
    """The ten G-grams of the highest PMI."""
    strongest = sorted(range(len(vocabulary)), key=lambda i: -vocabulary.pmi[i])[:10]
    return Table(
        ["G-gram", "tokens", "count", "PMI (bits)"],
        [
            [
                vocabulary.bases[i],
                int(vocabulary.lengths[i]),
                int(vocabulary.counts[i]),
                float(vocabulary.pmi[i]),
            ]
            for i in strongest
        ],
    )


def _is_demo(directory: Path) -> bool:
    """Whether a directory is an earlier demo's, which alone may be removed."""
    record = directory / RECORD_FILE
    return record.is_file() and read_json(record, "a demo's record").get("command") == "demo"


def _run(line: str, directory: Path) -> Step:
    """Run one command as a user would, inside the demo's directory."""
    print(f"$ {line}", file=sys.stderr, flush=True)
    began = time.monotonic()
    status = subprocess.run(
        [sys.executable, "-m", "dnazen", *line.split()[1:]],
        cwd=directory,
        stdout=sys.stderr,  # what a step prints is not the demo's result
        check=False,
    ).returncode
    if status:
        raise DnazenError(f"the step '{line}' failed with exit status {status}; see above")
    return Step(line, time.monotonic() - began)
