"""Kills and damaged files, seeded: ``python tests/torture.py --trials 1000 --seed 1``.

A kill may come at any call that changes the file system. After it an output is whole or absent, the
same command again succeeds, and nothing else is left. A damaged file is read, or refused in one
line. Each trial is a forked process of its own, so a crash of native code is seen too.
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import io
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from dnazen.cli import command, main
from dnazen.errors import DnazenError
from dnazen.ggrams.motifs.meme import read_motifs
from dnazen.ggrams.vocabulary import GGramVocabulary
from dnazen.records import read_json
from dnazen.sequences.reader import read_records
from dnazen.settings import recipe_flags
from dnazen.tokens.corpus import Corpus

CALLS = ("replace", "rename", "unlink", "rmdir", "mkdir", "open")
TINY = "--genome-bp 3000 --train 6 --dev 4 --test 4"


def kill_at(number: int) -> None:
    """Let the N-th call that changes the file system be the last one of this process."""
    left = [number]

    def counted(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **more: object) -> object:
            result = real(*arguments, **more)
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    builtins.open = io.open = counted(open)  # type: ignore[assignment]


def forked(work: Callable[[], object]) -> int:
    """What a process of its own ends with: 0, 2 for what the user can fix, or -signal."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
                try:
                    work()
                    status = 0
                except DnazenError as error:
                    status = 2 if "\n" not in str(error) else 1
        except BaseException:
            traceback.print_exc()
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(line: str) -> int:
    """The exit status of a command line, in a process of its own."""

    def work() -> None:
        with contextlib.redirect_stderr(io.StringIO()):
            status = main(line.split())
        if status:
            raise DnazenError(line)

    return forked(work)


def commands_of(folder: Path) -> dict[str, str]:
    """Command lines by the name of their output in ``folder``."""
    data, tokenizer = folder / "data", folder / "tokenizer"
    return {
        "data": f"simulate {TINY} -o {data}",
        "tokenizer": f"tokenizer train {data}/genome.fa --vocab-size 64 -o {tokenizer}",
        "corpus": f"corpus build {data}/genome.fa --tokenizer {tokenizer} -o {folder}/corpus",
        "ggrams.tsv": f"ggrams mine {folder}/corpus --min-count 2 -o {folder}/ggrams.tsv",
    }


def contents(path: Path) -> set[str]:
    """The names of all files of an output."""
    return {str(file.relative_to(path)) for file in [path, *path.rglob("*")]}


def try_kill(ground: Path, folder: Path, rng: random.Random) -> None:
    """Kill a command at a random call, and run it again."""
    name, line = rng.choice(list(commands_of(ground).items()))
    output = folder / name
    line = line.replace(str(ground / name), str(output))
    number = rng.randrange(1, 60)

    def killed() -> None:
        kill_at(number)
        main(line.split())

    with contextlib.redirect_stderr(io.StringIO()):
        status = forked(killed)
    where = f"{line} (killed at call {number})"
    assert status in (0, -signal.SIGKILL), f"{where}: ended with {status}"
    if output.exists():
        assert contents(output) == contents(ground / name), f"{where}: half an output"
    if status or not output.is_dir():
        if output.is_dir():
            shutil.rmtree(output)  # whole, but the command does not replace it
        assert run(line) == 0, f"{where}: the next run fails"
    assert contents(output) == contents(ground / name), f"{where}: not whole"
    left = {path.name for path in folder.iterdir()} - {name}
    assert not left, f"{where}: {left} is left"


def readers(ground: Path) -> list[tuple[Path, Callable[[Path], object]]]:
    """Files, and what reads them."""
    settings = command("finetune").settings
    recipe = ground / "recipe.toml"
    recipe.write_text('epochs = 3\npooling = "mean"\n[optimizer]\nlearning_rate = 1e-3\n')
    return [
        (ground / "data/genome.fa", lambda path: list(read_records(path))),
        (ground / "data/train.csv", lambda path: list(read_records(path))),
        (ground / "data/motifs.meme", read_motifs),
        (ground / "ggrams.tsv", GGramVocabulary.load),
        (ground / "corpus/corpus.json", lambda path: read_json(path, "a record", {"tokens": int})),
        (ground / "corpus/offsets.npy", lambda path: Corpus.open(path.parent)),
        (recipe, lambda path: recipe_flags(path, settings)),
    ]


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Some bytes with a few places changed, cut out, doubled or put in."""
    for _ in range(rng.randrange(1, 4)):
        start = rng.randrange(len(data) + 1)
        end = min(len(data), start + rng.choice((1, 1, 2, 10, 1000)))
        put = rng.choice((b"", data[start:end] * 2, rng.randbytes(end - start), b"\0", b"9" * 5000))
        data = data[:start] + put + data[end:]
    return data


def try_damage(ground: Path, folder: Path, rng: random.Random) -> None:
    """Read a damaged copy of a file."""
    path, read = rng.choice(readers(ground))
    copy = folder / path.name
    if path.parent.name == "corpus":
        shutil.copytree(path.parent, folder, dirs_exist_ok=True)
    copy.write_bytes(damaged(path.read_bytes(), rng))
    status = forked(lambda: read(copy))
    if status not in (0, 2):
        kept = Path(tempfile.mkdtemp(prefix="torture-"), path.name)
        shutil.copy(copy, kept)
        raise AssertionError(f"{path.name}: ended with {status}; the file is {kept}")


def torture(trials: int, seed: int) -> list[str]:
    """What went wrong in so many trials of each kind."""
    problems = []
    with tempfile.TemporaryDirectory() as name:
        ground = Path(name, "ground")
        ground.mkdir()
        for line in commands_of(ground).values():
            assert run(line) == 0, line
        for number in range(trials):
            for attempt in (try_kill, try_damage):
                rng = random.Random(f"{seed} {number} {attempt.__name__}")
                folder = Path(name, "trial")
                folder.mkdir()
                try:
                    attempt(ground, folder, rng)
                except AssertionError as error:
                    problems.append(f"seed {seed}, trial {number}: {error}")
                shutil.rmtree(folder)
    return problems


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    problems = torture(options.trials, options.seed)
    print(*problems, f"{len(problems)} problems in {2 * options.trials} trials", sep="\n")
    sys.exit(bool(problems))
