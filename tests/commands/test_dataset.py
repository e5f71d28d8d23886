"""``dnazen dataset`` from files to files, against slices of the FASTA text and brute force."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from dnazen.cli import main
from dnazen.sequences.regions import Region
from dnazen.sequences.settings import LabelConfig, SplitConfig
from dnazen.sequences.splits import load_splits
from sequences.test_homology import other_strand, share
from sequences.test_indexed import bgzip, fasta_text, twobit
from sequences.test_negatives import measured, patchwork

SPLITS = ("train", "dev", "test")


class Place(NamedTuple):
    chrom: str
    start: int
    end: int
    name: str = "."
    score: str = "."
    strand: str = "."


class World(NamedTuple):
    """A genome of eight chromosomes, and intervals on it."""

    folder: Path
    contigs: dict[str, str]
    peaks: list[Place]

    @property
    def genome(self) -> Path:
        return self.folder / "g.fa"

    @property
    def bed(self) -> Path:
        return self.folder / "peaks.bed"


def write_bed(path: Path, places) -> Path:
    path.write_text("".join("\t".join(map(str, place)) + "\n" for place in places))
    return path


def scatter(rng, contigs, number: int) -> list[Place]:
    """Intervals of 80 to 120 bases without N, on either strand."""
    places: list[Place] = []
    while len(places) < number:
        chrom = str(rng.choice(list(contigs)))
        start, size = int(rng.integers(len(contigs[chrom]) - 120)), int(rng.integers(80, 121))
        place = Place(
            chrom, start, start + size, f"p{len(places)}", "5", str(rng.choice(["+", "-"]))
        )
        if "N" not in contigs[chrom][start : start + size]:
            places.append(place)
    return places


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    rng = np.random.default_rng(11)
    folder = tmp_path_factory.mktemp("world")
    contigs = {f"chr{n}": patchwork(rng, 12_000) for n in range(1, 9)}
    world = World(folder, contigs, scatter(rng, contigs, 160))
    world.genome.write_bytes(fasta_text(contigs, 60))
    write_bed(world.bed, world.peaks)
    return world


def run(*words: object) -> int:
    return main(["dataset", *map(str, words)])


def rows(directory: Path) -> dict[str, list[dict[str, str]]]:
    tables = {}
    for split in SPLITS:
        with open(directory / f"{split}.csv", newline="") as table:
            tables[split] = list(csv.DictReader(table))
    return tables


def everything(directory: Path) -> list[dict[str, str]]:
    return [row for part in rows(directory).values() for row in part]


def record(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "dataset.json").read_text())


def sliced(contigs, row) -> str:
    """The sequence of a row, from its columns and the text of the FASTA file."""
    text = contigs[row["chrom"]][int(row["start"]) : int(row["end"])].upper()
    return text if row["strand"] == "+" else other_strand(text)


@pytest.fixture(scope="module")
def made(world) -> Path:
    out = world.folder / "data"
    assert run("--genome", world.genome, "--positives", world.bed, "-o", out) == 0
    return out


def test_every_sequence_is_its_slice_of_the_genome_on_its_strand(world, made):
    for row in everything(made):
        assert row["sequence"] == sliced(world.contigs, row)
    by_name = {place.name: place for place in world.peaks}
    positives = [row for row in everything(made) if row["label"] == "1"]
    assert len(positives) > 140
    for row in positives:
        place = by_name[row["name"]]
        assert (row["chrom"], int(row["start"]), int(row["end"]), row["strand"]) == (
            *place[:3],
            place.strand,
        )
    assert {row["strand"] for row in positives} == {"+", "-"}


def test_each_positive_has_a_negative_that_is_alike(world, made):
    """Some one-to-one pairing within the tolerances must be there: found by maximum matching."""
    from scipy.optimize import linear_sum_assignment

    for split in rows(made).values():
        classes: dict[str, list[tuple[float, float, int]]] = {"0": [], "1": []}
        for row in split:
            region = Region(row["chrom"], int(row["start"]), int(row["end"]))
            gc, repeats, _ = measured(world.contigs, region)
            classes[row["label"]].append((gc, repeats, region.end - region.start))
        negatives, positives = (np.array(classes[label]) for label in "01")
        assert len(negatives) == len(positives) > 5
        off = np.abs(positives[:, None] - negatives[None])
        bad = (off > np.array([0.02 + 1e-9, 0.05 + 1e-9, 0])).any(axis=2)
        assert bad[linear_sum_assignment(bad)].sum() == 0


def test_no_negative_overlaps_a_positive_or_another(world, made):
    covered: Counter[tuple[str, int]] = Counter()
    for place in world.peaks:
        covered.update({(place.chrom, i): 1 for i in range(place.start, place.end)})
    for row in everything(made):
        if row["label"] == "0":
            own = [(row["chrom"], i) for i in range(int(row["start"]), int(row["end"]))]
            assert not any(covered[place] for place in own)
            covered.update(own)
            assert row["sequence"].count("N") <= 0.1 * len(row["sequence"])


def test_chromosomes_lie_in_one_split_and_the_record_names_them(made):
    chroms = {split: {row["chrom"] for row in part} for split, part in rows(made).items()}
    assert not chroms["train"] & chroms["dev"]
    assert not chroms["train"] & chroms["test"]
    assert not chroms["dev"] & chroms["test"]
    known = record(made)
    assert known["split_by"] == "chromosome"
    for split in ("dev", "test"):
        assert set(known["blocks"][split]) == chroms[split]


def test_the_record_counts_what_is_there(world, made):
    known = record(made)
    lost = 0
    for split, part in rows(made).items():
        counts = Counter(row["label"] for row in part)
        for label, summary in known["examples"][split].items():
            assert summary["sequences"] == counts[label]
            own = [row for row in part if row["label"] == label]
            gc = [
                sum(map(row["sequence"].count, "GC")) / sum(map(row["sequence"].count, "ACGT"))
                for row in own
            ]
            assert summary["gc"]["mean"] == pytest.approx(np.mean(gc))
            assert summary["gc"]["sd"] == pytest.approx(np.std(gc))
            sizes = [len(row["sequence"]) for row in own]
            assert summary["length_bp"]["least"] == min(sizes)
            assert summary["length_bp"]["most"] == max(sizes)
        lost += counts["1"]
    assert sum(known["left_out"].values()) == len(world.peaks) - lost
    assert known["soft_masked"] is True
    assert [Path(file["path"]).name for file in known["inputs"]] == ["g.fa", "peaks.bed"]
    assert all(len(file["sha256"]) == 64 for file in known["inputs"])
    assert known["settings"]["gc_tolerance"] == 0.02


def test_the_same_inputs_give_the_same_bytes_and_another_seed_others(world, made, tmp_path):
    again, other = tmp_path / "again", tmp_path / "other"
    assert run("--genome", world.genome, "--positives", world.bed, "-o", again) == 0
    assert run("--genome", world.genome, "--positives", world.bed, "-o", other, "--seed", 1) == 0
    for split in SPLITS:
        assert (again / f"{split}.csv").read_bytes() == (made / f"{split}.csv").read_bytes()
    assert (other / "train.csv").read_bytes() != (made / "train.csv").read_bytes()
    mine, theirs = record(made), record(again)
    for key in ("argv", "settings"):
        del mine[key], theirs[key]
    assert mine == theirs


@pytest.mark.parametrize("kind", ["bgzip", "2bit"])
def test_every_packing_of_the_genome_gives_the_same(world, made, tmp_path, kind):
    genome, bed = tmp_path / "genome", tmp_path / "peaks.bed.gz"
    if kind == "bgzip":
        bgzip(fasta_text(world.contigs), genome)
    else:
        twobit(world.contigs, genome)
    text = b"track name=x\r\nbrowser hide all\r\n# a comment\r\n\r\n"
    text += world.bed.read_bytes().replace(b"\n", b"\r\n")
    bed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + text))
    assert run("--genome", genome, "--positives", bed, "-o", tmp_path / "out") == 0
    for split in SPLITS:
        name = f"{split}.csv"
        assert (tmp_path / "out" / name).read_bytes() == (made / name).read_bytes()


def test_positives_from_standard_input(world, made, tmp_path, monkeypatch):
    class Stdin:
        buffer = io.BytesIO(world.bed.read_bytes())

    monkeypatch.setattr("sys.stdin", Stdin())
    assert run("--genome", world.genome, "--positives", "-", "-o", tmp_path / "out") == 0
    assert (tmp_path / "out/test.csv").read_bytes() == (made / "test.csv").read_bytes()
    assert record(tmp_path / "out")["inputs"][1]["sha256"] == record(made)["inputs"][1]["sha256"]


def test_finetune_reads_it(made):
    splits = load_splits(made, LabelConfig(), SplitConfig())
    assert splits.task.label_names == ("0", "1")
    assert splits.duplicates == {"train_dev": 0, "train_test": 0, "dev_test": 0}
    assert [len(part.labels) for part in splits.parts.values()] == [
        len(part) for part in rows(made).values()
    ]


def test_windows_of_one_length_around_the_middle(world, tmp_path, capsys):
    words = ("--genome", world.genome, "--positives", world.bed, "-o", tmp_path / "out")
    assert run(*words, "--length-bp", 61, "--repeat-tolerance", 0.2) == 0
    by_name = {place.name: place for place in world.peaks}
    for row in everything(tmp_path / "out"):
        assert len(row["sequence"]) == 61
        assert row["sequence"] == sliced(world.contigs, row)
        if row["label"] == "1":
            place = by_name[row["name"]]
            assert int(row["start"]) == (place.start + place.end) // 2 - 30
    capsys.readouterr()
    cut = tmp_path / "cut"
    assert run(*words[:-1], cut, "--max-length-bp", 100) == 0
    long = sum(place.end - place.start > 100 for place in world.peaks)
    assert record(cut)["cut"] == long > 0
    assert f"note: of {long} intervals the middle 100 bp were taken" in capsys.readouterr().err
    assert max(len(row["sequence"]) for row in everything(cut)) == 100


def test_excluded_stretches_hold_no_negative(world, tmp_path, capsys):
    stretches = [Place(chrom, 0, 6000) for chrom in world.contigs]
    barred = write_bed(tmp_path / "x.bed", [*stretches, Place("chrUn", 5, 9)])
    out = tmp_path / "out"
    words = ("--genome", world.genome, "--positives", world.bed, "--exclude", barred, "-o", out)
    assert run(*words, "--gc-tolerance", 0.05, "--repeat-tolerance", 0.2) == 0
    starts = [int(row["start"]) for row in everything(out) if row["label"] == "0"]
    assert min(starts) >= 6000
    assert any(int(row["start"]) < 6000 for row in everything(out) if row["label"] == "1")
    assert "1 excluded intervals lie on contigs that" in capsys.readouterr().err


def test_several_negatives_of_each_positive(world, tmp_path):
    out = tmp_path / "out"
    words = ("--genome", world.genome, "--positives", world.bed, "-o", out, "--gc-tolerance", 0.1)
    assert run(*words, "--repeat-tolerance", 0.5, "--negatives-per-positive", 3) == 0
    for part in rows(out).values():
        counts = Counter(row["label"] for row in part)
        assert counts["0"] == 3 * counts["1"]


def test_named_chromosomes_are_dev_and_test(world, tmp_path):
    out = tmp_path / "out"
    words = ("--genome", world.genome, "--positives", world.bed, "-o", out)
    assert run(*words, "--dev-chroms", "chr8", "--test-chroms", "chr2", "chr5") == 0
    chroms = {split: {row["chrom"] for row in part} for split, part in rows(out).items()}
    assert (chroms["dev"], chroms["test"]) == ({"chr8"}, {"chr2", "chr5"})


def test_one_chromosome_is_parted_into_blocks(tmp_path, capsys):
    rng = np.random.default_rng(3)
    contigs = {"chromosome": patchwork(rng, 80_000)}
    genome, bed = tmp_path / "g.fa", tmp_path / "p.bed"
    genome.write_bytes(fasta_text(contigs))
    write_bed(bed, scatter(rng, contigs, 120))
    assert run("--genome", genome, "--positives", bed, "-o", tmp_path / "out") == 0
    err = capsys.readouterr().err
    assert "blocks of neighbouring intervals, not chromosomes, of which there are too few" in err
    known = record(tmp_path / "out")
    assert known["split_by"] == "block"
    spans: dict[str, list[tuple[int, int]]] = {}
    for split in ("dev", "test"):
        texts = [re.fullmatch(r"chromosome:(\d+)-(\d+)", text) for text in known["blocks"][split]]
        spans[split] = [(int(m[1]) - 1, int(m[2])) for m in texts if m]
        assert len(spans[split]) == len(texts) > 0
    for split, part in rows(tmp_path / "out").items():
        counts = Counter(row["label"] for row in part)
        assert counts["0"] == counts["1"] > 3
        for row in part:
            start, end = int(row["start"]), int(row["end"])
            holders = {s for s, own in spans.items() for a, b in own if a < end and start < b}
            assert holders == ({split} if split != "train" else set())
            inside = [a <= start and end <= b for a, b in spans.get(split, [])]
            assert any(inside) or split == "train"


def test_near_equal_sequences_on_either_strand_are_not_in_two_splits(tmp_path, capsys):
    """Copies of chr1's intervals, mutated and turned, stand on every chromosome."""
    rng = np.random.default_rng(7)
    contigs = {f"chr{n}": patchwork(rng, 20_000).replace("N", "A") for n in range(1, 7)}
    places = scatter(rng, contigs, 90)
    for number, place in enumerate([p for p in places if p.chrom == "chr1"]):
        text = contigs["chr1"][place.start : place.end].upper()
        for chrom in list(contigs)[1:]:
            copy = list(text)
            for site in rng.integers(len(text), size=number % 3):
                copy[site] = str(rng.choice(list("ACGT")))
            turned = other_strand("".join(copy)) if rng.random() < 0.5 else "".join(copy)
            start = int(rng.integers(19_800))
            whole = contigs[chrom]
            contigs[chrom] = whole[:start] + turned + whole[start + len(turned) :]
            places.append(Place(chrom, start, start + len(turned), f"copy{len(places)}"))
    genome, bed, out = tmp_path / "g.fa", tmp_path / "p.bed", tmp_path / "out"
    genome.write_bytes(fasta_text(contigs))
    write_bed(bed, places)
    words = ("--genome", genome, "--positives", bed, "-o", out)
    assert run(*words, "--gc-tolerance", 0.05, "--repeat-tolerance", 0.3) == 0
    known = record(out)["left_out"]
    near = "near equal to a sequence of another split"
    assert known["equal to an earlier sequence"] > 5
    assert known[f"of test, {near}"] + known[f"of dev, {near}"] > 5
    assert f"of test, {near}" in capsys.readouterr().err
    tables = rows(out)
    for one, other in (("train", "dev"), ("train", "test"), ("dev", "test")):
        for a in tables[one]:
            for b in tables[other]:
                assert share(a["sequence"], b["sequence"]) < 0.25
    texts = [row["sequence"] for row in everything(out)]
    assert len({min(text, other_strand(text)) for text in texts}) == len(texts)


