"""Text of others, made fit to be shown."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import quote

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """The text without control characters, marks that turn its direction, and half characters.

    Line ends and tabs stay.

    Examples
    --------
    >>> clean("a\\x1b[31mb\\u202e")
    'a[31mb'
    """
    return _UNSEEN.sub("", text.encode("utf-8", "replace").decode("utf-8"))


def one_line(text: str, most: int | None = None) -> str:
    """Clean text on one line; its middle is left out where it is longer than ``most`` letters.

    Examples
    --------
    >>> one_line("a long\\nname", 7)
    'a …name'
    """
    line = " ".join(clean(text).split())
    if most is None or len(line) <= most:
        return line
    end = most // 2 + 1
    return f"{line[: most - end - 1]}…{line[-end:]}"


def file_name(text: str) -> str:
    """A file's name for a label, a motif or another text; different texts have different names.

    Letters, digits and ``._-`` stay, others are spelt as in web addresses; what would be too long
    for a file system ends in a hash.

    Examples
    --------
    >>> file_name("no/a"), file_name("+")
    ('no%2Fa', '%2B')
    """
    name = quote(text, safe="", errors="surrogatepass").replace("~", "%7E")
    if name in ("", ".", "..") or len(name) > 100:
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        name = f"{name[:80].strip('.')}-{digest}"
    return name


def name_of(path: str | Path) -> str:
    """What a file or directory is called, without the folders it stands in; for titles.

    Examples
    --------
    >>> name_of("/data/runs/finetuned/")
    'finetuned'
    """
    return Path(path).name or Path(path).resolve().name or str(path)
