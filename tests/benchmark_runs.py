"""Made-up runs of ``dnazen gue run``: its layout, with predictions as drawn here."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from dnazen.gue.tasks import TASKS
from dnazen.training.metrics import score

LEARNING_RATE = 5e-5
OTHER_RATE = 1e-4


class MadeUpRun:
    """Writes a run piece by piece; what is written is told back in ``predictions``."""

    def __init__(
        self, path: Path, models: dict[str, str], tasks, seeds=(0, 1, 2), *, seed=0
    ) -> None:
        self.path, self.models, self.seeds = path, models, tuple(seeds)
        self.rng = np.random.default_rng(seed)
        self.labels: dict[str, np.ndarray] = {}
        self.density: dict[str, np.ndarray] = {}
        self.predictions: dict[tuple[str, str, int], np.ndarray] = {}
        self.choices: dict[str, dict] = {}
        self.collapsed: set[tuple[str, str]] = set()
        record = {
            "command": "gue run",
            "dnazen": "0.1.0",
            "python": "3.11.7",
            "platform": "Linux-made-up",
            "argv": ["gue", "run", "grid.toml", "-o", "a run"],
            "settings": {
                "data": "gue",
                "tasks": list(tasks),
                "seeds": list(seeds),
                "learning_rates": [],
                "epochs": None,
                "task_settings": ["EMP: epochs=2"],
            },
            "arms": [{"name": n, "kind": k, "source": f"models/{n}"} for n, k in models.items()],
            "skipped": {},
            "torch": "2.13.0",
        }
        self.write("run.json", record)
        self.write("choices.json", {})

    def write(self, name: str, value) -> None:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(value))

    def task(self, name: str, rows: int, *, said="complete", density=True) -> None:
        """Prepare a task with balanced labels; a third of the rows have no G-gram."""
        classes = TASKS[name].classes
        self.labels[name] = self.rng.permutation(np.arange(rows) % classes)
        counts = {"train": 10 * rows, "dev": rows, "test": rows}
        told = {"task": name, "state": said, "said": said, "rows": counts, "sources": []}
        self.write(f"tasks/{name}/task.json", told)
        if density:
            some = np.round(self.rng.random(rows) * (self.rng.random(rows) > 1 / 3), 6)
            self.density[name] = some
            told = {"ggrams_of": next(iter(self.models)), "density": some.tolist()}
            self.write(f"tasks/{name}/density.json", told)

    def cell(self, model, task, seed, accuracy=0.8, *, collapsed=False, rate=LEARNING_RATE) -> None:
        """Write a finished cell whose predictions are right with a chance of ``accuracy``."""
        labels, classes = self.labels[task], TASKS[task].classes
        wrong = (labels + self.rng.integers(1, classes, len(labels))) % classes
        predicted = np.where(self.rng.random(len(labels)) < accuracy, labels, wrong)
        if collapsed:
            predicted = np.zeros_like(labels)
            self.collapsed.add((model, task))
        folder = self.path / "cells" / model / task / f"lr-{rate:g}" / f"seed-{seed}"
        folder.mkdir(parents=True)
        names = [str(i) for i in range(classes)]
        with (folder / "test_predictions.tsv").open("w", newline="") as handle:
            table = csv.writer(handle, delimiter="\t", lineterminator="\n")
            table.writerow(["name", "label", "prediction", *(f"p_{n}" for n in names)])
            for i, (label, guess) in enumerate(zip(labels, predicted, strict=True)):
                table.writerow([i + 1, label, guess, *(["0.5"] * classes)])
        logits = np.eye(classes)[predicted]
        test = score("single_label_classification", labels, logits)
        record = {
            "dnazen": "0.1.0",
            "python": "3.11.7",
            "platform": "Linux-made-up",
            "data_state": "",
            "arm": model,
            "task": task,
            "seed": seed,
            "learning_rate": rate,
            "rows": {"train": 10 * len(labels), "dev": len(labels), "test": len(labels)},
            "label_names": names,
            "test": {k: None if v != v else v for k, v in test.items()},
            "dev": {"mcc": 0.5, "f1": 0.6},
            "best_epoch": 2.0,
            "cost": {
                "seconds": 60.0 + seed,
                "peak_memory_bytes": 3 << 30,
                "peak_gpu_memory_bytes": None,
                "parameters": 1_500_000,
                "flops_per_sequence": 2e9,
                "training_flops": 4e15,
                "threads": 2,
                "device": "a made-up processor",
                "bf16": True,
            },
        }
        self.write(str((folder / "cell.json").relative_to(self.path)), record)
        if rate == LEARNING_RATE:
            self.predictions[model, task, seed] = predicted
            metric = TASKS[task].metric
            dev = {f"{LEARNING_RATE:g}": 0.5, f"{OTHER_RATE:g}": 0.25}
            choice = {"learning_rate": f"{LEARNING_RATE:g}", f"dev_{metric}": dev}
            self.choices.setdefault(model, {})[task] = choice
            self.write("choices.json", self.choices)

    def any_collapsed(self, task: str, *models: str) -> bool:
        """Whether a cell of one of the models collapsed on a task."""
        return any((model, task) in self.collapsed for model in models)

    def leakage(self) -> None:
        shared = {
            task: {"sequences": len(labels), "partly": 5, "wholly": 2, "fraction": 0.0125}
            for task, labels in self.labels.items()
        }
        model = next(iter(self.models))
        entry = {"what": "pre-training", "source": "corpus", "arms": [model], "tasks": shared}
        unread = {"what": "mining", "source": "gone.tsv", "arms": [model], "tasks": {}}
        inputs = [entry | {"problem": ""}, unread | {"problem": "no such file"}]
        self.write("leakage.json", {"inputs": inputs})
