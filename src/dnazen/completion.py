"""Shell completion: scripts that know every command and its flags."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .errors import ConfigError

SHELLS = ("bash", "zsh", "fish")


def print_completion(words: Iterable[str], commands: Mapping[str, str]) -> None:
    """Print the script for a shell.

    Raises
    ------
    ConfigError
        If no shell is named, or one that is not known.
    """
    shell = next(iter(words), "")
    if shell not in SHELLS:
        raise ConfigError(f"--print-completion {shell}: expected one of {', '.join(SHELLS)}")
    raise NotImplementedError
