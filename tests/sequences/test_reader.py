"""Readers: every format and packing, with htslib as the reference, and every complaint."""

from __future__ import annotations

import gzip
import io
import itertools
import sys
from pathlib import Path

import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen.errors import InputError
from dnazen.records import hash_file
from dnazen.sequences.reader import Record, read_records

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
    "tsv": (as_table("\t"), RECORDS),
    "lines": (as_lines(), PLAIN),
    "one column": ("sequence\n" + as_lines(), PLAIN),
}
VARIANTS = {
    "as is": lambda text: text,
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "blank lines around": lambda text: "\n\n" + text + "\n\n",
    "no last line end": lambda text: text.rstrip("\n"),
    "byte-order mark": lambda text: "\ufeff" + text,
}


def bgzipped(data: bytes, path: Path) -> None:
    with pysam.BGZFile(str(path), "wb") as out:
        out.write(data)


PACKINGS = {
    "plain": lambda data, path: path.write_bytes(data),
    "gzip": lambda data, path: path.write_bytes(gzip.compress(data)),
    "gzip of two members": lambda data, path: path.write_bytes(
        gzip.compress(data[:50]) + gzip.compress(data[50:])
    ),
    "bgzip": bgzipped,
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
    "a bad cell": (b"sequence,label\nACGT,1\nAC!T,0\n", r":3: character '!'"),
    "no sequence column": (
        b"seq,label\nACGT,1\n",
        r":1: no column 'sequence' among seq, label; expected F",
    ),
    "no header": (b"ACGT,1\n", r":1: no column 'sequence'"),
    "a short row": (b"sequence,label\nACGT,1\nACGT\n", r":3: 1 fields; expected 2, as above"),
    "an open quote": (b'sequence,label\n"ACGT,1\n', r":2: not a readable table"),
    "not text": (b"sequence,label\nACGT,\xff\n", r":2: not UTF-8 text; expected FASTA"),
    "a read cut in its bases": (b"@r\nACGT\n", r":1: read without its '\+' line"),
    "a read cut in its qualities": (b"@r\nACGT\n+\nII\n", r":1: 2 qualities for 4 bases"),
    "qualities too many": (b"@r\nACGT\n+\nIIIII\n", r":1: 5 qualities for 4 bases"),
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
