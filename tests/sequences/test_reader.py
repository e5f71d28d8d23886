"""Readers: every format and packing, with htslib as the reference, and every complaint."""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import os
import sys
import threading
import zipfile
from pathlib import Path

import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen.errors import InputError
from dnazen.records import hash_file
from dnazen.sequences.reader import Record, read_records
from sequences.test_indexed import twobit

SHARED = Path(__file__).parents[3] / "shared"

RECORDS = [
    Record("chr1", b"ACGTNNacgtu" * 9),
    Record("empty", b""),
    Record("chr2", b"RYKMGATTACA"),
]
PLAIN = [Record(str(i), r.sequence) for i, r in enumerate(RECORDS, 1) if r.sequence]
PLAIN = [Record(str(i), r.sequence) for i, r in enumerate(PLAIN, 1)]


def as_fasta(width: int = 10) -> str:
    lines = []
    for name, sequence in RECORDS:
        text = sequence.decode()
        lines += [f">{name} some words", *(text[i : i + width] for i in range(0, len(text), width))]
    return "\n".join(lines) + "\n"


def as_fastq(width: int = 1000) -> str:
    lines = []
    for name, sequence in RECORDS:
        text, quality = sequence.decode(), "@" * len(sequence)  # a quality may look like a header
        cuts = range(0, max(len(text), 1), width)
        lines += [f"@{name} 1:N:0", *(text[i : i + width] for i in cuts), "+"]
        lines += [quality[i : i + width] for i in cuts]
    return "\n".join(lines) + "\n"


def as_table(delimiter: str) -> str:
    rows = [("label", "Sequence", "name"), *(("1", s.decode(), n) for n, s in RECORDS)]
    return "\n".join(delimiter.join(row) for row in rows) + "\n"


def as_lines() -> str:
    return "\n\n".join(r.sequence.decode() for r in PLAIN) + "\n"


TEXTS = {
    "fasta": (as_fasta(), RECORDS),
    "fasta on one line": (as_fasta(10_000), RECORDS),
    "fastq": (as_fastq(), RECORDS),
    "wrapped fastq": (as_fastq(7), RECORDS),
    "csv": (as_table(","), RECORDS),
    "semicolons": (as_table(";"), RECORDS),
    "sep=": ("sep=,\n" + as_table(","), RECORDS),
    'quoted "sep="': ('"sep=;"\n' + as_table(";"), RECORDS),
    "tsv": (as_table("\t"), RECORDS),
    "lines": (as_lines(), PLAIN),
    "one column": ("sequence\n" + as_lines(), PLAIN),
}


def mixed_ends(text: str) -> str:
    ends = itertools.cycle(["\r", "\n", "\r\n"])
    return "".join(next(ends) if letter == "\n" else letter for letter in text)


VARIANTS = {
    "as is": lambda text: text,
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "CR": lambda text: text.replace("\n", "\r"),
    "mixed line ends": lambda text: mixed_ends(text),
    "doubled CR": lambda text: text.replace("\n", "\r\r\n"),
    "blank lines around": lambda text: "\n\n" + text + "\n\n",
    "no last line end": lambda text: text.rstrip("\n"),
    "byte-order mark": lambda text: "\ufeff" + text,
}


def bgzipped(data: bytes, path: Path) -> None:
    with pysam.BGZFile(str(path), "wb") as out:
        out.write(data)


def zipped(data: bytes, path: Path, *more: str) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/", b"")
        archive.writestr("folder/x.fa", data)
        archive.writestr("__MACOSX/folder/._x.fa", b"\0\5")
        for name in more:
            archive.writestr(name, data)


