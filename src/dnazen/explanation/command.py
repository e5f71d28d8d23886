"""``dnazen explain``: attributions as tables, genome tracks and one page."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import tyro
from tqdm import tqdm

from ..errors import ConfigError
from ..ggrams.motifs.meme import Motif, read_motifs
from ..ggrams.motifs.similarity import Hit, scan
from ..inference.classifier import open_classifier
from ..outputs import new_directory
from ..records import hash_file, run_record, write_json
from ..report.text import name_of
from ..sequences.alphabet import Counts, normalise
from ..sequences.inputs import Inputs
from ..sequences.settings import RegionConfig, TileConfig
from ..settings import FLAT
from .explanation import Explanation, ExplanationConfig, check_classifier, explain_record
from .files import ExplanationFiles
from .page import Drawn, explanation_page

GAP = 0.01
"""A gap of integrated gradients that is worth a note, in the output's unit and of its change."""


@dataclass(frozen=True, kw_only=True)
class ExplainConfig(ExplanationConfig):
    """Explain a fine-tuned model's output, base by base and G-gram by G-gram.

    Writes sequences.tsv, tokens.tsv, ggrams.tsv, ggram_summary.tsv, bedGraph and BED tracks,
    summary.json, and index.html, which draws the first sequences.
    """

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL_DIR")]
    """Directory that 'dnazen finetune' wrote."""
    sequences: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="SEQUENCES...")
    ]
    """FASTA, FASTQ, table with a column 'sequence', or a sequence a line; plain, gzip or bgzip;
    2bit; '-' for stdin."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """New directory."""
    motifs: tuple[Path, ...] = ()
    """Motif files in MEME format, whose hits are written and drawn too."""
    max_p: float = 1e-4
    """A motif hits where its p-value (FIMO) is at most this."""
    regions: Annotated[RegionConfig, FLAT] = field(default_factory=RegionConfig)
    tiles: Annotated[TileConfig, FLAT] = field(default_factory=TileConfig)
    draw: int = 10
    """Sequences to draw, the first ones."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: a GPU where there is one."""

    def __post_init__(self) -> None:
        ExplanationConfig.__post_init__(self)
        if self.draw < 0:
            raise ConfigError(f"draw must be 0 or more, got {self.draw}")
        if not 0 < self.max_p <= 1:
            raise ConfigError(f"max_p must be above 0 and at most 1, got {self.max_p}")


class _Account:
    """What is told of a run."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.records = self.empty = self.cut = self.gaps = 0
        self.largest_gap = 0.0
        self.agreements: list[float] = []

    def add(self, letters: bytes, explanation: Explanation | None) -> None:
        self.counts = self.counts.plus(normalise(letters)[1])
        self.records += 1
        if explanation is None:
            self.empty += 1
            return
        found = explanation.attribution
        self.cut += explanation.cut
        self.gaps += abs(found.gap) > GAP * max(1.0, abs(found.output - found.baseline))
        self.largest_gap = max(self.largest_gap, abs(found.gap))
        if not np.isnan(explanation.agreement):
            self.agreements.append(explanation.agreement)

    @property
    def numbers(self) -> dict[str, Any]:
        return {
            "records": self.records,
            "without_a_base": self.empty,
            "cut": self.cut,
            "largest_gap": self.largest_gap,
            "gaps_above_tolerance": self.gaps,
            "median_agreement": float(np.median(self.agreements)) if self.agreements else None,
            "normalisation": self.counts,
        }

    def told(self) -> str:
        numbers = (
            f"{self.records:,} records, {self.empty:,} of them without A, C, G or T, {self.cut:,} "
            f"cut; attributions miss at most {self.largest_gap:.2g} of the change of an output"
        )
        if self.agreements:
            numbers += (
                f"; their median correlation with occlusion is {np.median(self.agreements):.2f}"
            )
        return numbers


def explain_command(config: ExplainConfig) -> None:
    """Run ``dnazen explain``.

    Raises
    ------
    InputError
        If the model is not a fine-tuned one, or a sequence or a motif cannot be read, or a
        sequence is too long.
    ConfigError
        If the target is no label of the model.
    OutputError
        If the directory cannot be written.
    """
    inputs = Inputs(config.sequences, config.regions, config.tiles)
    motifs = [motif for path in config.motifs for motif in read_motifs(path)]
    cuda = config.device == "auto" and torch.cuda.is_available()
    classifier = open_classifier(config.model, "cuda" if cuda else "cpu")
    check_classifier(classifier, config)
    account, drawn = _Account(), list[Drawn]()
    with new_directory(config.output) as directory:
        with (
            ExplanationFiles(directory, motifs) as files,
            tqdm(desc="explaining", unit=" records", disable=None) as progress,
        ):
            for number, record in enumerate(inputs):
                explanation = explain_record(classifier, record, config)
                hits = _hits(explanation, motifs, config.max_p)
                files.write(number, record, explanation, hits)
                account.add(record.sequence, explanation)
                if explanation is not None and len(drawn) < config.draw:
                    drawn.append(Drawn(explanation, hits))
                progress.update()
            effects = files.ranked()
        hashed = [
            hash_file(path) for path in (*config.sequences, *config.motifs) if str(path) != "-"
        ]
        write_json(
            directory / "summary.json",
            run_record("explain", config, hashed, **account.numbers, padded_bp=inputs.padded),
        )
        text = explanation_page(
            f"Explanations of {name_of(config.model)}",
            f"{account.told()}.",
            drawn,
            effects,
            motifs,
            {"model": [config.model], "sequences": config.sequences, "motifs": config.motifs},
        )
        (directory / "index.html").write_text(text, encoding="utf-8")
    print(
        f"{config.output}: {account.told()} ({account.counts.summary()}; {inputs.padded:,} bp off "
        "the contigs read as N)",
        file=sys.stderr,
    )
    if account.gaps:
        print(
            f"note: in {account.gaps:,} records the attributions miss more than {GAP:.0%} of the "
            "output's change; raise --steps",
            file=sys.stderr,
        )


def _hits(explanation: Explanation | None, motifs: Sequence[Motif], max_p: float) -> list[Hit]:
    if explanation is None or not motifs:
        return []
    return scan([explanation.sequence], motifs, max_p)
