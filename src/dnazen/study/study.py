"""``dnazen study``: arms that differ in one thing, pre-trained alike and compared on GUE.

Every arm sees the same tokens, steps and seed. One directory holds all of it, and what is finished
there is kept: a study that is started again goes on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import tyro

from ..errors import ConfigError, DnazenError, OutputError
from ..ggrams.mining.mine import mine_corpus
from ..ggrams.settings import Method, MiningConfig
from ..ggrams.vocabulary import GGramVocabulary
from ..gue.grid import run_grid
from ..gue.models import BenchmarkModel, parse_models
from ..gue.report import write_report
from ..gue.settings import BenchmarkConfig, named_settings, plan_tasks
from ..model.settings import Fusion, GGramEmbedding
from ..model.weights import WEIGHTS_FILE
from ..records import hash_file, plain, read_json, run_record, write_json
from ..runs import growing_directory
from ..tokens.corpus import RECORD_FILE, Corpus
from ..training.pretrain import PretrainInputs, pretrain, pretraining_identity
from ..training.settings import PretrainConfig
from ..workers.processes import Job, run_jobs
from .heldout import heldout_section

STUDY_FILE = "study.json"
GUE, REPORT = "gue", "report"


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Pre-train arms on the same tokens, steps and seed, run GUE on them, and report.

    Writes OUTPUT/: ggrams/, models/, gue/ (as 'dnazen gue run' does) and report/. Started again it
    goes on with what is missing; arms, seeds and models may be added. (Another task too, if its dev
    and test were left out of the mining.)
    """

    arms: tuple[str, ...]
    """Arms as 'NAME: key=value ...'. ggrams=pmi, frequency, random, shuffled or none; min_pmi and
    max_size of the mining; masking=whole (its own G-grams), pmi (those of the study's mining,
    whatever its own) or plain; matches=corrupted or unhidden; fusion, ggram_embedding, max_ggrams,
    ggram_layers (0 adds the embeddings once, at the input) and ggram_learning_rate of the model;
    random_of=ARM is that arm without its pre-training. What is not said is as under pretrain and
    mining."""
    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Directory to write, or to go on with."""
    models: tuple[str, ...] = ()
    """More models to run GUE on, as in 'dnazen gue run', such as 'kmer: kmer'."""
    corpus: Path
    """Directory that 'dnazen corpus build' wrote; all arms are pre-trained on it."""
    reference: str | None = None
    """The arm that the others are compared with in the report; by default the first without
    G-grams."""
    mining: MiningConfig = field(default_factory=MiningConfig)
    """How G-grams are mined. Corpus sequences that share 50 bases with dev or test of a task are
    left out."""
    pretrain: PretrainConfig = field(
        default_factory=lambda: PretrainConfig(heldout_ggram_share=0.0)
    )
    """How all arms are pre-trained. They are scored on the same held-out masks while
    heldout_ggram_share is 0."""
    gue: BenchmarkConfig
    """The tasks, the seeds of fine-tuning, and their settings; jobs is also how many arms are
    pre-trained at a time."""
    report_only: bool = False
    """Run nothing, and report what is finished; a study may be at work there."""

    def __post_init__(self) -> None:
        arms = parse_study_arms(self.arms)
        names = [*arms, *(model.name for model in _models(self))]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"models: {twice[0]!r} is the name of an arm; expected another")
        if self.reference is not None and self.reference not in names:
            raise ConfigError(f"reference: no arm {self.reference!r}; expected one of {names}")


class ArmRun(NamedTuple):
    """The pre-training of an arm."""

    inputs: PretrainInputs
    config: PretrainConfig
    output: Path


class StudyArm(NamedTuple):
    """What an arm is; ``None`` leaves a setting as the study has it."""

    ggrams: Method | Literal["none"] = "pmi"
    min_pmi: float | None = None
    max_size: int | None = None
    masking: Literal["whole", "pmi", "plain"] = "whole"
    """Whether G-grams are hidden whole, and whose; E4BU alone hides those of its ``min_pmi`` and
    ``max_size`` that are mined by PMI."""
    matches: Literal["corrupted", "unhidden"] | None = None
    fusion: Fusion | None = None
    ggram_embedding: GGramEmbedding | None = None
    max_ggrams: int | None = None
    ggram_layers: int | None = None
    ggram_learning_rate: float | None = None
    random_of: str | None = None
    """The arm whose shape it has, with random weights."""


_KINDS: dict[str, Callable[[str], Any]] = {
    "min_pmi": float,
    "max_size": int,
    "max_ggrams": int,
    "ggram_layers": int,
    "ggram_learning_rate": float,
}
"""What a setting's text stands for, where it is no text."""

_CHOICES = {
    "ggrams": ("pmi", "frequency", "random", "shuffled", "none"),
    "masking": ("whole", "pmi", "plain"),
    "matches": ("corrupted", "unhidden"),
    "fusion": ("sum", "mean", "gated"),
    "ggram_embedding": ("own", "composed", "shared"),
}


