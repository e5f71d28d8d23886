"""The sections of a benchmark's report that tell what was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby

from ..report.document import Block, Picture, Section, Table, Text
from .comparison import MIN_ROWS, Analysis, ModelScore, TaskDifference, overall_difference, pooled
from .density import STRATA
from .figures import dot_plot, forest_plot, strata_plot
from .formats import (
    UNDEFINED,
    counted,
    interval,
    listed,
    p_value,
    points,
    signed,
    signed_number,
    win_loss,
)
from .results import Run
from .statistics import LEVEL, Estimate, holm
from .tasks import TASKS


def summary(run: Run, analysis: Analysis, model: str | None) -> Section:
    """What was run, what the main comparison says, and what is missing."""
    done = run.expected - len(run.missing)
    begun = sum(cell.begun for cell in run.missing)
    collapsed = sum(
        int(s.collapsed.sum()) for by_model in analysis.scores.values() for s in by_model.values()
    )
    blocks: list[Block] = [
        Text(
            f"{counted(len(analysis.models), 'model')} on {counted(len(analysis.scores), 'task')} "
            f"of GUE, seeds {listed(run.settings['seeds'])}: {done:,} of {run.expected:,} cells "
            f"are finished, {begun:,} failed or at work, {collapsed:,} of the finished ones "
            "collapsed. Scores are MCC × 100, for covid macro F1 × 100, as in published tables; "
            "test was scored once, at the epoch and the learning rate that dev chose."
        )
    ]
    if model is not None:
        blocks += map(Text, _by_group(analysis, model))
    if run.missing:
        blocks += _missing(run)
    if run.damaged:
        blocks.append(Text(f"Damaged, and left out: {'; '.join(run.damaged)}."))
    if run.skipped:
        states = listed(f"{task} ({state})" for task, state in run.skipped.items())
        blocks.append(Text(f"Not run for want of data: {states}."))
    return Section("Summary", blocks)


def headline(analysis: Analysis, model: str | None) -> list[str]:
    """What the main comparison says, in words; nothing where there is no second model."""
    if model is None:
        return []
    differences = analysis.differences[model]
    whole = overall_difference(differences.values())
    words = [
        f"{model} minus {analysis.reference}: {signed(whole.mean)} points "
        f"{interval(whole.mean)}, mean of {counted(whole.tasks, 'task')}; {win_loss(whole)} "
        f"(wins, ties, losses), of which {whole.sure_wins} wins and {whole.sure_losses} losses are "
        f"significant after Holm; Wilcoxon's signed-rank test over tasks: p = "
        f"{p_value(whole.test.p_value)}."
    ]
    single = sum(len(difference.seeds) == 1 for difference in differences.values())
    if single:
        words.append(
            f"Of {counted(single, 'task')} there is one common seed: the interval tells of the "
            "test rows alone, not of how seeds differ. Such a difference is not significant, has "
            "no p-value, and no claim can rest on it."
        )
    if whole.collapsed:
        words.append(
            f"On {counted(whole.collapsed, 'task')} a cell of either model collapsed: the "
            "difference is in the mean, but it is no win, no loss and has no p-value."
        )
    return words


def _by_group(analysis: Analysis, model: str) -> Iterator[str]:
    """The main comparison in groups of tasks, where there are several."""
    differences = analysis.differences[model]
    groups = _groups(list(differences))
    if len(groups) > 1:
        by_group = (
            (name, overall_difference(differences[task] for task in tasks))
            for name, tasks in groups.items()
        )
        parts = (
            f"{name} {signed(c.mean)} {interval(c.mean)}, {win_loss(c)}" for name, c in by_group
        )
        yield f"{model} minus {analysis.reference} by group: {'; '.join(parts)}."


def _missing(run: Run) -> Iterator[Block]:
    by_model = Counter(cell.model for cell in run.missing)
    counts = listed(f"{model} {by_model[model]:,}" for model in run.models if by_model[model])
    yield Text(
        f"Still missing: {counts}. What follows is of the finished cells; two models are compared "
        "on the seeds that both have."
    )
    begun = [cell for cell in run.missing if cell.begun]
    if begun:
        counts = listed(f"{cell.model} on {cell.task}, seed {cell.seed}" for cell in begun[:10])
        more = f", and {len(begun) - 10:,} more" if len(begun) > 10 else ""
        yield Text(f"Failed or at work, with a log beside the cell: {counts}{more}.")


def means(run: Run, analysis: Analysis) -> Section:
    """Means over groups of tasks and over all."""
    shared = analysis.shared_tasks
    title = "Means over tasks"
    if not shared:
        return Section(title, [Text("There is no task on which every model has a finished cell.")])
    rows = []
    for group, tasks in [*_groups(shared).items(), ("all tasks", shared)]:
        means = [analysis.mean(model, tasks) for model in analysis.models]
        cells = [f"{points(mean.value)} {interval(mean)}" for mean in means]
        rows.append([group, _number_of(run, tasks), *cells])
    by_task = [[analysis.scores[task][model] for task in shared] for model in analysis.models]
    if any(score.collapsed.any() for scores in by_task for score in scores):
        others = [sum(s.mean_without_collapsed for s in scores) / len(shared) for scores in by_task]
        name = "all tasks, without the collapsed cells"
        rows.append([name, _number_of(run, shared), *map(points, others)])
    left = len(analysis.scores) - len(shared)
    note = f"; {counted(left, 'task')} that not every model has finished left out" if left else ""
    return Section(
        title,
        [
            Text(
                "Mean over tasks of the mean over seeds, with 95 % intervals for these tasks, "
                f"these models and other seeds and test rows{note}. Collapsed cells count as they "
                "are; what the mean would be without them is chosen with test in sight. Not "
                "complete: tasks whose data are not the whole official splits."
            ),
            Table(["group", "tasks", *analysis.models], rows),
        ],
    )


def scores(run: Run, analysis: Analysis) -> Section:
    """A row a task: mean and standard deviation of every model."""
    full = len(run.settings["seeds"])
    rows = [
        [task, run.tasks[task].data_state, f"{len(run.tasks[task].labels):,}"]
        + [_score_cell(by_model.get(model), full) for model in analysis.models]
        for task, by_model in analysis.scores.items()
    ]
    return Section(
        "Scores by task",
        [
            Text(
                "Mean ± standard deviation over seeds. †: collapsed seeds, whose model calls all "
                "test sequences the same; they are in the mean. In brackets the number of seeds "
                "where it is not the full one. Data: the state of the splits; a score with a "
                "partial train split cannot be held against published ones."
            ),
            Table(["task", "data", "test rows", *analysis.models], rows, names=2),
            Picture(
                "scores", dot_plot(run, analysis), "Mean score of each model with 95 % interval."
            ),
        ],
    )


def _score_cell(score: ModelScore | None, full: int) -> str:
    if score is None:
        return "-"
    number = len(score.by_seed)
    text = f"{points(score.estimate.value)} ± {points(score.sd)}"
    if number < full:
        text += f" ({number})"
    return text + (f" †{score.collapsed.sum()}" if score.collapsed.any() else "")


def comparisons(run: Run, analysis: Analysis) -> Section:
    """Every model against the reference: over tasks, by group and by task."""
    overall = {
        model: overall_difference(by_task.values())
        for model, by_task in analysis.differences.items()
    }
    corrected = holm([comparison.test.p_value for comparison in overall.values()])
    rows = [
        [
            model,
            _number_of(run, analysis.differences[model]),
            signed(c.mean),
            interval(c.mean),
            win_loss(c),
            f"{c.sure_wins} / {c.sure_losses}",
            p_value(c.test.p_value),
            p_value(strict),
            signed_number(c.test.effect_size),
        ]
        for (model, c), strict in zip(overall.items(), corrected, strict=True)
    ]
    header = ["model", "tasks", "difference", "95 % interval", "wins / ties / losses"]
    header += ["significant (Holm)", "Wilcoxon p", "p, Holm over models", "rank-biserial"]
    blocks: list[Block] = [
        Text(
            f"Every model minus {analysis.reference}, on the seeds and test rows that both have. "
            "A tie is a difference that rounds to 0.0 points; where a cell of either model "
            "collapsed, nobody wins. Significant: tasks with p < 0.05 after Holm's correction for "
            "the tasks; a difference of one seed, or with a collapsed cell, has no p-value and is "
            "never significant. Wilcoxon's test leaves those out, and takes tasks as independent, "
            "which those that share sequences (prom all, tata and notata) are not."
        ),
        Table(header, rows),
    ]
    groups = _groups(list(analysis.scores))
    if len(groups) > 1:
        blocks.append(
            Table(
                ["model", *groups],
                [
                    [model, *(_group_cell(by_task, tasks) for tasks in groups.values())]
                    for model, by_task in analysis.differences.items()
                ],
            )
        )
    if len(overall) > 1:
        models = list(analysis.differences)
        tasks = [
            [task, *(_task_cell(analysis, a, task) for a in models)] for task in analysis.scores
        ]
        blocks.append(
            Text("By task; * p < 0.05 after Holm's correction for the tasks; † a cell collapsed.")
        )
        blocks.append(Table(["task", *models], tasks))
    return Section(f"Every model against {analysis.reference}", blocks)


def _group_cell(differences: Mapping[str, TaskDifference], tasks: Sequence[str]) -> str:
    shared_differences = [differences[task] for task in tasks if task in differences]
    if not shared_differences:
        return "-"
    difference = overall_difference(shared_differences)
    return f"{signed(difference.mean)} {interval(difference.mean)} {win_loss(difference)}"


def _task_cell(analysis: Analysis, model: str, task: str) -> str:
    difference = analysis.differences[model].get(task)
    if difference is None:
        return "-"
    mark = "†" if difference.collapsed else "*" if difference.holm < LEVEL else ""
    return signed(difference.estimate) + mark


def head_to_head(run: Run, analysis: Analysis, model: str) -> Section:
    """One model against the reference, with all that is computed of each task."""
    rows = [
        [
            task,
            run.tasks[task].data_state,
            f"{len(difference.seeds)}"
            + (f" †{difference.collapsed}" if difference.collapsed else ""),
            signed(difference.estimate),
            interval(difference.estimate),
            p_value(difference.estimate.p_value),
            p_value(difference.holm),
            p_value(difference.false_discovery),
            signed_number(difference.effect_size),
        ]
        for task, difference in analysis.differences[model].items()
    ]
    header = ["task", "data", "seeds", "difference", "95 % interval"]
    header += ["p", "p, Holm", "p, Benjamini-Hochberg", "d_z over seeds"]
    return Section(
        f"{model} against {analysis.reference}, task by task",
        [
            Text("n/a: no test can rest on one seed, or on a cell that collapsed (†)."),
            Table(header, rows, names=2),
            Picture(
                "difference",
                forest_plot(analysis, model),
                f"{model} minus {analysis.reference} with 95 % intervals; to the right of 0 "
                f"{model} is better. Filled: p < 0.05 after Holm.",
            ),
        ],
    )


def density(run: Run, analysis: Analysis, model: str | None) -> Section:
    """Scores and differences by G-gram density of the test sequence."""
    title = "Scores by G-gram density"
    if not any(analysis.strata.values()):
        return Section(title, [Text("No model with G-grams says how dense the test rows are.")])
    shared = {task: analysis.strata[task] for task in analysis.shared_tasks}
    rows = []
    for stratum in STRATA:
        by_model = {
            name: pooled(shared, stratum, name, difference=False) for name in analysis.models
        }
        first = next((estimate for estimate in by_model.values() if estimate is not None), None)
        numbers = ["0", "0"] if first is None else [f"{first[1]}", f"{first[2]:,}"]
        cells = [_estimate_cell(estimate) for estimate in by_model.values()]
        rows.append([stratum, *numbers, *cells])
    of = listed(dict.fromkeys(t.ggrams_of for t in run.tasks.values() if t.ggrams_of))
    blocks: list[Block] = [
        Text(
            f"Test sequences by the part of their tokens that G-grams of {of} cover: none; low and "
            "high, parted for each task at the median of those with any. Scores are means over "
            "tasks weighted by their test rows; strata of fewer than "
            f"{MIN_ROWS} rows or of one class have no score. The strata of a task have other "
            "sequences, so compare models within a stratum."
        ),
        Table(["density", "tasks", "test rows", *analysis.models], rows),
    ]
    if model is not None:
        header = ["model", "density", "tasks", "test rows", "difference", "95 % interval", "p"]
        differences = list(_stratum_rows(analysis))
        blocks.append(Text(f"Differences to {analysis.reference}:"))
        blocks.append(Table(header, differences, names=2))
        caption = (
            f"By G-gram density: scores of all models, and {model} minus {analysis.reference}; "
            "95 % intervals."
        )
        blocks.append(Picture("density", strata_plot(run, analysis, model), caption))
    return Section(title, blocks)


def _stratum_rows(analysis: Analysis) -> Iterator[list[str]]:
    for model in analysis.differences:
        for stratum in STRATA:
            estimate = pooled(analysis.strata, stratum, model, difference=True)
            if estimate is not None:
                mean, tasks, rows = estimate
                numbers = [f"{tasks}", f"{rows:,}", signed(mean), interval(mean)]
                yield [model, stratum, *numbers, p_value(mean.p_value)]


def _estimate_cell(estimate: tuple[Estimate, int, int] | None) -> str:
    return UNDEFINED if estimate is None else f"{points(estimate[0].value)} {interval(estimate[0])}"


def collapsed(analysis: Analysis) -> Section:
    """The collapsed cells, and what the means would be without them."""
    rows = [
        [
            task,
            model,
            f"{score.collapsed.sum()} of {len(score.by_seed)}",
            points(score.estimate.value),
            points(score.mean_without_collapsed),
        ]
        for task, by_model in analysis.scores.items()
        for model, score in by_model.items()
        if score.collapsed.any()
    ]
    header = ["task", "model", "collapsed seeds", "mean", "mean of the others"]
    words = (
        "A collapsed cell calls all test sequences the same, or gives no numbers. They stay in "
        "every mean, interval and test above; the last column tells the mean without them, which "
        "is chosen with test in sight and is no result."
        if rows
        else "No finished cell collapsed."
    )
    return Section(
        "Collapsed cells", [Text(words), *([Table(header, rows, names=2)] if rows else [])]
    )


def every_score(analysis: Analysis) -> Section:
    """Every mean with its interval and the scores of its seeds."""
    rows = [
        [
            task,
            model,
            points(score.estimate.value),
            points(score.sd),
            interval(score.estimate),
            ", ".join(map(points, score.by_seed)),
        ]
        for task, by_model in analysis.scores.items()
        for model, score in by_model.items()
    ]
    header = ["task", "model", "mean", "SD", "95 % interval", "each seed"]
    return Section("Every mean with its interval", [Table(header, rows, names=2)], folded=True)


def _groups(tasks: Sequence[str]) -> dict[str, list[str]]:
    return {name: list(members) for name, members in groupby(tasks, lambda task: TASKS[task].group)}


def _number_of(run: Run, tasks: Collection[str]) -> str:
    """How many tasks, and of how many the data are not the whole official splits."""
    others = sum(run.tasks[task].data_state != "complete" for task in tasks)
    return f"{len(tasks)}" + (f" ({others} not complete)" if others else "")
