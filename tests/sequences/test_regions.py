"""Regions as text and as BED, with coordinates worked by hand."""

from __future__ import annotations

import gzip
import io
import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnazen.errors import InputError
from dnazen.records import hash_file
from dnazen.sequences.regions import NamedRegion, Region, parse_region, read_bed, read_bed_rows

LENGTHS = {"chr1": 5000, "HLA-A*01:01": 300, "HLA-A*01:01:1-5": 9, "odd(-)": 7}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chr1:1-1", ("chr1", 0, 1, "+")),
        ("chr1:1,001-2,000", ("chr1", 1000, 2000, "+")),
        ("chr1:4990-6000", ("chr1", 4989, 6000, "+")),
        ("chr1:11-20(-)", ("chr1", 10, 20, "-")),
        ("chr1:11-20(+)", ("chr1", 10, 20, "+")),
        ("chr1", ("chr1", 0, 5000, "+")),
        ("chr1(-)", ("chr1", 0, 5000, "-")),
        ("HLA-A*01:01", ("HLA-A*01:01", 0, 300, "+")),
        ("HLA-A*01:01:2-5", ("HLA-A*01:01", 1, 5, "+")),
        ("HLA-A*01:01:1-5", ("HLA-A*01:01:1-5", 0, 9, "+")),  # a contig's own name comes first
        ("odd(-)", ("odd(-)", 0, 7, "+")),
        ("odd(-)(-)", ("odd(-)", 0, 7, "-")),
        ("other:3-4", ("other", 2, 4, "+")),  # unknown contigs are the genome's to refuse
    ],
)
def test_text_means(text, expected):
    assert parse_region(text, LENGTHS) == Region(*expected)


@pytest.mark.parametrize(
    "text",
    ["", "chr2", "chr1:5", "chr1:-5", "chr1:5-", "chr1:a-b", "chr1:,-,", "chr1:1-5(x)", ":1-5"],
)
def test_what_is_no_region_is_told(text):
    with pytest.raises(
        InputError, match=r"is no region and no contig .* expected CHROM:FIRST-LAST"
    ):
        parse_region(text, LENGTHS)


@pytest.mark.parametrize("text", ["chr1:0-5", "chr1:6-5"])
def test_a_region_that_cannot_be_is_told(text):
    with pytest.raises(InputError, match=rf"'{text}': .* expected 1 <= FIRST <= LAST"):
        parse_region(text, LENGTHS)


@pytest.mark.parametrize("text", [f"chr1:1-{'9' * 5000}", f"chr1:{'9' * 19}-5"])
def test_a_place_of_no_genome_is_told(text):
    with pytest.raises(
        InputError, match=r"a place of no genome; expected at most 1,000,0"
    ) as error:
        parse_region(text, LENGTHS)
    assert len(str(error.value)) < 200


@given(
    st.text("chr1X:._-()", min_size=1),
    st.integers(0, 10**9),
    st.integers(1, 10**9),
    st.sampled_from("+-"),
)
def test_text_and_back(chrom, start, size, strand):
    region = Region(chrom, start, start + size, strand)
    assert parse_region(str(region), {}) == region


BED = b"""\
track name="x y" description=z
browser position chr1:1-5
# a comment

chr1\t0\t5
chr1\t10\t20\tpeak one\t960\t-\t10\t20\t255,0,0
chr2\t7\t7\t.\t.\t.\r
chr2 3  9 space 0 +
"""
REGIONS = [
    ("chr1:1-5", ("chr1", 0, 5, "+"), 5),
    ("peak one", ("chr1", 10, 20, "-"), 6),
    ("chr2:8-7", ("chr2", 7, 7, "+"), 7),
    ("space", ("chr2", 3, 9, "+"), 8),
]


@pytest.mark.parametrize("end", [b"\r", b"\r\n"])
def test_bed_with_any_line_ends(tmp_path, end):
    path = tmp_path / "x.bed"
    path.write_bytes(b"\xef\xbb\xbf" + BED.replace(b"\r\n", b"\n").replace(b"\n", end))
    assert [(r.name, tuple(r.region)) for r in read_bed(path)] == [r[:2] for r in REGIONS]


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress])
def test_bed_in_every_packing(tmp_path, pack):
    path = tmp_path / "x.bed"
    path.write_bytes(pack(BED))
    assert list(read_bed(path)) == [
        NamedRegion(name, Region(*region), f"{path}:{line}") for name, region, line in REGIONS
    ]


def test_names_and_scores_are_as_they_stand_and_the_file_is_identified(tmp_path):
    path, files = tmp_path / "x.bed.gz", []
    path.write_bytes(gzip.compress(BED))
    rows = list(read_bed_rows(path, identify=files.append))
    assert [(row.name, row.score) for row in rows] == [
        ("", ""),
        ("peak one", "960"),
        ("", ""),
        ("space", "0"),
    ]
    assert [row.region for row in rows] == [Region(*region) for _, region, _ in REGIONS]
    assert files == [hash_file(path)]


def test_bed_from_standard_input(monkeypatch):
    class Stdin:
        buffer = io.BytesIO(BED)

    monkeypatch.setattr("sys.stdin", Stdin())
    assert [each.name for each in read_bed("-")] == [name for name, _, _ in REGIONS]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"chr1\t5", "2 columns"),
        (b"chr1\t-5\t9", "start '-5' is no whole number of 0 or more"),
        (b"chr1\t5\tx", "end 'x' is no whole number"),
        (b"chr1\t1_0\t20", "start '1_0' is no whole number"),
        (b"chr1\t1.0\t2", "start '1.0' is no whole number"),
        (
            b"chr1\t1\t" + b"9" * 5000,
            "end '9{20}' is no whole number of at most 1,000,000,000,000,000",
        ),
        (b"chr1\t" + b"9" * 19 + b"\t5", "start '9{19}' is no whole number of at most"),
        (b"chr1\t9\t5", "start 9 lies behind end 5"),
        (b"chr1\t1\t5\tn\t0\tplus", "strand 'plus'"),
        (b">chr1", "1 columns"),
    ],
)
def test_complaints_name_file_and_line(tmp_path, line, message):
    path = tmp_path / "x.bed"
    path.write_bytes(b"chr1\t1\t2\n\n" + line + b"\n")
    with pytest.raises(InputError, match=rf"x\.bed:3: {message}.*; expected chrom, start, end"):
        list(read_bed(path))


def test_absent_and_cut_files(tmp_path):
    with pytest.raises(InputError, match=r"none\.bed: no such file; expected a BED file"):
        list(read_bed(tmp_path / "none.bed"))
    cut = tmp_path / "cut.bed.gz"
    cut.write_bytes(gzip.compress(BED)[:-9])
    with pytest.raises(InputError, match=r"cut\.bed\.gz:\d+: gzip data ends early"):
        list(read_bed(cut))
    assert list(read_bed(_empty(tmp_path))) == []


def _empty(folder):
    path = folder / "empty.bed"
    path.write_bytes(b"")
    return path