def test_a_bed_of_negatives(world, tmp_path, capsys):
    apart = [place._replace(name=f"n{n}") for n, place in enumerate(world.peaks[:40])]
    rng = np.random.default_rng(2)
    apart += [place._replace(name="far") for place in scatter(rng, world.contigs, 100)]
    poor = write_bed(tmp_path / "n.bed", apart)
    out = tmp_path / "out"
    words = ("--genome", world.genome, "--positives", world.bed, "--negatives", poor, "-o", out)
    assert run(*words) == 0
    overlaps = [
        any(n.chrom == p.chrom and n.start < p.end and p.start < n.end for p in world.peaks)
        for n in apart
    ]
    assert record(out)["left_out"]["negatives that overlap a positive"] == sum(overlaps) >= 40
    names = {row["name"] for row in everything(out) if row["label"] == "0"}
    assert names == {"far"}
    for row in everything(out):
        assert row["sequence"] == sliced(world.contigs, row)


def test_classes_that_differ_in_gc_are_told_of(world, tmp_path, capsys):
    rich, poor = [], []
    for place in scatter(np.random.default_rng(4), world.contigs, 400):
        gc = measured(world.contigs, Region(*place[:3]))[0]
        (rich if gc > 0.5 else poor).append(place)
    beds = [write_bed(tmp_path / f"{n}.bed", own) for n, own in (("rich", rich), ("poor", poor))]
    words = ("--genome", world.genome, "-o", tmp_path / "out")
    assert run(*words, "--positives", beds[0], "--negatives", beds[1]) == 0
    assert re.search(
        r"note: classes differ in gc \(mean in train 0\.\d+ of 0", capsys.readouterr().err
    )


