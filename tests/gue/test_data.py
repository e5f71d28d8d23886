"""What a data directory holds of a task, and the splits that are made of it."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from dnazen import cli
from dnazen.errors import ConfigError, InputError
from dnazen.gue.data import check, prepare
from dnazen.gue.tasks import TASKS, GueTask, Rows
from dnazen.sequences.alphabet import reverse_complement
from dnazen.sequences.labelled import read_labelled
from tiny_gue import gc_rows, write_rows

TASK = GueTask("mouse/3", "any", 2, 40, Rows(6, 4, 2), "mcc")


def fill(folder, **counts):
    """Files of ``TASK`` with so many rows: ``train``, ``train_partial``, ``dev``, ``test``."""
    for seed, (name, count) in enumerate(counts.items()):
        write_rows(folder / TASK.name / f"{name}.csv", gc_rows(count, seed))
    return folder


def sequences(path):
    return [row.sequences[0] for row in read_labelled(path).rows]


@pytest.mark.parametrize(
    ("files", "state", "said"),
    [
        ({"train": 6, "dev": 4, "test": 2}, "complete", "complete"),
        ({"train": 5, "dev": 4, "test": 2}, "partial train", "partial train: 5 of 6 rows"),
        ({"train_partial": 6, "dev": 4, "test": 2}, "partial train", "partial train: 6 of 6 rows"),
        ({"dev": 4, "test": 2}, "no train", "no train"),
        ({"train": 6, "dev": 4}, "absent", "absent"),
        ({}, "absent", "absent"),
        (
            {"train": 7, "dev": 4, "test": 2},
            "other rows",
            "not the official splits: 7 train, 4 dev, 2 test rows",
        ),
        (
            {"train": 6, "dev": 4, "test": 3},
            "other rows",
            "not the official splits: 6 train, 4 dev, 3 test rows",
        ),
    ],
)
def test_a_directory_is_checked_by_its_rows(tmp_path, files, state, said):
    found = check(fill(tmp_path, **files), TASK)
    assert (found.state, found.data_state) == (state, said)


def test_where_the_official_rows_are_not_known_that_is_said(tmp_path):
    found = check(fill(tmp_path, train=6, dev=4, test=2), TASK._replace(rows=None))
    assert (found.state, found.data_state) == (
        "complete",
        "row counts not checked: 6 train, 4 dev, 2 test",
    )


def test_a_train_file_wins_over_a_partial_one(tmp_path):
    found = check(fill(tmp_path, train=6, train_partial=3, dev=4, test=2), TASK)
    assert (found.state, found.rows["train"], found.partial) == ("complete", 6, False)


def test_prepared_splits_are_the_files(tmp_path):
    data = fill(tmp_path / "data", train_partial=5, dev=4, test=2)
    said = prepare(check(data, TASK), tmp_path / "out")
    assert said == "partial train: 5 of 6 rows"
    for split, file in (("train", "train_partial"), ("dev", "dev"), ("test", "test")):
        before, after = data / TASK.name / f"{file}.csv", tmp_path / "out" / f"{split}.csv"
        assert before.read_text() == after.read_text()
    record = json.loads((tmp_path / "out" / "task.json").read_text())
    assert record["rows"] == {"train": 5, "dev": 4, "test": 2}
    assert record["state"] == "partial train"
    assert len({source["sha256"] for source in record["sources"]}) == 3


def test_a_sample_of_train_is_the_same_each_time(tmp_path):
    data = fill(tmp_path / "data", train=6, dev=4, test=2)
    found = check(data, TASK)
    said = [prepare(found, tmp_path / name, max_train_rows=4) for name in ("a", "b")]
    assert said == ["complete; a sample of 4 of 6 train rows"] * 2
    first, again = (sequences(tmp_path / name / "train.csv") for name in ("a", "b"))
    assert first == again
    assert len(first) == 4
    whole = sequences(data / TASK.name / "train.csv")
    assert first == [s for s in whole if s in set(first)]  # in their order
    assert prepare(found, tmp_path / "c", max_train_rows=6, max_dev_rows=4) == "complete"
    told = prepare(found, tmp_path / "d", max_dev_rows=3)
    assert told == "complete; a sample of 3 of 4 dev rows"
    few, dev = (sequences(at) for at in (tmp_path / "d" / "dev.csv", data / TASK.name / "dev.csv"))
    assert len(few) == 3
    assert few == [s for s in dev if s in set(few)]
    kept = [sequences(tmp_path / name / "test.csv") for name in ("c", "d")]
    assert kept[0] == kept[1]


def test_dev_is_parted_without_parting_equal_sequences(tmp_path):
    rows = gc_rows(40, 1)
    twins = [(reverse_complement(s.encode()).decode(), label) for s, label in rows[:20]]
    write_rows(tmp_path / TASK.name / "dev.csv", [*rows, *twins, *rows[:5]])
    write_rows(tmp_path / TASK.name / "test.csv", gc_rows(2, 2))
    task = TASK._replace(rows=Rows(6, 65, 2))
    found = check(tmp_path, task)
    with pytest.raises(InputError, match=r"no train\.csv; set train_from_dev"):
        prepare(found, tmp_path / "none")
    said = prepare(found, tmp_path / "out", train_from_dev=0.75)
    train, dev = (sequences(tmp_path / "out" / f"{s}.csv") for s in ("train", "dev"))
    assert said == (
        f"no train; trained on {len(train)} rows of dev, the other {len(dev)} choose the epoch"
    )
    assert len(train) + len(dev) == 65
    assert len(train) == pytest.approx(0.75 * 65, abs=8)
    either = {s for one in train for s in (one, reverse_complement(one))}
    assert not either & set(dev)
    labels = [row.labels[0] for row in read_labelled(tmp_path / "out" / "train.csv").rows]
    assert 0.3 < np.mean([label == "1" for label in labels]) < 0.7


def test_prepared_data_is_kept_and_no_other_is_taken_for_it(tmp_path):
    data = fill(tmp_path / "data", train=6, dev=4, test=2)
    out = tmp_path / "out"
    said = prepare(check(data, TASK), out, max_train_rows=4)
    before = (out / "train.csv").stat().st_mtime_ns
    assert prepare(check(data, TASK), out, max_train_rows=4) == said
    assert (out / "train.csv").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="another max_train_rows: 4, now 5"):
        prepare(check(data, TASK), out, max_train_rows=5)
    fill(data, train=6, test=4, dev=2)
    with pytest.raises(ConfigError, match="was begun with another data"):
        prepare(check(data, TASK), out, max_train_rows=4)


def test_check_prints_a_row_a_task(tmp_path, capsys):
    write_rows(tmp_path / "tf/0/test.csv", gc_rows(2, 0))
    assert cli.main(["gue", "check", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    rows = list(csv.DictReader(out.splitlines(), delimiter="\t"))
    assert [row["task"] for row in rows] == list(TASKS)
    assert rows[22]["test"] == "2"
    assert {row["state"] for row in rows} == {"absent"}
    assert err == "28 tasks: 28 absent\n"
    assert cli.main(["gue", "check", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: no such data directory; expected a folder with" in capsys.readouterr().err
