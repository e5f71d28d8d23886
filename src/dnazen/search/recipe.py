"""The best settings as a recipe that ``dnazen finetune`` takes."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..sequences.settings import LabelConfig, SplitConfig
from ..settings import recipe_of
from ..training.settings import FinetuneConfig
from .space import Values, nested, with_values


def finetune_recipe(
    config: FinetuneConfig, values: Values, labels: LabelConfig, splits: SplitConfig
) -> str:
    """What a search was given beside its space, and the values of one of its trials, as a recipe.

    Of what was given, settings at their defaults are left out.
    """
    given = _changes(with_values(config, values), FinetuneConfig())
    given |= {"labels": _changes(labels, LabelConfig()), "splits": _changes(splits, SplitConfig())}
    tried = nested({name: _spelt(value) for name, value in values.items()})
    tables = _laid_over(given, tried)
    return recipe_of({name: value for name, value in tables.items() if value != {}}) + "\n"


def _changes(settings: Any, default: Any) -> dict[str, Any]:
    """The settings that differ from the default."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value, usual = getattr(settings, field.name), getattr(default, field.name)
        if value != usual:
            inner = dataclasses.is_dataclass(value)
            changes[field.name] = _changes(value, usual) if inner else _spelt(value)
    return changes


def _spelt(value: Any) -> Any:
    """A value for a recipe: what is None is written as flags write it."""
    return "None" if value is None else value


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables with the values of others put in."""
    return below | {
        name: _laid_over(below.get(name, {}), value) if isinstance(value, dict) else value
        for name, value in above.items()
    }
