"""Stretches of genomes against slices of plain strings, in every packing, and every complaint."""

from __future__ import annotations

import builtins
import gzip
import lzma
import os
import re
import struct
from pathlib import Path

import pysam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen.errors import InputError, OutputError
from dnazen.sequences.indexed import IndexedGenome
from dnazen.sequences.reader import read_records

SHARED = Path(__file__).parents[3] / "shared"
CONTIGS = {"1": "ACGTNNacgtuRYK" * 7 + "AC", "two": "GATTACA", "MT": "t" * 33}


def fasta_text(contigs, width=10, end="\n") -> bytes:
    lines = []
    for name, text in contigs.items():
        lines += [f">{name} of a test", *(text[i : i + width] for i in range(0, len(text), width))]
    return (end.join(lines) + end).encode()


def bgzip(data: bytes, path: Path) -> Path:
    with pysam.BGZFile(str(path), "wb") as out:
        out.write(data)
    return path


def twobit(contigs, path: Path, order="<") -> Path:
    """A 2bit file written from its specification (UCSC)."""

    def numbers(*values):
        return struct.pack(f"{order}{len(values)}I", *values)

    bodies = []
    for text in contigs.values():
        body = numbers(len(text))
        for kind in ("[^ACGTacgt]+", "[a-z]+"):
            spans = [match.span() for match in re.finditer(kind, text)]
            body += numbers(
                len(spans),
                *(s for s, _ in spans),
                *(e - s for s, e in spans),
            )
        codes = ["TCAG".find(base) % 4 for base in text.upper()] + [0] * (-len(text) % 4)
        packed = zip(*[iter(codes)] * 4, strict=True)
        bodies.append(
            body + numbers(0) + bytes(a << 6 | b << 4 | c << 2 | d for a, b, c, d in packed)
        )
    place = 16 + sum(5 + len(name) for name in contigs)
    index = b""
    for name, body in zip(contigs, bodies, strict=True):
        index += bytes([len(name)]) + name.encode() + numbers(place)
        place += len(body)
    path.write_bytes(numbers(0x1A412743, 0, len(contigs), 0) + index + b"".join(bodies))
    return path


@pytest.fixture(params=["plain", "CRLF", "one line", "bgzip", "2bit"])
def genome(request, tmp_path):
    """The contigs in each packing, under a name that tells nothing, and what they should hold."""
    path = tmp_path / "genome.dat"
    known = {name: text.upper() for name, text in CONTIGS.items()}
    if request.param == "2bit":
        twobit(CONTIGS, path)
        known = {name: re.sub("[^ACGT]", "N", text) for name, text in known.items()}
    elif request.param == "bgzip":
        bgzip(fasta_text(CONTIGS), path)
    else:
        end = "\r\n" if request.param == "CRLF" else "\n"
        width = 1000 if request.param == "one line" else 10
        path.write_bytes(fasta_text(CONTIGS, width, end))
    with IndexedGenome(path) as opened:
        yield opened, known


def complement(text: str) -> str:
    return text[::-1].translate(str.maketrans("ACGTURYKN", "TGCAAYRMN"))


def test_every_stretch_is_a_slice_of_the_contig_with_n_around_it(genome):
    opened, known = genome
    assert opened.names == tuple(CONTIGS)
    assert opened.lengths == {name: len(text) for name, text in CONTIGS.items()}
    padded = 0
    for name, text in known.items():
        around = "N" * 9 + text + "N" * 9
        bounds = sorted({-9, -1, 0, 1, 6, 7, 8, 31, len(text) - 1, len(text), len(text) + 9})
        for start in bounds:
            for end in (e for e in bounds if start <= e <= len(text) + 9):
                expected = around[start + 9 : end + 9] if start <= len(text) + 9 else ""
                expected += "N" * (end - start - len(expected))
                assert opened.fetch(name, start, end) == expected.encode()
                assert opened.fetch(name, start, end, "-") == complement(expected).encode()
                padded += 2 * sum(not 0 <= place < len(text) for place in range(start, end))
    assert opened.padded == padded > 0


@pytest.mark.parametrize("packing", ["plain", "bgzip", "2bit"])
def test_soft_masked_letters_keep_their_case_where_asked(tmp_path, packing):
    path = tmp_path / "genome"
    contigs = {"a": "ACgtNNacGT" * 3, "b": "gattacaG"}
    if packing == "2bit":
        twobit(contigs, path)
    elif packing == "bgzip":
        bgzip(fasta_text(contigs), path)
    else:
        path.write_bytes(fasta_text(contigs))
    with IndexedGenome(path, soft_masked=True) as cased, IndexedGenome(path) as plain:
        for name, text in contigs.items():
            for start, end in ((-2, 5), (0, len(text)), (3, len(text) + 4)):
                around = "NN" + text + "NNNN"
                expected = around[start + 2 : end + 2]
                assert cased.fetch(name, start, end) == expected.encode()
                turned = expected[::-1].translate(str.maketrans("ACGTacgt", "TGCAtgca"))
                assert cased.fetch(name, start, end, "-") == turned.encode()
                assert plain.fetch(name, start, end) == expected.upper().encode()


