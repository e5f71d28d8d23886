from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dnazen.report.document import Document, Section, to_html
from dnazen.report.tracks import LINE_BP, Bars, Box, Drawing, Track, shade, stacked

boxes = st.lists(
    st.tuples(st.integers(0, 90), st.integers(1, 30)).map(lambda p: Box(p[0], p[0] + p[1], "x"))
)
PX = 10


def drawn(drawing: Drawing, shape: str, kind: str) -> list[tuple[int, int]]:
    """Places and widths in bases of the marks of a kind."""
    return [
        (round((float(mark.x) - 78) / PX), round(mark.width / PX))
        for mark in drawing.layout.marks
        if (mark.shape, mark.kind) == (shape, kind)
    ]


@given(boxes)
def test_stacked_rows_hold_every_box_once_and_none_overlap(some: list[Box]) -> None:
    rows = stacked(some)
    assert sorted(box for row in rows for box in row) == sorted(some)
    for row in rows:
        assert all(left.end <= right.start for left, right in pairwise(row))


@given(boxes)
def test_stacked_takes_no_more_rows_than_the_deepest_place(some: list[Box]) -> None:
    deepest = max((sum(b.start <= place < b.end for b in some) for place in range(121)), default=0)
    assert len(stacked(some)) == deepest


def test_a_box_across_a_line_end_is_drawn_in_both_lines() -> None:
    track = Track("t", [Box(LINE_BP - 5, LINE_BP + 3, "x")])
    drawing = Drawing("a", "b", "ACGT" * 40, [track])
    assert drawn(drawing, "rect", "first") == [(95, 5), (0, 3)]


@given(st.text("ACGTN", max_size=250))
def test_every_letter_stands_at_its_place(sequence: str) -> None:
    letters = ["" for _ in sequence]
    line = -1
    for mark in Drawing("a", "b", sequence, []).layout.marks:
        if mark.kind == "name":
            line += 1
        else:
            for x, letter in zip(mark.x.split(), mark.text, strict=True):
                letters[line * LINE_BP + (int(x) - 78 - 5) // PX] += letter
    assert "".join(letters) == sequence


def test_colours_are_of_one_scale_and_red_is_higher() -> None:
    some = [Box(0, 4, "a", (2.0,), 2.0), Box(4, 8, "b", (-1.0,), -1.0), Box(8, 9, "c", (0.0,), 0.0)]
    drawing = Drawing(
        "a", "b", "ACGTACGTA", [Track("t", some, ("v",)), Track("u", [Box(0, 1, "")])]
    )
    marks = [mark for mark in drawing.layout.marks if mark.shape == "rect"]
    assert [(m.kind, m.opacity) for m in marks] == [
        ("up", 1.0),
        ("down", 0.53),
        ("down", 0.06),
        ("second", 1.0),
    ]
    assert marks[0].text == "a 0-4\nv +2.0000"
    assert shade(1, 1) == (178, 24, 43)
    assert shade(-1, 1) == (33, 102, 172)
    assert min(shade(0.0, 1)) > 235


def test_bars_of_all_lines_have_one_scale() -> None:
    bars = Bars([(0, 100), (100, 150)], [100.0, -50.0], [50.0, 50.0])  # 1 and -1 a base
    drawing = Drawing("a", "b", "A" * 150, [], bars)
    heights = [(m.kind, m.height) for m in drawing.layout.marks if m.shape == "rect"]
    assert heights == [("up", 32.0), ("down", 32.0)]
    assert sum(mark.kind == "line" for mark in drawing.layout.marks) == 2


def test_the_drawing_is_said_in_words_and_in_tables() -> None:
    track = Track("tokens", [Box(0, 4, "ACGT <", (0.5, "n"), 0.5)], ("attribution", "note"))
    page = to_html(
        Document("t", [Section("s", [Drawing("rec", "What it shows.", "ACGT", [track])])])
    )
    svg = ET.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    assert svg.get("role") == "img"
    ids = [svg.find(name).get("id") for name in ("title", "desc")]
    assert svg.get("aria-labelledby").split() == ids
    assert '<tr><td>ACGT &lt;</td><td class="number">0-4</td><td class="number">0.500</td>' in page


def test_an_empty_sequence_is_an_empty_line() -> None:
    assert len(Drawing("a", "b", "", []).layout.marks) == 1
