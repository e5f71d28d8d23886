"""Kernels run wherever the package lies, and nothing that they are given leads them astray."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numba
import numpy as np
import pytest

from dnazen.errors import InputError
from dnazen.ggrams.kernels import import_kernels, kernel
from dnazen.ggrams.masking import mask
from dnazen.ggrams.matching import Matcher
from dnazen.ggrams.mining.mine import mine
from dnazen.ggrams.settings import MaskingConfig, MiningConfig
from dnazen.ggrams.vocabulary import GGramVocabulary


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
    modules = "leakage masking matching trie mining.mine motifs.similarity"
    imports = "; ".join(f"import dnazen.ggrams.{name}" for name in modules.split())
    code = imports
    if importlib.util.find_spec("memelite"):
        code += "; dnazen.ggrams.motifs.similarity._memelite()"
    environment = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "HOME": "/nowhere"}
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    run = subprocess.run(
        [sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


BACKWARDS = ([], [-1, 3], [0, 4], [0, 2, 1, 3], [0, 10**12, 3], [3, 0])
"""Offsets that do not lie in three tokens."""


@pytest.mark.parametrize("offsets", BACKWARDS)
@pytest.mark.parametrize("dtype", [np.uint16, np.int64])
def test_no_offsets_lead_a_kernel_out_of_its_arrays(offsets, dtype):
    tokens, offsets = np.array([5, 6, 5], dtype=dtype), np.array(offsets, dtype=np.int64)
    keys = np.zeros(max(len(offsets) - 1, 0), dtype=np.uint64)
    matcher = Matcher(vocabulary())
    with pytest.raises(InputError, match="offsets of sequences run backwards, or past the tokens"):
        mine(tokens, offsets, 9, MiningConfig())
    with pytest.raises(InputError, match="offsets of sequences"):
        matcher.match(tokens, offsets)
    with pytest.raises(InputError, match="offsets of sequences"):
        matcher.occurrences(tokens, offsets)
    with pytest.raises(InputError, match="offsets of sequences"):
        mask(tokens, offsets, None, keys, MaskingConfig(), 9)


@pytest.mark.parametrize("method", ["pmi", "frequency", "random", "shuffled"])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("tokens", "vocab_size", "message"),
    [
        (np.array([5, 9, 5, 5], np.uint16), 9, "token id 9 in the corpus; expected ids below 9"),
        (np.array([5, 65535, 5, 5], np.uint16), 9, "token id 65535 in the corpus"),
        (np.array([5, 65536, 5, 5]), 65536, "token ids 5 to 65536; expected 0 to 65535"),
        (np.array([5, -1, 5, 5]), 9, "token ids -1 to 5; expected 0 to 65535"),
        (np.array([5, 5, 5, 5]), 5, "a vocabulary of 5 tokens"),
        (np.array([5, 5, 5, 5]), 65537, "a vocabulary of 65537 tokens"),
    ],
)
def test_no_token_leads_mining_out_of_its_tables(tokens, vocab_size, message, method, threads):
    offsets = np.array([0, 2, 4])
    config = MiningConfig(method=method)
    with pytest.raises(InputError, match=message):
        mine(tokens, offsets, vocab_size, config, threads=threads)


def test_flags_and_keys_are_as_many_as_sequences():
    tokens, offsets = np.array([5, 6, 5]), np.array([0, 1, 3])
    with pytest.raises(ValueError, match="1 flags for 2 sequences"):
        mine(tokens, offsets, 9, MiningConfig(), keep=np.ones(1, dtype=bool))
    with pytest.raises(ValueError, match="1 keys for 2 sequences"):
        mask(tokens, offsets, None, np.zeros(1, np.uint64), MaskingConfig(), 9)


@pytest.mark.parametrize("offsets", [[0, 2, 1, 3], [0, 1, 3], [0, 3, 3], [0, -1, 3]])
def test_a_vocabulary_holds_no_ggram_that_a_trie_cannot(offsets):
    with pytest.raises(InputError, match="a G-gram has 2 to 16 tokens"):
        vocabulary([5, 6, 5], offsets)


def test_a_vocabulary_has_token_ids_of_two_bytes():
    with pytest.raises(ValueError, match="vocab_size must be 6 to 65536, got 65537"):
        vocabulary(vocab_size=65537)


def vocabulary(tokens=(5, 6), offsets=(0, 2), vocab_size=9):
    return GGramVocabulary(
        tokens=np.array(tokens), offsets=np.array(offsets), vocab_size=vocab_size,
        counts=np.ones(len(offsets) - 1, np.int64), pmi=np.zeros(len(offsets) - 1, np.float32),
        tokenizer_sha256="",
    )  # fmt: skip


MODULE = """
import resource, signal, sys
from dnazen.ggrams.kernels import kernel
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), hard))

@kernel
def square(x):
    return x * x

print(square(3))
"""


@pytest.mark.slow
def test_a_kept_kernel_that_is_damaged_or_finds_no_room_is_compiled_anew(tmp_path):
    def run(room):
        done = subprocess.run(
            [sys.executable, str(path), str(room)], capture_output=True, text=True
        )
        assert (done.stdout, done.stderr, done.returncode) == ("9\n", "", 0)

    path = tmp_path / "module.py"
    path.write_text(MODULE)
    run(100)
    run(1 << 30)
    kept = list(tmp_path.rglob("*.nb?"))
    assert kept
    for file in kept:
        file.write_bytes(file.read_bytes()[:10])
    run(1 << 30)
