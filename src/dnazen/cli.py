"""The table of commands. Imports nothing heavy until a command runs."""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from .errors import DnazenError, Terminated
from .outputs import refuse_inputs
from .tables import printable
from .workers.signals import unwind_on_sigterm

COMMANDS = {
    "simulate": "synthetic genome and labelled task with planted motifs",
    "tokenizer train": "train a BPE tokenizer on genomes",
    "corpus build": "genomes as a memory-mapped corpus of tokens",
    "ggrams mine": "mine a G-gram vocabulary from a corpus",
    "ggrams show": "a vocabulary's G-grams as a table",
    "ggrams stats": "how G-grams cover sequences: JSON and HTML",
    "ggrams merge": "several vocabularies as one",
    "ggrams compare": "what two vocabularies share",
    "ggrams check-leakage": "how much of some sequences a vocabulary was mined from",
    "ggrams motifs": "which G-grams resemble known motifs, beside controls",
    "pretrain": "pre-train with whole-G-gram masking",
    "dataset": "labelled data from a genome and BED files, with matched negatives",
    "finetune": "fine-tune on labelled sequences and score the test split",
    "search": "search for the settings of finetune that are the best on dev",
    "predict": "predict labels with a fine-tuned model",
    "embed": "vectors of sequences, tokens, G-grams",
    "variants": "score the alleles of a VCF with a model",
    "mutagenesis": "score every single-base change of a sequence",
    "explain": "attributions of a fine-tuned model's output: bases, tokens, G-grams",
    "gue check": "what a data directory holds of GUE's 28 tasks",
    "gue run": "models x tasks x seeds of GUE, each cell kept",
    "gue report": "scores and comparisons of a run: HTML, Markdown and CSV",
    "study": "pre-train arms alike, compare on GUE, report",
    "convert": "DNAZEN and DNABERT-2 release formats, in and out",
    "export": "a model outside Python: ONNX files, or a page for a browser",
    "demo": "every step on synthetic data, and a report",
}
"""Every command with one line of help. The module of ``ggrams check-leakage`` is
``commands/ggrams_check_leakage.py``; the type of its ``run``'s argument is its settings."""


_QUIET = "--quiet"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit status: 0, or 2 for what the user can fix."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = _dispatch(words)
        sys.stdout.flush()
        return status
    except DnazenError as error:
        problem = str(error)
    except BrokenPipeError:
        raise
    except OSError as error:  # a full disk, no permission: the machine's, and the user's to mend
        problem = _problem_of_machine(error)
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        problem = "not enough memory; lower the sizes that were set, or use a larger machine"
    print(f"dnazen: error: {printable(_one_line(problem))}", file=sys.stderr)
    return 2


def run() -> None:
    """The console script: ``main`` with the manners of a Unix filter."""
    _open_closed_streams()
    unwind_on_sigterm()
    # Threads that wait for others spin for microseconds and then sleep: one other process on the
    # machine would else slow a training down several times. Read when PyTorch is loaded, later.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        status = main()
    except BrokenPipeError:  # the reader of our stdout left; what it wanted, it has
        status = 0
    except KeyboardInterrupt as stop:
        terminated = isinstance(stop, Terminated)
        what = "terminated" if terminated else "interrupted"
        print("; ".join([f"dnazen: {what}", *getattr(stop, "__notes__", ())]), file=sys.stderr)
        status = 128 + (signal.SIGTERM if terminated else signal.SIGINT)
    try:
        sys.stdout.flush()
    except OSError:  # reported above; it must not fail again as Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def _open_closed_streams() -> None:
    """Give a standard stream that is closed a place where its use fails, and stderr one without.

    Else the next file that is opened would take its number, and what is printed would go there.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            barred = os.O_RDONLY if name == "stdout" else os.O_WRONLY
            descriptor = os.open(os.devnull, barred)
            if descriptor != number:
                os.dup2(descriptor, number)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files need not be UTF-8


def _problem_of_machine(error: OSError) -> str:
    if error.filename is None and error.errno == errno.EBADF:
        return "standard input or output is closed; expected it open, or name a file"
    place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return f"{place}{error.strerror or error}"


def _is_out_of_memory(error: Exception) -> bool:
    """Whether Python, or PyTorch on a CPU or a GPU, was refused memory."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview(COMMANDS))
        return 0 if words else 2
    if words[0] in ("-V", "--version"):
        from .records import package_version

        print(f"dnazen {package_version()}")
        return 0
    if words[0] == "--print-completion":
        from .completion import completion_script

        settings = {name: command(name).settings for name in COMMANDS}
        print(completion_script(" ".join(words[1:]), settings))
        return 0
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in COMMANDS:
            return _run(name, words[length:])
    group = {name: line for name, line in COMMANDS.items() if name.split()[0] == words[0]}
    if group and words[1:] and words[1] in ("-h", "--help"):
        print(_overview(group))
        return 0
    candidates = group or COMMANDS
    name = " ".join(words[:2] if group else words[:1])
    close = difflib.get_close_matches(name.split(" ")[-1], [c.split()[-1] for c in candidates], n=1)
    meant = next((c for c in candidates if close and c.split()[-1] == close[0]), None)
    hint = f"did you mean '{meant}'" if meant else f"expected one of {', '.join(candidates)}"
    raise DnazenError(f"no command '{name}'; {hint}; see 'dnazen --help'")