def test_classes_from_several_files_or_the_name_column(world, tmp_path):
    kinds = [world.peaks[:80], world.peaks[80:]]
    beds = [write_bed(tmp_path / f"{n}.bed", own) for n, own in zip("ab", kinds, strict=True)]
    out, named = tmp_path / "out", tmp_path / "named"
    words = ("--genome", world.genome, "--classes", f"one={beds[0]}", f"two={beds[1]}")
    assert run(*words, "-o", out, "--negatives-per-positive", 1) == 0
    assert {row["label"] for row in everything(out)} == {"one", "two", "negative"}
    by_name = {place.name: "one" if place in kinds[0] else "two" for place in world.peaks}
    for row in everything(out):
        assert row["label"] == by_name.get(row["name"], "negative")
    places = [place._replace(name=by_name[place.name]) for place in world.peaks]
    bed = write_bed(tmp_path / "c.bed", places)
    words = ("--genome", world.genome, "--positives", bed, "--label-column", "name", "-o", named)
    assert run(*words) == 0
    assert Counter(row["label"] for row in everything(named)) == {"one": 80, "two": 80}
    assert load_splits(named, LabelConfig(), SplitConfig()).task.label_names == ("one", "two")


def test_scores_are_the_targets_of_a_regression(world, tmp_path, capsys):
    places = [place._replace(score=str(n / 4)) for n, place in enumerate(world.peaks)]
    bed, out = write_bed(tmp_path / "s.bed", places), tmp_path / "out"
    words = ("--genome", world.genome, "--positives", bed, "--label-column", "score", "-o", out)
    assert run(*words) == 0
    scores = {place.name: place.score for place in places}
    assert all(row["label"] == scores[row["name"]] for row in everything(out))
    splits = load_splits(out, LabelConfig(problem_type="regression"), SplitConfig())
    assert len(splits.train.labels) > 100
    assert "--labels.problem-type regression --model" in capsys.readouterr().err
    assert set(record(out)["examples"]["train"]) == {"all"}


