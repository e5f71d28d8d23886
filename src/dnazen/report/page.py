"""Self-contained HTML pages: text, tables and figures in one file, nothing fetched."""

from __future__ import annotations

import html
import io
from collections.abc import Container, Iterable, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; }
h1, h2 { line-height: 1.2; } h2 { margin-top: 2.2rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .25rem .8rem; border-bottom: 1px solid #ddd; text-align: left; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }
.wide { overflow-x: auto; }
.wide td:not(.number) { min-width: 7rem; }
pre { background: #f6f6f6; padding: .8rem; white-space: pre-wrap; font-size: 13px; }
svg { max-width: 100%; height: auto; }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """A whole page from parts made by the functions below."""
    body = "\n".join([f"<h1>{html.escape(title)}</h1>", *parts])
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body>\n{body}\n</body></html>\n"
    )


def heading(text: str) -> str:
    """A section's heading."""
    return f"<h2>{html.escape(text)}</h2>"


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{html.escape(text)}</p>"


def code(text: str) -> str:
    """Text as typed, such as command lines."""
    return f"<pre>{html.escape(text)}</pre>"


def table(
    header: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Container[int] = ()
) -> str:
    """A table; floats to three decimals, numbers to the right.

    Parameters
    ----------
    numbers
        The columns whose text is numbers too. A table wider than the page scrolls.
    """
    head = "".join(_tag("th", html.escape(name), i in numbers) for i, name in enumerate(header))
    lines = ("".join(_cell(value, i in numbers) for i, value in enumerate(row)) for row in rows)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    whole = f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"
    return f'<div class="wide">{whole}</div>'


def figure(drawing: Figure, caption: str) -> str:
    """A matplotlib figure as inline SVG, with a caption."""
    text = io.StringIO()
    with rc_context({"svg.hashsalt": "dnazen"}):  # the same drawing has the same ids
        drawing.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    return f"<figure>{svg}<figcaption>{html.escape(caption)}</figcaption></figure>"


def _cell(value: Any, is_number: bool) -> str:
    if isinstance(value, float):
        return _tag("td", f"{value:.3f}", True)
    if isinstance(value, int):
        return _tag("td", f"{value:,}", True)
    return _tag("td", html.escape(str(value)), is_number)


def _tag(name: str, content: str, is_number: bool) -> str:
    kind = ' class="number"' if is_number else ""
    return f"<{name}{kind}>{content}</{name}>"