def test_far_off_the_contig_is_all_n(genome):
    opened, _ = genome
    assert opened.fetch("two", -50, -40) == b"N" * 10
    assert opened.fetch("two", 50, 60) == b"N" * 10
    assert opened.padded == 20
    with pytest.raises(ValueError, match="start 5 lies behind end 4"):
        opened.fetch("two", 5, 4)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.text("ACGTNacgtn", min_size=1, max_size=60), min_size=1, max_size=4),
    st.integers(1, 70),
    st.tuples(st.integers(-80, 80), st.integers(0, 80)),
)
def test_all_formats_agree(tmp_path_factory, texts, width, stretch):
    folder = tmp_path_factory.mktemp("formats")
    contigs = {f"c{i}": text for i, text in enumerate(texts)}
    (folder / "plain").write_bytes(fasta_text(contigs, width))
    paths = folder / "plain", bgzip(fasta_text(contigs, width), folder / "bgzip")
    start, size = stretch
    found = set()
    for path in (*paths, twobit(contigs, folder / "2bit")):
        with IndexedGenome(path) as opened:
            found.add(tuple(opened.fetch(name, start, start + size) for name in contigs))
    assert len(found) == 1


def test_yeast_agrees_with_reading_it_through(tmp_path):
    path = SHARED / "data/genomes/yeast/Saccharomyces_cerevisiae.R64-1-1.dna.toplevel.fa.gz"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    plain = tmp_path / "yeast.fa"
    plain.write_bytes(gzip.decompress(path.read_bytes()))
    with IndexedGenome(plain) as opened:
        for name, letters in read_records(path):
            assert opened.fetch(name, 0, len(letters)) == letters.upper()
            assert opened.fetch(name, 1000, 1060) == letters[1000:1060].upper()


def test_an_index_is_written_beside_and_used_again(tmp_path):
    path = tmp_path / "g.fa"
    path.write_bytes(fasta_text(CONTIGS))
    IndexedGenome(path).close()
    index = tmp_path / "g.fa.fai"
    fields = [line.split("\t")[:2] for line in index.read_text().splitlines()]
    assert fields == [[name, str(len(text))] for name, text in CONTIGS.items()]
    age = index.stat().st_mtime_ns
    IndexedGenome(path).close()
    assert index.stat().st_mtime_ns == age
    bgzip(fasta_text(CONTIGS), tmp_path / "g.fa.gz")
    IndexedGenome(tmp_path / "g.fa.gz").close()
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "g.fa",
        "g.fa.fai",
        "g.fa.gz",
        "g.fa.gz.fai",
        "g.fa.gz.gzi",
    ]


@pytest.mark.parametrize("pack", [lambda data, path: path.write_bytes(data), bgzip])
def test_a_name_that_is_not_utf8(tmp_path, pack):
    path = tmp_path / "x\udcff.fa"
    pack(fasta_text(CONTIGS), tmp_path / "x.fa")
    (tmp_path / "x.fa").rename(path)
    for _ in range(2):
        with IndexedGenome(path) as opened:
            assert opened.fetch("two", 0, 7) == b"GATTACA"


def test_an_index_older_than_its_file_is_made_anew(tmp_path):
    path = tmp_path / "g.fa"
    path.write_bytes(b">old\nACGT\n")
    IndexedGenome(path).close()
    path.write_bytes(b">new one\nGG\nCC\n")
    os.utime(tmp_path / "g.fa.fai", ns=(0, path.stat().st_mtime_ns - 1))
    with IndexedGenome(path) as opened:
        assert opened.names == ("new",)
        assert opened.fetch("new", 0, 4) == b"GGCC"
    assert (tmp_path / "g.fa.fai").read_text().startswith("new\t4")


@pytest.mark.parametrize("pack", [lambda data, path: path.write_bytes(data), bgzip])
def test_a_folder_that_cannot_be_written_serves_all_the_same(tmp_path, monkeypatch, capsys, pack):
    path = tmp_path / "g.fa"
    pack(fasta_text(CONTIGS), path)

    def refuse(path):
        raise OutputError(f"{path}: cannot be written")

    monkeypatch.setattr("dnazen.sequences.indexed.new_file", refuse)
    with IndexedGenome(path) as opened:
        assert opened.fetch("two", 0, 7) == b"GATTACA"
    assert [p.name for p in tmp_path.iterdir()] == ["g.fa"]
    assert "none can be written beside it: indexed for this run only" in capsys.readouterr().err


