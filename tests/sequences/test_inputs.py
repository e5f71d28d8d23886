"""What commands are given: files and regions, in order, with their places."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from dnazen.errors import ConfigError, InputError
from dnazen.sequences.alphabet import reverse_complement
from dnazen.sequences.inputs import InputRecord, Inputs, records_of
from dnazen.sequences.regions import Region
from dnazen.sequences.settings import RegionConfig, TileConfig
from sequences.test_indexed import bgzip, fasta_text, twobit

CONTIGS = {"chr1": "ACGTTGCAAGGGATTACAacct" * 3, "chr2": "NNACGT"}


@pytest.fixture
def genome(tmp_path) -> Path:
    path = tmp_path / "g.fa"
    path.write_bytes(fasta_text(CONTIGS))
    return path


def test_records_of_files_are_contigs_of_their_own(genome, tmp_path):
    reads = tmp_path / "reads.fq.gz"
    reads.write_bytes(gzip.compress(b"@r\nACG\n+\nIII\n@r\nT\n+\nI\n"))
    taken = Inputs([genome, reads])
    assert list(taken) == [
        InputRecord(name, text.encode(), Region(name, 0, len(text)), f"{genome}: record {name}")
        for name, text in CONTIGS.items()
    ] + [
        InputRecord("r", b"ACG", Region("r", 0, 3), f"{reads}: record r"),
        InputRecord("r", b"T", Region("r", 0, 1), f"{reads}: record r"),
    ]
    assert taken.padded == 0
    assert [len(list(part)) for part in Inputs([genome, reads, reads]).parts()] == [2, 2, 2]


def test_a_twobit_gives_its_contigs_whole(tmp_path):
    path = twobit(CONTIGS, tmp_path / "g")
    assert [(r.name, r.sequence, r.region) for r in Inputs([path])] == [
        (name, text.upper().encode(), Region(name, 0, len(text))) for name, text in CONTIGS.items()
    ]


def packed(kind: str, folder: Path) -> Path:
    path = folder / "genome"
    if kind == "2bit":
        return twobit(CONTIGS, path)
    if kind == "bgzip":
        return bgzip(fasta_text(CONTIGS), path)
    path.write_bytes(fasta_text(CONTIGS))
    return path


@pytest.mark.parametrize("kind", ["plain", "bgzip", "2bit"])
def test_regions_then_bed_in_the_order_asked_for(tmp_path, kind):
    genome, bed = packed(kind, tmp_path), tmp_path / "x.bed"
    bed.write_text("chr2\t4\t9\n#\nchr1\t60\t70\tpeak\t0\t-\nchr1\t60\t70\tpeak\t0\t+\n")
    taken = Inputs([genome], RegionConfig(regions=("chr1:3-5", "chr2(-)"), bed=bed))
    last = CONTIGS["chr1"].upper()[60:].encode() + b"NNNN"
    assert list(taken) == [
        InputRecord("chr1:3-5", b"GTT", Region("chr1", 2, 5), "--regions chr1:3-5"),
        InputRecord("chr2:1-6(-)", b"ACGTNN", Region("chr2", 0, 6, "-"), "--regions chr2(-)"),
        InputRecord("chr2:5-9", b"GTNNN", Region("chr2", 4, 9), f"{bed}:1"),
        InputRecord("peak", reverse_complement(last), Region("chr1", 60, 70, "-"), f"{bed}:3"),
        InputRecord("peak", last, Region("chr1", 60, 70), f"{bed}:4"),
    ]
    assert taken.padded == 3 + 4 + 4


def test_parts_of_a_region_are_where_their_letters_are(genome):
    for text in ("chr1:5-40", "chr1:5-40(-)"):
        (whole,) = Inputs([genome], RegionConfig(regions=(text,)))
        part = whole.region.part(3, 11)
        (alone,) = Inputs([genome], RegionConfig(regions=(str(part),)))
        assert alone.sequence == whole.sequence[3:11]


def test_an_unknown_contig_is_told_with_the_line(genome, tmp_path):
    bed = tmp_path / "x.bed"
    bed.write_text("chr1\t1\t5\n1\t1\t5\n")
    with pytest.raises(InputError, match=r"x\.bed:2: no contig '1' in .*writes 'chr1' for '1'"):
        list(Inputs([genome], RegionConfig(bed=bed)))
    with pytest.raises(InputError, match=r"--regions X:1-5: no contig 'X' in"):
        list(Inputs([genome], RegionConfig(regions=("X:1-5",))))


@pytest.mark.parametrize("kind", ["file", "rule"])
def test_contigs_by_other_names(genome, tmp_path, capsys, kind):
    bed, file = tmp_path / "x.bed", tmp_path / "names.tsv"
    bed.write_text("1\t60\t70\tpeak\t0\t-\nchr1\t4\t9\n")
    file.write_text("1\tchr1\n2\tchr2\n")
    source = file if kind == "file" else Path("chr")
    asked = RegionConfig(regions=("1:3-5", "2(-)", "chr2:1-3"), bed=bed, contig_names=source)
    as_known = RegionConfig(
        regions=("chr1:3-5", "chr2(-)", "chr2:1-3", "chr1:61-70(-)", "chr1:5-9")
    )
    records, known = list(Inputs([genome], asked)), list(Inputs([genome], as_known))
    assert [r.sequence for r in records] == [r.sequence for r in known]
    chroms = ["1", "2", "chr2", "1", "chr1"]
    assert [r.region for r in records] == [
        r.region._replace(chrom=chrom) for r, chrom in zip(known, chroms, strict=True)
    ]
    assert records[1].name == "2:1-6(-)"
    note = f"note: 3 regions lie on contigs that {genome} calls otherwise (1 is chr1, 2 is chr2; "
    assert capsys.readouterr().err.startswith(note)
    unknown = RegionConfig(regions=("3:1-2",), contig_names=source)
    with pytest.raises(InputError, match="no contig '3'"):
        list(Inputs([genome], unknown))
    with pytest.raises(ConfigError, match="contig_names is for regions; give regions or bed too"):
        RegionConfig(contig_names=source)


def test_what_cannot_be_taken_is_told(genome):
    with pytest.raises(ConfigError, match="no sequences given; expected one or more"):
        Inputs([])
    for paths in ([genome, genome], [Path("-")]):
        with pytest.raises(ConfigError, match="expected one genome to take them from"):
            Inputs(paths, RegionConfig(regions=("chr1",)))


def test_inputs_without_a_base_are_an_error_at_their_end(genome, tmp_path):
    bed, empty, unknown = (tmp_path / name for name in ("empty.bed", "empty.fa", "n.fa"))
    bed.write_text("# nothing\n")
    empty.write_text("")
    unknown.write_text(">a\nNnRY\n>b\n\n")
    for inputs in (
        Inputs([genome], RegionConfig(bed=bed)),
        Inputs([genome], RegionConfig(regions=("chr2:1-2",))),
        Inputs([empty]),
        Inputs([unknown]),
        Inputs([unknown, empty]),
    ):
        records = iter(inputs)
        names = []
        with pytest.raises(InputError, match=r"no A, C, G or T in the input; expected at least"):
            names.extend(record.name for record in records)
        assert names in ([], ["a", "b"], ["chr2:1-2"])
    assert len(list(Inputs([unknown, genome, empty]))) == 4


class Seq:
    """As Biopython's: no text, though ``str`` gives its letters."""

    def __init__(self, text):
        self.text = text

    def __str__(self):
        return self.text

    def reverse_complement(self):
        return self


