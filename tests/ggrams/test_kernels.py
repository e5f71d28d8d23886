"""Kernels run wherever the package lies, with a place for compiled code or without."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numba
import pytest

from dnazen.ggrams.kernels import import_kernels, kernel


def total(numbers):
    result = 0
    for number in numbers:
        result += number
    return result


@pytest.fixture
def no_place(monkeypatch):
    """As in a container: neither the package nor the home can be written."""
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "UserProvidedCacheLocator")
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")


def test_a_kernel_without_a_place_runs_all_the_same(no_place):
    with pytest.raises(RuntimeError, match="no locator available"):
        numba.njit(cache=True)(total)
    assert kernel(total)((1, 2, 3)) == 6


def test_another_fault_of_the_compiler_is_not_hidden(monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_LOCATOR_CLASSES", "NoSuchLocator")
    with pytest.raises(RuntimeError, match="NoSuchLocator"):
        kernel(total)


def test_another_package_keeps_its_kernels_in_a_temporary_folder(no_place, monkeypatch, tmp_path):
    source = "import numba\n\n@numba.njit(cache=True)\ndef double(x):\n    return 2 * x\n"
    (tmp_path / "package_of_kernels.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    assert import_kernels("package_of_kernels").double(4) == 8
    assert numba.config.CACHE_DIR


def test_a_package_that_fails_otherwise_fails(monkeypatch, tmp_path):
    (tmp_path / "broken_package.py").write_text("raise RuntimeError('something else')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match="something else"):
        import_kernels("broken_package")
    with pytest.raises(ModuleNotFoundError):
        import_kernels("no_such_package_anywhere")


@pytest.mark.slow
def test_every_module_with_kernels_is_imported_without_a_place():
    modules = "leakage masking matching trie mining.mine motifs.meme"
    imports = "; ".join(f"import dnazen.ggrams.{name}" for name in modules.split())
    code = imports
    if importlib.util.find_spec("memelite"):
        code += "; dnazen.ggrams.motifs.meme._memelite()"
    environment = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "HOME": "/nowhere"}
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    run = subprocess.run(
        [sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
