"""Where a training run stands: its directory, its lock, and the newest checkpoint that is whole."""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ..errors import OutputError
from ..model.files import ADAPTER_WEIGHTS_FILE, CONFIG_FILE, WEIGHTS_FILE, WEIGHTS_FILES
from ..model.source import find_model
from ..model.weights import weights_file
from ..outputs import refuse_existing
from ..records import InputFile, hash_file, plain, read_json, write_json
from ..runs import claimed, require_same
from ..sequences.settings import LabelConfig, SplitConfig
from .settings import FinetuneConfig, PretrainConfig

CHECKPOINTS = "checkpoints"
"""Folder of a run's directory that holds what it needs to go on; gone when the run is done."""

_NOT_OF_THE_RESULT = ("eval_steps", "save_steps")


@contextmanager
def training_directory(
    directory: Path, *, resume: bool, sharded: bool = False
) -> Iterator[Path | None]:
    """Yield the checkpoint to go on from, or ``None`` for a fresh start; keep other runs out.

    The processes of a distributed run that do not lead it neither claim nor clean the directory.

    Parameters
    ----------
    sharded
        Weights are spread over processes, whose checkpoints are judged by their record alone.

    Raises
    ------
    OutputError
        If the directory holds a finished run, or any and ``resume`` is not set, or another run is
        at work in it.
    """
    leads = os.environ.get("RANK", "0") == "0"
    if leads and not resume:
        refuse_existing(directory)
    with claimed(directory) if leads else nullcontext():
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{directory}: cannot be made ({error.strerror})") from None
        yield _to_go_on_from(directory, sharded=sharded, clean=leads) if resume else None


def was_only_left_uncleaned(directory: Path) -> bool:
    """Whether a run was killed when all but its checkpoints was done; these are removed then."""
    checkpoints = directory / CHECKPOINTS
    if not checkpoints.is_dir() or not _has_model(directory):
        return False
    shutil.rmtree(checkpoints, ignore_errors=True)
    print(f"note: {directory}: this run was complete; its checkpoints are removed", file=sys.stderr)
    return True


def _has_model(directory: Path) -> bool:
    return any((directory / name).exists() for name in WEIGHTS_FILES)


def _to_go_on_from(directory: Path, *, sharded: bool, clean: bool) -> Path | None:
    """The newest whole checkpoint of a run; damaged ones after it are named and removed."""
    if _has_model(directory):
        raise OutputError(f"{directory}: this run is complete; name another output")
    damaged = []
    newest = None
    for checkpoint in _newest_first(directory / CHECKPOINTS):
        if is_whole(checkpoint, sharded=sharded):
            newest = checkpoint
            break
        damaged.append(checkpoint)
    if clean:
        for checkpoint in damaged:
            shutil.rmtree(checkpoint, ignore_errors=True)
        names = ", ".join(checkpoint.name for checkpoint in damaged)
        start = "starting anew" if newest is None else f"going on from {newest.name}"
        if damaged:
            print(f"note: {directory}: {names} is not whole: {start}", file=sys.stderr)
        elif newest is None:
            print(f"note: {directory} has no checkpoint yet: starting anew", file=sys.stderr)
    return newest


def _newest_first(folder: Path) -> list[Path]:
    numbered = [path for path in folder.glob("checkpoint-*") if path.name[11:].isdigit()]
    return sorted(numbered, key=lambda path: int(path.name[11:]), reverse=True)


def is_whole(checkpoint: Path, *, sharded: bool = False) -> bool:
    """Whether a checkpoint, and the best one that it speaks of, can be gone on from.

    Kills and crashes leave files that are missing, empty or cut short; those are seen.
    """
    try:
        state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    if not isinstance(state, dict) or not isinstance(state.get("global_step"), int):
        return False
    if sharded:
        return True
    best = state.get("best_model_checkpoint")
    if isinstance(best, str) and not _has_weights(checkpoint.with_name(Path(best).name)):
        return False
    pickles = [checkpoint / "optimizer.pt", checkpoint / "scheduler.pt"]
    pickles += checkpoint.glob("rng_state*.pth")
    return len(pickles) > 2 and all(map(_is_zip, pickles)) and _has_weights(checkpoint)


def _has_weights(checkpoint: Path) -> bool:
    for name in (WEIGHTS_FILE, ADAPTER_WEIGHTS_FILE):
        if (checkpoint / name).is_file():
            try:
                with safe_open(checkpoint / name, framework="pt") as weights:
                    return bool(weights.keys())
            except (OSError, SafetensorError):
                return False
    return False


def _is_zip(path: Path) -> bool:
    """Whether a file of torch's is whole: its list of contents is written last."""
    try:
        with zipfile.ZipFile(path) as archive:
            return bool(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def training_identity(config: PretrainConfig | FinetuneConfig, **inputs: Any) -> dict[str, Any]:
    """What the result of a training depends on, by the names of its settings.

    Left out are the machine and what is done on the way, such as how often a model is evaluated.

    Parameters
    ----------
    inputs
        Hashes of what is read, by name.
    """
    settings = plain(config)
    run = {name: settings["run"][name] for name in ("seed", "precision", "gradient_accumulation")}
    kept = {name: value for name, value in settings.items() if name not in _NOT_OF_THE_RESULT}
    return {**kept, "run": run, **inputs}


def starting_file(model: str | Path, config: FinetuneConfig) -> InputFile:
    """What a fine-tuning starts from: the weights of a model, or its shape alone.

    Raises
    ------
    InputError
        If it is not there.
    """
    directory = find_model(model).directory
    shape_alone = config.from_random_weights
    return hash_file(directory / CONFIG_FILE if shape_alone else weights_file(directory))


def finetuning_identity(
    config: FinetuneConfig,
    labels: LabelConfig,
    splitting: SplitConfig,
    data: Iterable[InputFile],
    start: InputFile,
    **more: Any,
) -> dict[str, Any]:
    """``training_identity`` of a fine-tuning, or of a search for its settings."""
    hashes = [file.sha256 for file in data]
    return training_identity(
        config, labels=labels, splits=splitting, data=hashes, model=start.sha256, **more
    )


def write_training_record(
    directory: Path, record: dict[str, Any], identity: dict[str, Any], checkpoint: Path | None
) -> None:
    """Write ``run.json`` before work starts.

    Raises
    ------
    ConfigError
        If the run to go on with was begun with other settings or inputs.
    """
    path = directory / "run.json"
    if checkpoint is not None:
        before = read_json(path, "the record of a training")
        require_same(directory, before.get("identity") or {}, identity)
    resumed_from = None if checkpoint is None else checkpoint.name
    write_json(path, {**record, "identity": identity, "resumed_from": resumed_from})