def parse_study_arms(texts: Sequence[str]) -> dict[str, StudyArm]:
    """Read arms by name.

    Raises
    ------
    ConfigError
        If there is none, one is of another form, two have a name, or a shape is of no arm.

    Examples
    --------
    >>> parse_study_arms(["a: min_pmi=2", "twin: ggrams=none"])["twin"].ggrams
    'none'
    """
    arms: dict[str, StudyArm] = {}
    for text in texts:
        name, settings = named_settings(text)
        if name in arms:
            raise ConfigError(f"arms: two are called {name!r}; expected a name of its own for each")
        arms[name] = StudyArm(**{key: _value(text, key, v) for key, v in settings.items()})
    for name, arm in arms.items():
        shape = None if arm.random_of is None else arms.get(arm.random_of)
        if arm.random_of is not None and (shape is None or shape.random_of is not None):
            raise ConfigError(f"arms: {name}: {arm.random_of!r} is no arm that is pre-trained")
        if arm.random_of is not None and arm != StudyArm(random_of=arm.random_of):
            raise ConfigError(f"arms: {name}: random_of stands alone; its shape is the other arm's")
    if all(arm.random_of is not None for arm in arms.values()):
        raise ConfigError("arms: none is pre-trained; expected one or more as 'NAME: key=value'")
    return arms


def study(config: StudyConfig) -> None:
    """Run ``dnazen study``.

    Raises
    ------
    ConfigError
        If arms or settings contradict each other.
    InputError
        If the corpus or the tasks cannot be read.
    OutputError
        If the output holds something else, or parts that were made with other settings.
    DnazenError
        When all is done, if parts failed.
    """
    arms = parse_study_arms(config.arms)
    if config.report_only:
        _report(config, arms)
        return
    corpus = Corpus.open(config.corpus)
    with growing_directory(config.output, STUDY_FILE, "dnazen study"):
        inputs = [hash_file(corpus.directory / RECORD_FILE)]
        write_json(config.output / STUDY_FILE, run_record("study", config, inputs))
        runs = {
            name: pretrain_config(
                config, name, arm, _vocabulary(config, arm), hidden_ggrams(config, arm)
            )
            for name, arm in arms.items()
            if arm.random_of is None
        }
        waiting = [run for run in runs.values() if not _is_pretrained(run)]
        if failed := pretrain_arms(waiting, config.gue.jobs):
            raise DnazenError(
                f"pre-training failed, the first as {failed[0]} tells; run the same command again "
                "to go on from its last checkpoint"
            )
        failed = run_grid(config.gue, gue_arms(config, arms), config.output / GUE)
        _report(config, arms)
    if failed:
        raise DnazenError(
            f"{len(failed)} cells of GUE failed, the first as {failed[0]} tells; run the same "
            "command again to try them again"
        )


def _report(config: StudyConfig, arms: dict[str, StudyArm]) -> None:
    """Write the report of what is finished, and print where it is."""
    models = {
        name: config.output / "models" / name
        for name, arm in arms.items()
        if arm.random_of is None and (config.output / "models" / name / WEIGHTS_FILE).is_file()
    }
    alone = (name for name, arm in arms.items() if arm.ggrams == "none")
    kinds = {arm.name: arm.kind for arm in gue_arms(config, arms)}
    write_report(
        config.output / GUE,
        config.output / REPORT,
        reference=config.reference or next(alone, next(iter(arms))),
        title="A study of arms on GUE",
        first=[heldout_section(models, kinds)] if models else [],
    )
    print(f"report\t{config.output / REPORT / 'report.html'}")


def pretrain_config(
    config: StudyConfig, name: str, arm: StudyArm, vocabulary: Path, hidden: Path | None
) -> ArmRun:
    """The pre-training of an arm.

    ``hidden`` are the G-grams to hide whole, if not those that it sees.
    """
    shared = config.pretrain
    model = {
        "fusion": arm.fusion,
        "ggram_embedding": arm.ggram_embedding,
        "max_ggrams": arm.max_ggrams,
        "num_hidden_ggram_layers": arm.ggram_layers,
    }
    rate = {"ggram_learning_rate": arm.ggram_learning_rate}
    share = 0.0 if arm.masking == "plain" else None
    masking = {"ggram_share": share, "matches": arm.matches}
    return ArmRun(
        PretrainInputs(
            config.corpus,
            ggrams=None if arm.ggrams == "none" else vocabulary,
            mask_ggrams=hidden,
        ),
        replace(
            shared,
            model=replace(shared.model, **_said(model)),
            optimizer=replace(shared.optimizer, **_said(rate)),
            masking=replace(shared.masking, **_said(masking)),
        ),
        config.output / "models" / name,
    )


