"""Documents of sections, tables and pictures, written as one HTML page and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from . import page


class Text(NamedTuple):
    """A paragraph."""

    text: str


class Code(NamedTuple):
    """Text as typed."""

    text: str


class Table(NamedTuple):
    """A table of text; the columns after the first ``names`` hold numbers."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1
    """How many columns from the left hold words."""


class Picture(NamedTuple):
    """A figure, and the name of its file."""

    name: str
    figure: Figure
    caption: str


Block = Text | Code | Table | Picture


class Section(NamedTuple):
    """A heading with what stands below it."""

    title: str
    blocks: Sequence[Block]


def to_html(title: str, sections: Sequence[Section]) -> str:
    """A page in one file, its pictures drawn in it."""
    parts = []
    for section in sections:
        parts.append(page.heading(section.title))
        parts += map(_html, section.blocks)
    return page.page(title, parts)


def to_markdown(title: str, sections: Sequence[Section], pictures: str) -> str:
    """Markdown whose pictures are files of the folder ``pictures`` beside it."""
    parts = [f"# {title}"]
    for section in sections:
        parts.append(f"## {section.title}")
        parts += (_markdown(block, pictures) for block in section.blocks)
    return "\n\n".join(parts) + "\n"


def save_pictures(folder: Path, sections: Sequence[Section]) -> None:
    """Write the pictures as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for section in sections:
        for block in section.blocks:
            if isinstance(block, Picture):
                # Without a Software line the file is the same for the same drawing.
                block.figure.savefig(
                    folder / f"{block.name}.png", dpi=110, metadata={"Software": None}
                )


def _html(block: Block) -> str:
    if isinstance(block, Text):
        return page.paragraph(block.text)
    if isinstance(block, Code):
        return page.code(block.text)
    if isinstance(block, Picture):
        return page.figure(block.figure, block.caption)
    numbers = range(block.names, len(block.header))
    return page.table(block.header, block.rows, numbers=numbers)


def _markdown(block: Block, pictures: str) -> str:
    if isinstance(block, Text):
        return _escaped(block.text)
    if isinstance(block, Code):
        return f"```\n{block.text}\n```"
    if isinstance(block, Picture):
        caption = _escaped(block.caption)
        return f"![{caption}]({pictures}/{block.name}.png)\n\n*{caption}*"
    rule = ["---" if i < block.names else "---:" for i in range(len(block.header))]
    lines = [block.header, rule, *block.rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(text: str) -> str:
    return _escaped(text).replace("|", "\\|").replace("\n", " ")


def _escaped(text: str) -> str:
    """The text with what a code host would take for markup escaped; ``_`` in words is none."""
    return re.sub(r"[\\`*]|<(?=[A-Za-z/!?])|(?<=\])\(", r"\\\g<0>", text)