class Command(NamedTuple):
    """What a command's module holds."""

    settings: type[Any]
    run: Callable[[Any], object]


def command(name: str) -> Command:
    """Import the module of a command."""
    module = importlib.import_module(f"dnazen.commands.{re.sub('[ -]', '_', name)}")
    (settings,) = (kind for key, kind in get_type_hints(module.run).items() if key != "return")
    return Command(settings, module.run)


def _run(name: str, words: list[str]) -> int:
    import tyro

    from .completion import flags_of
    from .settings import paths_in, recipe_flags, require_finite

    settings_class, run = command(name)
    recipe, flags = "", []
    if words and words[0].endswith(".toml"):
        recipe, *words = words
        flags = recipe_flags(Path(recipe), settings_class)
    quiet = _QUIET in words
    words = [word for word in words if word != _QUIET]
    _require_known_flags(words, list(flags_of(settings_class)), name)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            settings = tyro.cli(settings_class, args=flags + words, prog=f"dnazen {name}")
    except SystemExit as stop:
        if stop.code in (0, None):
            print(f"{_QUIET} leaves results (stdout) and errors, and no other word.")
            return 0
        problem = _plain_complaint(complaint.getvalue(), name)
        flag = problem.partition(":")[0]
        from_recipe = flag in flags and flag not in words
        raise DnazenError(f"{recipe}: {problem}" if from_recipe else problem) from None
    require_finite(settings)
    output = getattr(settings, "output", None)
    if isinstance(output, Path):
        refuse_inputs(output, [path for path in paths_in(settings) if path is not output])
    with _silent_stderr() if quiet else contextlib.nullcontext():
        run(settings)
    return 0


@contextlib.contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drop progress and notes; errors are told by ``main``, once this has ended."""
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def _require_known_flags(words: Sequence[str], flags: Sequence[str], name: str) -> None:
    """Raise DnazenError at the first word that is a flag of nothing, with the one that was meant.

    The parser itself tells of what is missing first.
    """
    for word in words:
        flag = word.partition("=")[0].replace("_", "-")
        if not re.match(r"--?[A-Za-z]", flag) or flag in (*flags, "-h", "--help"):
            continue
        last = flag.lstrip("-")
        longer = [one for one in flags if one.startswith(flag) or one.endswith(f".{last}")]
        close = longer[:1] or difflib.get_close_matches(flag, flags, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise DnazenError(f"unknown option {flag}{hint}; see 'dnazen {name} --help'")


def _overview(commands: Mapping[str, str]) -> str:
    width = max(map(len, commands))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in commands.items()]
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
            f"a flag on the command line wins over it. {_QUIET} with any command leaves results",
            "and errors, and no other word. 'dnazen --print-completion bash' (zsh, fish)",
            "writes a script that completes commands and flags.",
        ]
    )


def _plain_complaint(boxed: str, name: str) -> str:
    """The parser's framed message as one line."""
    bare = re.sub(r"\x1b\[[0-9;]*m|[╭╮╰╯│─]+|-{5,}", " ", boxed)
    bare = _one_line(bare).replace("For full helptext, run", "; see").strip()
    bare = re.sub(
        r"^(Unrecognized options|Required options|Parsing error|Missing subcommand"
        r"|Missing argument|Value error Error parsing|Invalid choice) ",
        "",
        bare,
    )
    bare = re.sub(r" Argument helptext: .*For full helptext, see ", "; see ", bare)
    bare = re.sub(
        r"invalid literal for int\(\) with base 10:", "expected a whole number, got", bare
    )
    bare = bare.replace("could not convert string to float:", "expected a number, got")
    bare = re.sub(_NO_KIND, _of_several_kinds, bare)
    bare = re.sub(r"\.? ?; see", "; see", bare)
    return bare if "--help" in bare else f"{bare}; see 'dnazen {name} --help'"


_NO_KIND = (
    r"no type matching \S+ could be instantiated from \['(.*?)'\]\. Got errors: (.*?)(?=; see)"
)


def _of_several_kinds(complaint: re.Match[str]) -> str:
    """One sentence of what the parser tells of each kind that a setting may have."""
    value, kinds = complaint[1], complaint[2]
    number = "a whole number" if "<class 'int'>" in kinds else "a number"
    wanted = [number] if re.search(r"<class '(int|float)'>", kinds) else []
    for words in re.findall(r"choices \((.*?),?\)", kinds):
        wanted += [word.strip(" '") for word in words.split(",")]
    return f"expected {' or '.join(wanted)}, got '{value}'" if wanted else complaint[0]


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    run()
