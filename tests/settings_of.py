"""A command's settings from the values of its flags, wherever they stand in it."""

from __future__ import annotations

import dataclasses
from typing import get_args, get_type_hints

from dnazen.settings import FLAT


def settings_of(kind, **values):
    """``kind`` with values by the names of flags; those of ``FLAT`` fields go where they belong."""
    hints = get_type_hints(kind, include_extras=True)
    made = {}
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if FLAT in get_args(hint)[1:]:
            inner = get_args(hint)[0]
            names = {f.name for f in dataclasses.fields(inner)}
            mine = {name: values.pop(name) for name in names & values.keys()}
            made[field.name] = settings_of(inner, **mine)
        elif field.name in values:
            made[field.name] = values.pop(field.name)
    assert not values, f"no settings of {kind.__name__}: {sorted(values)}"
    return kind(**made)
