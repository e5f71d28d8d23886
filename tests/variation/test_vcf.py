"""VCF text in and out byte for byte, against pysam where it reads the same, and every complaint."""

from __future__ import annotations

import gzip
import re

import pysam.bcftools
import pytest

from dnazen.errors import InputError
from dnazen.variation.vcf import (
    annotated,
    contig_line,
    declared,
    info_line,
    read_vcf,
    unscorable,
    with_lines,
)

HEADER = [
    "##fileformat=VCFv4.3",
    '##FILTER=<ID=q10,Description="Quality below 10, \\"quoted\\"">',
    "##contig=<ID=chr1,length=500>",
    "##contig=<length=9,ID=HLA-A*01:01>",
    '##INFO=<ID=AF,Number=A,Type=Float,Description="ID=x, of an allele">',
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
    "##ALT=<ID=DEL,Description=Deletion>",
    "##anything=goes here",
    "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tNA1\tNA2",
]
ROWS = [
    "chr1\t10\trs1;rs2\tA\tG,T\t29.5\tPASS\tAF=0.5,0.1;K=v\tGT\t0|1\t1/2",
    "chr1\t10\t.\tac\tA\t.\tq10;s50\t.\tGT\t./.\t0/0",
    "chr1\t12\t.\tG\t<DEL>,*\t3e1\t.\tEND=20\tGT\t0\t1",
    "chr1\t5\t.\tT\t.\t.\t.\t.\tGT\t0\t1",
    "HLA-A*01:01\t0\t.\tN\tG]chr1:3]\t.\t.\tX=a=b\tGT:\t\t1",
]


def write(path, header=HEADER, rows=ROWS, end="\n"):
    path.write_bytes("".join(line + end for line in [*header, *rows]).encode())
    return path


def test_rows_are_what_a_hand_reads(tmp_path):
    vcf = read_vcf(write(tmp_path / "in.vcf"))
    rows = list(vcf.rows)
    assert [line.decode() for line in vcf.header] == HEADER
    assert [(row.chrom, row.start, row.ref, row.alts) for row in rows] == [
        ("chr1", 9, "A", ("G", "T")),
        ("chr1", 9, "ac", ("A",)),
        ("chr1", 11, "G", ("<DEL>", "*")),
        ("chr1", 4, "T", ()),
        ("HLA-A*01:01", -1, "N", ("G]chr1:3]",)),
    ]
    assert rows[2].at.endswith("in.vcf:12")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("packing", ["plain", "gzip", "bgzip"])
def test_nothing_of_a_file_is_lost_or_changed(tmp_path, packing, end):
    path = write(tmp_path / "in.dat", end=end)
    text = path.read_bytes()
    if packing == "gzip":
        path.write_bytes(gzip.compress(text))
    elif packing == "bgzip":
        with pysam.BGZFile(str(path), "w") as out:
            out.write(text)
    vcf = read_vcf(path)
    lines = [*with_lines(vcf.header, []), *(annotated(row, []) for row in vcf.rows)]
    assert b"\n".join(lines) + b"\n" == text.replace(b"\r\n", b"\n")


def test_fields_are_added_behind_those_that_are_there(tmp_path):
    rows = list(read_vcf(write(tmp_path / "in.vcf")).rows)
    ours = [("D_LLR", "-1.5,."), ("D_X", "2")]
    assert annotated(rows[0], ours).decode() == ROWS[0].replace(";K=v", ";K=v;D_LLR=-1.5,.;D_X=2")
    assert annotated(rows[1], ours).decode().split("\t")[7] == "D_LLR=-1.5,.;D_X=2"
    assert annotated(rows[1], []).decode() == ROWS[1]


def test_sites_only_rows_have_eight_columns(tmp_path):
    header = [*HEADER[:-1], "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"]
    [row] = read_vcf(write(tmp_path / "in.vcf", header, ["chr1\t3\t.\tA\tC\t.\t.\t."])).rows
    assert annotated(row, [("K", "1")]) == b"chr1\t3\t.\tA\tC\t.\t.\tK=1"


def test_header_lines_of_ours_are_read_by_pysam(tmp_path):
    line = info_line("D_LLR", "Float", 'a "word" and a \\ back')
    header = with_lines([text.encode() for text in HEADER], [line])
    assert header[-2:] == (line, HEADER[-1].encode())
    assert declared(header, "INFO") == {"AF", "D_LLR"}
    assert declared(header, "contig") == {"chr1", "HLA-A*01:01"}
    path = write(tmp_path / "out.vcf", [text.decode() for text in header], ROWS[:2])
    with pysam.VariantFile(str(path)) as file:
        assert file.header.info["D_LLR"].number == "A"
        assert file.header.info["D_LLR"].type == "Float"


