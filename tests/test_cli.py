"""The command line: help, one-line errors, recipes under flags, and the manners of a filter."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Annotated, get_args, get_type_hints

import pytest
import tyro
from tyro.conf import Positional

from dnazen import cli
from dnazen.cli import COMMANDS, command, main
from dnazen.errors import InputError, Terminated
from dnazen.records import plain
from dnazen.settings import fields_by_name, read_recipe, recipe_flags

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "src/dnazen/recipes").glob("*.toml"))


def settings_of(name: str) -> type:
    return command(name).settings


def one_line_of(capsys) -> str:
    """The only line on stderr, without the program's name; nothing may be on stdout."""
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert err.startswith("dnazen: error: ")
    return err.removeprefix("dnazen: error: ").strip()


# -- a command of our own, so that these tests speak of the command line alone


@dataclass(frozen=True, kw_only=True)
class EchoConfig:
    """Say what was set."""

    files: Positional[tuple[Path, ...]] = ()
    """Files."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Where to."""
    steps: int = 1
    """How many."""
    fast: bool = False
    """A switch."""


@pytest.fixture
def echo(monkeypatch):
    """The settings that ``dnazen echo`` ran with; ``echo.fails`` is raised if set."""
    module = ModuleType("dnazen.commands.echo")
    module.EchoConfig = EchoConfig
    module.seen = []
    module.fails = None

    def run(settings: EchoConfig) -> None:
        module.seen.append(settings)
        if module.fails is not None:
            raise module.fails

    module.run = run
    monkeypatch.setitem(sys.modules, "dnazen.commands.echo", module)
    monkeypatch.setitem(COMMANDS, "echo", "say it")
    return module


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_the_overview_lists_every_command(capsys, words):
    assert main(words) == (0 if words else 2)
    text = capsys.readouterr().out
    for name, summary in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(summary)}$", text, re.MULTILINE)