def test_equal_sequences_of_several_labels_are_left_out(world, tmp_path):
    beds = [
        write_bed(tmp_path / "a.bed", world.peaks[:100]),
        write_bed(tmp_path / "b.bed", [p._replace(strand="+") for p in world.peaks[90:]]),
    ]
    out = tmp_path / "out"
    words = ("--genome", world.genome, "--classes", f"one={beds[0]}", f"two={beds[1]}", "-o", out)
    assert run(*words) == 0
    assert record(out)["left_out"]["equal to a sequence of another label"] == 20
    both = {place.name for place in world.peaks[90:100]}
    assert not both & {row["name"] for row in everything(out)}


@pytest.mark.parametrize("case", [str.upper, str.lower])
def test_a_genome_without_soft_masking_is_told_of(world, tmp_path, capsys, case):
    genome = tmp_path / "g.fa"
    genome.write_bytes(fasta_text({name: case(text) for name, text in world.contigs.items()}))
    assert run("--genome", genome, "--positives", world.bed, "-o", tmp_path / "out") == 0
    assert "the sequences are not soft-masked" in capsys.readouterr().err
    assert record(tmp_path / "out")["soft_masked"] is False
    assert all(row["sequence"].isupper() for row in everything(tmp_path / "out"))


def test_contigs_by_other_names(world, tmp_path, capsys):
    other = [place._replace(chrom=place.chrom.removeprefix("chr")) for place in world.peaks]
    bed, out = write_bed(tmp_path / "o.bed", other), tmp_path / "out"
    words = ("--genome", world.genome, "--positives", bed, "-o", out)
    assert run(*words) == 2
    err = capsys.readouterr().err
    assert re.search(
        r"o\.bed:1: no contig '\d' in .*this genome writes 'chr\d' for '\d' \(see", err
    )
    assert run(*words, "--contig-names", "chr", "--dev-chroms", "3") == 0
    assert re.search(r"calls 8 contigs otherwise \(\d is chr\d", capsys.readouterr().err)
    assert {row["chrom"] for row in rows(out)["dev"]} == {"chr3"}
    assert len(record(out)["renamed_contigs"]) == 8


