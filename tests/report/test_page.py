from __future__ import annotations

from html.parser import HTMLParser

from matplotlib.figure import Figure

from dnazen.report import page


class Reader(HTMLParser):
    """Collects text, tags, and whatever would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.fetched: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
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


def test_page_escapes_and_fetches_nothing() -> None:
    figure = Figure()
    figure.subplots().plot([0, 1], label="<b>")
    parts = [page.heading("a < b"), page.paragraph("x & y"), page.figure(figure, "<script>")]
    reader = read(page.page("t <i>", parts))
    assert reader.fetched == []
    assert "script" not in reader.tags
    assert "i" not in reader.tags
    assert {"a < b", "x & y", "<script>", "t <i>"} <= set(reader.cells)
    assert "svg" in reader.tags


def test_table_shows_floats_to_three_decimals_and_thousands() -> None:
    reader = read(page.table(["n", "x"], [[1234, 0.12345], ["<", 2.0]]))
    assert [cell for cell in reader.cells if cell.strip()] == [
        "n",
        "x",
        "1,234",
        "0.123",
        "<",
        "2.000",
    ]
    assert reader.tags.count("tr") == 3


def test_columns_of_text_that_is_numbers_stand_to_the_right() -> None:
    text = page.table(["n", "x"], [["a", "1.20 ± 0.10"], [7, "-"]], numbers=[1])
    assert text.count('<th class="number">') == 1
    assert text.count('<td class="number">') == 3


def test_figures_are_the_same_every_time() -> None:
    def drawn() -> str:
        figure = Figure()
        figure.subplots().plot([0, 1])
        return page.figure(figure, "c")

    assert drawn() == drawn()
