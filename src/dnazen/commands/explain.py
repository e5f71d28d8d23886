"""``dnazen explain``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ..errors import ConfigError
from ..explanation.settings import ExplanationConfig
from ..sequences.settings import RegionConfig, TileConfig
from ..settings import FLAT, require_numbers

if TYPE_CHECKING:
    from ..explanation.page import Drawn


@dataclass(frozen=True, kw_only=True)
class ExplainCommand:
    """Explain a fine-tuned model's output, base by base and G-gram by G-gram.

    Writes sequences.tsv, tokens.tsv, ggrams.tsv, ggram_summary.tsv, bedGraph and BED tracks,
    summary.json, and index.html, which draws the first sequences.
    """

    model: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="MODEL")]
    """Directory that 'dnazen finetune' wrote, or ORG/NAME[@REVISION] of the Hugging Face hub."""
    sequences: Annotated[
        tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="SEQUENCES...")
    ]
    """FASTA, FASTQ, table with a column 'sequence', or a sequence a line; plain, gzip or bgzip;
    2bit; '-' for stdin."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """New directory."""
    explanation: Annotated[ExplanationConfig, FLAT] = field(default_factory=ExplanationConfig)
    motifs: tuple[Path, ...] = ()
    """Motif files in MEME format, whose hits are written and drawn too."""
    max_p: float = 1e-4
    """A motif hits where its p-value (FIMO) is at most this."""
    regions: Annotated[RegionConfig, FLAT] = field(default_factory=RegionConfig)
    tiles: Annotated[TileConfig, FLAT] = field(default_factory=TileConfig)
    draw: int = 10
    """Sequences to draw, the first ones, up to 10,000."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: a GPU where there is one."""

    def __post_init__(self) -> None:
        require_numbers(self, names="draw", least=0, most=10_000)
        if not 0 < self.max_p <= 1:
            raise ConfigError(f"max_p must be above 0 and at most 1, got {self.max_p}")


def run(settings: ExplainCommand) -> None:
    """Write tables, tracks and the page, and say what became of the records."""
    from tqdm import tqdm

    from ..explanation.account import GAP, ExplanationAccount
    from ..explanation.explanation import explain_record, require_explainable
    from ..explanation.files import ExplanationFiles
    from ..explanation.page import Drawn, explanation_page
    from ..ggrams.motifs.meme import read_motifs
    from ..ggrams.motifs.similarity import scan
    from ..inference.opened import OpenedModel
    from ..outputs import new_directory
    from ..records import hash_file, run_record, write_json
    from ..report.text import name_of
    from ..sequences.inputs import Inputs

    inputs = Inputs(settings.sequences, settings.regions, settings.tiles)
    motifs = [motif for path in settings.motifs for motif in read_motifs(path)]
    model = OpenedModel.open(settings.model, settings.device)
    require_explainable(model, settings.explanation)
    account = ExplanationAccount()
    drawn: list[Drawn] = []
    with new_directory(settings.output) as directory:
        with (
            ExplanationFiles(directory, motifs) as files,
            tqdm(desc="explaining", unit=" records", disable=None) as progress,
        ):
            for number, record in enumerate(inputs):
                explanation = explain_record(model, record, settings.explanation)
                hits = []
                if explanation is not None and motifs:
                    hits = scan([explanation.sequence], motifs, settings.max_p)
                files.write(number, record, explanation, hits)
                account.add(record.sequence, explanation)
                if explanation is not None and len(drawn) < settings.draw:
                    drawn.append(Drawn(explanation, hits))
                progress.update()
            effects = files.ranked()
        paths = [path for path in (*settings.sequences, *settings.motifs) if path.is_file()]
        record_of_run = run_record(
            "explain",
            settings,
            map(hash_file, paths),
            model=model.origin.record,
            **account.numbers,
            padded_bp=inputs.padded,
        )
        write_json(directory / "summary.json", record_of_run)
        page = explanation_page(
            f"Explanations of {name_of(settings.model)}",
            f"{account.sentence()}.",
            drawn,
            effects,
            motifs,
            {
                "model": [settings.model],
                "sequences": settings.sequences,
                "motifs": settings.motifs,
            },
        )
        (directory / "index.html").write_text(page, encoding="utf-8")
    print(
        f"{settings.output}: {account.sentence()} ({account.counts.summary()}; {inputs.padded:,} "
        "bp off the contigs read as N)",
        file=sys.stderr,
    )
    if account.gaps:
        print(
            f"note: in {account.gaps:,} records the attributions miss more than {GAP:.0%} of the "
            "output's change; raise --steps",
            file=sys.stderr,
        )
