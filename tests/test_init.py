"""The package's front door: what it names, to people and to type checkers."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import dnazen

ROOT = Path(dnazen.__file__).parents[2]


def test_every_name_is_there():
    for name in dnazen.__all__:
        assert getattr(dnazen, name).__name__ == name
        assert name in dir(dnazen)
    with pytest.raises(AttributeError, match="no attribute 'embedd'"):
        dnazen.embedd  # noqa: B018


def test_the_version_is_the_installed_one():
    assert dnazen.__version__ == version("dnazen")


def test_type_checkers_see_the_names_that_are_there():
    tree = ast.parse(Path(dnazen.__file__).read_text())
    imports = {
        alias.asname: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
        if alias.asname is not None
    }
    assert imports == dnazen._HOME


@pytest.mark.slow
def test_mypy_knows_our_names_and_rejects_others(tmp_path):
    good, bad = tmp_path / "good.py", tmp_path / "bad.py"
    good.write_text(
        "import dnazen\nmodel = dnazen.load('x')\nvectors = dnazen.embed(model, ['ACGT'])\n"
        "rows: int = vectors.shape[0]\nversion: str = dnazen.__version__\n"
    )
    bad.write_text("import dnazen\ndnazen.embedd\ndnazen.load(3)\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(good), str(bad)],
        cwd=ROOT,  # the settings and the cache of 'make types'
        capture_output=True,
        text=True,
    )
    complaints = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert [line.split(": error: ")[0].rpartition("/")[2] for line in complaints] == [
        "bad.py:2",
        "bad.py:3",
    ], done.stdout
    assert 'Module has no attribute "embedd"' in complaints[0]
    assert "incompatible type" in complaints[1]
