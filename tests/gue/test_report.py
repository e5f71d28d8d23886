"""The report of made-up runs: its numbers worked out again by plain code, from the command line."""

from __future__ import annotations

import csv
import json
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tyro
from scipy import stats
from sklearn.metrics import matthews_corrcoef

from benchmark_runs import MadeUpRun
from dnazen.cli import main
from dnazen.commands.gue_run import GueRunCommand
from dnazen.errors import ConfigError
from dnazen.gue.formats import p_value, points
from dnazen.gue.provenance import _recipe
from dnazen.gue.report import write_report
from dnazen.gue.results import Run
from dnazen.gue.settings import PUBLISHED_MODELS, ReportConfig, TaskSettings
from dnazen.report.document import Section, Text
from dnazen.settings import recipe_flags
from report.test_document import read

ARMS = {"ours": "dnazen", "twin": "e4bu", "weak": "random"}
TASKS = ("EMP/H3", "EMP/H4", "mouse/0", "mouse/2", "tf/3")
SEEDS = (0, 1, 2)
ACCURACY = {"ours": 0.85, "twin": 0.8, "weak": 0.6}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> MadeUpRun:
    made = MadeUpRun(tmp_path_factory.mktemp("made") / "run", ARMS, TASKS, SEEDS)
    for task in TASKS:
        made.task(task, 200, said="partial train: 5 of 9 rows" if "EMP" in task else "complete")
        for model in ARMS:
            for seed in SEEDS:
                collapsed = (model, task, seed) == ("weak", "tf/3", 1)
                made.cell(model, task, seed, ACCURACY[model], collapsed=collapsed)
    made.leakage()
    return made


@pytest.fixture(scope="module")
def report(made, tmp_path_factory) -> Path:
    output = tmp_path_factory.mktemp("made") / "report"
    assert main(["gue", "report", str(made.path), "-o", str(output), "--draws", "200"]) == 0
    return output


def tables_of(markdown: str) -> dict[str, list[list[list[str]]]]:
    """The tables of each section: rows of cells, the header first."""
    found = {}
    for part in re.split(r"^## ", markdown, flags=re.M)[1:]:
        title, _, body = part.partition("\n")
        blocks = [b.splitlines() for b in body.strip().split("\n\n") if b.startswith("|")]
        found[title] = [
            [[cell.strip() for cell in line.strip("|").split(" | ")] for line in block]
            for block in blocks
        ]
    return found


def scores(made, model, task):
    """MCC of each seed, without this package."""
    labels = made.labels[task]
    each = [made.predictions[model, task, seed] for seed in SEEDS]
    return np.array([0.0 if len(set(row)) == 1 else matthews_corrcoef(labels, row) for row in each])


@pytest.fixture(scope="module")
def tables(report) -> dict[str, list[list[list[str]]]]:
    return tables_of((report / "report.md").read_text(encoding="utf-8"))


def test_scores_by_task(made, tables):
    header, _, *rows = tables["Scores by task"][0]
    assert header == ["task", "data", "test rows", *ARMS]
    assert [row[0] for row in rows] == sorted(TASKS)
    for task, data, number, *cells in rows:
        assert data == ("partial train: 5 of 9 rows" if "EMP" in task else "complete")
        assert number == "200"
        for model, cell in zip(ARMS, cells, strict=True):
            each = 100 * scores(made, model, task)
            mark = " †1" if (model, task) == ("weak", "tf/3") else ""
            assert cell == f"{each.mean():.2f} ± {each.std(ddof=1):.2f}{mark}"


def test_means_over_groups_and_tasks(made, tables):
    _, _, *rows = tables["Means over tasks"][0]
    groups = {
        "epigenetic marks (yeast)": ("2 (2 not complete)", TASKS[:2]),
        "TF binding (mouse)": ("2", TASKS[2:4]),
        "TF binding (human)": ("1", TASKS[4:]),
        "all tasks": ("5 (2 not complete)", TASKS),
    }
    for (group, number, *cells), (name, (told, tasks)) in zip(
        rows[:4], groups.items(), strict=True
    ):
        assert (group, number) == (name, told)
        for model, cell in zip(ARMS, cells, strict=True):
            mean = 100 * np.mean([scores(made, model, task).mean() for task in tasks])
            low, high = map(float, re.findall(r"-?[\d.]+", cell)[1:])
            assert cell.startswith(f"{mean:.2f} [")
            assert low < mean < high
    assert rows[4][0] == "all tasks, without the collapsed cells"
    left = scores(made, "weak", "tf/3")[[0, 2]].mean()
    others = [scores(made, "weak", task).mean() for task in TASKS[:4]]
    assert rows[4][-1] == f"{100 * np.mean([*others, left]):.2f}"


