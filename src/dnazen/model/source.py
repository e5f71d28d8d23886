"""Where a model is: a directory, one that ships with the package, or one of the Hugging Face hub.

Every command and ``dnazen.load`` find a model by its name here. Of the hub only the files of the
model come, by ``huggingface_hub`` into its cache; code in a repository is not fetched. The
variables of that library hold: ``HF_HOME`` is where the cache stands, ``HF_HUB_OFFLINE`` keeps the
network out, ``HF_ENDPOINT`` names another hub, ``HF_TOKEN`` opens what is not public.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import HfApi, constants, errors, hf_hub_download

from ..errors import InputError
from ..records import InputFile, hash_file, plain
from .files import CONFIG_FILE, files_read, weight_files

SHIPPED = Path(__file__).parents[1] / "models"
"""The models that ship with the package, a folder each."""

_HUB_NAME = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>\S+))?", re.ASCII
)


class ModelSource(NamedTuple):
    """A model by its name, and the directory to read it from."""

    name: str
    """As it was given."""
    directory: Path
    """It need not be there: what opens it says what is missing."""
    repository: str = ""
    """``ORG/NAME`` on the hub; empty for a directory."""
    commit: str = ""
    """Of the repository, in full."""

    @property
    def pinned(self) -> str:
        """A name of just this state of the model, on any machine."""
        return f"{self.repository}@{self.commit}" if self.repository else self.name

    @property
    def files(self) -> list[InputFile]:
        """What is read of the model, with sizes and hashes."""
        if not self.directory.is_dir():
            return []
        names = files_read(path.name for path in self.directory.iterdir() if path.is_file())
        return [hash_file(self.directory / name) for name in names]

    @property
    def record(self) -> dict[str, Any]:
        """What identifies the model in the record of a run."""
        files = [plain(file) for file in self.files]
        return {"name": self.name, "commit": self.commit or None, "files": files}


def find_model(name: str | Path) -> ModelSource:
    """The model of a name: a directory, else one that ships with the package, else of the hub.

    A repository is looked up once in a process, so that all of a run reads the same commit.

    Parameters
    ----------
    name
        A directory, the name of a shipped model, or ``ORG/NAME`` or ``ORG/NAME@REVISION`` of the
        hub, the revision being a branch, a tag or a commit.

    Raises
    ------
    InputError
        If the hub has no such model, does not give it, or gives damaged files. A name that can be
        none of the hub is taken for a directory, which may not be there.
    """
    directory = Path(name)
    hub_name = _HUB_NAME.fullmatch(str(name))
    if directory.exists():
        return ModelSource(str(name), directory)
    if (folder := shipped(str(name))) is not None:
        return ModelSource(str(name), folder)
    if hub_name is None:
        return ModelSource(str(name), directory)
    return _of_hub(str(name), hub_name["repository"], hub_name["revision"])


def shipped(name: str) -> Path | None:
    """The folder of a model that ships with the package; ``None`` where none has the name."""
    folder = SHIPPED / name
    return folder if re.fullmatch(r"[\w-]+", name) and folder.is_dir() else None


def shipped_names() -> list[str]:
    """The models that ship with the package."""
    return sorted(folder.name for folder in SHIPPED.glob("*/"))


@cache
def _of_hub(name: str, repository: str, revision: str | None) -> ModelSource:
    """A model in the cache of the hub, put there if it is not."""
    with _failures_explained(name):
        listing = _listing(repository, revision)
        cached_only = listing is None
        config = hf_hub_download(
            repository, CONFIG_FILE, revision=revision, local_files_only=cached_only
        )
        folder, commit = Path(config).parent, Path(config).parent.name
        if not _is_whole(folder):
            if listing is None:
                raise errors.LocalEntryNotFoundError(f"{name}: not whole")
            names = files_read(listing)
            if not weight_files(names):
                raise InputError(
                    "the repository holds no weights", path=name, expected="those of a model"
                )
            print(f"note: {name}: commit {commit} of {constants.ENDPOINT}", file=sys.stderr)
            for file in names:
                hf_hub_download(repository, file, revision=commit)
    source = ModelSource(name, folder, repository, commit)
    for path in sorted(folder.iterdir()):
        _require_undamaged(path, name)
    return source


def _listing(repository: str, revision: str | None) -> list[str] | None:
    """The files of a revision; ``None`` where the hub does not answer, or is not to be asked.

    Asked first, for it answers or fails at once; downloads are tried again for half a minute.
    """
    try:
        info = HfApi().model_info(repository, revision=revision)
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError):
        raise
    except (errors.HTTPError, ConnectionError):  # type: ignore[attr-defined]
        return None
    return [file.rfilename for file in info.siblings or []]


def _is_whole(folder: Path) -> bool:
    """Whether all that is read of a commit is in the cache: the weights, which come last, and no
    link whose file was removed."""
    present = list(folder.iterdir())
    return bool(weight_files(path.name for path in present)) and all(p.exists() for p in present)


def _require_undamaged(file: Path, name: str) -> None:
    """Raise InputError if a file of the cache is not what it is called by: its hash.

    That is SHA-256 of large files, and git's name of small ones. Files of a hub that calls them
    otherwise, or of a cache without links, are let pass.
    """
    blob = file.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", blob.name):
        digest = hash_file(blob).sha256
    elif re.fullmatch(r"[0-9a-f]{40}", blob.name):
        content = blob.read_bytes()
        digest = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    else:
        return
    if digest != blob.name:
        raise InputError(
            f"{file.name} of {name} is damaged, its hash does not fit",
            path=blob,
            fix="remove this file, and it is downloaded again",
        )


@contextmanager
def _failures_explained(name: str) -> Iterator[None]:
    """Turn what the hub and the network do not give into the user's error."""
    hub = constants.ENDPOINT
    try:
        yield
    except errors.GatedRepoError:
        problem = f"{hub} shows this model only to those it has let in"
        fix = "ask for access on the model's page there, then set HF_TOKEN or run 'hf auth login'"
    except errors.RepositoryNotFoundError:
        problem = f"no such directory, and no such model on {hub}"
        fix = "check the name; for a private one set HF_TOKEN or run 'hf auth login'"
    except errors.RevisionNotFoundError:
        problem = f"{hub} has this model, but no such revision of it"
        fix = "name a branch, a tag or a commit behind the @, or leave both out"
    except errors.LocalEntryNotFoundError:
        offline = constants.is_offline_mode()
        reason = "HF_HUB_OFFLINE is set" if offline else f"{hub} gives no answer"
        problem = f"no such directory, not whole in the cache of the hub, and {reason}"
        fix = "download it once with network; after that HF_HUB_OFFLINE=1 reads the cache"
    except errors.EntryNotFoundError:
        problem, fix = f"the repository holds no {CONFIG_FILE}", "name the repository of a model"
    except errors.HfHubHTTPError as error:
        problem, fix = f"{hub} answers {error.response.status_code}", "try again later"
    except errors.HFValidationError:
        problem, fix = "no such directory, and no name of the hub's", "give a directory or ORG/NAME"
    except (errors.HTTPError, ConnectionError) as error:  # type: ignore[attr-defined]
        problem = f"the download broke off ({type(error).__name__})"
        fix = "start again, and it goes on from there"
    except OSError as error:
        if error.errno is not None:  # of this machine, such as a full disk
            raise
        problem, fix = "a file came with another size than the hub names", "start again"
    else:
        return
    raise InputError(problem, path=name, fix=fix)
