"""Tracks of predictions against the table of the same run, base by base."""

from __future__ import annotations

import builtins
import csv
import gzip

import numpy as np
import pytest

from dnazen import cli
from dnazen.errors import ConfigError
from dnazen.inference.tracks import Span, Track, class_of_track
from dnazen.sequences.labelled import Task
from dnazen.sequences.regions import Region
from inference.test_prediction import MULTI, SINGLE, save_model

pyBigWig = pytest.importorskip("pyBigWig")  # noqa: N816


@pytest.fixture(scope="module")
def two(ground, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "two"
    return save_model(folder, ground, ["no", "yes"], problem_type=SINGLE)


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    rng = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    texts = {
        name: "".join(rng.choice(list("ACGT"), size)) for name, size in (("b", 230), ("a", 95))
    }
    texts["n"] = "N" * 70
    path.write_text("".join(f">{name}\n{text}\n" for name, text in texts.items()))
    return path


def values_of(table, column):
    """The value of every base by the table: of the tile whose middle is the nearest."""
    rows = list(csv.DictReader(table.read_text().splitlines(), delimiter="\t"))
    tiles = [(r["chrom"], int(r["start"]), int(r["end"]), r[column]) for r in rows]
    values = {}
    for chrom in {tile[0] for tile in tiles}:
        mine = [tile for tile in tiles if tile[0] == chrom and tile[3] != "NA"]
        for base in range(max((end for _, _, end, _ in mine), default=0)):
            near = [t for t in mine if t[1] <= base < t[2]]
            nearest = min(near, key=lambda t: (abs((t[1] + t[2]) / 2 - base - 0.5), -t[1]))
            values[chrom, base] = float(nearest[3])
    return values


@pytest.mark.parametrize("overlap", [0, 10])
def test_bigwig_has_the_values_of_the_table(two, genome, tmp_path, overlap):
    table, track = tmp_path / "p.tsv", tmp_path / "p.bw"
    words = ["predict", str(two), str(genome), "--tile-bp", "40", "--tile-overlap-bp", str(overlap)]
    assert cli.main([*words, "-o", str(table), "--track", str(track)]) == 0
    file = pyBigWig.open(str(track))
    assert file.chroms() == {"b": 230, "a": 95}
    expected = values_of(table, "p_yes")
    for (chrom, base), value in expected.items():
        assert file.values(chrom, base, base + 1)[0] == pytest.approx(value, rel=1e-6)
    assert len(expected) == 325


def test_bedgraph_of_regions_on_both_strands(two, genome, tmp_path):
    bed, table, track = tmp_path / "r.bed", tmp_path / "p.tsv", tmp_path / "p.bedgraph.gz"
    bed.write_text("b\t100\t160\tx\t0\t-\na\t5\t50\tz\t0\t+\nb\t10\t60\ty\t0\t+\n")
    words = ["predict", str(two), str(genome), "--bed", str(bed), "-o", str(table)]
    assert cli.main([*words, "--track", str(track), "--track-class", "no"]) == 0
    rows = list(csv.DictReader(table.read_text().splitlines(), delimiter="\t"))
    with gzip.open(track, "rt") as lines:
        found = [line.rstrip("\n").split("\t") for line in lines]
    expected = sorted(([r["chrom"], r["start"], r["end"], r["p_no"]] for r in rows), key=order)
    assert [row[:3] for row in found] == [row[:3] for row in expected]
    for (*_, got), (*_, wanted) in zip(found, expected, strict=True):
        assert float(got) == pytest.approx(float(wanted), rel=1e-5)


def order(row):
    """By contig as the genome has them, b first, then by place."""
    return "ba".index(row[0]), int(row[1])


def test_stretches_that_overlap_part_in_the_middle():
    track = Track()
    for start, end, value in ((20, 60, 2.0), (0, 40, 1.0), (60, 70, 3.0), (60, 70, 4.0)):
        track.add(Region("c", start, end), value)
    assert list(track.spans("c")) == [
        Span(0, 30, 1.0), Span(30, 60, 2.0), Span(60, 65, 3.0), Span(65, 70, 4.0),
    ]  # fmt: skip


def test_which_class():
    assert class_of_track(Task(SINGLE, ("no", "yes")), None) == 1
    assert class_of_track(Task(MULTI, ("u", "v")), "u") == 0
    assert class_of_track(Task("regression", ("y",)), None) == 0
    with pytest.raises(ConfigError, match="a track holds one class; expected one of u, v"):
        class_of_track(Task(MULTI, ("u", "v")), None)
    with pytest.raises(ConfigError, match="'w'; expected one of"):
        class_of_track(Task(SINGLE, ("no", "yes")), "w")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--track", "x.txt"], "expected a name in .bw, .bedgraph"),
        (["--track-class", "yes"], "track_class is for a track"),
        (["--track", "x.bw", "--track-class", "maybe"], "expected one of no, yes"),
    ],
)
def test_bad_asks_are_one_line(two, genome, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["predict", str(two), str(genome), "-o", "p.tsv", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_the_extra(two, genome, tmp_path, monkeypatch, capsys):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "pyBigWig":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    words = ["predict", str(two), str(genome), "-o", str(tmp_path / "p.tsv")]
    assert cli.main([*words, "--track", str(tmp_path / "p.bw")]) == 2
    assert "pip install 'dnazen[tracks]'" in capsys.readouterr().err
