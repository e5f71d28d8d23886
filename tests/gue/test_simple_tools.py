"""Each model beside the best simple tool of a task, worked out again from the predictions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef

from benchmark_runs import MadeUpRun
from dnazen.gue.comparison import analyse
from dnazen.gue.results import Run
from dnazen.gue.simple_tools import beside_simple_tools
from dnazen.report.document import Table, Text

TASKS = ("EMP/H3", "mouse/0", "tf/3")
ACCURACY = {"ours": 0.8, "conv": 0.75, "words": 0.78}
KINDS = {"ours": "dnazen", "conv": "cnn", "words": "kmer"}


def section_of(folder, kinds):
    made = MadeUpRun(folder, kinds, TASKS, seeds=(0, 1))
    for task in TASKS:
        made.task(task, 150, density=False)
        for model in kinds:
            if (model, task) == ("words", "tf/3"):
                continue  # not run yet
            for seed in (0, 1):
                made.cell(model, task, seed, ACCURACY[model])
    run = Run(folder)
    return made, beside_simple_tools(run, analyse(run, next(iter(kinds)), draws=100))


def test_gains_are_over_the_best_tool_of_each_task(tmp_path):
    made, section = section_of(tmp_path, KINDS)

    def mcc(model, task):
        found = [
            matthews_corrcoef(made.labels[task], made.predictions[model, task, s]) for s in (0, 1)
        ]
        return np.mean(found)

    (table,) = (block for block in section.blocks if isinstance(block, Table))
    gains = []
    for row, task in zip(table.rows, TASKS, strict=True):
        tools = {m: mcc(m, task) for m in ("conv", "words") if (m, task) != ("words", "tf/3")}
        best = max(tools, key=tools.get)
        gains.append(mcc("ours", task) - tools[best])
        expected = [task, best, f"{100 * tools[best]:.2f}", f"{100 * gains[-1]:+.2f}"]
        assert list(row) == expected
    sentence = next(block.text for block in section.blocks if isinstance(block, Text))
    above, below = sum(g > 0 for g in gains), sum(g < -0.01 for g in gains)
    assert sentence.startswith(f"ours is above the best simple tool on {above} of 3 tasks, by ")
    assert f"by {100 * np.mean(gains):+.2f} points in the mean" in sentence
    assert sentence.endswith(f"more than a point below it on {below}.")


@pytest.mark.parametrize("kinds", [{"ours": "dnazen"}, {"words": "kmer", "conv": "cnn"}])
def test_without_both_there_is_nothing_to_tell(tmp_path, kinds):
    assert not section_of(tmp_path, kinds)[1].blocks
