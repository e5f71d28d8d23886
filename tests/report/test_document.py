"""Documents as HTML and Markdown."""

from __future__ import annotations

from matplotlib.figure import Figure

from dnazen.report.document import (
    Code,
    Picture,
    Section,
    Table,
    Text,
    save_pictures,
    to_html,
    to_markdown,
)


def a_document() -> list[Section]:
    figure = Figure()
    figure.subplots().plot([0, 1])
    table = Table(["task", "data", "score"], [["prom_core", "a | b", "1.20 ± 0.10"]], names=2)
    return [
        Section("One", [Text("p < 0.05 * <i> [see](x)"), table]),
        Section("Two", [Code("dnazen 'a < b'"), Picture("drawn", figure, "A line.")]),
    ]


def test_markdown_by_hand():
    assert to_markdown("A title", a_document(), "figures") == (
        "# A title\n\n"
        "## One\n\n"
        "p < 0.05 \\* \\<i> [see]\\(x)\n\n"
        "| task | data | score |\n"
        "| --- | --- | ---: |\n"
        "| prom_core | a \\| b | 1.20 ± 0.10 |\n\n"
        "## Two\n\n"
        "```\ndnazen 'a < b'\n```\n\n"
        "![A line.](figures/drawn.png)\n\n"
        "*A line.*\n"
    )


def test_html_has_the_same_and_escapes_it():
    text = to_html("A title", a_document())
    assert text.count("<h2>") == 2
    assert '<td>prom_core</td><td>a | b</td><td class="number">1.20 ± 0.10</td>' in text
    assert "<p>p &lt; 0.05 * &lt;i&gt; [see](x)</p>" in text
    assert "<svg" in text
    assert "<pre>dnazen &#x27;a &lt; b&#x27;</pre>" in text


def test_pictures_are_the_same_every_time(tmp_path):
    for name in "ab":
        save_pictures(tmp_path / name, a_document())
    one, other = ((tmp_path / name / "drawn.png").read_bytes() for name in "ab")
    assert one == other
    assert one.startswith(b"\x89PNG")