def test_bcf_stands_for_the_vcf_it_was_made_of(tmp_path):
    key = '##INFO=<ID=K,Number=1,Type=String,Description="k">'
    header = [*HEADER[:3], *HEADER[4:7], key, HEADER[8]]
    plain = write(tmp_path / "in.vcf", header, ROWS[:1])
    bcf = tmp_path / "in.bcf"
    pysam.bcftools.view("-Ob", "-o", str(bcf), str(plain), catch_stdout=False)
    [row] = read_vcf(bcf).rows
    assert annotated(row, []).decode() == ROWS[0]
    assert set(read_vcf(plain).header) <= set(read_vcf(bcf).header)
    for size in (bcf.stat().st_size - 28, 60):
        (tmp_path / "cut.bcf").write_bytes(bcf.read_bytes()[:size])
        with pytest.raises(InputError, match=r"cut\.bcf:\d+: .* ends? early"):
            list(read_vcf(tmp_path / "cut.bcf").rows)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("chr1\t1\t.\tA\tC\t.\t.", r"in\.vcf:10: 7 columns; expected 8 or more, with tabs"),
        ("chr1 1 . A C . . .", "1 columns"),
        ("chr1\tx\t.\tA\tC\t.\t.\t.", r"POS 'x' is no whole number of 0 or more"),
        ("chr1\t-3\t.\tA\tC\t.\t.\t.", "POS '-3' is no whole number"),
        (
            "chr1\t\t.\tA\tC\t.\t.\t.",
            "POS '' is no whole number of 0 or more, of up to 18 digits; expected a row of a VCF",
        ),
        (f"chr1\t{'9' * 5000}\t.\tA\tC\t.\t.\t.", f"POS '{'9' * 40}' is no whole number"),
        (f"chr1\t{'0' * 5000}7\t.\tA\tC\t.\t.\t.", "POS '0{40}' is no whole number"),
        ("chr1\t3\t.\tA\tC\t.\t.\t.\rchr1\t4\t.\tA\tC", "5 columns"),
    ],
)
def test_rows_that_are_none(tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        list(read_vcf(write(tmp_path / "in.vcf", rows=[row])).rows)


def test_lines_that_end_with_cr_alone(tmp_path):
    path = write(tmp_path / "in.vcf")
    cr = tmp_path / "cr.vcf"
    cr.write_bytes(path.read_bytes().replace(b"\n", b"\r"))
    expected, found = read_vcf(path), read_vcf(cr)
    assert found.header == expected.header
    assert [row.columns for row in found.rows] == [row.columns for row in expected.rows]


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ([], ROWS, r":1: no VCF header; expected a VCF header: '##fileformat=VCFv4"),
        ([">chr1"], ["ACGT"], ":1: no VCF header"),
        (HEADER[-1:], ROWS, ":1: no VCF header"),
        (HEADER[:-1], ROWS, ":9: a row before the line of column names"),
        (HEADER[:-1], [], "the header has no line of column names"),
        ([HEADER[0], HEADER[-1].replace("\t", "  ")], ROWS, ":2: .* has blanks where tabs belong"),
        ([], [], "the header has no line of column names"),
    ],
)
def test_files_without_a_header(tmp_path, header, rows, message):
    with pytest.raises(InputError, match=message):
        read_vcf(write(tmp_path / "in.vcf", header, rows))


