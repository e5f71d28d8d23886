"""Other names of contigs, by a file and by the rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from dnazen.errors import InputError
from dnazen.sequences.contigs import ContigNames
from dnazen.sequences.indexed import IndexedGenome


@pytest.fixture
def genome(tmp_path):
    path = tmp_path / "g.fa"
    path.write_text("".join(f">{name}\nACGT\n" for name in ("chrI", "2", "chrM", "X", "chrX")))
    with IndexedGenome(path) as opened:
        yield opened


def test_without_a_source_names_are_the_same(genome):
    names = ContigNames(None, genome)
    assert [names.of_genome(name) for name in ("I", "chrI", "MT")] == ["I", "chrI", "MT"]


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("I", "chrI"),
        ("chr2", "2"),
        ("MT", "chrM"),
        ("M", "chrM"),
        ("X", "X"),
        ("chrX", "chrX"),
        ("II", "II"),
        ("chrII", "chrII"),
        ("", ""),
        ("chr", "chr"),
    ],
)
def test_the_rule(genome, name, own):
    assert ContigNames(Path("chr"), genome).of_genome(name) == own


def test_a_file(genome, tmp_path):
    path = tmp_path / "names.tsv"
    path.write_bytes(b"# other\town\nNC_1\tchrI\r\n\nX\tchrX\nn\xff\t2\n")
    names = ContigNames(path, genome)
    others = ("NC_1", "X", "n\udcff", "chrI", "I")
    assert [names.of_genome(name) for name in others] == ["chrI", "chrX", "2", "chrI", "I"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("I chrI\n", r"names\.tsv:1: 1 columns; expected a file of two columns"),
        ("a\tchrI\tc\n", ":1: 3 columns"),
        ("a\tchrI\na\t2\n", ":2: 'a' stands there a second time"),
        ("a\tII\n", ":1: .* has no contig 'II'"),
    ],
)
def test_files_that_are_none(genome, tmp_path, text, message):
    path = tmp_path / "names.tsv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        ContigNames(path, genome)
    with pytest.raises(InputError, match="no such file"):
        ContigNames(tmp_path / "absent", genome)