def test_of_contigs_with_the_same_name_the_first_is_meant(tmp_path, capfd):
    path = tmp_path / "g.fa"
    path.write_bytes(b">a\nACGT\n>a\nGG\n>b\nTT\n")
    with IndexedGenome(path) as opened:
        assert opened.lengths == {"a": 4, "b": 2}
        assert opened.fetch("a", 0, 4) == b"ACGT"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("names", "asked", "message"),
    [
        (["1", "2", "MT"], ["chr2"], "no contig 'chr2' in .*; expected one of its 3: 1, 2, MT; "
         "this genome writes '2' for 'chr2'"),
        (["1", "MT"], ["chrM"], "this genome writes 'MT' for 'chrM'"),
        (["chr1", "chrM"], ["nonsense", "1"], "'nonsense', '1' in .* writes 'chr1' for '1'"),
        (["chr1", "chrM"], ["MT"], "writes 'chrM' for 'MT'"),
        (list("abcdefg"), list("uvwxyz"), r"'u', 'v', 'w', 'x', 'y', \.\.\. in .* expected one of "
         r"its 7: a, b, c, d, e, \.\.\.$"),
    ],
)  # fmt: skip
def test_an_unknown_contig_is_told_with_the_known_ones(tmp_path, names, asked, message):
    path = tmp_path / "g.fa"
    path.write_bytes(fasta_text(dict.fromkeys(names, "ACGT")))
    with IndexedGenome(path) as opened:
        assert re.search(message, str(opened.unknown(*asked)))
        assert str(opened.unknown(*asked, at="x.bed:3")).startswith("x.bed:3: no contig")
        with pytest.raises(InputError, match=f"no contig '{asked[0]}'"):
            opened.fetch(asked[0], 0, 1)


def complaint(path: Path, capfd) -> str:
    with pytest.raises(InputError) as raised:
        IndexedGenome(path)
    assert capfd.readouterr().err == ""  # nothing of htslib's beside our one line
    assert "\n" not in str(raised.value)
    return str(raised.value)


COMPLAINTS = {
    "gzip": (gzip.compress(b">a\nACGT\n"), r"gzip, in which .* gunzip -c \S+/bad.fa \| bgzip > "),
    "prose": (b"Dear editor\n", r"unknown format; expected a genome: FASTA, plain or bgzip, or 2b"),
    "empty": (b"", "unknown format"),
    "ragged lines": (b">a\nACGT\nAC\nACGT\n", "cannot be indexed; expected FASTA whose lines are"),
    "xz": (lzma.compress(b">a\nACGT\n"), r"xz, in which .* xz -dc \S+/bad.fa \| bgzip > bad.bgz"),
    "byte-order mark": (
        b"\xef\xbb\xbf>a\nACGT\n",
        "begins with a byte-order mark.* remove its first",
    ),
    "CR line ends": (b">a\rACGT\r", "lines that end with CR alone.* tr "),
    "mixed line ends": (b">a\nACGT\n>b\rACGT\nGG\n", "lines that end with CR alone"),
    "CR within lines": (b">a\nACGT\rACGT\nACGT\rACGT\n", "lines that end with CR alone"),
    "CR between blocks": (
        b">a\n" + b"A" * ((1 << 20) - 4) + b"\rC\n",
        "lines that end with CR alone",
    ),
    "CR in bgzip": (lambda c, p: bgzip(b">a\nAC\n>b\rGT\nAC\n", p), "lines that end with CR al"),
    "bgzip of prose": (lambda c, p: bgzip(b"Dear editor\n", p), "unknown format"),
    "no contig": (twobit, "no sequence in it"),
    "foreign byte order": (lambda c, p: twobit({"a": "ACGT"}, p, ">"), "2bit of another byte ord"),
}


@pytest.mark.parametrize("what", COMPLAINTS)
def test_what_is_no_genome_is_told(tmp_path, capfd, what):
    content, message = COMPLAINTS[what]
    path = tmp_path / "bad.fa"
    path.write_bytes(content) if isinstance(content, bytes) else content({}, path)
    assert re.search(f"bad.fa: {message}", complaint(path, capfd))


def test_absent_files_and_folders(tmp_path, capfd):
    assert "none.fa: no such file" in complaint(tmp_path / "none.fa", capfd)
    assert "cannot be read" in complaint(tmp_path, capfd)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
def test_a_genome_cut_short_is_told(tmp_path, capfd, share):
    contigs = {"a": "ACGTTGCA" * 20_000, "b": "ACG" * 9}
    for path in (bgzip(fasta_text(contigs), tmp_path / "g.gz"), twobit(contigs, tmp_path / "g")):
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        assert "data end early; copy the file again" in complaint(path, capfd)