class SeqRecord:
    def __init__(self, text):
        self.seq = Seq(text)

    def __str__(self):
        return f"ID: x\nSeq({self.seq})"


def test_sequences_of_a_program_are_read_whatever_holds_them():
    given = ["ACgu", b"NN", bytearray(b"AC"), Seq("ACGT"), SeqRecord("GG"), np.str_("TT"), ""]
    records = list(records_of(given))
    assert [r.sequence for r in records] == [b"ACgu", b"NN", b"AC", b"ACGT", b"GG", b"TT", b""]
    assert [r.name for r in records] == list("1234567")
    assert records[3].region == Region("4", 0, 4)
    assert records[3].source == "sequence 4"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "sequence 2: None; expected text, bytes, or a Biopython sequence"),
        (float("nan"), "sequence 2: nan; expected"),
        (7, "sequence 2: 7; expected"),
        (True, "sequence 2: True; expected"),
        (["A", "C"], "sequence 2: a list object; expected"),
        (np.zeros(3), "sequence 2: a ndarray object; expected"),
        ("AC GT", "sequence 2: character ' ' is no nucleotide; expected A C G T U"),
        ("ACÄ", "sequence 2: character 'Ä' is no nucleotide"),
        ("A\ud800", r"sequence 2: character '\?' is no nucleotide"),
    ],
)
def test_what_is_no_sequence_is_told_with_its_number(value, message):
    with pytest.raises(InputError, match=f"^{message}"):
        list(records_of(["ACGT", value]))


@pytest.mark.parametrize("one", ["ACGT", b"ACGT", Seq("ACGT")])
def test_one_sequence_that_is_not_in_a_list(one):
    with pytest.raises(InputError, match="one text, where a list of sequences is wanted"):
        list(records_of(one))


@pytest.mark.parametrize(("tile", "overlap"), [(7, 0), (7, 3), (10, 9), (22, 0), (65, 0)])
def test_tiles_cover_a_region_and_are_where_their_letters_are(genome, tile, overlap):
    """The letters of each tile are those of its place, taken alone."""
    regions = RegionConfig(regions=("chr1:2-64(-)", "chr2"))
    cut = TileConfig(tile_bp=tile, tile_overlap_bp=overlap)
    tiles = list(Inputs([genome], regions, cut))
    assert tiles[-1].name == "chr2:1-6"  # it fits
    *others, last = tiles[:-1]
    for one in (*others, last):
        assert len(one.sequence) == min(tile, 63)
        (alone,) = Inputs([genome], RegionConfig(regions=(str(one.region),)))
        assert one.sequence == alone.sequence
    # On the reverse strand the first tile is the rightmost.
    starts = [one.region.start for one in others]
    assert starts == [64 - tile - n * (tile - overlap) for n in range(len(others))]
    assert last.region.start == 1
    assert not others or 1 < starts[-1] <= 1 + tile - overlap


def test_tiles_of_a_record_have_its_name_and_their_bases(genome):
    (first, *_, last), *_ = [
        list(part) for part in Inputs([genome], tiles=TileConfig(tile_bp=50)).parts()
    ]
    letters = CONTIGS["chr1"].encode()
    assert first == InputRecord(
        "chr1:1-50", letters[:50], Region("chr1", 0, 50), f"{genome}: record chr1, bases 1 to 50"
    )
    assert last.name == "chr2"


def test_tiles_that_cannot_be(genome):
    assert Inputs([Path("x")]).by_part is False
    assert Inputs([Path("x")], tiles=TileConfig(tile_bp=5)).by_part
    for tile, overlap in ((5, 5), (5, -1)):
        with pytest.raises(ConfigError, match="cannot overlap by"):
            TileConfig(tile_bp=tile, tile_overlap_bp=overlap)
    with pytest.raises(ConfigError, match="give tile_bp too"):
        TileConfig(tile_overlap_bp=5)
