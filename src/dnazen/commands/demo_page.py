"""The page of ``dnazen demo``."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ..ggrams.matching import Matcher
from ..ggrams.vocabulary import GGramVocabulary
from ..records import read_json
from ..report.charts import styles
from ..report.document import Code, Document, Picture, Section, Table, Text, to_html
from ..report.tracks import Box, Drawing, Track
from ..sequences.reader import read_records
from ..tokens.tokenizer import encode, load_tokenizer, token_lengths

ARMS = {"ggrams": "with G-grams", "e4bu": "without (E4BU alone)"}


class Outcome(NamedTuple):
    """The scores of an arm: held-out ones of its pre-training, and those of the test set."""

    held_out: dict[str, Any]
    test: dict[str, Any]

    @classmethod
    def read(cls, out: Path, arm: str) -> Outcome:
        """What the steps of a demo have left."""
        return cls(
            read_json(out / f"pretrained-{arm}/metrics.json", "scores"),
            read_json(out / f"finetuned-{arm}/test_metrics.json", "scores"),
        )


def demo_page(out: Path, seconds: dict[str, float], outcomes: dict[str, Outcome]) -> str:
    """The page that tells what was done and what came of it.

    Parameters
    ----------
    seconds
        How long each command took.
    """
    ceiling = read_json(out / "simulated/dnazen.json", "a simulation's record")["ceiling_mcc"]
    rows = [
        [ARMS[arm], held_out["eval_bits_per_bp"], held_out["eval_accuracy"]]
        + [float(test[metric]) for metric in ("mcc", "f1", "accuracy", "auroc")]
        + [float(test["baselines"]["k-mers"]["mcc"])]
        for arm, (held_out, test) in outcomes.items()
    ]
    header = ["arm", "held-out bits per bp", "held-out accuracy"]
    header += ["test MCC", "test F1", "test accuracy", "test AUROC", "MCC of k-mers"]
    vocabulary = GGramVocabulary.load(out / "ggrams.tsv")
    curves = Picture(
        "loss",
        _loss_curves(out),
        "Held-out loss of pre-training, training loss of fine-tuning, in nats.",
    )
    commands = "\n".join(f"# {time:.0f} s\n{command}" for command, time in seconds.items())
    sections = [
        Section(
            "Scores",
            [
                Table(header, rows),
                Text(f"The best possible test MCC of this task is about {ceiling:.3f}."),
            ],
        ),
        Section("Loss", [curves]),
        Section("A sequence as the model reads it", [_example_drawing(out, vocabulary)]),
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
        "without, on the same tokens, masks and steps, and fine-tuned to tell two planted motifs "
        "in the right order and spacing from the same motifs otherwise. K-mers, which see words "
        "and not where they stand, are at chance. One seed and a synthetic task: this shows that "
        "every step works, not that G-grams help."
    )
    return to_html(Document("dnazen demo", sections, [message]))


def _loss_curves(out: Path) -> Figure:
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


def _example_drawing(out: Path, vocabulary: GGramVocabulary) -> Drawing:
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
