"""The table of GUE against numbers written by hand, and what a data directory holds of it."""

from __future__ import annotations

from collections import Counter

import pytest

from dnazen.errors import ConfigError
from dnazen.gue.tasks import TASKS, GueTask, Rows, find_tasks, published

TASK = GueTask("mouse/3", "any", 2, 40, Rows(6, 4, 2), "mcc")


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