def test_every_cut_of_a_twobit_is_told(tmp_path, capfd):
    path = twobit(CONTIGS, tmp_path / "g.2bit")
    data = path.read_bytes()
    for size in range(4, len(data)):
        path.write_bytes(data[:size])
        assert "end early" in complaint(path, capfd)


FOREIGN_INDEXES = {
    "longer": "a\t80\t3\t80\t81\n",
    "empty": "",
    "prose": "not an index\n",
    "negative": "a\t-5\t3\t60\t61\nb\t4\t14\t4\t5\n",
    "huge": "a\t8\t3000000000000000000000\t8\t9\nb\t4\t15\t4\t5\n",
    "no lines": "a\t8\t3\t0\t0\nb\t4\t15\t4\t5\n",
    "a contig less": "a\t8\t3\t8\t9\n",
    "other names": "a\t8\t3\t8\t9\nc\t4\t15\t4\t5\n",
    "shifted": "a\t8\t2\t8\t9\nb\t4\t14\t4\t5\n",
    "not text": "\udcff\t8\t3\t8\t9\n",
}


@pytest.mark.parametrize("pack", [lambda data, path: path.write_bytes(data), bgzip])
@pytest.mark.parametrize("what", FOREIGN_INDEXES)
def test_an_index_of_another_file_is_made_anew(tmp_path, capfd, what, pack):
    path = tmp_path / "g.fa"
    pack(b">a\nACGTACGT\n>b\nGGCC\n", path)
    IndexedGenome(path).close()
    assert capfd.readouterr().err == ""
    index = tmp_path / "g.fa.fai"
    right = index.read_text()
    index.write_text(FOREIGN_INDEXES[what], errors="surrogateescape")
    with IndexedGenome(path) as opened:
        assert opened.lengths == {"a": 8, "b": 4}
        assert opened.fetch("b", 0, 4) == b"GGCC"
    note = f"note: {path} is not the file that its index was made of: indexed anew\n"
    assert capfd.readouterr().err == note
    assert index.read_text() == right


@pytest.mark.parametrize("pack", [lambda data, path: path.write_bytes(data), bgzip])
def test_a_file_that_keeps_its_date_is_not_read_by_the_old_index(tmp_path, pack):
    path, bases = tmp_path / "g.fa", "ACGTTGCA" * 12
    pack(f">a\n{bases}\n>b\n{bases}\n".encode(), path)
    IndexedGenome(path).close()
    pack(f">a of a longer name\n{bases}\n>b\n{bases}\n".encode(), path)
    os.utime(path, ns=(0, 0))  # as mv, cp -p, tar and rsync keep it
    with IndexedGenome(path) as opened:
        assert opened.fetch("b", 3, 60) == bases[3:60].encode()


@pytest.mark.parametrize("damage", [b"", b"\1", b"\xff" * 24])
def test_a_damaged_gzi_is_made_anew(tmp_path, damage):
    path = bgzip(fasta_text(CONTIGS), tmp_path / "g.fa.gz")
    IndexedGenome(path).close()
    right = (tmp_path / "g.fa.gz.gzi").read_bytes()
    (tmp_path / "g.fa.gz.gzi").write_bytes(damage)
    with IndexedGenome(path) as opened:
        assert opened.fetch("two", 0, 7) == b"GATTACA"
    assert (tmp_path / "g.fa.gz.gzi").read_bytes() == right


def test_a_protein_is_told_when_it_is_fetched(tmp_path):
    path = tmp_path / "g.fa"
    path.write_bytes(b">p\nACGTMKLVEE\n")
    with IndexedGenome(path) as opened, pytest.raises(InputError, match="character 'L' is no nucl"):
        opened.fetch("p", 4, 10)


def test_without_the_extra_a_twobit_names_it(tmp_path, monkeypatch, capfd):
    real = builtins.__import__

    def without(name, *more):
        if name == "py2bit":
            raise ImportError(name)
        return real(name, *more)

    path = twobit(CONTIGS, tmp_path / "g.2bit")
    monkeypatch.setattr(builtins, "__import__", without)
    assert "pip install 'dnazen[twobit]'" in complaint(path, capfd)


@pytest.mark.parametrize(("start", "end"), [(-2_000_000, 4), (0, 10**15)])
def test_a_region_of_another_genome_is_told_before_it_fills_memory(tmp_path, start, end):
    path = tmp_path / "g.fa"
    path.write_bytes(fasta_text(CONTIGS))
    with IndexedGenome(path) as genome:
        with pytest.raises(InputError, match=rf"^x\.bed:3: 1:{start + 1}-{end} lies far off its"):
            genome.fetch("1", start, end, at="x.bed:3")
        assert genome.fetch("1", -1_000_000, 0) == b"N" * 1_000_000
