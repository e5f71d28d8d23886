"""The page of ``dnazen ggrams stats``."""

from __future__ import annotations

import json
import re

import pytest

from ggrams.test_tools import files, ran  # noqa: F401
from report.test_document import read


@pytest.fixture
def page_of(files, capsys):  # noqa: F811
    def page_of(*words):
        words = [files / "one.tsv", *words, "--tokenizer", files / "tokenizer"]
        printed = ran(capsys, "stats", *words, "-o", files / "r.html")
        return (files / "r.html").read_text(encoding="utf-8"), json.loads(printed)

    return page_of


def test_numbers_stand_in_tables(files, page_of):  # noqa: F811
    # Tokens: AC G T A A | C C (no G-gram) | N breaks a record into two sequences.
    (files / "x.fa").write_text(">a\nacgtaa\n>b\nCC\n>c\nAANGT\n")
    text, _ = page_of(files / "x.fa")
    page = read(text)
    assert "G-grams of one.tsv" in page.cells
    row = ["x.fa", "4", "11", "12", "0.818", "0.833", "0.250", "1.250", "1", "3", "3"]
    cells = [cell for cell in page.cells if cell.strip()]
    start = next(i for i, cell in enumerate(cells) if cells[i : i + 2] == row[:2])
    assert cells[start : start + len(row)] == row
    assert "They cover 81.8% of the tokens of x.fa" in text
    assert not re.search("covered_tokens|&#34;|sequences_without", text)
    assert page.tags.count("svg") == 4


@pytest.mark.parametrize(
    "name", ["x_$1_$2.csv", "$\\frac$.csv", "_hidden.csv", "<b>.csv", "a" * 99]
)
def test_any_file_name_is_drawn_as_it_stands(files, page_of, name):  # noqa: F811
    (files / name).write_text("sequence\nACGTAA\n")
    text, _ = page_of(files / name)
    shown = name if len(name) < 49 else "a…a"
    drawn = re.sub("<[^>]*>", "\n", text[text.index("<svg") :])
    assert (
        len([line for line in drawn.splitlines() if shown.replace("<b>", "&lt;b&gt;") in line]) > 2
    )


def test_regions_are_not_named_as_their_genome(files, page_of):  # noqa: F811
    (files / "x.fa").write_text(">a\nacgtaa\n>b\nCC\n")
    (files / "r.bed").write_text("a\t2\t6\n")
    text, numbers = page_of(files / "x.fa", "--bed", files / "r.bed")
    assert "the regions of r.bed of x.fa" in text
    assert numbers["regions"] == "the regions of r.bed"
    text, numbers = page_of(files / "x.fa", "--regions", "a:3-6", "b(-)")
    assert numbers["regions"] == "a:3-6, b(-)"
    assert "a:3-6, b(-) of x.fa" in text


def test_files_of_one_name_are_told_apart(files, page_of):  # noqa: F811
    for folder in "ab":
        (files / folder).mkdir()
        (files / folder / "x.fa").write_text(">a\nACGTAA\n")
    text, _ = page_of(files / "a/x.fa", files / "b/x.fa")
    assert all(f"<td>{files / folder / 'x.fa'}</td>" in text for folder in "ab")


def test_a_page_of_nothing(files, page_of):  # noqa: F811
    (files / "none.fa").write_text(">a\nNNN\n")
    (files / "x.fa").write_text(">a\nACGTAA\n")
    text, _ = page_of(files / "none.fa", files / "x.fa")
    assert "none.fa holds no A, C, G or T." in text
    assert read(page_of()[0]).tags.count("svg") == 2