def test_windows_off_the_contig_and_of_n_are_left_out(world, tmp_path):
    holes = [m.span() for m in re.finditer("N{100,}", world.contigs["chr2"])]
    places = [*world.peaks, Place("chr1", 0, 9, "edge"), Place("chr2", *holes[0], "hole")]
    bed, out = write_bed(tmp_path / "e.bed", places), tmp_path / "out"
    words = ("--genome", world.genome, "--positives", bed, "-o", out, "--repeat-tolerance", 0.2)
    assert run(*words, "--length-bp", 60) == 0
    left_out = record(out)["left_out"]
    assert left_out["in windows that end off the contig"] >= 1
    assert left_out["with too many ambiguous letters"] >= 1
    assert not {"edge", "hole"} & {row["name"] for row in everything(out)}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr1\t5\t5", r"p\.bed:2: an empty interval, start and end are 5; expected start < end"),
        ("chr1\t9\t5", r"p\.bed:2: start 9 lies behind end 5"),
        ("chr1\t-3\t5", r"p\.bed:2: start '-3' is no whole number"),
        ("chr1\t5", r"p\.bed:2: 2 columns"),
        ("chr1\t9\t12001", r"p\.bed:2: chr1 9 to 12001 ends beyond its contig of 12,000 bp; is it"),
        ("1\t5\t9", r"p\.bed:2: no contig '1' in .*writes 'chr1' for '1' \(see --contig-names\)"),
        ("chrX\t5\t9", r"p\.bed:2: no contig 'chrX' in .*; expected one of its 8: chr1, chr2"),
    ],
)
def test_a_bad_line_is_one_line_with_its_place(world, tmp_path, capsys, line, message):
    bed, out = tmp_path / "p.bed", tmp_path / "out"
    bed.write_text(f"chr1\t5\t90\n{line}\n")
    assert run("--genome", world.genome, "--positives", bed, "-o", out) == 2
    refused(capsys, message)
    words = ("--genome", world.genome, "--positives", world.bed, "--exclude", bed, "-o", out)
    if "no contig" not in message:  # of a blacklist those are counted
        assert run(*words) == 2
        refused(capsys, message)