def test_files_that_are_cut_short_or_absent(tmp_path):
    path = tmp_path / "in.vcf.gz"
    with pysam.BGZFile(str(path), "w") as out:
        out.write("".join(line + "\n" for line in [*HEADER, *ROWS]).encode())
    whole = path.read_bytes()
    for size in (len(whole) - 28, len(whole) // 2):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"in\.vcf\.gz:\d+: gzip data ends early"):
            list(read_vcf(path).rows)
    with pytest.raises(InputError, match="no such file; expected a VCF or BCF file"):
        read_vcf(tmp_path / "absent.vcf")


def test_a_header_alone_is_a_file_of_no_rows(tmp_path):
    assert list(read_vcf(write(tmp_path / "in.vcf", rows=[])).rows) == []


@pytest.mark.parametrize("alt", ["<NON_REF>", "<INS:ME>", "]chr1:5]A", "A.", ".A", "*", "AR", "n"])
def test_alleles_without_letters_are_told_apart(alt):
    kinds = {"<": "symbolic", "]": "breakend", ".": "breakend", "*": "overlapping_deletion"}
    mark = next((mark for mark in kinds if mark in alt), "")
    assert unscorable(alt) == kinds.get(mark, "ambiguous")


@pytest.mark.parametrize(
    ("allele", "reason"),
    [
        (".", "missing"),
        ("", "missing"),
        ("-", "malformed"),
        ("A/C", "malformed"),
        ("ACX", "malformed"),
        ("<*>", "symbolic"),
        ("<NON_REF>", "symbolic"),
        ("C<ctg1>", "symbolic"),
        ("µ", "malformed"),
        ("C[<ctg1>:7[", "breakend"),
        ("AC*", "malformed"),
    ],
)
def test_what_is_no_sequence_keeps_its_row(tmp_path, allele, reason):
    assert unscorable(allele) == reason
    lines = [f"chr1\t3\t.\t{allele}\tC\t.\t.\t.", f"chr1\t3\t.\tA\tG,{allele}\t.\t.\t."]
    rows = list(read_vcf(write(tmp_path / "in.vcf", rows=lines)).rows)
    assert [annotated(row, []).decode() for row in rows] == lines
    assert (rows[0].ref, rows[1].alts) == (allele, ("G", allele))


def test_bytes_that_are_not_utf8_survive(tmp_path):
    path = write(tmp_path / "in.vcf", rows=[])
    text = path.read_bytes().replace(b"ID=chr1,", b"ID=chr\xff,").replace(b"Genotype", b"\xe9")
    path.write_bytes(text + b"chr\xff\t3\tn\xe9\tA\tC\t.\t.\tK=\xfe\n")
    vcf = read_vcf(path)
    [row] = vcf.rows
    assert b"\n".join([*vcf.header, annotated(row, [])]) + b"\n" == path.read_bytes()
    assert row.chrom in declared(vcf.header, "contig")


def test_messages_call_the_file_by_its_name(tmp_path):
    path = write(tmp_path / "copy", rows=["chr1\t3"])
    with pytest.raises(InputError, match=r"^-:10: 2 columns"):
        list(read_vcf(path, "-").rows)
    path.write_text("nothing\n")
    with pytest.raises(InputError, match=r"^/dev/fd/63:1: no VCF header"):
        read_vcf(path, "/dev/fd/63")
    path.write_bytes(gzip.compress(b"##fileformat=VCFv4.2\n" * 9)[:-9])
    with pytest.raises(InputError, match=r"^-:\d+: gzip data ends early"):
        read_vcf(path, "-")


@pytest.mark.parametrize(
    "label", ['x\n##FILTER=<ID=EVIL,Description="y">', "a\tb\r", "\x1b[31m", "\u2028\x85", "\udcff"]
)
def test_a_label_is_one_line_of_a_header(tmp_path, label):
    line = info_line("D_X", "Float", f"Change of {label}")
    assert not re.search(rb"[\x00-\x1f\x7f]", line)
    header = with_lines([text.encode() for text in HEADER], [line])
    path = write(tmp_path / "out.vcf", [text.decode() for text in header], ROWS[:1])
    with pysam.VariantFile(str(path)) as file:
        assert "EVIL" not in file.header.filters
        assert file.header.info["D_X"].number == "A"
        assert len(list(file)) == 1


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("chr1", b"##contig=<ID=chr1,length=5>"),
        ("HLA-A*01:01", b"##contig=<ID=HLA-A*01:01,length=5>"),
        ("c>x,length=5", None),
        ("a b", None),
        ("", None),
        ("*", None),
        ("x\n##y", None),
    ],
)
def test_contigs_that_vcf_cannot_name_have_no_line(name, line):
    assert contig_line(name, 5) == line


@pytest.mark.parametrize("error", [NotImplementedError, OSError, ValueError, KeyError, SystemError])
def test_whatever_htslib_says_of_bcf_is_one_error(tmp_path, monkeypatch, error):
    plain = write(tmp_path / "in.vcf", [HEADER[0], HEADER[-1]], [])
    bcf = tmp_path / "in.bcf"
    pysam.bcftools.view("-Ob", "-o", str(bcf), str(plain), catch_stdout=False)

    def broken(*_):
        raise error("of htslib")

    monkeypatch.setattr(pysam, "VariantFile", broken)
    with pytest.raises(InputError, match=r"in\.bcf:1: BCF data end early or are damaged"):
        read_vcf(bcf)
