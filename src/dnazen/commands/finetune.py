"""``dnazen finetune``."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from ..errors import ConfigError
from ..sequences.settings import LabelConfig, SplitConfig
from ..settings import FLAT
from ..training.settings import FinetuneConfig

if TYPE_CHECKING:
    from ..sequences.splits import Splits
    from ..training.finetune import Fitted
    from ..training.learner import Learner


@dataclass(frozen=True, kw_only=True)
class FinetuneCommand:
    """Fine-tune a model on labelled sequences and score it on the test split.

    Writes OUTPUT/: the model of the best epoch with its tokenizer, G-grams and label names (all
    that 'dnazen predict' needs; with --lora.rank an adapter, which names its base), report.html
    (how good it is, beside a k-mer regression), test_metrics.json, test_predictions.tsv, run.json
    (settings and inputs), history.json, README.md (a model card) and logs/ (curves, for
    TensorBoard). A class for every base is --labels.problem-type base_classification, of a column
    or of features (--labels.bed); its test_segments.bed has the called segments.
    """

    data: Path
    """Directory with train.csv, dev.csv and test.csv, or one table that is split. Columns:
    'sequence', or 'sequence_1' and 'sequence_2' for pairs, and 'label'."""
    model: Path
    """Model to start from: a DNAZEN directory, ours or released, or a DNABERT-2 directory; or
    ORG/NAME[@REVISION] of the Hugging Face hub."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write."""
    resume: bool = False
    """Go on with an interrupted run in OUTPUT."""
    baselines: bool = False
    """Train a small CNN on bases too, and show it beside the model and the k-mers."""
    finetuning: Annotated[FinetuneConfig, FLAT] = field(default_factory=FinetuneConfig)
    labels: LabelConfig = field(default_factory=LabelConfig)
    """What the labels are."""
    splits: SplitConfig = field(default_factory=SplitConfig)
    """What is train, dev and test."""

    def __post_init__(self) -> None:
        self.finetuning.metric(self.labels.problem_type)
        if self.labels.bed_strand == "same" and self.finetuning.strands == "average":
            raise ConfigError(
                "labels.bed_strand same with strands average: the other strand has other classes; "
                "leave one of them out"
            )
        if self.baselines and self.labels.problem_type == "base_classification":
            raise ConfigError("baselines: the small CNN reads whole sequences; leave it out")


def run(settings: FinetuneCommand) -> None:
    """Fine-tune, write model, scores and predictions, and say how it came out."""
    import os
    import shutil

    import numpy as np

    from ..errors import InputError
    from ..outputs import refuse_existing
    from ..sequences.splits import load_splits
    from ..training.checkpoints import CHECKPOINTS, training_directory, was_only_left_uncleaned
    from ..training.cnn import fit_cnn
    from ..training.finetune import fit
    from ..training.learner import dnazen_learner
    from ..training.plan import plan_baseline
    from ..training.probe import probe_learner
    from ..training.results import Results
    from ..training.trainer import require_launch

    config = settings.finetuning
    require_launch(config.run)
    if not settings.resume:
        refuse_existing(settings.output)
    elif was_only_left_uncleaned(settings.output):
        return
    splits = load_splits(settings.data, settings.labels, settings.splits)
    if os.environ.get("RANK", "0") == "0":
        print("fitting the simple regression that the model is compared with", file=sys.stderr)
    plan = plan_baseline(splits, config)
    learner_of = dnazen_learner if config.train == "all" else probe_learner
    learner = learner_of(settings.model, splits, config, plan.strands)
    with training_directory(
        settings.output, resume=settings.resume, sharded=config.run.shards_weights
    ) as checkpoint:
        _begin(settings, splits, learner, checkpoint)
        try:
            fitted = fit(
                learner,
                splits,
                config,
                settings.output,
                kmers=plan.blended,
                checkpoint=checkpoint,
            )
        except KeyboardInterrupt as stop:
            stop.add_note(f"'dnazen finetune ... -o {settings.output} --resume' goes on with it")
            raise
        if fitted is None:  # a process of a distributed run that does not lead it
            return
        cnn = None
        if settings.baselines:
            print("the small CNN beside it:", file=sys.stderr)
            cnn = fit_cnn(splits, config, settings.output / CHECKPOINTS)
        _write_results(settings.output, Results(splits, config, fitted, plan, cnn))
        if not np.isfinite(fitted.logits).all():
            raise InputError(
                "the training diverged: the model's numbers are not finite, and it is not saved",
                path=settings.output,
                fix="look at the range of the labels, or lower --optimizer.learning-rate",
            )
        # The weights come last: a directory that has them is whole.
        assert learner.save is not None
        learner.save(settings.output, fitted.model)
        shutil.rmtree(settings.output / CHECKPOINTS, ignore_errors=True)
    _summarise(settings.output, fitted)