PACKINGS = {
    "plain": lambda data, path: path.write_bytes(data),
    "gzip": lambda data, path: path.write_bytes(gzip.compress(data)),
    "gzip of two members": lambda data, path: path.write_bytes(
        gzip.compress(data[:50]) + gzip.compress(data[50:])
    ),
    "bgzip": bgzipped,
    "xz": lambda data, path: path.write_bytes(lzma.compress(data)),
    "bzip2": lambda data, path: path.write_bytes(bz2.compress(data)),
    "zip": zipped,
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("kind", TEXTS)
def test_every_format_in_every_packing_gives_the_same_records(tmp_path, kind, variant, packing):
    text, expected = TEXTS[kind]
    if kind in ("fastq", "wrapped fastq") and variant == "no last line end":
        text = text.rstrip("\n") + "\n"
    path = tmp_path / "input.dat"  # a name that tells nothing
    PACKINGS[packing](VARIANTS[variant](text).encode(), path)
    assert list(read_records(path)) == expected


names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8)
records = st.lists(st.tuples(names, st.text(alphabet="ACGTNacgtn", max_size=50)), min_size=1)


@settings(deadline=None)
@given(records, st.integers(1, 60))
def test_fasta_agrees_with_htslib(tmp_path_factory, records, width):
    path = tmp_path_factory.mktemp("fasta") / "x.fa"
    with open(path, "w") as out:
        for name, text in records:
            out.write(f">{name}\n")
            out.writelines(text[i : i + width] + "\n" for i in range(0, len(text), width))
    with pysam.FastxFile(str(path)) as reference:
        expected = [(r.name, (r.sequence or "").encode()) for r in reference]
    assert [tuple(record) for record in read_records(path)] == expected


def test_yeast_agrees_with_htslib():
    path = SHARED / "data/genomes/yeast/Saccharomyces_cerevisiae.R64-1-1.dna.toplevel.fa.gz"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    with pysam.FastxFile(str(path)) as reference:
        for ours, theirs in itertools.zip_longest(read_records(path), reference):
            assert (ours.name, ours.sequence.decode()) == (theirs.name, theirs.sequence)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\r\n", gzip.compress(b"", mtime=0)])
def test_an_empty_file_has_no_records_and_still_an_identity(tmp_path, content):
    path = tmp_path / "empty"
    path.write_bytes(content)
    seen = []
    assert list(read_records(path, identify=seen.append)) == []
    assert seen == [hash_file(path)]


@pytest.mark.parametrize("packing", PACKINGS)
def test_the_identity_is_that_of_the_file_as_stored(tmp_path, packing):
    path = tmp_path / "x"
    PACKINGS[packing](as_fasta().encode(), path)
    seen = []
    for _ in read_records(path, identify=seen.append):
        assert not seen
    assert seen == [hash_file(path)]


def test_records_without_a_name_are_numbered(tmp_path):
    path = tmp_path / "x.fa"
    path.write_text(">\nA\n>b\nC\n> \nG\n")
    assert [r.name for r in read_records(path)] == ["1", "b", "3"]


