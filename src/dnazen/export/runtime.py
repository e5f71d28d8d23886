"""onnxruntime for browsers: fetched once from npm's registry, by version and hash.

Decided here: it is not part of the package, since its WebAssembly is 11 MB; whoever makes a page
fetches it, and the page then holds it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import tarfile
from pathlib import Path
from typing import NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

from ..errors import InputError
from ..outputs import new_file

VERSION = "1.22.0"
_FILE = f"onnxruntime-web-{VERSION}.tgz"
_ADDRESS = f"https://registry.npmjs.org/onnxruntime-web/-/{_FILE}"
_SHA512 = "Ud/+EBo6mhuaQWt/OjaOk0iNWjXqJoeeMFr6xQEERZdIZH2OWpGzuujz7lfuOBjUa6TEE/sc4nb7Da5dNL34fg=="
"""In base64, as the registry tells it."""
_SECONDS = 60


class Runtime(NamedTuple):
    """The files of onnxruntime-web that a page needs."""

    script: str
    module: bytes
    """What the script loads: the JavaScript around the WebAssembly."""
    wasm: bytes


def browser_runtime() -> Runtime:
    """The runtime, from the user's cache folder, or fetched into it.

    Raises
    ------
    InputError
        If it is not there and cannot be fetched, or what is there is not what it should be.
    """
    path = cached()
    if not path.exists():
        _fetch(path)
    digest = hashlib.sha512(path.read_bytes()).digest()
    if base64.b64encode(digest).decode() != _SHA512:
        raise InputError(
            "not the file that the registry has under this name",
            path=path,
            expected=f"SHA-512 {_SHA512}",
            fix="remove it, and run the command again",
        )
    with tarfile.open(path) as package:

        def content(name: str) -> bytes:
            file = package.extractfile(f"package/dist/{name}")
            assert file is not None
            return file.read()

        return Runtime(
            content("ort.wasm.min.js").decode(),
            content("ort-wasm-simd-threaded.mjs"),
            content("ort-wasm-simd-threaded.wasm"),
        )


def cached() -> Path:
    """Where the runtime lies, or will, in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dnazen" / _FILE


def _fetch(path: Path) -> None:
    try:
        with urlopen(_ADDRESS, timeout=_SECONDS) as answer:
            content = answer.read()
    except (URLError, OSError) as error:
        raise InputError(
            f"cannot fetch {_ADDRESS} ({error})",
            expected="a network, once, to make a page",
            fix=f"fetch it elsewhere and put it at {path}",
        ) from None
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path) as temporary:
        temporary.write_bytes(content)
