"""Documents of sections, tables, pictures and drawings, as one HTML page and as Markdown.

A page is one file that fetches nothing and runs nothing. Text of others (names of records, labels,
models) may stand anywhere: it is escaped, and control characters are removed, where it is written.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .glossary import glossary_of
from .text import clean, one_line
from .tracks import Drawing

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup
    from matplotlib.figure import Figure

MISSING = "NA"
"""A cell without a value."""


class Text(NamedTuple):
    """A paragraph."""

    text: str


class Code(NamedTuple):
    """Text as typed."""

    text: str


class Table(NamedTuple):
    """A table; the columns after the first ``names`` hold numbers.

    Floats are shown to three decimals (to two digits where that would be 0), integers with
    thousands apart, NaN as ``NA``.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    names: int = 1
    """How many columns from the left hold words."""


class Picture(NamedTuple):
    """A figure, and the name of its file."""

    name: str
    figure: Figure
    caption: str


class Section(NamedTuple):
    """A heading with what stands below it; sections may stand in sections."""

    title: str
    blocks: Sequence[Block]
    folded: bool = False
    """Whether a page shows it only when asked; Markdown has it in full."""


Block = Text | Code | Table | Picture | Drawing | Section


class Document(NamedTuple):
    """What is written as a page or as Markdown; a glossary of the scores in it is added."""

    title: str
    sections: Sequence[Section]
    message: Sequence[str] = ()
    """What a reader must know who reads nothing else, in a sentence or two each."""


def files_section(files: Mapping[str, Iterable[str | Path]]) -> Section:
    """Where the files lie that a page speaks of by name, under words for what they are."""
    rows = [[what, str(path)] for what, paths in files.items() for path in paths]
    return Section("Files", [Table(["what", "path"], rows, names=2)])


def to_html(document: Document) -> str:
    """A page in one file, its pictures drawn in it."""
    page = _environment().get_template("page.html")
    glossary = glossary_of(_texts(document))
    numbers = itertools.count(1)
    return page.render(document=document, glossary=glossary, next_number=numbers.__next__)


def to_markdown(document: Document, pictures: str) -> str:
    """Markdown whose pictures are files of the folder ``pictures`` beside it."""
    parts = [f"# {_escaped(document.title)}", *map(_paragraph, document.message)]
    for section in document.sections:
        parts += _markdown(section, pictures, 2)
    if terms := glossary_of(_texts(document)):
        parts.append("## Glossary")
        parts += [f"**{_escaped(term)}**: {_escaped(text)}" for term, text in terms.items()]
    return "\n\n".join(parts) + "\n"


def save_pictures(folder: Path, document: Document) -> None:
    """Write the pictures as PNG files."""
    from .charts import save_png

    folder.mkdir(parents=True, exist_ok=True)
    for block in _blocks(document.sections):
        if isinstance(block, Picture):
            save_png(block.figure, folder / f"{block.name}.png")


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("dnazen.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=lambda value: clean(value) if type(value) is str else value,
    )
    environment.filters["cell"] = _cell
    environment.globals["kind_of"] = lambda block: type(block).__name__
    environment.globals["svg_of"] = _svg
    return environment


def _svg(figure: Figure) -> Markup:
    """A figure as an element of the page; only pages with figures load what draws them."""
    from markupsafe import Markup

    from .charts import to_svg

    return Markup(to_svg(figure))


def _blocks(blocks: Sequence[Block]) -> Iterator[Block]:
    """All blocks, those inside sections too."""
    for block in blocks:
        yield block
        if isinstance(block, Section):
            yield from _blocks(block.blocks)


def _texts(document: Document) -> Iterator[str]:
    """All that is written in a document but cells, code and drawings' boxes."""
    yield from document.message
    for block in _blocks(document.sections):
        if isinstance(block, Text):
            yield block.text
        elif isinstance(block, Section):
            yield block.title
        elif isinstance(block, Table):
            yield from block.header
        elif isinstance(block, Picture):
            yield block.caption
        elif isinstance(block, Drawing):
            yield block.description
            yield from (name for track in block.tracks for name in track.header)


def _cell(value: Any) -> str:
    """A table's cell in words."""
    if isinstance(value, float):
        if math.isnan(value):
            return MISSING
        return f"{value:.2g}" if 0 < abs(value) < 0.001 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _markdown(block: Block, pictures: str, level: int) -> Iterator[str]:
    if isinstance(block, Section):
        yield f"{'#' * level} {_escaped(block.title)}"
        for inner in block.blocks:
            yield from _markdown(inner, pictures, level + 1)
    elif isinstance(block, Text):
        yield _paragraph(block.text)
    elif isinstance(block, Code):
        yield _fenced(clean(block.text))
    elif isinstance(block, Picture):
        caption = _escaped(block.caption)
        yield f"![{caption}]({pictures}/{block.name}.png)\n\n*{caption}*"
    elif isinstance(block, Table):
        yield _markdown_table(block)
    else:  # a drawing is its tables
        for track in block.tracks:
            yield _markdown_table(Table(track.header, list(track.rows)))


def _markdown_table(table: Table) -> str:
    rule = ["---" if i < table.names else "---:" for i in range(len(table.header))]
    lines = [[_markdown_cell(cell) for cell in row] for row in (table.header, *table.rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (lines[0], rule, *lines[1:]))


def _markdown_cell(value: str | float) -> str:
    return _escaped(_cell(value)).replace("|", "\\|")


def _fenced(text: str) -> str:
    """Text between fences that are longer than any run of backticks in it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def _paragraph(text: str) -> str:
    """A line of Markdown that begins no list, heading, quotation or rule."""
    return re.sub(r"^(\d*)(?=[#>+=~-]|[.)]\s)", r"\1\\", _escaped(text))


def _escaped(text: str) -> str:
    """One line with what a code host would take for markup escaped; ``_`` in words is none."""
    markup = r"[\\`*]|<(?=[A-Za-z/!?])|(?<=\])[(\[]|&(?=#?\w+;)"
    return re.sub(markup, r"\\\g<0>", one_line(text))
