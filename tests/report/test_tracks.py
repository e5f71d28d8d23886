from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from dnazen.report.tracks import Span, Track, draw_tracks, stacked

spans = st.lists(
    st.tuples(st.integers(0, 90), st.integers(1, 30)).map(lambda p: Span(p[0], p[0] + p[1], "x"))
)


@given(spans)
def test_stacked_rows_hold_every_span_once_and_none_overlap(given_spans: list[Span]) -> None:
    rows = stacked(given_spans)
    assert sorted(span for row in rows for span in row) == sorted(given_spans)
    for row in rows:
        assert all(left.end <= right.start for left, right in pairwise(row))


@given(spans)
def test_stacked_takes_no_more_rows_than_the_deepest_place(given_spans: list[Span]) -> None:
    deepest = max(
        (sum(s.start <= place < s.end for s in given_spans) for place in range(121)), default=0
    )
    assert len(stacked(given_spans)) == deepest


def test_a_span_across_a_line_end_is_drawn_in_both_lines() -> None:
    figure = draw_tracks("ACGT" * 10, [Track("t", "red", [Span(15, 25, "x")])], line_bp=20)
    widths = [
        sorted(round(patch.get_width() + 0.16) for patch in axes.patches) for axes in figure.axes
    ]
    assert widths == [[5], [5]]
    letters = ["".join(text.get_text() for text in axes.texts) for axes in figure.axes]
    assert [
        line.removeprefix(start)[:20] for line, start in zip(letters, ("0", "20"), strict=True)
    ] == [
        "ACGT" * 5,
        "ACGT" * 5,
    ]


def test_an_empty_sequence_is_an_empty_line() -> None:
    assert len(draw_tracks("", []).axes) == 1
