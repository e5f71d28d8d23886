"""Splits of labelled tables: by directory, by column, and drawn."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen.errors import ConfigError, InputError
from dnazen.records import InputFile
from dnazen.sequences.alphabet import reverse_complement
from dnazen.sequences.labelled import Labelled, Row
from dnazen.sequences.settings import LabelConfig, SplitConfig
from dnazen.sequences.splits import (
    contradicting_rows,
    draw_splits,
    load_splits,
    shared_rows,
    strandless,
)
from splits_of import split_of, splits_of

SHARED = Path(__file__).parents[3] / "shared"
SOURCE = InputFile("table.csv", 0, "")
BASES = st.text("ACGT", min_size=1, max_size=6).map(str.encode)


def table_of(rows):
    return Labelled(
        SOURCE,
        ("label",),
        [
            Row(i + 2, str(i), sequences, (label,), None)
            for i, (sequences, label) in enumerate(rows)
        ],
    )


def write(directory, **files):
    directory.mkdir(exist_ok=True)
    for stem, rows in files.items():
        (directory / f"{stem}.csv").write_text("sequence,label\n" + "\n".join(rows) + "\n")
    return directory


def load(path, *, labels=None, **kwargs):
    return load_splits(path, labels or LabelConfig(), SplitConfig(**kwargs))


TWO = ["AAC,0", "CCA,1"]


def test_a_directory_in_gue_layout(tmp_path):
    data = write(tmp_path / "task", train=[*TWO, "GG,1"], dev=["AG,1"], test=["TC,0", "TG,1"])
    splits = load(data)
    assert splits.task.label_names == ("0", "1")
    assert [split.labels for split in (splits.train, splits.dev, splits.test)] == [
        [0, 1, 1],
        [1],
        [0, 1],
    ]
    assert [Path(file.path).name for file in splits.inputs] == ["train.csv", "dev.csv", "test.csv"]
    assert splits.duplicates == {"train_dev": 0, "train_test": 0, "dev_test": 0}


@pytest.mark.parametrize("stem", ["dev", "valid", "val", "validation"])
def test_names_of_dev(tmp_path, stem):
    data = write(tmp_path / "task", train=TWO, test=TWO, **{stem: ["AA,1"]})
    assert load(data).dev.labels == [1]


def test_the_training_file_can_be_named(tmp_path):
    data = write(tmp_path / "task", train_partial=TWO, dev=TWO, test=TWO)
    with pytest.raises(InputError, match=r"no train\.csv; .*--splits\.train-file"):
        load(data)
    assert load(data, train_file="train_partial.csv").train.labels == [0, 1]


def test_without_test_its_file_is_not_opened_and_the_rest_is_the_same(tmp_path):
    rows = [f"{'ACGT'[n % 4] * (n + 1)},{n % 2}" for n in range(20)]
    data = write(tmp_path / "task", train=rows, dev=TWO, test=TWO)
    drawn = write(tmp_path / "drawn", train=rows, test=TWO)
    one = write(tmp_path, one=rows) / "one.csv"
    stated = tmp_path / "stated.csv"
    stated.write_text(
        "sequence,label,split\n"
        + "".join(f"{row},train\n" for row in TWO)
        + "AC,1,dev\nGC,0,test\n"
    )
    for path in (data, drawn, one, stated):
        whole = load(path)
        if path.is_dir():
            (path / "test.csv").write_bytes(b"\xff no table")
        without = load_splits(path, LabelConfig(), SplitConfig(), with_test=False)
        assert (without.train, without.dev) == (whole.train, whole.dev)
        assert without.test.labels == without.test.table.rows == []
        assert not any(file.path.endswith("test.csv") for file in without.inputs)
        assert without.duplicates == {**whole.duplicates, "train_test": 0, "dev_test": 0}


def test_missing_and_ambiguous_files(tmp_path):
    data = write(tmp_path / "task", train=TWO, dev=TWO)
    with pytest.raises(InputError, match=r"no test\.csv; expected one of test\.csv"):
        load(data)
    write(data, test=TWO, val=TWO)
    with pytest.raises(InputError, match=r"holds dev\.csv and val\.csv; expected one of"):
        load(data)
    with pytest.raises(InputError, match=r"none: no such file"):
        load(tmp_path / "none")


def test_a_class_that_train_lacks_is_told_with_file_and_line(tmp_path):
    data = write(tmp_path / "task", train=TWO, dev=[*TWO, "AC,2"], test=TWO)
    with pytest.raises(InputError, match=r"dev\.csv:4: column 'label': label '2'; expected a cl"):
        load(data)


def test_pairs_beside_single_sequences(tmp_path):
    data = write(tmp_path / "task", train=TWO, dev=TWO)
    (data / "test.csv").write_text("sequence_1,sequence_2,label\nA,C,0\n")
    with pytest.raises(InputError, match="some files hold pairs, others single sequences"):
        load(data)


def test_a_split_column(tmp_path):
    path = tmp_path / "all.csv"
    path.write_text("split,sequence,label\ntrain,A,x\ntest,C,y\nval,G,x\ntrain,T,y\n")
    splits = load(path)
    assert [row.name for row in splits.train.table.rows] == ["1", "4"]
    assert [row.name for row in splits.dev.table.rows] == ["3"]
    assert splits.test.labels == [1]
    path.write_text("split,sequence,label\ntrain,A,x\ndev,C,y\ntrain,T,y\n")
    with pytest.raises(InputError, match="no row for test; expected rows for each split"):
        load(path)


def rows_of_many(count):
    """Rows of two classes, four to one, no two of the same bases on either strand."""
    codes = ["".join("ACGT"[n // 4**i % 4] for i in range(6)) for n in range(4**6)]
    distinct = [code for code in codes if code < complement(code)]
    return [f"{bases},{int(n % 5 == 0)}" for n, bases in enumerate(distinct[:count])]


def complement(bases):
    return bases[::-1].translate(str.maketrans("ACGT", "TGCA"))


@pytest.mark.parametrize("kind", ["directory", "split column"])
def test_without_dev_a_part_of_train_is_drawn_and_it_is_said(tmp_path, capsys, kind):
    rows, test = rows_of_many(100), ["TTTTTTTT,0", "CCCCCCCC,1"]
    if kind == "directory":
        data = write(tmp_path / "task", train=rows, test=test)
    else:
        data = tmp_path / "all.csv"
        lines = [f"train,{row}" for row in rows] + [f"test,{row}" for row in test]
        data.write_text("\n".join(["split,sequence,label", *lines]) + "\n")
    splits = load(data, dev_fraction=0.2)
    note = f"note: {data} has no dev: 20 of 100 rows of train were drawn for it"
    assert capsys.readouterr().err.startswith(note)
    assert splits.test.labels == [0, 1]
    drawn = [{row.sequences for row in split.table.rows} for split in (splits.train, splits.dev)]
    assert [len(rows) for rows in drawn] == [80, 20]
    assert not drawn[0] & drawn[1]
    assert drawn[0] | drawn[1] == {(row.split(",")[0].encode(),) for row in rows}
    assert abs(Counter(splits.dev.labels)[1] - 4) <= 1  # the share of train
    assert load(data, dev_fraction=0.2).dev == splits.dev
    assert load(data, dev_fraction=0.2, seed=1).dev != splits.dev


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcdefghij"), st.integers(1, 12), min_size=2),
    st.integers(0, 99),
)
def test_a_drawn_split_trains_on_every_class(counts, seed):
    labels = [label for label, count in counts.items() for _ in range(count)]
    codes = [row.split(",")[0].encode() for row in rows_of_many(len(labels))]
    table = table_of([((code,), label) for code, label in zip(codes, labels, strict=True)])
    config = SplitConfig(dev_fraction=0.3, test_fraction=0.3, seed=seed)
    for test in (True, False):
        drawn = draw_splits(table, LabelConfig(), config, test=test)
        by_class = defaultdict(set)
        for label, split in zip(labels, drawn, strict=True):
            by_class[label].add(split)
        assert all("train" in splits for splits in by_class.values())
        assert test or "test" not in drawn


def test_rare_labels_are_put_into_train_and_it_is_said(capsys):
    names = LabelConfig(problem_type="multi_label_classification")
    columns = LabelConfig(problem_type="multi_label_classification", columns=("a", "b"))
    codes = [row.split(",")[0].encode() for row in rows_of_many(40)]
    rare = table_of([((code,), f"a;r{n}" if n < 9 else "a") for n, code in enumerate(codes)])
    drawn = draw_splits(rare, names, SplitConfig(dev_fraction=0.4, test_fraction=0.4))
    assert set(drawn[:9]) == {"train"}
    assert "rare classes (r" in capsys.readouterr().err
    once = rare._replace(
        columns=("a", "b"),
        rows=[row._replace(labels=("1", str(float(n == 7)))) for n, row in enumerate(rare.rows)],
    )
    for seed in range(9):
        config = SplitConfig(dev_fraction=0.4, test_fraction=0.4, seed=seed)
        assert draw_splits(once, columns, config)[7] == "train"


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=4),
    dev=st.floats(0.05, 0.4),
    test=st.floats(0.05, 0.4),
    seed=st.integers(0, 100),
)
def test_drawn_splits_keep_the_distribution_of_labels(counts, dev, test, seed):
    numbers = iter(range(sum(counts)))
    code = bytes.maketrans(b"0123456789", b"ACACACACAC")
    rows = []
    for label, count in enumerate(counts):
        for _ in range(count):
            n = next(numbers)
            rows.append(((b"A" * n + b"C" + str(n).encode().translate(code),), str(label)))
    config = SplitConfig(dev_fraction=dev, test_fraction=test, seed=seed)
    drawn = draw_splits(table_of(rows), LabelConfig(), config)
    assert drawn == draw_splits(table_of(rows), LabelConfig(), config)
    found = Counter((label, split) for (_, label), split in zip(rows, drawn, strict=True))
    for label, count in enumerate(counts):
        assert abs(found[str(label), "test"] - test * count) <= 1
        assert abs(found[str(label), "dev"] - dev * count) <= 2  # of what test leaves


def test_another_seed_draws_other_splits():
    rows = [((b"A" * i + b"C",), str(i % 2)) for i in range(100)]
    one, two = (draw_splits(table_of(rows), LabelConfig(), SplitConfig(seed=s)) for s in (0, 1))
    assert one != two


def test_drawn_splits_spread_numbers():
    rows = [((b"A" * i + b"C",), str(i**2)) for i in range(100)]
    labels = LabelConfig(problem_type="regression")
    drawn = draw_splits(table_of(rows), labels, SplitConfig())
    chosen = [i for i, split in enumerate(drawn) if split == "test"]
    assert len(chosen) == 10
    assert [i // 10 for i in chosen] == sorted(range(10))  # one of each tenth


@settings(deadline=None)
@given(st.lists(st.tuples(st.tuples(BASES), st.sampled_from("01")), min_size=1, max_size=30))
def test_equal_sequences_stay_together(rows):
    drawn = draw_splits(table_of(rows), LabelConfig(), SplitConfig())
    splits = defaultdict(set)
    for (sequences, _), split in zip(rows, drawn, strict=True):
        one = sequences[0]
        splits[frozenset({one, reverse_complement(one)})].add(split)
    assert all(len(found) == 1 for found in splits.values())


@settings(deadline=None)
@given(*[st.lists(BASES, max_size=8)] * 3)
def test_shared_rows_are_counted_on_both_strands(train, dev, test):
    def stands_in(one, others):
        return one in others or reverse_complement(one) in others

    tables = [table_of([((s,), "0") for s in sequences]) for sequences in (train, dev, test)]
    assert shared_rows(*tables) == {
        "train_dev": sum(stands_in(s, train) for s in dev),
        "train_test": sum(stands_in(s, train) for s in test),
        "dev_test": sum(stands_in(s, dev) for s in test),
    }


@settings(deadline=None)
@given(st.lists(st.tuples(st.tuples(BASES), st.sampled_from([0, 1])), max_size=20))
def test_rows_that_contradict_each_other_are_counted(rows):
    """By brute force: another row has the sequence, on either strand, and another label."""
    split = split_of([([s.decode() for s in sequences], label) for sequences, label in rows])
    expected = sum(
        any(
            other in (sequences, tuple(map(reverse_complement, sequences))) and label != another
            for other, another in rows
        )
        for sequences, label in rows
    )
    assert contradicting_rows(split) == expected


def test_case_and_uracil_do_not_hide_a_duplicate():
    assert strandless((b"acgu",)) == strandless((b"ACGT",))
    assert strandless((b"AAC", b"G")) == strandless((b"GTT", b"C"))
    assert strandless((b"AAC", b"G")) != strandless((b"G", b"AAC"))


def test_splits_turned_are_the_same_rows_on_the_other_strand():
    splits = splits_of([(("AACn", "G"), 0), (("rT", "CC"), 1)], [("ACGU", 1)], [("TTT", 0)])
    turned = splits.reverse_complement()
    letters = {
        name: [row.sequences for row in part.table.rows] for name, part in turned.parts.items()
    }
    assert letters == {
        "train": [(b"nGTT", b"C"), (b"Ay", b"GG")],
        "dev": [(b"ACGT",)],
        "test": [(b"AAA",)],
    }
    for part, before in zip(turned.parts.values(), splits.parts.values(), strict=True):
        assert part.labels == before.labels
        for row, old in zip(part.table.rows, before.table.rows, strict=True):
            assert row._replace(sequences=old.sequences) == old
    assert turned.task == splits.task


@pytest.mark.parametrize(
    ("settings_", "message"),
    [
        ({"dev_fraction": 0.0}, "dev_fraction must lie strictly between 0 and 1, got 0.0"),
        ({"test_fraction": 1.5}, "test_fraction must lie strictly between 0 and 1, got 1.5"),
        ({"dev_fraction": 0.5, "test_fraction": 0.5}, "leave nothing to train"),
    ],
)
def test_settings_out_of_range(settings_, message):
    with pytest.raises(ConfigError, match=message):
        SplitConfig(**settings_)


def test_real_tasks_have_the_published_rows():
    gue = SHARED / "data" / "gue"
    if not gue.is_dir():
        pytest.skip(f"needs {gue}")
    splits = load(gue / "mouse" / "3")
    sizes = [len(split.labels) for split in (splits.train, splits.dev, splits.test)]
    assert sizes == [1904, 239, 239]
    assert splits.duplicates == {"train_dev": 0, "train_test": 0, "dev_test": 0}