def test_pairs_give_a_record_each_and_quotes_are_read(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text('sequence_1,sequence_2,label\n"ACG",TT,1\n')
    assert list(read_records(path)) == [Record("1", b"ACG"), Record("1", b"TT")]


def test_a_field_longer_than_the_csv_module_allows(tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("sequence,label\n" + "ACGT" * 50_000 + ",1\n")
    assert [len(r.sequence) for r in read_records(path)] == [200_000]


def test_standard_input_is_streamed(monkeypatch):
    class Endless(io.RawIOBase):
        mode = "rb"
        name = "pipe"

        def readable(self):
            return True

        def readinto(self, buffer):
            text = (b">x\nACGT\n" * (len(buffer) // 8 + 1))[: len(buffer) // 8 * 8]
            buffer[: len(text)] = text
            return len(text)

    stream = io.TextIOWrapper(io.BufferedReader(Endless()))
    monkeypatch.setattr(sys, "stdin", stream)
    first = list(itertools.islice(read_records("-"), 1000))
    assert first == [Record("x", b"ACGT")] * 1000
    assert not stream.buffer.closed


COMPLAINTS = {
    "a picture": (b"\x89PNG\r\n", r":1: unknown format; expected FASTA"),
    "prose": (b"Dear editor\n", r":1: unknown format"),
    "a protein": (b">p\nACGT\nMKLV\nEE*\n", r":3: character 'L' is no nucleotide; expected A C G"),
    "a gap": (b">a\nACGT\n>b\n\nAC-T\n", r":5: character '-' is no nucleotide"),
    "a bad line": (b"ACGT\nACQT\n", r":2: character 'Q'"),
    "a bad cell": (b"sequence,label\nACGT,1\nAC!T,0\n", r":3: column 'sequence': character '!'"),
    "no sequence column": (
        b"seq,label\nACGT,1\n",
        r":1: no column 'sequence' among seq, label; expected F",
    ),
    "no header": (b"ACGT,1\n", r":1: no column 'sequence'"),
    "a short row": (b"sequence,label\nACGT,1\nACGT\n", r":3: 1 fields; expected 2, as in the h"),
    "an open quote": (b'sequence,label\n"ACGT,1\n', r":2: not a readable table"),
    "not text": (b"sequence,label\nACGT,\xff\n", r":2: not UTF-8 text; save it as UTF-8"),
    "a read cut in its bases": (b"@r\nACGT\n", r":1: read without its '\+' line"),
    "a read cut in its qualities": (b"@r\nACGT\n+\nII\n", r":1: 2 qualities for 4 bases"),
    "qualities too many": (b"@r\nACGT\n+\nIIIII\n", r":1: 5 qualities for 4 bases"),
    "UTF-16": ("\ufeffsequence\nACGT\n".encode("utf-16-le"), r":1: UTF-16 text, or a binary file"),
    "UTF-16 without its mark": (">a\nACGT\n".encode("utf-16-be"), r":1: UTF-16 text, or a bin"),
    "k-mers in a table": (
        b"sequence\tlabel\nACGTAC CGTACG GTACGG\t1\n",
        r":2: column 'sequence': overlapping 6-mers, each word the one before .* join them back",
    ),
    "k-mers on lines": (b"ACGTACGT\nACG CGT GTA TAC ACA CAA\n", r":2: overlapping 3-mers"),
    "k-mers in FASTA": (b">a\nAC\n>b\n\nACGTAC  CGTACG\tgtacgg\n", r":5: overlapping 6-mers"),
    "k-mers in FASTQ": (b"@r\nACGTAC CGTACG GTACGG\n+\n!!!\n", r":2: overlapping 6-mers"),
    "reads out of step": (b"@r\nAC\n+\nII\nAC\n", r":5: not a FASTQ header; expected @name"),
}


@pytest.mark.parametrize("what", COMPLAINTS)
def test_complaints_name_file_and_line(tmp_path, what):
    content, message = COMPLAINTS[what]
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"bad.txt{message}") as raised:
        list(read_records(path))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kept", [5, 40, -9, -1])
def test_a_truncated_gzip_is_told(tmp_path, kept):
    path = tmp_path / "cut.fa.gz"
    path.write_bytes(gzip.compress(as_fasta().encode())[:kept])
    with pytest.raises(InputError, match=r"cut\.fa\.gz:\d+: gzip data ends early or is damaged"):
        list(read_records(path))


def test_a_bgzip_cut_between_two_blocks_is_told(tmp_path):
    whole, cut = tmp_path / "whole.fa.gz", tmp_path / "cut.fa.gz"
    bgzipped(as_fasta().encode(), whole)
    stored = whole.read_bytes()
    cut.write_bytes(stored[: len(stored) - 28])  # 28 bytes: the empty block at the end
    assert gzip.decompress(cut.read_bytes()) == as_fasta().encode()  # gzip itself sees nothing
    with pytest.raises(InputError, match=r"cut\.fa\.gz:\d+: gzip data ends early .*end marker"):
        list(read_records(cut))


def test_damage_inside_a_gzip_is_told(tmp_path):
    data = bytearray(gzip.compress(as_fasta().encode()))
    data[40] ^= 0xFF
    path = tmp_path / "hurt.fa.gz"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"hurt\.fa\.gz:\d+: "):
        list(read_records(path))


def test_absent_files_and_directories(tmp_path):
    with pytest.raises(InputError, match=r"none\.fa: no such file"):
        list(read_records(tmp_path / "none.fa"))
    with pytest.raises(InputError, match="is a directory"):
        list(read_records(tmp_path))


@pytest.mark.parametrize(
    "cell",
    [
        "ACGTACGTAC GTTTGACCAA CGT",  # blocks of ten, as GenBank has
        "ACG TTC CGA",  # codons
        "AAAAAAAAAA AAAAAAAAAA AAA",  # a repeat whose last block is short
        "AC CG",  # overlaps as chance has it
        "A C G T",
    ],
)
def test_blanks_between_blocks_are_left_out(tmp_path, cell):
    path = tmp_path / "blocks.csv"
    path.write_text(f"sequence,label\n{cell},1\n")
    assert list(read_records(path)) == [Record("1", cell.replace(" ", "").encode())]


@settings(deadline=None)
@given(st.text("ACGTNacgtn", min_size=14, max_size=60), st.integers(2, 8))
def test_k_mers_of_any_k_are_told(tmp_path_factory, text, k):
    path = tmp_path_factory.mktemp("kmers") / "x.csv"
    words = [text[i : i + k] for i in range(len(text) - k + 1)]
    path.write_text(f"sequence,label\n{' '.join(words)},1\n")
    overlap = (len(words) - 1) * (k - 1)
    if overlap >= 10:
        with pytest.raises(InputError, match=f":2: .*overlapping {k}-mers"):
            list(read_records(path))


def test_names_of_a_table_are_whole(tmp_path):
    path = tmp_path / "named.csv"
    path.write_text('name,sequence\npatient 1,A\n,C\n"two\tlines\nor more",G\n"\x1b[2J",T\n')
    names = [record.name for record in read_records(path)]
    assert names == ["patient 1", "2", r"two\tlines\nor more", r"\x1b[2J"]


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: zipped(b"ACGT\n", path, "y.fa"), r"zip of 2 files \('folder/x.fa', 'y.fa'\)"),
        (lambda path: path.write_bytes(b"PK\3\4" + b"x" * 50), "zip data ends early or is damaged"),
        (lambda path: path.write_bytes(lzma.compress(b"ACGT\n")[:-9]), ":2?1?: xz data ends early"),
        (lambda path: path.write_bytes(bz2.compress(b"ACGT\n")[:-9]), ":1: bzip2 data ends early"),
    ],
)
def test_packings_that_cannot_be_read_are_named(tmp_path, write, message):
    path = tmp_path / "packed"
    write(path)
    with pytest.raises(InputError, match=message):
        list(read_records(path))


