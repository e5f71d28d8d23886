"""Models of other makers, as ``transformers`` opens them; code that a repository brings never runs.

A configuration that names such code is refused before ``transformers`` reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from transformers import AutoConfig, AutoTokenizer, PretrainedConfig, PreTrainedTokenizerBase
from transformers.utils import logging as hf_logging

from ..errors import InputError
from ..records import read_json
from .files import CONFIG_FILE

_CODE = ("auto_map", "custom_pipelines", "trust_remote_code")
_ATTENTION = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")

FROM_DIRECTORY: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
"""How every part of such a model is opened: without code of others, and without network."""


class ForeignDirectory(NamedTuple):
    """The parts of another maker's model beside its weights."""

    config: PretrainedConfig
    tokenizer: PreTrainedTokenizerBase


def open_foreign(directory: Path) -> ForeignDirectory:
    """Read the configuration and the tokenizer of a directory.

    Raises
    ------
    InputError
        If they name code of others, or ``transformers`` cannot open them.
    """
    for name in (CONFIG_FILE, "tokenizer_config.json"):
        if (directory / name).is_file():
            _refuse_code(directory / name)
    with by_transformers(directory):
        tokenizer = AutoTokenizer.from_pretrained(directory, **FROM_DIRECTORY)
        config = AutoConfig.from_pretrained(directory, **FROM_DIRECTORY)
    return ForeignDirectory(config, tokenizer)


@contextmanager
def by_transformers(directory: Path) -> Iterator[None]:
    """Let ``transformers`` open something of a directory: quietly, its failures the user's error.

    Raises
    ------
    InputError
        If it cannot.
    """
    verbosity = hf_logging.get_verbosity()
    hf_logging.set_verbosity(hf_logging.CRITICAL)
    hf_logging.disable_progress_bar()
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # what is damaged leads it to raise almost anything
        problem = next(iter(str(error).strip().splitlines()), type(error).__name__)
        if "ignore_mismatched_sizes" in problem:  # a setting that the user does not have
            problem = f"weights of other shapes than {CONFIG_FILE} tells"
        raise InputError(
            f"cannot be opened by transformers ({problem})",
            path=directory,
            expected="a directory or Hugging Face name of a model without code of its own",
        ) from None
    finally:
        hf_logging.set_verbosity(verbosity)


def _refuse_code(path: Path) -> None:
    for key in _names_of_code(read_json(path, "a model's configuration")):
        raise InputError(
            f"'{key}' names code of others, which is never run",
            path=path,
            expected="a model that transformers has itself",
            fix="if it has, take the entry out of a copy",
        )


def _names_of_code(settings: Mapping[str, Any]) -> Iterator[str]:
    """Keys under which a configuration, or one within it, names code that is not transformers'."""
    for key, value in settings.items():
        # The names of transformers' own attentions are plain; those of others are repositories.
        attention = key in _ATTENTION and not (value is None or str(value).isidentifier())
        if (key in _CODE and value) or attention:
            yield key
        if isinstance(value, Mapping):
            yield from _names_of_code(value)
