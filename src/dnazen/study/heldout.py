"""The held-out scores of models that were pre-trained side by side, as a section of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..model.weights import read_config
from ..records import read_json
from ..report.charts import GRID, label, styles
from ..report.document import Picture, Section, Table, Text

_HEADER = (
    "arm",
    "fusion",
    "embedding",
    "matches",
    "G-grams",
    "G-gram layers",
    "hidden whole",
    "parameters (M)",
    "of them G-grams'",
    "steps",
    "minutes",
    "loss (nats)",
    "accuracy",
    "bits per bp",
    "G-gram spread",
)


def heldout_section(models: Mapping[str, Path], kinds: Mapping[str, str]) -> Section:
    """What pre-training has come to: a table of the last scores and the curves of the loss.

    Parameters
    ----------
    models
        Directories that ``dnazen pretrain`` wrote, by arm.
    kinds
        The kind of every model of the study by its name: by these they are coloured.
    """
    records = {arm: read_json(path / "run.json", "a run's record") for arm, path in models.items()}
    shares = {record["settings"]["heldout_ggram_share"] for record in records.values()}
    if shares == {0.0}:
        how = "the same single tokens hidden from every arm."
    else:
        how = "hidden as in each arm's training: arms with other masks do not compare."
    return Section(
        "Pre-training",
        [
            Text(f"Scores on stretches that no arm was trained on, {how}"),
            Table(_HEADER, [_row(arm, path, records[arm]) for arm, path in models.items()], 4),
            Picture(
                "pretraining",
                _curves(models, styles(kinds)),
                "Held-out loss, in nats a predicted token, by optimizer step.",
            ),
        ],
    )


def _row(arm: str, directory: Path, record: dict[str, Any]) -> list[str]:
    config = read_config(directory)
    scores = read_json(directory / "metrics.json", "the scores of a pre-training")
    settings = record["settings"]
    ggrams = max(0, config.ggram_vocab_size - 1)
    total, table = float(scores["parameters"]), config.ggram_rows * config.hidden_size
    share = settings["masking"]["ggram_share"]
    hides = settings["ggrams"] is not None or settings["mask_ggrams"] is not None
    return [
        arm,
        config.fusion if ggrams else "-",
        config.ggram_embedding if ggrams else "-",
        settings["masking"].get("matches", "corrupted") if ggrams else "-",
        f"{ggrams:,}",
        str(config.num_hidden_ggram_layers) if ggrams else "-",
        f"{share:g}" if hides else "0",
        f"{total / 1e6:.2f}",
        f"{table / 1e6:.2f}",
        f"{settings['max_steps']:,}",
        f"{scores['train_seconds'] / 60:.1f}",
        f"{scores['eval_loss']:.4f}",
        f"{scores['eval_accuracy']:.4f}",
        f"{scores['eval_bits_per_bp']:.4f}",
        f"{scores['eval_ggram_spread']:.4f}" if "eval_ggram_spread" in scores else "-",
    ]


def _curves(models: Mapping[str, Path], style: Mapping[str, dict[str, Any]]) -> Figure:
    drawing = Figure(figsize=(8, 4), layout="constrained")
    axes = drawing.subplots()
    highest = -math.inf
    for arm, directory in models.items():
        log = read_json(directory / "history.json", "the curves of a pre-training")["log"]
        points = [(entry["step"], entry["eval_loss"]) for entry in log if "eval_loss" in entry]
        axes.plot(*zip(*points, strict=True), label=label(arm), **style[arm])
        highest = max(highest, points[min(1, len(points) - 1)][1])  # the first is far above
    axes.set(xlabel="optimizer step", ylabel="held-out loss (nats a token)")
    axes.set_ylim(top=highest)
    axes.legend(fontsize="small", frameon=False)
    axes.grid(color=GRID)
    return drawing
