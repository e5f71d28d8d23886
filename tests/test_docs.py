"""The documentation site: it builds without a warning, and tells every flag of every command."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dnazen.cli import COMMANDS, command
from dnazen.completion import flags_of

ROOT = Path(__file__).parents[1]

for needed in ("mkdocs", "material", "mkdocstrings"):
    pytest.importorskip(needed)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("site")
    words = ["mkdocs", "build", "--strict", "--quiet", "--site-dir", str(output)]
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return output


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_has_every_flag_of_its_command(site: Path, name: str) -> None:
    page = site / "reference/commands" / name.replace(" ", "-") / "index.html"
    codes = re.findall(r"<code>(.*?)</code>", page.read_text(encoding="utf-8"))
    flags = {
        flag for flag in flags_of(command(name).settings) if not re.match(r"--(.*\.)?no-", flag)
    }
    assert flags <= {html.unescape(code) for code in codes}
