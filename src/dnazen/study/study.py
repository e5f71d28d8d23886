"""A study: arms that differ in what their tables name, pre-trained alike and compared on GUE.

Every arm sees the same tokens, steps and seed. One directory holds all of it, and what is finished
there is kept: a study that is started again goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ..errors import DnazenError, OutputError
from ..ggrams.mining.mine import mine_corpus
from ..ggrams.settings import MiningConfig
from ..ggrams.vocabulary import GGramVocabulary
from ..gue.grid import present_tasks, run_grid
from ..gue.report import write_report
from ..gue.settings import BenchmarkConfig, BenchmarkModel, ReportConfig, plan_tasks
from ..model.files import WEIGHTS_FILE
from ..records import hash_file, plain, read_json, run_record, write_json
from ..runs import growing_directory, require_same
from ..tokens.corpus import RECORD_FILE, Corpus
from ..training.pretrain import PretrainInputs, pretrain, pretraining_identity
from ..training.settings import PretrainConfig
from ..workers.processes import Job, run_jobs
from .heldout import heldout_section
from .settings import ArmConfig, StudyConfig

STUDY_FILE = "study.json"
GUE, REPORT, MODELS = "gue", "report", "models"


class ArmRun(NamedTuple):
    """The pre-training of an arm."""

    inputs: PretrainInputs
    config: PretrainConfig
    output: Path


def run_study(config: StudyConfig, output: Path) -> list[Path]:
    """Mine, pre-train, run GUE and report; what is finished in ``output`` is kept.

    Returns
    -------
    The logs of the cells of GUE that failed.

    Raises
    ------
    ConfigError
        If parts there were made with other settings.
    InputError
        If the corpus or the tasks cannot be read.
    OutputError
        If the output holds something else, or another run is at work there.
    DnazenError
        If a pre-training failed.
    """
    corpus = Corpus.open(config.corpus)
    present_tasks(config.gue)
    record = run_record("study", config, [hash_file(corpus.directory / RECORD_FILE)])
    with growing_directory(output, STUDY_FILE, "dnazen study"):
        if not (output / STUDY_FILE).is_file():
            write_json(output / STUDY_FILE, record)
        runs = [
            pretraining_of(config, output, name, arm)
            for name, arm in config.resolved_arms.items()
            if arm.random_of is None
        ]
        waiting = [run for run in runs if not is_pretrained(run)]
        write_json(output / STUDY_FILE, record)  # nothing there was made with other settings
        if failed := pretrain_arms(waiting, config.gue.jobs):
            raise DnazenError(
                f"pre-training failed, the first as {failed[0]} tells; run the same command again "
                "to go on from its last checkpoint"
            )
        failed = run_grid(config.gue, benchmark_models(config, output), output / GUE)
        report_study(config, output)
    return failed


def report_study(config: StudyConfig, output: Path) -> None:
    """Write the report of what is finished."""
    arms = config.resolved_arms
    trained = {
        name: output / MODELS / name
        for name, arm in arms.items()
        if arm.random_of is None and (output / MODELS / name / WEIGHTS_FILE).is_file()
    }
    kinds = {model.name: model.kind for model in benchmark_models(config, output)}
    alone = (name for name, arm in arms.items() if arm.ggrams == "none")
    write_report(
        output / GUE,
        output / REPORT,
        ReportConfig(reference=config.reference or next(alone, next(iter(arms)))),
        title="A study of arms on GUE",
        first=[heldout_section(trained, kinds)] if trained else [],
    )


def pretraining_of(config: StudyConfig, output: Path, name: str, arm: ArmConfig) -> ArmRun:
    """The pre-training of an arm, its G-grams mined unless they are.

    Raises
    ------
    ConfigError
        If G-grams there were mined with other settings.
    """
    seen = None if arm.ggrams == "none" else _vocabulary(config, output, arm)
    hidden = None
    if arm.masking.ggram_share > 0 and arm.hides == "study":
        hidden = _vocabulary(config, output, config.shared_arm)
    elif arm.masking.ggram_share > 0 and seen is None:
        hidden = _vocabulary(config, output, arm)
    return ArmRun(
        PretrainInputs(config.corpus, ggrams=seen, mask_ggrams=hidden),
        replace(config.pretrain, model=arm.model, masking=arm.masking, optimizer=arm.optimizer),
        output / MODELS / name,
    )


def pretrain_arm(run: ArmRun) -> None:
    """Pre-train an arm, going on with what is there."""
    pretrain(run.inputs, run.config, run.output, resume=True)


def pretrain_arms(runs: Sequence[ArmRun], jobs: int) -> list[Path]:
    """Pre-train, several at a time or, with 0, in this process; the logs of those that failed."""
    if jobs == 0:
        for run in runs:
            print(f"pre-training {run.output.name}", file=sys.stderr)
            pretrain_arm(run)
        return []
    work = [Job(pretrain_arm, run, _log_of(run), run.config.run.device == "auto") for run in runs]
    failed = []
    if runs:
        names = ", ".join(run.output.name for run in runs)
        logs = runs[0].output.with_name("NAME.log")
        print(f"pre-training {names}, {jobs} at a time; {logs} tells of each", file=sys.stderr)
    for job, problem in run_jobs(work, jobs):
        outcome = "pre-trained" if problem is None else f"FAILED: {problem}"
        print(f"{job.argument.output}: {outcome}", file=sys.stderr)
        if problem is not None:
            failed.append(job.log)
    return failed


def benchmark_models(config: StudyConfig, output: Path) -> list[BenchmarkModel]:
    """The arms, and what else is compared with them, as models of a benchmark."""
    arms = [
        BenchmarkModel(name, "dnazen", str(output / MODELS / name))
        if arm.random_of is None
        else BenchmarkModel(name, "random", str(output / MODELS / arm.random_of))
        for name, arm in config.resolved_arms.items()
    ]
    return [*arms, *config.models]


def is_pretrained(run: ArmRun) -> bool:
    """Whether an arm is pre-trained.

    Raises
    ------
    ConfigError
        If it was, or began to be, pre-trained with other settings.
    """
    path = run.output / "run.json"
    if path.is_file():
        record = read_json(path, "the record of a pre-training", {"identity": dict})
        require_same(run.output, record["identity"], pretraining_identity(run.inputs, run.config))
    return (run.output / WEIGHTS_FILE).is_file()


def _vocabulary(config: StudyConfig, output: Path, arm: ArmConfig) -> Path:
    """The G-grams of an arm, mined unless they are there; E4BU alone has those of PMI."""
    method = "pmi" if arm.ggrams == "none" else arm.ggrams
    mining = replace(arm.mining, method=method)
    if method == "frequency" and mining.max_size is None:  # as many as PMI gives
        by_pmi = GGramVocabulary.load(_vocabulary(config, output, replace(arm, ggrams="pmi")))
        mining = replace(mining, max_size=len(by_pmi))
    size = "" if mining.max_size is None else f"-{mining.max_size}"
    path = output / "ggrams" / f"{method}-{mining.min_pmi:g}bit{size}.tsv"
    held_out = _held_out_files(config.gue)
    if path.is_file():
        _require_same_mining(path, mining, held_out)
    else:
        print(f"mining {path}", file=sys.stderr)
        mined = mine_corpus(Corpus.open(config.corpus), mining, exclude=held_out)
        mined.vocabulary.save(path)
    return path


def _require_same_mining(path: Path, mining: MiningConfig, held_out: Sequence[Path]) -> None:
    provenance = GGramVocabulary.load(path).provenance
    require_same(path, provenance.get("mining") or {}, plain(mining), ignore_new=True)
    excluded = {file["path"] for file in provenance["excluded"].get("files", ())}
    if mined := [file for file in held_out if str(file) not in excluded]:
        raise OutputError(
            f"{path}: was mined without leaving out {mined[0]}; keep to the tasks it was mined "
            "for, or name another output"
        )


def _held_out_files(grid: BenchmarkConfig) -> tuple[Path, ...]:
    """Dev and test of the tasks, where they are there."""
    files = (
        grid.data / planned.task.name / f"{split}.csv"
        for planned in plan_tasks(grid)
        for split in ("dev", "test")
    )
    return tuple(file for file in files if file.is_file())


def _log_of(run: ArmRun) -> Path:
    return run.output.with_name(f"{run.output.name}.log")