def test_zstd_is_read_or_named(tmp_path):
    path = tmp_path / "x.zst"
    path.write_bytes(bytes.fromhex("28b52ffd0458290000414347540a") + b"\0\0\0\0")
    with pytest.raises(InputError, match=r"zstd,? .*(zstd -dc \S+ \| dnazen|damaged)"):
        list(read_records(path))


def test_zip_from_a_pipe_is_named(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    zipped(b"ACGT\n", tmp_path / "x.zip")
    writer = threading.Thread(target=lambda: pipe.write_bytes((tmp_path / "x.zip").read_bytes()))
    writer.start()
    with pytest.raises(InputError, match=r"zip from a pipe; expected a file; unzip -p"):
        list(read_records(pipe))
    writer.join()


def test_a_twobit_is_read_like_any_other(tmp_path):
    path = twobit({"a": "ACGTN", "b": "GG"}, tmp_path / "g.2bit")
    seen = []
    records = list(read_records(path, identify=seen.append))
    assert records == [Record("a", b"ACGTN"), Record("b", b"GG")]
    assert seen == [hash_file(path)]


def test_a_name_with_a_nul_is_refused(tmp_path):
    path = tmp_path / "named.csv"
    path.write_bytes(b'name,sequence\n"a\0b",ACGT\n')
    with pytest.raises(InputError, match=r"named\.csv:2: a name holds a NUL; copy the file again"):
        list(read_records(path))
