from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from dnazen.report.charts import label, save_png, styles, to_svg

names = st.dictionaries(st.text(max_size=8), st.sampled_from(["dnazen", "kmer", "cnn", "hf"]))


@given(names, st.randoms())
def test_styles_depend_on_names_and_not_on_their_order(kinds, random) -> None:
    order = list(kinds)
    random.shuffle(order)
    shuffled = styles({name: kinds[name] for name in order})
    assert list(shuffled) == order
    assert shuffled == styles(kinds)


@given(st.sets(st.text(max_size=5), max_size=64))
def test_no_two_models_look_alike(some) -> None:
    looks = styles(dict.fromkeys(some, "dnazen")).values()
    assert len({(look["color"], look["marker"]) for look in looks}) == len(some)
    colours = [look["color"] for look in looks]
    assert len(set(colours)) == min(8, len(some))


def test_a_baseline_looks_the_same_in_every_study() -> None:
    one = styles({"6-mers": "kmer", "a": "dnazen"})["6-mers"]
    other = styles({"z": "kmer", "b": "hf", "c": "cnn"})["z"]
    assert one == other
    assert styles({"6-mers": "dnazen"})["6-mers"]["color"] != one["color"]


@pytest.mark.parametrize(
    "text", ["a$b$c", "$\\frac{$", "\\$x$", "$", "_hidden", "€$漢$", "x\n\x07y"]
)
def test_text_of_others_is_drawn_as_it_is(text: str, tmp_path) -> None:
    figure = Figure(layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], label=label(text))
    axes.set(xlabel=label(text), title=label(text))
    figure.legend(loc="outside upper center")
    svg = to_svg(figure)
    shown = text.replace("\n", " ").replace("\x07", "")
    assert len(re.findall(re.escape(f">{shown}<"), svg.replace("> ", ">"))) == 3
    save_png(figure, tmp_path / "x.png")


def test_long_labels_are_shortened_in_the_middle() -> None:
    short = label("a" * 60 + "b" * 60)
    assert len(short) == 48
    assert short.startswith("aaa")
    assert short.endswith("bbb")


def test_black_is_the_colour_of_the_text_and_the_ground_is_clear() -> None:
    figure = Figure()
    figure.subplots().plot([0, 1], color="black")
    svg = to_svg(figure)
    assert "#000000" not in svg
    assert "currentColor" in svg
    assert "#ffffff" not in svg
