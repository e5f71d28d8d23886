"""What a shell completes, in bash itself, against the help of each command."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
import tyro
from tyro.conf import Positional

from dnazen.cli import COMMANDS, command, main
from dnazen.completion import completion_script, flags_of
from dnazen.errors import ConfigError
from dnazen.settings import FLAT


@dataclass(frozen=True, kw_only=True)
class Inner:
    kind: Literal["plain", "fancy"] | None = None
    fast: bool = False


@dataclass(frozen=True, kw_only=True)
class Outer:
    files: Positional[tuple[Path, ...]]
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    max_steps: int = 1
    deep: Inner = field(default_factory=Inner)
    near: Annotated[Inner, FLAT] = field(default_factory=Inner)


COMMANDS_OF_OURS = {"make": Outer, "look at": Inner, "look back": Outer}


def completed(line: str, script: str) -> set[str]:
    """What bash offers for the last word of a line."""
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    done = subprocess.run(
        [
            "bash",
            "-c",
            f"{script}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _dnazen; "
            'printf "%s\\n" "${COMPREPLY[@]}"',
        ],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split())


def test_flags_are_those_of_the_settings():
    choices = ("plain", "fancy")
    assert flags_of(Outer) == {
        "--output": (),
        "-o": (),
        "--max-steps": (),
        "--deep.kind": choices,
        "--deep.fast": (),
        "--deep.no-fast": (),
        "--kind": choices,
        "--fast": (),
        "--no-fast": (),
    }


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("dnazen ", {"make", "look", "--help", "--version"}),
        ("dnazen ma", {"make"}),
        ("dnazen look ", {"at", "back"}),
        ("dnazen look b", {"back"}),
        ("dnazen make --m", {"--max-steps"}),
        ("dnazen make x.fa --deep.", {"--deep.kind", "--deep.fast", "--deep.no-fast"}),
        ("dnazen make --deep.kind ", {"plain", "fancy"}),
        ("dnazen look at --kind f", {"fancy"}),
        ("dnazen look at -", {"--help", "--quiet", "--kind", "--fast", "--no-fast"}),
        ("dnazen make x", set()),
        ("dnazen nonsense -", set()),
    ],
)
def test_bash_offers_what_may_follow(line, offered):
    assert completed(line, completion_script("bash", COMMANDS_OF_OURS)) == offered


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("dnazen ", {"make", "look"}),
        ("dnazen look b", {"back"}),
        ("dnazen make --max", {"--max-steps"}),
        ("dnazen make --deep.kind ", {"plain", "fancy"}),
        ("dnazen look at --kind f", {"fancy"}),
        ("dnazen look at --", {"--help", "--quiet", "--kind", "--fast", "--no-fast"}),
    ],
)
def test_fish_offers_what_may_follow(line, offered):
    script = completion_script("fish", COMMANDS_OF_OURS)
    words = ["fish", "--no-config", "-c", f"{script}\ncomplete -C '{line}'"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert {one.split("\t")[0] for one in done.stdout.splitlines()} == offered


def words_beside_a_number(action):
    """Of a flag that takes a number or a word, such as FLOAT|{auto}: the words."""
    parts = (action.metavar or "").split("|") if isinstance(action.metavar, str) else []
    return [part[1:-1] for part in parts if re.fullmatch(r"\{[a-z]+\}", part)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_s_flags_are_those_that_it_takes(name):
    settings = command(name).settings
    with pytest.deprecated_call():  # an oracle is all that it is here
        parser = tyro.extras.get_parser(settings)
    taken = {flag for action in parser._actions for flag in action.option_strings}
    assert flags_of(settings).keys() == taken - {"-h", "--help"}
    choices_of = {
        flag: some
        for action in parser._actions
        for flag in action.option_strings
        if (some := set(map(str, action.choices or words_beside_a_number(action))) - {"None"})
    }
    assert {flag: set(some) for flag, some in flags_of(settings).items() if some} == choices_of


def test_scripts_for_other_shells_name_every_flag():
    for shell in ("zsh", "fish"):
        script = completion_script(shell, COMMANDS_OF_OURS)
        assert script.startswith(f"# {shell}: ")
        assert "max-steps" in script
        assert "look back" in script
    with pytest.raises(ConfigError, match="must be one of bash, zsh, fish, got 'tcsh'"):
        completion_script("tcsh", COMMANDS_OF_OURS)


def test_the_command_line_prints_it(capsys):
    assert main(["--print-completion", "bash"]) == 0
    assert "_dnazen()" in capsys.readouterr().out
    assert main(["--print-completion"]) == 2
    assert "must be one of bash, zsh, fish" in capsys.readouterr().err
