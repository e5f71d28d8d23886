"""Documents as HTML and Markdown."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from dnazen.report.charts import label
from dnazen.report.document import (
    Code,
    Document,
    Picture,
    Section,
    Table,
    Text,
    save_pictures,
    to_html,
    to_markdown,
)
from dnazen.report.tracks import Box, Drawing, Track

HOSTILE = [
    "<script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x=\'',
    "</svg></table><iframe src=//x>",
    "{{ 7 * 7 }}{% raw %}",
    "a$\\frac{1}{0}$b",
    "_starts_so",
    "\x1b[31mred\x07 \u202eback \udcff half",
    "```\n# out\n````",
]


class Reader(HTMLParser):
    """Collects what a page shows, its tags, and whatever it would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.fetched: list[str | None] = []
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.fetched += [
            value
            for name, value in attrs
            if name in ("src", "href", "xlink:href") and not (value or "#").startswith("#")
        ]

    def handle_data(self, data: str) -> None:
        self.cells.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


def a_document() -> Document:
    figure = Figure()
    figure.subplots().plot([0, 1])
    table = Table(["task", "data", "score"], [["prom_core", "a | b", "1.20 ± 0.10"]], names=2)
    return Document(
        "A title",
        [
            Section("One", [Text("p < 0.05 * <i> [see](x)"), table]),
            Section("Two", [Code("dnazen 'a < b'"), Picture("drawn", figure, "A line.")]),
        ],
        ["All is well."],
    )


def of_text(text: str) -> Document:
    """A document with a text at every place where one may stand."""
    figure = Figure()
    figure.suptitle(label(text))
    drawing = Drawing(text, text, "ACGTN", [Track(text, [Box(0, 4, text, (text,))], (text,))])
    blocks = [
        Text(text),
        Code(text),
        Table([text], [[text]]),
        Picture("p", figure, text),
        drawing,
        Section(text, [Text(text)], folded=True),
    ]
    return Document(text, [Section(text, blocks)], [text])


def test_markdown_by_hand() -> None:
    assert to_markdown(a_document(), "figures").startswith(
        "# A title\n\n"
        "All is well.\n\n"
        "## One\n\n"
        "p < 0.05 \\* \\<i> [see]\\(x)\n\n"
        "| task | data | score |\n"
        "| --- | --- | ---: |\n"
        "| prom_core | a \\| b | 1.20 ± 0.10 |\n\n"
        "## Two\n\n"
        "```\ndnazen 'a < b'\n```\n\n"
        "![A line.](figures/drawn.png)\n\n"
        "*A line.*\n\n"
        "## Glossary\n\n"
        "**p**: Probability"
    )


def test_html_has_the_same_and_escapes_it() -> None:
    text = to_html(a_document())
    assert re.findall("<h2>(.*?)</h2>", text) == ["One", "Two", "Glossary"]
    assert '<td>prom_core</td><td>a | b</td><td class="number">1.20 ± 0.10</td>' in text
    assert "<p>p &lt; 0.05 * &lt;i&gt; [see](x)</p>" in text
    assert "<svg" in text
    assert '<pre tabindex="0">dnazen &#39;a &lt; b&#39;</pre>' in text
    assert text.index("All is well.") < text.index("<nav") < text.index("<main")


def test_contents_lead_to_every_section() -> None:
    text = to_html(a_document())
    links = re.findall('<li><a href="#(.*?)">', text)
    assert links == ["section-1", "section-2", "glossary"]
    assert all(f'id="{link}"' in text for link in links)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_text_of_others_is_shown_and_does_nothing(hostile: str) -> None:
    text = to_html(of_text(hostile))
    text.encode("utf-8")
    page = read(text)
    assert page.fetched == []
    assert page.handlers == []
    assert not {"script", "img", "iframe"} & set(page.tags)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", text)
    shown = hostile if "\x1b" not in hostile else "[31mred back ? half"
    assert sum(shown in cell for cell in page.cells) >= 10


@given(st.text(alphabet="`~# \na|<[]()&;*-1.", max_size=12))
def test_nothing_breaks_out_of_a_code_fence_or_a_table(text: str) -> None:
    lines = to_markdown(Document("t", [Section("s", [Code(text)])]), "f").splitlines()
    fence = next(line for line in lines if re.fullmatch("`{3,}", line))
    assert [i for i, line in enumerate(lines) if line.strip() == fence][1:] == [len(lines) - 1]
    lines = to_markdown(Document("t", [Section("s", [Table(["x"], [[text]])])]), "f").splitlines()
    assert len(lines) == 7
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", lines[-1])) == 2


@pytest.mark.parametrize("text", ["# x", "- x", "+ x", "> x", "1. x", "12) x", "~~~", "=== x"])
def test_a_paragraph_begins_no_other_block(text: str) -> None:
    paragraph = to_markdown(Document("t", [Section("s", [Text(text)])]), "f").splitlines()[-1]
    assert paragraph.replace("\\", "") == text
    assert re.match(r"(\d*)\\", paragraph)


def test_numbers_in_cells() -> None:
    rows = [["a", 1234, 0.12345], ["b", 7, float("nan")], ["c", 0, -2.34e-5]]
    cells = read(to_html(Document("t", [Section("s", [Table(["x", "n", "y"], rows)])]))).cells
    assert [c for c in cells if c.strip()][-9:] == [
        *("a", "1,234", "0.123"),
        *("b", "7", "NA"),
        *("c", "0", "-2.3e-05"),
    ]


def test_a_folded_section_is_whole_in_markdown() -> None:
    document = Document("t", [Section("s", [Section("inner", [Text("hidden")], folded=True)])])
    assert "<details><summary>inner</summary>" in to_html(document)
    assert to_markdown(document, "f").endswith("## s\n\n### inner\n\nhidden\n")


def test_pictures_are_the_same_every_time(tmp_path) -> None:
    for name in "ab":
        save_pictures(tmp_path / name, a_document())
    one, other = ((tmp_path / name / "drawn.png").read_bytes() for name in "ab")
    assert one == other
    assert one.startswith(b"\x89PNG")
    assert to_html(a_document()) == to_html(a_document())


def test_a_page_without_figures_needs_no_matplotlib() -> None:
    script = (
        "import sys\n"
        "from dnazen.report.document import Document, Section, Text, to_html\n"
        "to_html(Document('t', [Section('s', [Text('x')])]))\n"
        "print('matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
