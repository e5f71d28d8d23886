"""The table of GUE against numbers written by hand, and what a data directory holds of it."""

from __future__ import annotations

import csv
import json
from collections import Counter

import numpy as np
import pytest

from dnazen import cli
from dnazen.errors import ConfigError, InputError, OutputError
from dnazen.gue.tasks import TASKS, GueTask, Rows, check, find_tasks, prepare, published
from dnazen.sequences.alphabet import reverse_complement
from dnazen.sequences.labelled import read_labelled
from tiny_gue import gc_rows, write_rows

TASK = GueTask("mouse/3", "any", 2, 40, Rows(6, 4, 2), "mcc", 3)


def fill(folder, **counts):
    """Files of ``TASK`` with so many rows: ``train``, ``train_partial``, ``dev``, ``test``."""
    for seed, (name, count) in enumerate(counts.items()):
        write_rows(folder / TASK.name / f"{name}.csv", gc_rows(count, seed))
    return folder


def sequences(path):
    return [row.sequences[0] for row in read_labelled(path).rows]


def test_the_table_has_the_28_tasks():
    folders = Counter(name.split("/")[0] for name in TASKS)
    assert folders == {"EMP": 10, "mouse": 5, "prom": 6, "splice": 1, "tf": 5, "virus": 1}
    assert {name: t.classes for name, t in TASKS.items() if t.classes != 2} == {
        "splice/reconstructed": 3,
        "virus/covid": 9,
    }
    assert {name for name, t in TASKS.items() if t.metric == "f1"} == {"virus/covid"}
    assert Counter(t.length_bp for t in TASKS.values()) == {
        500: 10, 101: 10, 300: 3, 70: 3, 400: 1, 1000: 1,
    }  # fmt: skip
    assert all(task.name == name for name, task in TASKS.items())


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("EMP/H3", (11971, 1497, 1497)),
        ("EMP/H4ac", (27275, 3410, 3410)),
        ("mouse/1", (53952, 6745, 6745)),
        ("mouse/3", (1904, 239, 239)),
        ("prom/prom_300_all", (47356, 5920, 5920)),
        ("prom/prom_core_tata", (4904, 613, 613)),
        ("splice/reconstructed", (36496, 4562, 4562)),
        ("tf/3", (27294, 1000, 1000)),
        ("tf/4", (19000, 1000, 1000)),
    ],
)
def test_the_official_splits_have_their_rows(name, rows):
    assert TASKS[name].rows == rows


def test_sums_that_must_hold_do():
    # all promoters are those with a TATA box and those without
    for kind in ("300", "core"):
        every, tata, without = (
            TASKS[f"prom/prom_{kind}_{which}"].rows for which in ("all", "tata", "notata")
        )
        assert abs(sum(every) - sum(tata) - sum(without)) <= 2
        assert every.train == tata.train + without.train
    # dev and test of the yeast marks are a tenth each of the whole
    for name, task in TASKS.items():
        if name.startswith("EMP"):
            assert task.rows.dev == task.rows.test == pytest.approx(sum(task.rows) / 10, abs=1)


def test_published_scores_name_tasks_and_sources():
    scores = published()
    assert {s.task for s in scores} == set(TASKS)
    assert all(s.source and -100 <= s.score <= 100 for s in scores)
    known = {(s.task, s.model, s.source[:13]): s for s in scores}
    assert known["EMP/H3", "dnabert-2", "DNABERT-2 pap"].score == 78.27
    assert known["virus/covid", "dnabert-2", "DNABERT-2 pap"].score == 71.02
    covid = next(s for s in scores if (s.task, s.model, s.seeds) == (
        "virus/covid", "dnabert-2", "several",
    ))  # fmt: skip
    assert (covid.metric, covid.score, covid.sd) == ("mcc", 40.09, 31.4)


def test_tasks_are_found_by_name_and_by_folder():
    assert [t.name for t in find_tasks(["tf/1", "mouse", "tf/1"])] == [
        "tf/1", "mouse/0", "mouse/1", "mouse/2", "mouse/3", "mouse/4",
    ]  # fmt: skip
    with pytest.raises(ConfigError, match="'EMP/H5' is no task of GUE; expected some of EMP/H3,"):
        find_tasks(["EMP/H5"])


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
    with pytest.raises(OutputError, match=r"another max_train_rows \(4, now 5\)"):
        prepare(check(data, TASK), out, max_train_rows=5)
    fill(data, train=6, test=4, dev=2)
    with pytest.raises(OutputError, match=r"task.json: was prepared from other data"):
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
