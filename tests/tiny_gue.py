"""A tiny GUE that tests run on: two tasks that can be learned from the GC content."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

ROWS = {"train": 48, "dev": 24, "test": 20}


def gc_rows(count: int, seed: int, length: int = 40) -> list[tuple[str, int]]:
    """Sequences of low (0) or high (1) GC content."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 2)
    gc = np.array([0.1, 0.4])[labels]
    return [
        ("".join(rng.choice(list("ACGT"), length, p=[0.5 - p, p, p, 0.5 - p])), int(label))
        for p, label in zip(gc, labels, strict=True)
    ]


def write_rows(path: Path, rows) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("sequence,label\n" + "".join(f"{s},{label}\n" for s, label in rows))


@functools.cache
def _table(split: str, seed: int):
    return gc_rows(ROWS[split], seed)


def make_gue(folder: Path, *, train: str = "train.csv") -> Path:
    """mouse/3 and prom/prom_core_tata, whole; splice/reconstructed without train."""
    for number, task in enumerate(("mouse/3", "prom/prom_core_tata")):
        for place, split in enumerate(ROWS):
            file = train if split == "train" else f"{split}.csv"
            write_rows(folder / task / file, _table(split, 10 * number + place))
    for place, split in enumerate(("dev", "test")):
        write_rows(folder / "splice/reconstructed" / f"{split}.csv", _table(split, 90 + place))
    return folder