def test_comparisons_over_tasks(made, tables):
    header, _, *rows = tables["Every model against twin"][0]
    p_values = {}
    for row in rows:
        told = dict(zip(header, row, strict=True))
        model = told["model"]
        each = [(scores(made, model, t) - scores(made, "twin", t)).mean() for t in TASKS]
        assert told["tasks"] == "5 (2 not complete)"
        assert told["difference"] == f"{100 * np.mean(each):+.2f}"
        down = [made.any_collapsed(task, model, "twin") for task in TASKS]
        judged = [d for d, collapsed in zip(each, down, strict=True) if not collapsed]
        wins = sum(d >= 0.0005 for d in judged)
        note = f" ({sum(down)} collapsed)" if any(down) else ""
        assert told["wins / ties / losses"] == f"{wins} / 0 / {len(judged) - wins}{note}"
        p_values[model] = stats.wilcoxon(judged).pvalue
        assert told["Wilcoxon p"] == f"{p_values[model]:.3f}"
    assert list(p_values) == ["ours", "weak"]
    smaller = min(p_values, key=p_values.__getitem__)
    assert rows[list(p_values).index(smaller)][7] == f"{min(1, 2 * p_values[smaller]):.3f}"


def test_one_comparison_task_by_task(made, tables, report):
    header, _, *rows = tables["ours against twin, task by task"][0]
    with (report / "tables/differences.csv").open() as handle:
        table = [row for row in csv.DictReader(handle) if row["model"] == "ours"]
    for row, exact in zip(rows, table, strict=True):
        told = dict(zip(header, row, strict=True))
        each = scores(made, "ours", told["task"]) - scores(made, "twin", told["task"])
        assert told["difference"] == f"{100 * each.mean():+.2f}"
        assert told["d_z over seeds"] == f"{each.mean() / each.std(ddof=1):+.2f}"
        assert float(exact["difference"]) == pytest.approx(each.mean(), rel=1e-6)
        assert exact["seeds"] == "0 1 2"
        low, high = float(exact["difference_low"]), float(exact["difference_high"])
        assert told["95 % interval"] == f"[{100 * low:.2f}, {100 * high:.2f}]"
        assert low < each.mean() < high


def test_density_by_hand(made, tables):
    rows = tables["Scores by G-gram density"][0][2:]
    assert [row[0] for row in rows] == ["none", "low", "high"]
    value, number = 0.0, 0
    for task in TASKS:
        none = made.density[task] == 0
        each = [made.predictions["ours", task, seed] for seed in SEEDS]
        score = np.mean([matthews_corrcoef(made.labels[task][none], row[none]) for row in each])
        value, number = value + score * none.sum(), number + none.sum()
    assert rows[0][1:3] == ["5", f"{number}"]
    assert rows[0][3].startswith(f"{100 * value / number:.2f} [")
    pairs = [tuple(row[:2]) for row in tables["Scores by G-gram density"][1][2:]]
    assert pairs == [(model, s) for model in ("ours", "weak") for s in ("none", "low", "high")]


def test_collapsed_cells_are_told(made, tables):
    _, _, row = tables["Collapsed cells"][0]
    each = scores(made, "weak", "tf/3")
    left = each[[0, 2]].mean()
    assert row == ["tf/3", "weak", "1 of 3", points(each.mean()), points(left)]


def test_published_scores_stand_apart(tables):
    header, _, *rows = tables["Beside published scores"][0]
    assert header[:5] == ["task", "data of this run", *(f"{model} (this run)" for model in ARMS)]
    assert dict(zip(header, rows[0], strict=True))["dnabert-2 [1]"] == "78.27"  # EMP/H3
    assert rows[0][1] == "partial train: 5 of 9 rows"


def test_leakage_cost_and_choices(tables):
    counts, inputs = tables["Leakage of test sequences"]
    assert counts[2] == ["EMP/H3", "200", "0.0125 (5 / 2)"]
    assert inputs[3] == ["mining [2]", "ours", "gone.tsv", "no such file"]
    cost = tables["Cost"][0]
    assert cost[2] == ["ours", "15", "1.50", "2", "60", "61.0", "0.25", "3.00", "-"]
    assert tables["Learning rates"][0][2][:2] == ["EMP/H3", "5e-05 (50.00), 0.0001 (25.00)"]


def test_what_was_run_is_told(report):
    markdown = (report / "report.md").read_text(encoding="utf-8")
    assert "dnazen gue run grid.toml -o 'a run'" in markdown
    assert 'task_settings = ["EMP: epochs=2"]' in markdown
    for word in ("2.13.0", "a made-up processor", "bf16", "Linux-made-up"):
        assert word in markdown
    assert (
        "45 of 45 cells are finished, 0 failed or at work, 1 of the finished ones collapsed"
        in markdown
    )


