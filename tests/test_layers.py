"""The direction of imports is law: a module imports only what stands below it."""

from __future__ import annotations

import ast
import builtins
import dis
import importlib
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from types import CodeType

import pytest

import dnazen

ROOT = Path(dnazen.__file__).parent

LAYERS = (
    {"errors"},
    {"arrays", "outputs", "overrides", "records", "runs", "settings", "tables"},
    {"workers"},
    {"sequences", "report"},
    {"tokens"},
    {"ggrams"},
    {"model"},
    {"inference"},
    {"training"},
    {"variation", "explanation", "search", "export"},
    {"gue"},
    {"study"},
    {"commands"},
    {"cli", "completion", "library", "__main__", "__init__"},
)
"""From the ground up; a folder is one layer. Every name at the top of the package stands here."""

TOP = LAYERS[-1]
"""These load the others by name, when asked to."""

HEAVY = {"torch", "transformers", "accelerate", "safetensors", "peft", "tensorboard", "optuna"}
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(ROOT.rglob("*.py"))
}


def layer(module: str) -> int:
    top = module.split(".")[0]
    return next(n for n, names in enumerate(LAYERS) if top in names)


def imported(module: str, *, lazily: bool = True):
    """(absolute name, line) of everything a module imports; ours without the package's name."""
    tree = ast.parse(MODULES[module].read_text())
    package = [] if module == "__init__" else module.split(".")
    if MODULES[module].name != "__init__.py":
        package = package[:-1]
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if id(node) in inside and not lazily:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            name = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            if node.level and not node.module:
                yield from ((".".join([*base, alias.name]), node.lineno) for alias in node.names)
            else:
                yield (f"{'dnazen.' if node.level else ''}{name}"), node.lineno


def named(module: str):
    """(name, line) of every text in a module that names one of our modules: an import by name."""
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for name in re.findall(r"\bdnazen((?:\.\w+)+)", node.value):
                if " " not in node.value and name[1:] in MODULES:
                    yield name[1:], node.lineno


def ours(module: str):
    for name, line in imported(module):
        bare = name.removeprefix("dnazen.")
        if bare in MODULES:
            yield bare, line
    yield from named(module)


def test_every_name_at_the_top_has_a_layer():
    assert {name.split(".")[0] for name in MODULES} == set().union(*LAYERS)


def test_the_parser_sees_what_it_should():
    assert {"errors", "records", "sequences.lines", "tables"} <= {
        name for name, _ in ours("ggrams.vocabulary")
    }
    assert "model.layers" in {name for name, _ in ours("model.encoder")}
    assert "numpy" in {name for name, _ in imported("model.batches")}


@pytest.mark.parametrize("module", sorted(set(MODULES) - TOP))
def test_a_module_imports_only_from_below(module):
    above = [
        f"{MODULES[module].name}:{line} imports {name}"
        for name, line in ours(module)
        if layer(name) > layer(module) or name in TOP
    ]
    assert not above


def test_no_import_goes_round():
    graph = {module: {name for name, _ in ours(module)} for module in set(MODULES) - TOP}
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize(
    "module", [m for m in sorted(set(MODULES) - TOP) if layer(m) < layer("model")]
)
def test_nothing_below_the_model_loads_torch(module):
    heavy = {name for name, _ in imported(module, lazily=False) if name.split(".")[0] in HEAVY}
    assert not heavy


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["ggrams", "--help"], ["nonsense"]])
def test_the_overview_of_commands_loads_nothing_heavy(words):
    script = f"import sys; from dnazen.cli import main; main({words}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "dnazen.cli" in loaded
    assert not loaded & {"numpy", "numba", "tokenizers", "tyro", "matplotlib", *HEAVY}


def test_reading_genomes_and_mining_needs_no_torch():
    script = (
        "import sys, dnazen.tokens.corpus, dnazen.ggrams.mining.mine, dnazen.ggrams.masking;"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


HELP = """
import contextlib, io, sys
from dnazen.cli import COMMANDS, main
heavy = set(sys.argv[1].split())
for name in COMMANDS:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert main([*name.split(), "--help"]) == 0
        assert main([*name.split(), "--no-such-flag"]) == 2
    if loaded := heavy & set(sys.modules):
        sys.exit(f"{name} loads {', '.join(sorted(loaded))}")
"""


def test_help_and_refusals_of_commands_load_nothing_heavy():
    heavy = HEAVY | {"numpy", "numba", "scipy", "sklearn", "tokenizers", "pysam", "matplotlib"}
    done = subprocess.run(
        [sys.executable, "-c", HELP, " ".join(heavy)],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def global_names(code):
    """Every global name that a piece of code, or one inside it, looks up."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from global_names(constant)


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"__main__"}))
def test_every_name_that_a_function_uses_is_there(module):
    """Shapes in annotations are no names, so the linter and the type checker leave this out."""
    name = "dnazen" if module == "__init__" else f"dnazen.{module}"
    there = vars(importlib.import_module(name)) | vars(builtins)
    code = compile(MODULES[module].read_text(), name, "exec", dont_inherit=True)
    assert not [used for used in global_names(code) if used not in there]