def pretrain_arm(run: ArmRun) -> None:
    """Pre-train an arm, going on with what is there."""
    pretrain(run.inputs, run.config, run.output, resume=True)


def pretrain_arms(runs: Sequence[ArmRun], jobs: int) -> list[Path]:
    """Pre-train, several at a time or, with 0, in this process; the logs of those that failed."""
    if jobs == 0:
        for run in runs:
            pretrain_arm(run)
        return []
    work = [Job(pretrain_arm, run, _log_of(run), run.config.run.device == "auto") for run in runs]
    failed = []
    for job, problem in run_jobs(work, jobs):
        told = "pre-trained" if problem is None else f"FAILED: {problem}"
        print(f"{job.argument.output}: {told}", file=sys.stderr)
        if problem is not None:
            failed.append(job.log)
    return failed


def gue_arms(config: StudyConfig, arms: dict[str, StudyArm]) -> list[BenchmarkModel]:
    """The arms as models of a benchmark."""
    models = config.output / "models"
    ours = [
        BenchmarkModel(name, "dnazen", str(models / name))
        if arm.random_of is None
        else BenchmarkModel(name, "random", str(models / arm.random_of))
        for name, arm in arms.items()
    ]
    return ours + _models(config)


def _models(config: StudyConfig) -> list[BenchmarkModel]:
    return parse_models(config.models) if config.models else []


def _vocabulary(config: StudyConfig, arm: StudyArm) -> Path:
    """The G-grams of an arm, mined unless they are there; E4BU alone has those of PMI."""
    method: Method = "pmi" if arm.ggrams == "none" else arm.ggrams
    asked = _said({"min_pmi": arm.min_pmi, "max_size": arm.max_size})
    mining = replace(config.mining, method=method, **asked)
    if method == "frequency" and mining.max_size is None:  # as many as PMI gives
        by_pmi = GGramVocabulary.load(_vocabulary(config, arm._replace(ggrams="pmi")))
        mining = replace(mining, max_size=len(by_pmi))
    size = "" if mining.max_size is None else f"-{mining.max_size}"
    path = config.output / "ggrams" / f"{method}-{mining.min_pmi:g}bit{size}.tsv"
    held_out = _held_out_files(config.gue)
    if path.is_file():
        provenance = GGramVocabulary.load(path).provenance
        _require_same(path, provenance.get("mining"), plain(mining))
        left_out = {each["path"] for each in provenance["excluded"].get("files", ())}
        if mined := [file for file in held_out if str(file) not in left_out]:
            raise OutputError(
                f"{path}: was mined without leaving out {mined[0]}; keep to the tasks it was mined "
                "for, or name another output"
            )
        return path
    vocabulary, _ = mine_corpus(Corpus.open(config.corpus), mining, exclude=held_out)
    vocabulary.save(path)
    return path


def hidden_ggrams(config: StudyConfig, arm: StudyArm) -> Path | None:
    """The G-grams that an arm hides whole without seeing them."""
    if arm.masking == "pmi":
        return _vocabulary(config, StudyArm())
    alone = arm.ggrams == "none" and arm.masking == "whole"
    return _vocabulary(config, arm) if alone else None


def _held_out_files(grid: BenchmarkConfig) -> tuple[Path, ...]:
    """Dev and test of the tasks, where they are there."""
    files = (
        grid.data / plan.task.name / f"{split}.csv"
        for plan in plan_tasks(grid)
        for split in ("dev", "test")
    )
    return tuple(file for file in files if file.is_file())


def _is_pretrained(run: ArmRun) -> bool:
    if not (run.output / WEIGHTS_FILE).is_file():
        return False
    before = read_json(run.output / "run.json", "the record of a pre-training")
    now = plain(pretraining_identity(run.inputs, run.config))
    _require_same(run.output, before.get("identity"), now)
    return True


def _require_same(path: Path, before: Any, now: Any) -> None:
    if before != now:
        keys = [key for key in now if not isinstance(before, dict) or before.get(key) != now[key]]
        raise OutputError(
            f"{path}: was made with another {keys[0] if keys else 'setting'}; give the study the "
            "same, name another output, or remove it"
        )


def _log_of(run: ArmRun) -> Path:
    return run.output.with_name(f"{run.output.name}.log")


def _said(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}


def _value(text: str, key: str, value: str) -> Any:
    """A setting of an arm from its text."""
    if key not in StudyArm._fields:
        raise ConfigError(
            f"arms: {text!r}: unknown setting {key!r}; expected {', '.join(StudyArm._fields)}"
        )
    choices = _CHOICES.get(key)
    if choices is not None and value not in choices:
        raise ConfigError(f"arms: {text!r}: {key} must be one of {', '.join(choices)}")
    try:
        return _KINDS.get(key, str)(value)
    except ValueError:
        raise ConfigError(f"arms: {text!r}: {key} cannot be {value!r}") from None
