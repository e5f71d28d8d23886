"""Classes of bases out of columns and BED files, against slicing by hand; what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from dnazen.errors import ConfigError, InputError
from dnazen.sequences.base_labels import NO_CLASS
from dnazen.sequences.labelled import spelt
from dnazen.sequences.settings import LabelConfig, SplitConfig
from dnazen.sequences.splits import contradicting_rows, load_splits

BASES = "base_classification"
SPLITS = ("train", "dev", "test")


def load(path, **labels):
    return load_splits(path, LabelConfig(problem_type=BASES, **labels), SplitConfig())


def write(path, rows, header="sequence,label,split"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def labels_of(splits):
    return [label.tolist() for part in splits.parts.values() for label in part.labels]


def test_a_character_or_a_name_a_base(tmp_path):
    rows = [("ACgu", "0.10", "train"), ("ACNR", "1010", "dev"), ("ACG", "0;.;1", "test")]
    splits = load(write(tmp_path / "t.csv", rows))
    assert splits.task.label_names == ("0", "1")
    assert splits.task.background == "0"
    none = NO_CLASS
    assert labels_of(splits) == [[0, none, 1, 0], [1, 0, none, none], [0, none, 1]]
    named = [("AC", "exon;intron", "train"), ("A", "exon", "dev"), ("CA", "; exon", "test")]
    splits = load(write(tmp_path / "n.csv", named))
    assert splits.task.label_names == ("exon", "intron")
    assert splits.task.background is None
    assert labels_of(splits) == [[0, 1], [0], [none, 0]]


def test_the_background_is_class_0(tmp_path):
    rows = [(s, "EIN.", split) for s, split in zip(("ACGT", "CCGT", "GCGT"), SPLITS, strict=True)]
    path = write(tmp_path / "t.csv", rows)
    assert load(path).task.label_names == ("E", "I", "N")
    task = load(path, background="N").task
    assert (task.label_names, task.background) == (("N", "E", "I"), "N")
    with pytest.raises(InputError, match="no base of class 'X', which is to be the background"):
        load(path, background="X")


def test_spelling_is_undone_by_reading(tmp_path):
    rng = np.random.default_rng(0)
    for names in (("0", "1", "2"), ("exon", "intron", "x")):
        joint = "" if names[0] == "0" else ";"
        rows = []
        for number in range(12):
            sequence = "".join(rng.choice(list("ACGT"), 9))
            label = joint.join(rng.permutation([*names] * 3))
            rows.append((sequence, label, SPLITS[number % 3]))
        splits = load(write(tmp_path / f"{joint}.csv", rows))
        read = [spelt(splits.task, x) for part in splits.parts.values() for x in part.labels]
        assert read == [label for split in SPLITS for _, label, its in rows if its == split]


def test_classes_stay_with_their_bases_on_the_other_strand(tmp_path):
    rows = [("AACG", "0012", "train"), ("AACC", "0012", "dev"), ("AACN", "001.", "test")]
    turned = load(write(tmp_path / "t.csv", rows)).reverse_complement()
    assert [row.sequences[0] for row in turned.train.table.rows] == [b"CGTT"]
    assert labels_of(turned) == [[2, 1, 0, 0], [2, 1, 0, 0], [NO_CLASS, 1, 0, 0]]


def test_the_same_bases_with_other_classes_are_counted_on_either_strand(tmp_path):
    rows = [
        *[("AACG", "0011", "train"), ("CGTT", "1100", "train")],  # the same on the other strand
        *[("CCCG", "0011", "train"), ("CGGG", "0011", "train")],  # not the same
        *[("AACT", "0011", "dev"), ("AACA", "0011", "test")],
    ]
    splits = load(write(tmp_path / "t.csv", rows))
    assert contradicting_rows(splits.train) == 2
    assert contradicting_rows(splits.dev) == 0


def by_hand(features, place, same):
    """The class of each base, asked of every feature, the last one that has it winning."""
    chrom, start, end, strand = place
    names = []
    for base in range(start, end):
        name = "background"
        for its_chrom, its_start, its_end, its_name, its_strand in features:
            if (
                its_chrom == chrom
                and its_start <= base < its_end
                and (not same or its_strand in (".", strand))
            ):
                name = its_name
        names.append(name)
    return names if strand == "+" else names[::-1]


@pytest.mark.parametrize("strand", ["both", "same"])
def test_features_against_slicing_by_hand(tmp_path, strand, capsys):
    rng = np.random.default_rng(4)
    features = []
    for _ in range(60):
        start = int(rng.integers(0, 900))
        end = start + int(rng.integers(0, 60))
        features.append(
            (
                rng.choice(["I", "II"]),
                start,
                end,
                rng.choice(["a", "b"]),
                rng.choice(["+", "-", "."]),
            )
        )
    bed = tmp_path / "f.bed"
    bed.write_text(
        "track x\n" + "".join(f"{c}\t{s}\t{e}\t{n}\t0\t{d}\n" for c, s, e, n, d in features)
    )
    places, rows = [], []
    for number in range(40):
        start = int(rng.integers(0, 900))
        place = (rng.choice(["I", "II"]), start, start + 50, rng.choice(["+", "-"]))
        places.append(place)
        rows.append((*place, "".join(rng.choice(list("ACGT"), 50)), SPLITS[number % 3]))
    path = write(tmp_path / "t.csv", rows, "chrom,start,end,strand,sequence,split")
    splits = load(path, bed=bed, bed_strand=strand)
    assert splits.task.label_names == ("background", "a", "b")
    assert [file.path for file in splits.inputs] == [str(path), str(bed)]
    found = [
        [splits.task.label_names[code] for code in label]
        for part in splits.parts.values()
        for label in part.labels
    ]
    ordered = [place for n in range(3) for place in places[n::3]]
    assert found == [by_hand(features, place, strand == "same") for place in ordered]
    assert "note: features of different classes overlap in" in capsys.readouterr().err


def test_features_without_names_or_a_strand_column(tmp_path):
    bed = tmp_path / "f.bed"
    bed.write_text("I\t1\t3\nI\t4\t99999\n")
    rows = [("I", 0, 4, "ACGT", "train"), ("I", 2, 6, "ANGT", "dev"), ("II", 0, 2, "AC", "test")]
    path = write(tmp_path / "t.csv", rows, "chrom,start,end,sequence,split")
    splits = load(path, bed=bed, background="none")
    assert splits.task.label_names == ("none", "feature")
    assert labels_of(splits) == [[0, 1, 1, 0], [1, NO_CLASS, 1, 1], [0, 0]]


GOOD = [("ACGT", "0011", "train"), ("CCGT", "0011", "dev"), ("GCGT", "0011", "test")]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("ACG", "0011", "train"), "t.csv:2: column 'label': 4 characters for 3 bases; expected a"),
        (("ACG", "0;1", "train"), "t.csv:2: column 'label': 2 names for 3 bases; expected a char"),
        (("ACG", "...", "train"), "t.csv:2: column 'label': no base is labelled; expected a class"),
        (("NNA", "01.", "train"), "t.csv:2: column 'label': no base is labelled; expected a class"),
        (("ACG", "012", "dev"), r"t.csv:2: column 'label': class '2'; expected classes of train "),
    ],
)
def test_rows_that_are_refused(tmp_path, row, message):
    with pytest.raises(InputError, match=re.escape(message)):
        load(write(tmp_path / "t.csv", [row, *GOOD]))


def test_a_draw_of_splits_names_the_bad_row_too(tmp_path):
    path = write(tmp_path / "t.csv", [("ACGT", "00"), *[r[:2] for r in GOOD]], "sequence,label")
    with pytest.raises(InputError, match=r"t\.csv:2: column 'label': 2 characters for 4 bases"):
        load(path)


@pytest.mark.parametrize(
    ("label", "message"),
    [("0000", "t.csv: only one class, '0'; expected two or more"), ("....", "no base is labelled")],
)
def test_one_class_alone_is_refused(tmp_path, label, message):
    rows = [(sequence, label, split) for sequence, _, split in GOOD]
    with pytest.raises(InputError, match=re.escape(message)):
        load(write(tmp_path / "t.csv", rows))


def test_pairs_have_no_classes_of_bases(tmp_path):
    rows = [("ACGT", "ACGT", "0011", split) for split in SPLITS]
    path = write(tmp_path / "t.csv", rows, "sequence_1,sequence_2,label,split")
    with pytest.raises(InputError, match="pairs of sequences, where bases have classes"):
        load(path)


@pytest.mark.parametrize(
    ("line", "bed", "message"),
    [
        ("I,0,5,+", "I\t0\t2\ta", "t.csv:2: columns 'start', 'end': 0 to 5 for a sequence of 4 b"),
        ("I,x,4,+", "I\t0\t2\ta", "t.csv:2: columns 'start', 'end', 'strand': x, 4, +; expected"),
        ("I,0,4,?", "I\t0\t2\ta", "t.csv:2: columns 'start', 'end', 'strand': 0, 4, ?; expected"),
        ("I,0,4,+", "I\t3\t2\ta", "f.bed:1: start 3 lies behind end 2"),
        ("I,0,4,+", "I\t0\t2\ta;b", "f.bed:1: name 'a;b' holds a ';'"),
        ("I,0,4,+", "", "f.bed: no feature in it"),
        (
            "I,0,4,+",
            "chrI\t0\t2\ta",
            "f.bed: no feature lies on a sequence of the table, on I; expected features there; "
            "these are on chrI",
        ),
        ("I,0,4,+", "I\t0\t4\ta", "t.csv: only one class, 'a'"),
    ],
)
def test_places_and_features_that_are_refused(tmp_path, line, bed, message):
    (tmp_path / "f.bed").write_text(bed + "\n" if bed else "")
    rows = [(*line.split(","), "ACGT", split) for split in SPLITS]
    path = write(tmp_path / "t.csv", rows, "chrom,start,end,strand,sequence,split")
    with pytest.raises(InputError, match=re.escape(message)):
        load(path, bed=tmp_path / "f.bed")


def test_names_that_are_no_classes_are_seen(tmp_path):
    lines = "".join(f"I\t{n}\t{n + 1}\tpeak_{n}\n" for n in range(300))
    (tmp_path / "f.bed").write_text(lines)
    rows = [("I", 0, 300, "ACGTAC" * 50, split) for split in SPLITS]
    path = write(tmp_path / "t.csv", rows, "chrom,start,end,sequence,split")
    with pytest.raises(InputError, match=r"300 classes of bases .* the name is the class, not the"):
        load(path, bed=tmp_path / "f.bed")


def test_a_table_without_places_says_which_column_it_lacks(tmp_path):
    (tmp_path / "f.bed").write_text("I\t0\t2\ta\n")
    with pytest.raises(InputError, match=r"t\.csv:1: no column 'chrom' among sequence, label, spl"):
        load(write(tmp_path / "t.csv", GOOD), bed=tmp_path / "f.bed")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"columns": ("a", "b")}, "labels.columns names 2 columns for the classes of bases"),
        ({"problem_type": "regression", "background": "0"}, "are for classes of bases"),
        ({"bed_strand": "same"}, "labels.bed_strand is for features; give labels.bed too"),
    ],
)
def test_settings_that_are_refused(labels, message):
    with pytest.raises(ConfigError, match=message):
        LabelConfig(**{"problem_type": BASES, **labels})