def test_every_cell_is_in_the_table(made, report):
    with (report / "tables/cells.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 45
    for row in rows:
        each = scores(made, row["model"], row["task"])
        assert float(row["test"]) == pytest.approx(each[int(row["seed"])], rel=1e-6)
        assert row["data"]
    names = {path.name for path in (report / "tables").iterdir()}
    assert names == {
        "cells.csv",
        "scores.csv",
        "differences.csv",
        "strata.csv",
        "leakage.csv",
        "published.csv",
    }


def test_page_is_one_file_with_the_tables_of_the_markdown(report, tables):
    page = read((report / "report.html").read_text(encoding="utf-8"))
    assert page.fetched == []
    assert page.tags.count("svg") == 3
    assert page.tags.count("table") == sum(map(len, tables.values()))
    for row in tables["Scores by task"][0][2:]:
        assert set(row) <= set(page.cells)
    linked = re.findall(r"\]\((.*?)\)", (report / "report.md").read_text(encoding="utf-8"))
    assert len(linked) == 3
    for name in linked:
        assert (report / name).stat().st_size < 200_000


def test_the_same_run_gives_the_same_report(made, report, tmp_path):
    write_report(made.path, tmp_path / "again", ReportConfig(draws=200))
    for name in ("report.html", "report.md", "figures/density.png", "tables/scores.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (report / name).read_bytes()


def test_one_model_one_task_one_seed(tmp_path, capsys):
    made = MadeUpRun(tmp_path / "run", {"only": "cnn"}, ["mouse/2"], seeds=(4,))
    made.task("mouse/2", 60, density=False)
    made.cell("only", "mouse/2", 4)
    output = tmp_path / "report"
    assert main(["gue", "report", str(tmp_path / "run"), "-o", str(output)]) == 0
    assert capsys.readouterr().out == f"report\t{output / 'report.html'}\n"
    markdown = (output / "report.md").read_text(encoding="utf-8")
    found = tables_of(markdown)
    labels, predicted = made.labels["mouse/2"], made.predictions["only", "mouse/2", 4]
    score = points(matthews_corrcoef(labels, predicted))
    assert found["Scores by task"][0][2] == ["mouse/2", "complete", "60", f"{score} ± n/a"]
    assert not any("against" in title for title in found)
    for words in (
        "No model with G-grams says how dense the test rows are.",
        "No finished cell collapsed.",
        "Nothing is known of what the models were pre-trained on",
    ):
        assert words in markdown
    assert "1 model on 1 task of GUE, seeds 4: 1 of 1 cells" in markdown


def test_one_common_seed_is_warned_of(tmp_path):
    made = MadeUpRun(tmp_path / "run", {"a": "dnazen", "b": "cnn"}, ["mouse"], seeds=(0, 1))
    for task in ("mouse/0", "mouse/2"):
        made.task(task, 120)
        for model, seed in (("a", 0), ("a", 1), ("b", 1)):
            made.cell(model, task, seed)
    made.write("tasks/mouse/4/task.json", {"said": "complete", "rows": {}})
    failed = tmp_path / "run/cells/b/mouse/0/lr-5e-05/seed-0.failed.log"
    failed.write_text("out of memory")
    write_report(tmp_path / "run", tmp_path / "report", ReportConfig(draws=100))
    markdown = (tmp_path / "report/report.md").read_text(encoding="utf-8")
    assert "6 of 20 cells are finished, 1 failed or at work" in markdown
    assert "Still missing: a 6, b 8." in markdown
    assert "Failed or at work, with a log beside the cell: b on mouse/0, seed 0." in markdown
    assert (
        "Of 2 tasks there is one common seed: the interval tells of the test rows alone" in markdown
    )
    found = tables_of(markdown)
    assert "(1)" in found["Scores by task"][0][2][4]
    row = dict(zip(*found["b against a, task by task"][0][::2], strict=True))
    assert (row["seeds"], row["d_z over seeds"]) == ("1", "n/a")


def test_models_without_a_common_task(tmp_path):
    made = MadeUpRun(tmp_path / "run", {"a": "dnazen", "b": "cnn"}, ["mouse"], seeds=(0,))
    for model, task in (("a", "mouse/0"), ("b", "mouse/2")):
        made.task(task, 120)
        made.cell(model, task, 0)
    write_report(tmp_path / "run", tmp_path / "report", ReportConfig(draws=100))
    markdown = (tmp_path / "report/report.md").read_text(encoding="utf-8")
    assert "There is no task on which every model has a finished cell." in markdown
    assert "against" not in "".join(tables_of(markdown))


def test_reference_and_model_are_as_asked(made, tmp_path):
    write_report(made.path, tmp_path / "a", ReportConfig(reference="weak", model="twin", draws=100))
    found = tables_of((tmp_path / "a/report.md").read_text(encoding="utf-8"))
    assert "twin against weak, task by task" in found
    write_report(made.path, tmp_path / "b", ReportConfig(model="twin", draws=100))
    found = tables_of((tmp_path / "b/report.md").read_text(encoding="utf-8"))
    assert "twin against ours, task by task" in found


def test_sections_stand_in_front_and_an_earlier_report_is_replaced(made, tmp_path):
    output = tmp_path / "report"
    write_report(made.path, output, ReportConfig(draws=100))
    (output / "left.txt").write_text("of earlier")
    first = [Section("Pre-training", [Text("Held-out loss.")])]
    write_report(made.path, output, ReportConfig(draws=100), title="A study", first=first)
    markdown = (output / "report.md").read_text(encoding="utf-8")
    title, message, *rest = markdown.split("\n\n")
    assert title == "# A study"
    assert message.startswith("ours minus twin: +")
    assert rest[:3] == ["## Pre-training", "Held-out loss.", "## Summary"]
    assert not (output / "left.txt").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--reference", "nobody"], "reference: 'nobody' has no finished cell"),
        (["--model", "nobody"], "expected one of ours, twin, weak"),
        (["--model", "twin", "--reference", "twin"], "model: 'twin' is the reference"),
        (["--draws", "10"], "draws must be 100 to 1000000, got 10"),
        (["--published", "dnabert-9"], "published: no scores of 'dnabert-9'; expected some of"),
    ],
)
def test_what_cannot_be_reported_is_one_line(made, tmp_path, capsys, words, message):
    output = tmp_path / "report"
    assert main(["gue", "report", str(made.path), "-o", str(output), *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("dnazen: error: ")
    assert not output.exists()


def test_other_directories_are_left_alone(made, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("dear")
    assert main(["gue", "report", str(made.path), "-o", str(tmp_path)]) == 2
    assert "output directory is not empty" in capsys.readouterr().err
    assert (tmp_path / "mine.txt").read_text() == "dear"
    assert main(["gue", "report", str(tmp_path), "-o", str(tmp_path / "new")]) == 2
    assert "no run.json; expected a directory that 'dnazen gue run' wrote" in (
        capsys.readouterr().err
    )


def test_a_run_without_a_finished_cell(tmp_path, capsys):
    MadeUpRun(tmp_path / "run", ARMS, TASKS)
    assert main(["gue", "report", str(tmp_path / "run"), "-o", str(tmp_path / "new")]) == 2
    assert "no finished cell yet; run it on, and report then" in capsys.readouterr().err


def test_spelling_of_numbers():
    assert [p_value(p) for p in (0.0004, 0.0321, 1.0, float("nan"))] == [
        "<0.001",
        "0.032",
        "1.000",
        "n/a",
    ]
    assert [points(x) for x in (0.5, float("nan"), None)] == ["50.00", "n/a", "n/a"]


def test_published_models_are_known():
    config = ReportConfig()
    assert config.published == PUBLISHED_MODELS
    with pytest.raises(ConfigError, match="no scores of 'x'"):
        ReportConfig(published=("x",))


def test_the_recipe_of_a_report_gives_the_run_again(tmp_path):
    made = MadeUpRun(tmp_path, {"a.b": "dnazen", "k": "kmer"}, ["mouse"])
    record = json.loads((made.path / "run.json").read_text())
    record["arms"][1]["source"] = ""
    record["settings"]["task_settings"] = {
        "EMP/H3": {"epochs": 2, "learning_rates": None},
        "tf": {"learning_rates": [1e-4]},
    }
    made.write("run.json", record)
    recipe = tomllib.loads(_recipe(Run(made.path)))
    assert recipe["models"] == {
        "a.b": {"kind": "dnazen", "source": "models/a.b"},
        "k": {"kind": "kmer"},
    }
    assert recipe["task_settings"] == {"EMP/H3": {"epochs": 2}, "tf": {"learning_rates": [1e-4]}}
    (tmp_path / "gue.toml").write_text(_recipe(Run(made.path)))
    flags = recipe_flags(tmp_path / "gue.toml", GueRunCommand)
    command = tyro.cli(GueRunCommand, args=[*flags, "-o", "out"])
    assert [model.name for model in command.models] == ["a.b", "k"]
    assert command.benchmark.task_settings["EMP/H3"] == TaskSettings(epochs=2)