def refused(capsys, message: str) -> None:
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert re.search(message, err), err


def test_what_cannot_be_done_is_one_line(world, tmp_path, capsys):
    genome, bed, out = world.genome, world.bed, tmp_path / "out"
    empty = tmp_path / "empty.bed"
    empty.write_text("track name=x\n# nothing\n")
    nameless = write_bed(tmp_path / "nameless.bed", [Place("chr1", 5, 50)])
    negative = write_bed(tmp_path / "neg.bed", [Place("chr1", 5, 50, "negative")])
    full = tmp_path / "full"
    full.mkdir()
    (full / "train.csv").write_text("mine")
    base = ["--genome", genome, "-o", out]
    both = [*base, "--positives", bed]
    for words, message in (
        (base, "error: no positives; expected --positives BED, or --classes"),
        ([*both, "--classes", f"a={bed}"], "positives and classes; expected --positives BED, or"),
        ([*base, "--classes", "a"], "classes: 'a'; expected NAME=FILE"),
        ([*base, "--classes", f"a={bed}", f"a={bed}"], "classes: 'a' stands there twice"),
        ([*base, "--classes", f"a={bed}"], "'a' is the only class; expected negatives"),
        (["--genome", "-", "-o", out, "--positives", bed], "places cannot be found in a pipe"),
        ([*base, "--positives", "-", "--negatives", "-"], "expected standard input once"),
        ([*base, "--positives", empty], r"empty\.bed: no interval in it; expected lines of chrom"),
        ([*base, "--positives", tmp_path / "no.bed"], r"no\.bed: no such file; expected a BED"),
        (["--genome", bed, "-o", out, "--positives", bed], "peaks.bed: unknown format; expected a"),
        (["--genome", genome, "-o", full, "--positives", bed], "directory is not empty; expected"),
        ([*both, "--negatives", bed, "--negatives-per-positive", 2], "negatives are given; expect"),
        ([*both, "--negatives-per-positive", 0], "'1' is the only class; expected negatives"),
        ([*both, "--negatives", bed, "--exclude", bed], "exclude is for negatives that are drawn"),
        (
            [*both, "--label-column", "name", "--exclude", bed],
            "exclude is for negatives that are d",
        ),
        ([*both, "--length-bp", 0], "length_bp must be 1 to 65535, got 0"),
        ([*both, "--near-equal", 0], "near_equal must be above 0 and at most 1, got 0"),
        ([*both, "--dev-fraction", 0.45], "must leave half of the intervals to train"),
        ([*both, "--dev-chroms", "chr1", "--test-chroms", "chr1"], "both name chr1; expected one"),
        ([*both, "--dev-chroms", "1"], "--dev-chroms: no contig '1' in .*writes 'chr1' for '1'"),
        ([*both, "--split-by", "block", "--dev-chroms", "chr1"], "split_by is block"),
        ([*both, "--label-column", "score", "--negatives", bed], "negatives have no score"),
        ([*both, "--label-column", "score", "--negatives-per-positive", 1], "have no score"),
        (
            [*base, "--positives", nameless, "--label-column", "name"],
            r"nameless\.bed:1: no name; expected a class in column 4",
        ),
        (
            [*base, "--positives", nameless, "--label-column", "score"],
            r"nameless\.bed:1: score ''; expected a finite number in column 5",
        ),
        (
            [*base, "--classes", f"a={bed}", "--label-column", "name"],
            "classes have their labels; leave label_column out",
        ),
        (
            [*both[:-1], negative, "--label-column", "name", "--negatives-per-positive", 1],
            "a class is called 'negative', as the negatives are; rename it",
        ),
    ):
        assert run(*words) == 2, words
        refused(capsys, message)
        assert not out.exists()
    assert (full / "train.csv").read_text() == "mine"
    assert not [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]