def _summarise(output: Path, fitted: Fitted) -> None:
    """Say on stderr what was made, and what comes next; the verdict was given before."""
    import shlex

    best = "" if fitted.best_epoch is None else f" of epoch {fitted.best_epoch:g}"
    print(
        f"{output}: the model{best}; {output / 'report.html'} shows how good it is\n"
        f"next: dnazen predict {shlex.quote(str(output))} SEQUENCES -o predictions.tsv",
        file=sys.stderr,
    )


def _begin(
    settings: FinetuneCommand, splits: Splits, learner: Learner, checkpoint: Path | None
) -> None:
    """Write the record of the run, and say what will be done."""
    import os
    from collections import Counter

    import torch

    from ..model.source import find_model
    from ..records import run_record
    from ..training.checkpoints import finetuning_identity, starting_file, write_training_record
    from ..training.finetune import announce
    from ..training.rows import label_rows
    from ..training.trainer import use_bf16

    if os.environ.get("RANK", "0") != "0":
        return
    config, task = settings.finetuning, splits.task
    start = starting_file(settings.model, config)
    rows = {name: len(part.labels) for name, part in splits.parts.items()}
    classes: dict[str, dict[str, int]] = {}
    if task.problem_type in ("single_label_classification", "base_classification"):
        for name, part in splits.parts.items():
            counts = Counter(label_rows(part.labels).tolist())
            classes[name] = {task.label_names[label]: counts[label] for label in sorted(counts)}
    encoded = learner.encoded._asdict()
    record = run_record(
        "finetune",
        settings,
        [*splits.inputs, start],
        model=find_model(settings.model).record,
        label_names=task.label_names,
        rows=rows,
        classes=classes,
        duplicates=splits.duplicates,
        cut={name: examples.cut for name, examples in encoded.items()},
        normalisation={name: examples.counts for name, examples in encoded.items()},
        bf16=use_bf16(config.run),
        torch=torch.__version__,
    )
    identity = finetuning_identity(config, settings.labels, settings.splits, splits.inputs, start)
    write_training_record(settings.output, record, identity, checkpoint)
    announce(learner, splits, config)


def _write_results(output: Path, results: Results) -> None:
    """Write scores and predictions, print the scores, and say how the model stands."""
    from ..inference.base_files import write_base_predictions
    from ..inference.labels import PredictionTable
    from ..outputs import new_file
    from ..records import read_json, write_json
    from ..tables import new_table
    from ..training.card import write_card
    from ..training.page import finetune_page

    splits, fitted = results.splits, results.fitted
    if results.of_bases:
        both = results.plan.strands == "average"
        write_base_predictions(output, splits, fitted.by_example, both_strands=both)
    else:
        with new_table(output / "test_predictions.tsv") as write:
            table = PredictionTable(write, splits.task, with_labels=True)
            rows = zip(splits.test.table.rows, splits.test.labels, fitted.logits, strict=True)
            for row, label, logits in rows:
                table.write(row.name, logits, label)
    write_json(output / "test_metrics.json", results.numbers())
    write_json(output / "history.json", {"log": fitted.history})
    record = read_json(output / "run.json", "the record of a run")
    write_card(output, fitted.model.config, record, results.numbers(), fitted.history)
    page = finetune_page(results, record)
    with new_file(output / "report.html") as partial:
        partial.write_text(page, encoding="utf-8")
    for line in results.table():
        print("\t".join(line))
    print(results.verdict(), file=sys.stderr)
