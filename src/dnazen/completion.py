"""Shell scripts that complete commands, flags and choices: ``dnazen --print-completion bash``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, get_args, get_origin

from tyro.conf import Positional

from .errors import ConfigError
from .overrides import takes_words
from .settings import choices, dataclass_in, fields_by_name

SHELLS = ("bash", "zsh", "fish")

Flags = dict[str, tuple[str, ...]]
"""Flags, each with its choices: none where it takes any value, or no value."""

_OF_ALL: Flags = {"--help": (), "--quiet": ()}
"""Flags that every command has."""


def completion_script(shell: str, commands: Mapping[str, type]) -> str:
    """The script for a shell that completes commands, their flags and their choices.

    Parameters
    ----------
    commands
        The settings class of each command.

    Raises
    ------
    ConfigError
        If the shell is none of ``SHELLS``.
    """
    if shell not in SHELLS:
        raise ConfigError(f"--print-completion must be one of {', '.join(SHELLS)}, got {shell!r}")
    flags = {name: _OF_ALL | flags_of(settings) for name, settings in commands.items()}
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](flags)


def flags_of(settings: type, prefix: str = "") -> Flags:
    """The flags of settings, with those of settings inside them under dotted names."""
    flags: Flags = {}
    for name, annotated in fields_by_name(settings).items():
        kind, *marks = get_args(annotated) if get_origin(annotated) is Annotated else [annotated]
        inner = None if takes_words(annotated) else dataclass_in(kind)
        name = name.replace("_", "-")
        if inner is not None:
            flags |= flags_of(inner, f"{prefix}{name}.")
        elif kind is bool:
            flags |= {f"--{prefix}{name}": (), f"--{prefix}no-{name}": ()}
        elif Positional not in marks:
            aliases = [alias for mark in marks for alias in getattr(mark, "aliases", None) or ()]
            flags |= dict.fromkeys([f"--{prefix}{name}", *aliases], choices(kind))
    return flags


_BASH = """\
# bash: eval "$(dnazen --print-completion bash)"
_dnazen() {
  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"
  local command="${COMP_WORDS[1]}" words=""
  COMPREPLY=()
  if [ "$COMP_CWORD" = 1 ]; then
    COMPREPLY=($(compgen -W "@FIRST@ --help --version" -- "$word"))
    return
  fi
  case "$command" in
@GROUPS@
  esac
  if [ "$COMP_CWORD" = 2 ] && [ -n "$words" ]; then
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    return
  fi
  [ -z "$words" ] || command="$command ${COMP_WORDS[2]}"
  words=""
  case "$command $before" in
@CHOICES@
  esac
  if [ -z "$words" ] && [ "${word#-}" != "$word" ]; then
    case "$command" in
@FLAGS@
    esac
  fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _dnazen dnazen"""

_ZSH = """\
# zsh: eval "$(dnazen --print-completion zsh)"
autoload -U +X bashcompinit && bashcompinit
"""

_FISH = """\
# fish: dnazen --print-completion fish | source
function __dnazen_is
  string match -q -- "dnazen$argv" (string join -- " " (commandline -opc))
end
complete -c dnazen -n '__dnazen_is ""' -f -a '@FIRST@'
"""


def _bash(commands: Mapping[str, Flags]) -> str:
    groups = [
        f'    {group}) words="{" ".join(second)}" ;;' for group, second in _groups(commands).items()
    ]
    choices_of = [
        f'    "{name} {flag}") words="{" ".join(values)}" ;;'
        for name, flags in commands.items()
        for flag, values in flags.items()
        if values
    ]
    flags_of_command = [
        f'      "{name}") words="{" ".join(flags)}" ;;' for name, flags in commands.items()
    ]
    return (
        _BASH.replace("@FIRST@", _first_words(commands))
        .replace("@GROUPS@", "\n".join(groups))
        .replace("@CHOICES@", "\n".join(choices_of))
        .replace("@FLAGS@", "\n".join(flags_of_command))
    )


def _zsh(commands: Mapping[str, Flags]) -> str:
    return _ZSH + _bash(commands).partition("\n")[2]


def _fish(commands: Mapping[str, Flags]) -> str:
    lines = [_FISH.replace("@FIRST@", _first_words(commands)).rstrip()]
    for group, second in _groups(commands).items():
        lines.append(f"complete -c dnazen -n '__dnazen_is \" {group}\"' -f -a '{' '.join(second)}'")
    for name, flags in commands.items():
        for flag, values in flags.items():
            option = f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}"
            chosen = f" -x -a '{' '.join(values)}'" if values else ""
            lines.append(f"complete -c dnazen -n '__dnazen_is \" {name}*\"' {option}{chosen}")
    return "\n".join(lines)


def _first_words(commands: Mapping[str, Flags]) -> str:
    return " ".join(dict.fromkeys(name.split()[0] for name in commands))


def _groups(commands: Mapping[str, Flags]) -> dict[str, list[str]]:
    """The second words of commands that have two, by the first."""
    groups: dict[str, list[str]] = {}
    for name in commands:
        first, _, second = name.partition(" ")
        if second:
            groups.setdefault(first, []).append(second)
    return groups
