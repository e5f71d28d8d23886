"""The table of commands. Imports nothing heavy until a command runs."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .errors import DnazenError, Terminated
from .workers.signals import unwind_on_sigterm


class Command(NamedTuple):
    """Where a command lives: its module, settings class and function, and one line of help."""

    module: str
    settings: str
    function: str
    summary: str


COMMANDS: dict[str, Command] = {
    "simulate": Command(
        "sequences.simulate",
        "SimulateConfig",
        "simulate",
        "synthetic genome and labelled task with planted motifs",
    ),
    "tokenizer train": Command(
        "tokens.tokenizer", "TokenizerConfig", "train_command", "train a BPE tokenizer on genomes"
    ),
    "corpus build": Command(
        "tokens.corpus",
        "CorpusConfig",
        "build_command",
        "genomes as a memory-mapped corpus of tokens",
    ),
    "ggrams mine": Command(
        "ggrams.mining.mine", "MineConfig", "mine_command", "mine a G-gram vocabulary from a corpus"
    ),
    "ggrams show": Command(
        "ggrams.show", "ShowConfig", "show_command", "a vocabulary's G-grams as a table"
    ),
    "ggrams stats": Command(
        "ggrams.stats", "StatsConfig", "stats_command", "how G-grams cover sequences: JSON and HTML"
    ),
    "ggrams merge": Command(
        "ggrams.merge", "MergeConfig", "merge_command", "several vocabularies as one"
    ),
    "ggrams compare": Command(
        "ggrams.compare", "CompareConfig", "compare_command", "what two vocabularies share"
    ),
    "ggrams check-leakage": Command(
        "ggrams.leakage",
        "CheckLeakageConfig",
        "check_leakage_command",
        "how much of some sequences a vocabulary was mined from",
    ),
    "ggrams motifs": Command(
        "ggrams.motifs.comparison",
        "MotifsConfig",
        "motifs_command",
        "which G-grams resemble known motifs, beside controls",
    ),
    "pretrain": Command(
        "training.pretrain",
        "PretrainConfig",
        "pretrain",
        "pre-train with whole-G-gram masking",
    ),
    "finetune": Command(
        "training.finetune",
        "FinetuneConfig",
        "finetune",
        "fine-tune on labelled sequences and score the test split",
    ),
    "predict": Command(
        "inference.predict", "PredictConfig", "predict", "predict labels with a fine-tuned model"
    ),
    "embed": Command(
        "inference.embedding",
        "EmbedConfig",
        "embed_command",
        "vectors of sequences, tokens, G-grams",
    ),
    "variants": Command(
        "variation.variants",
        "VariantsConfig",
        "variants",
        "score the alleles of a VCF with a model",
    ),
    "mutagenesis": Command(
        "variation.mutagenesis",
        "MutagenesisConfig",
        "mutagenesis",
        "score every single-base change of a sequence",
    ),
    "explain": Command(
        "explanation.command",
        "ExplainConfig",
        "explain_command",
        "attributions of a fine-tuned model's output: bases, tokens, G-grams",
    ),
    "gue check": Command(
        "gue.tasks",
        "GueCheckConfig",
        "check_command",
        "what a data directory holds of GUE's 28 tasks",
    ),
    "gue run": Command(
        "gue.grid", "GueRunConfig", "gue_run", "models x tasks x seeds of GUE, each cell kept"
    ),
    "gue report": Command(
        "gue.report",
        "ReportConfig",
        "report_command",
        "what a run has found: HTML, Markdown and CSV",
    ),
    "study": Command(
        "study.study",
        "StudyConfig",
        "study",
        "pre-train arms alike, compare on GUE, report",
    ),
    "convert": Command(
        "model.convert",
        "ConvertConfig",
        "convert",
        "DNAZEN and DNABERT-2 release formats, in and out",
    ),
    "demo": Command(
        "commands.demo", "DemoConfig", "demo", "every step on synthetic data, and a report"
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status: 0, or 2 for what the user can fix."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(words)
    except DnazenError as error:
        print(f"dnazen: error: {_one_line(str(error))}", file=sys.stderr)
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk, no permission: the machine's, and the user's to mend
        place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        print(f"dnazen: error: {place}{error.strerror or error}", file=sys.stderr)
    return 2


def run() -> None:
    """The console script: ``main`` with the manners of a Unix filter."""
    unwind_on_sigterm()
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our stdout left; what it wanted, it has
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except KeyboardInterrupt as stop:
        terminated = isinstance(stop, Terminated)
        what = "terminated" if terminated else "interrupted"
        print("; ".join([f"dnazen: {what}", *getattr(stop, "__notes__", ())]), file=sys.stderr)
        status = 128 + (signal.SIGTERM if terminated else signal.SIGINT)
    sys.exit(status)


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview(COMMANDS))
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        from importlib.metadata import version

        print(f"dnazen {version('dnazen')}")
        return 0
    for length in (2, 1):
        command = COMMANDS.get(" ".join(words[:length]))
        if command is not None:
            return _run(command, " ".join(words[:length]), words[length:])
    group = {name: c for name, c in COMMANDS.items() if name.split()[0] == words[0]}
    if group and words[1:] and words[1] in ("-h", "--help"):
        print(_overview(group))
        return 0
    known = group or COMMANDS
    raise DnazenError(
        f"no command '{' '.join(words[:2] if group else words[:1])}'; expected one of "
        f"{', '.join(known)}; see 'dnazen --help'"
    )


def _run(command: Command, name: str, words: list[str]) -> int:
    import tyro

    from .settings import recipe_flags

    module = importlib.import_module(f"dnazen.{command.module}")
    settings_class = getattr(module, command.settings)
    if words and words[0].endswith(".toml"):
        words = recipe_flags(Path(words[0]), settings_class) + words[1:]
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            settings = tyro.cli(settings_class, args=words, prog=f"dnazen {name}")
    except SystemExit as stop:
        if stop.code in (0, None):
            return 0
        raise DnazenError(_plain_complaint(complaint.getvalue(), name)) from None
    getattr(module, command.function)(settings)
    return 0


def _overview(commands: dict[str, Command]) -> str:
    width = max(map(len, commands))
    lines = [f"  {name:<{width}}  {command.summary}" for name, command in commands.items()]
    return "\n".join(
        [
            "usage: dnazen COMMAND [RECIPE.toml] [flags]",
            "",
            "DNA language models that read tokens and G-grams.",
            "",
            "commands:",
            *lines,
            "",
            "'dnazen COMMAND --help' tells its settings. A recipe holds flags written down;",
            "a flag on the command line wins over it.",
        ]
    )


def _plain_complaint(boxed: str, name: str) -> str:
    """The parser's framed message as one line."""
    bare = re.sub(r"\x1b\[[0-9;]*m|[╭╮╰╯│─]+", " ", boxed)
    bare = _one_line(bare).replace("For full helptext, run", "; see").strip()
    bare = re.sub(
        r"^(Unrecognized options|Required options|Parsing error|Missing subcommand) ", "", bare
    )
    return f"{bare}" if "--help" in bare else f"{bare}; see 'dnazen {name} --help'"


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    run()