def test_a_group_lists_its_own(capsys):
    assert main(["ggrams", "--help"]) == 0
    text = capsys.readouterr().out
    assert "ggrams mine" in text
    assert "pretrain" not in text


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert re.fullmatch(r"dnazen \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_every_setting(capsys, name):
    assert main([*name.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert f"usage: dnazen {name}" in text
    for setting, kind in fields_by_name(settings_of(name)).items():
        if "Positional" not in str(kind):
            flag = setting.replace("_", "-")
            assert re.search(rf"--(\w+\.)*(no-)?{flag}\b", text) or f"{flag} options" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ecoh", "-o", "x"], "no command 'ecoh'; did you mean 'echo'; see 'dnazen --help'"),
        (["xyz"], "no command 'xyz'; expected one of simulate, tokenizer train"),
        (["ggrams", "find"], "no command 'ggrams find'; expected one of ggrams mine"),
        (["ggrams"], "no command 'ggrams'; expected one of ggrams mine"),
        (["--loud"], "no command '--loud'"),
        ([""], "no command ''; expected one of"),
        ([" "], "no command ' '; expected one of"),
        (["echo"], "Missing from dnazen echo: -o PATH, --output PATH"),
        (["echo", "-o", "x", "--stepz", "3"], "unknown option --stepz; did you mean --steps?"),
        (["echo", "--stepz=3"], "unknown option --stepz; did you mean --steps?"),
        (["echo", "--st", "3", "-o", "x"], "unknown option --st; did you mean --steps?"),
        (["echo", "--xyzzy"], "unknown option --xyzzy; see 'dnazen echo --help'"),
        (["echo", "-q", "-o", "x"], "unknown option -q"),
        (["finetune", "--pool", "cls"], "unknown option --pool; did you mean --pooling?"),
        (["finetune", "--learning-rate", "1"], "did you mean --optimizer.learning-rate?"),
        (
            ["echo", "-o", "x", "--steps", "many"],
            "--steps: expected a whole number, got 'many'; see",
        ),
        (
            ["finetune", "--data", "D", "--model", "M", "-o", "O", "--epochs", "many"],
            "--epochs: expected a whole number or auto, got 'many'; see",
        ),
        (
            ["embed", "M", "S", "-o", "V.npy", "--max-tokens", "x"],
            "--max-tokens: expected a whole number or None, got 'x'; see",
        ),
        (["echo", "-o", "x", "--steps"], "--steps"),
        (["echo", "absent.toml", "-o", "x"], "absent.toml: no such recipe"),
    ],
)
def test_a_wrong_word_is_one_line_and_status_2(capsys, echo, words, message):
    assert main(words) == 2
    line = one_line_of(capsys)
    assert message in line
    assert "--help" in line or "recipe" in line
    assert not re.search(r"[╭╮╰╯│─\x1b]", line)
    assert not echo.seen


def test_a_flag_wins_over_the_recipe_and_the_recipe_over_the_default(echo, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text("steps = 5\nfast = true\n")
    out = Path("x")
    for words, expected in (
        (["-o", "x"], EchoConfig(output=out)),
        ([str(recipe), "-o", "x"], EchoConfig(output=out, steps=5, fast=True)),
        ([str(recipe), "-o", "x", "--steps", "7"], EchoConfig(output=out, steps=7, fast=True)),
        ([str(recipe), "-o", "x", "--no-fast"], EchoConfig(output=out, steps=5)),
        (["a", "b", "-o", "x"], EchoConfig(output=out, files=(Path("a"), Path("b")))),
    ):
        assert main(["echo", *words]) == 0
        assert echo.seen.pop() == expected


def test_a_wrong_key_of_a_recipe_is_named_with_its_file(capsys, echo, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text("stepz = 5\n")
    assert main(["echo", str(recipe), "-o", "x"]) == 2
    line = one_line_of(capsys)
    assert line.startswith(f"{recipe}: unknown setting 'stepz'; expected one of fast, files")


def test_a_wrong_value_of_a_recipe_is_one_line(capsys, echo, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text("steps = 'many'\n")
    assert main(["echo", str(recipe), "-o", "x"]) == 2
    problem = "--steps: expected a whole number, got 'many'; see dnazen echo --help"
    assert one_line_of(capsys) == f"{recipe}: {problem}"
    assert main(["echo", str(recipe), "-o", "x", "--steps", "many"]) == 2  # not the recipe's fault
    assert one_line_of(capsys) == problem


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (InputError("bad\n  thing", path="f", line=3), "f:3: bad thing"),
        (MemoryError(), "not enough memory; lower the sizes"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "not enough mem"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "/x: Permission denied"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", b"/y"), "/y: No such file"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_status_2(capsys, echo, error, message):
    echo.fails = error
    assert main(["echo", "-o", "x"]) == 2
    assert one_line_of(capsys).startswith(message)


def test_messages_hold_no_control_characters(capsys, echo):
    echo.fails = InputError("no contig '\x1b]0;owned\x07\x9b31mchr\u202e'", path="a\udcff\x1b.fa")
    assert main(["echo", "-o", "x"]) == 2
    line = one_line_of(capsys)
    assert line.isprintable()
    assert line == r"a\xff\x1b.fa: no contig '\x1b]0;owned\x07\x9b31mchr\u202e'"


def test_an_output_that_is_an_input_is_refused_before_work(capsys, echo, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_text("mine")
    assert main(["echo", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(tmp_path / "b")]) == 2
    assert "b: is an input too" in one_line_of(capsys)
    assert not echo.seen
    assert main(["echo", str(tmp_path / "a"), "-o", str(tmp_path / "b")]) == 0


def test_closed_streams_take_nothing_and_say_so():
    script = """
import os, sys
from dnazen import cli
from dnazen.errors import DnazenError
cli._open_closed_streams()
def read(words): sys.stdin.read(); return 0
def write(words): print("x"); return 0
def both(words): print("to nobody", file=sys.stderr); return 0
for work in (read, both, write):
    cli._dispatch = work
    os.write(9, str(cli.main([])).encode())
"""
    reader, writer = os.pipe()
    done = subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" 9>&{writer} <&- >&-', sys.executable, script],
        stderr=subprocess.PIPE,
        pass_fds=[writer],
        text=True,
    )
    os.close(writer)
    statuses = os.read(reader, 100)
    assert (done.returncode, statuses) == (120, b"202"), done.stderr  # 120: Python's own flush
    assert done.stderr.count("dnazen: error: standard input or output is closed;") == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_standard_output_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dnazen", "--help"], stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == 2
    assert done.stderr == b"dnazen: error: No space left on device\n"


def test_our_own_bugs_keep_their_traceback(echo):
    echo.fails = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        main(["echo", "-o", "x"])


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (KeyboardInterrupt(), 130, "dnazen: interrupted; add --resume to go on\n"),
        (Terminated(), 143, "dnazen: terminated; add --resume to go on\n"),
        (None, 0, ""),
    ],
)
def test_an_interrupt_has_its_status_and_tells_how_to_go_on(
    monkeypatch, capsys, echo, error, status, line
):
    if error is not None:
        error.add_note("add --resume to go on")
    echo.fails = error
    monkeypatch.setattr(cli, "unwind_on_sigterm", lambda: None)  # not in the process of the tests
    monkeypatch.setattr(sys, "argv", ["dnazen", "echo", "-o", "x"])
    with pytest.raises(SystemExit) as stop:
        cli.run()
    assert stop.value.code == status
    assert capsys.readouterr().err == line


def test_a_reader_that_leaves_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "dnazen.cli", "--help"],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", [["tokenizer", "train"], ["corpus", "build", "--tokenizer", "T"]])
def test_a_full_disk_is_one_line_and_no_output(ground, tmp_path, words):
    words = [str(ground.tokenizer) if word == "T" else word for word in words]
    # The system refuses to write more than 2 kB to a file, as it does on a full disk.
    script = (
        "import resource, sys; from dnazen.cli import main\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words, str(ground.genome), "-o", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
    )
    assert done.returncode == 2, done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("dnazen: error: ")]
    assert len(errors) == 1
    assert "cannot be written (File too large); free some space" in errors[0]
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


# -- recipes


def command_of(recipe: Path) -> str:
    """The command that a recipe's file name begins with."""
    name = max((c for c in COMMANDS if recipe.stem.startswith(c.replace(" ", "-"))), key=len)
    assert name in recipe.read_text().split("\n\n")[0], "the first comment shows the command"
    return name


def required(settings: type, recipe: dict, prefix: str = "") -> list[str]:
    """Words for every setting that has no default and does not stand in the recipe."""
    hints = get_type_hints(settings, include_extras=True)
    words = []
    for setting in dataclasses.fields(settings):
        kind = hints[setting.name]
        flag = f"--{prefix}{setting.name.replace('_', '-')}"
        value = recipe.get(setting.name)
        if "FLAT" in str(setting.type):
            words += required(get_args(kind)[0], recipe, prefix)
        elif isinstance(value, dict) and dataclasses.is_dataclass(kind):
            words += required(kind, value, f"{flag[2:]}.")
        elif value is None and setting.default is setting.default_factory is dataclasses.MISSING:
            words += ["x"] if "Positional" in str(kind) else [flag, "x"]
    return words


def includes(settings: dict | list, recipe: dict) -> bool:
    if isinstance(settings, list):  # of named things, which are tables in a recipe
        settings = {setting["name"]: setting for setting in settings}
    by_name = {key.replace("-", "_"): value for key, value in settings.items()}
    stated = {key.replace("-", "_"): value for key, value in recipe.items()}
    return all(
        includes(by_name[key], value) if isinstance(value, dict) else by_name[key] == value
        for key, value in stated.items()
    )


def test_there_are_recipes():
    assert RECIPES


@pytest.mark.parametrize("folder", ["", "recipes/"])
def test_recipes_ship_and_a_file_of_that_name_goes_before(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    name = Path(folder + "pretrain-mini.toml")
    assert read_recipe(name)["model"]["size"] == "mini"
    (tmp_path / folder).mkdir(exist_ok=True)
    name.write_text("max_steps = 3\n")
    assert read_recipe(name) == {"max_steps": 3}
    with pytest.raises(InputError, match=r"one that ships: .*pretrain-mini\.toml"):
        read_recipe(Path("elsewhere") / name.name)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_parses_into_the_settings_it_states(recipe):
    settings_class = settings_of(command_of(recipe))
    stated = tomllib.loads(recipe.read_text())
    words = recipe_flags(recipe, settings_class) + required(settings_class, stated)
    assert includes(plain(tyro.cli(settings_class, args=words)), stated)