def test_no_room_for_negatives_is_told_with_what_to_relax(world, tmp_path, capsys):
    barred = write_bed(tmp_path / "x.bed", [Place(chrom, 0, 11_500) for chrom in world.contigs])
    words = ("--genome", world.genome, "--positives", world.bed, "-o", tmp_path / "out")
    assert run(*words, "--exclude", barred) == 2
    refused(
        capsys,
        r"for 1\d\d of 1\d\d positives there is no room for matched negatives: \d+ of 1\d\d were "
        r"found; .*raise --gc-tolerance \(0\.02\) or --repeat-tolerance \(0\.05\)",
    )
    assert not (tmp_path / "out").exists()


def test_a_few_positives_without_a_match_are_left_out(world, tmp_path):
    """Of a genome whose G and C stand together in a few intervals alone."""
    contigs = {name: re.sub("[^ACGT]", "A", text.upper()) for name, text in world.contigs.items()}
    odd = [Place(f"chr{n}", 500, 600, "odd") for n in (1, 2, 3)]
    for n, place in enumerate(odd):
        text = contigs[place.chrom]
        site = "".join(np.random.default_rng(n).choice(list("GC"), 100))
        contigs[place.chrom] = text[:500] + site + text[600:]
    genome = tmp_path / "g.fa"
    genome.write_bytes(fasta_text(contigs))
    apart = [p for p in world.peaks if p.end < 400 or p.start > 700]
    bed, out = write_bed(tmp_path / "p.bed", [*apart, *odd]), tmp_path / "out"
    assert run("--genome", genome, "--positives", bed, "-o", out) == 0
    assert 3 <= record(out)["left_out"]["positives without a matched negative"] <= 8
    assert "odd" not in {row["name"] for row in everything(out)}
