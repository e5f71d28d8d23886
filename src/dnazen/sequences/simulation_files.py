"""The files of a simulation: genome, labelled tables, and the truth about both."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from .settings import SimulateConfig
from .simulation import (
    Codes,
    Feature,
    LabelledSequences,
    Truth,
    ceiling_mcc,
    draw_chromosome,
    draw_task,
    draw_truth,
    task_features,
)

_LINE_BP = 60
_LETTERS = np.frombuffer(b"ACGT", dtype=np.uint8)


def write_simulation(directory: Path, config: SimulateConfig) -> float:
    """Write the genome, the task and the truth about both; return the best possible test MCC.

    Genome and splits draw from random streams of their own: changing the size of one leaves the
    others as they were.
    """
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(config.seed).spawn(5)]
    truth = draw_truth(streams[0], config)
    _write_motifs(directory / "motifs.tsv", truth, config)
    _write_meme(directory / "motifs.meme", truth, config)
    _write_genome(directory, streams[1], truth, config)
    features = []
    for split, rng in zip(("train", "dev", "test"), streams[2:], strict=True):
        task = draw_task(rng, truth, config, getattr(config, split))
        _write_csv(directory / f"{split}.csv", task)
        features += task_features(split, task, truth)
    _write_bed(directory / "task.bed", features)
    return ceiling_mcc(config.strength)


def _text(codes: Codes) -> str:
    return str(_LETTERS[codes].tobytes(), "ascii")


def _write_genome(
    directory: Path, rng: np.random.Generator, truth: Truth, config: SimulateConfig
) -> None:
    features: list[Feature] = []
    with open(directory / "genome.fa", "w", encoding="ascii", newline="\n") as fasta:
        for number in range(config.chromosomes):
            name = f"chr{number + 1}"
            bounds = [config.genome_bp * (number + i) // config.chromosomes for i in (0, 1)]
            codes, planted = draw_chromosome(rng, truth, config, name, bounds[1] - bounds[0])
            features += planted
            text = _text(codes)
            fasta.write(f">{name}\n")
            fasta.writelines(text[i : i + _LINE_BP] + "\n" for i in range(0, len(text), _LINE_BP))
    _write_bed(directory / "genome.bed", features)


def _write_csv(path: Path, task: LabelledSequences) -> None:
    with open(path, "w", encoding="ascii", newline="\n") as table:
        table.write("sequence,label\n")
        for codes, label in zip(task.sequences, task.labels.tolist(), strict=True):
            table.write(f"{_text(codes)},{label}\n")


def _write_bed(path: Path, features: Iterable[Feature]) -> None:
    """BED6, whose score is 1000 times the identity to the consensus."""
    with open(path, "w", encoding="ascii", newline="\n") as bed:
        for f in features:
            score = round(1000 * f.identity)
            bed.write(f"{f.chrom}\t{f.start}\t{f.end}\t{f.name}\t{score}\t{f.strand}\n")


def _write_motifs(path: Path, truth: Truth, config: SimulateConfig) -> None:
    with open(path, "w", encoding="ascii", newline="\n") as table:
        table.write("motif\tconsensus\tconservation\n")
        for number, consensus in enumerate(truth.motifs, 1):
            table.write(f"M{number}\t{_text(consensus)}\t{config.conservation}\n")


def _write_meme(path: Path, truth: Truth, config: SimulateConfig) -> None:
    """The same motifs as probabilities of A, C, G, T, for tools that scan and compare."""
    others = (1 - config.conservation) / 3
    with open(path, "w", encoding="ascii", newline="\n") as meme:
        meme.write("MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n")
        for number, consensus in enumerate(truth.motifs, 1):
            meme.write(f"\nMOTIF M{number}\n")
            meme.write(f"letter-probability matrix: alength= 4 w= {len(consensus)}\n")
            for code in consensus.tolist():
                row = (config.conservation if base == code else others for base in range(4))
                meme.write(" ".join(f"{p:.6f}" for p in row) + "\n")
