"""The settings of a study: its arms, and what they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from ..errors import ConfigError
from ..ggrams.settings import MaskingConfig, MiningConfig
from ..gue.settings import BenchmarkConfig, Models, require_different
from ..model.settings import ShapeConfig
from ..overrides import from_words, named_tables, override, require_name, words_of
from ..training.settings import OptimizerConfig, PretrainConfig


@dataclass(frozen=True, kw_only=True)
class ArmConfig:
    """One way of pre-training, in a recipe a table such as ``[arms.e4bu]`` ``ggrams = "none"``.

    The tables in it, such as ``[arms.gated.model]`` ``fusion = "gated"``, change the settings that
    the study has for all arms.
    """

    ggrams: Literal["pmi", "frequency", "random", "shuffled", "none"] = "pmi"
    """How its G-grams are mined; none is E4BU alone."""
    hides: Literal["own", "study"] = "own"
    """Whose G-grams are hidden whole: its own, which E4BU alone has too without seeing them, or
    those that the study's mining has, whatever its own. With masking.ggram_share = 0 none are."""
    random_of: str | None = None
    """The arm whose shape it has, with random weights; it stands alone."""
    mining: MiningConfig
    """How its G-grams are mined."""
    model: ShapeConfig
    """Its shape."""
    masking: MaskingConfig
    """How positions are hidden from it."""
    optimizer: OptimizerConfig
    """How it is optimised."""

    def __post_init__(self) -> None:
        if self.mining.method != "pmi":
            raise ConfigError("mining.method is what 'ggrams' of an arm says; leave it out")


def resolve_arms(
    tables: Mapping[str, Mapping[str, Any]], shared: ArmConfig
) -> dict[str, ArmConfig]:
    """The arms of a study: what all share, with what the table of each changes.

    Raises
    ------
    ConfigError
        If there is none, a name or a setting cannot be, or a shape is of no arm.
    """
    for name in tables:
        require_name(name, "arms")
    arms = {name: override(shared, table, f"arms.{name}") for name, table in tables.items()}
    for name, arm in arms.items():
        shape = None if arm.random_of is None else arms.get(arm.random_of)
        if arm.random_of is not None and (shape is None or shape.random_of is not None):
            raise ConfigError(f"arms.{name}: {arm.random_of!r} is no arm that is pre-trained")
        if arm.random_of is not None and len(tables[name]) > 1:
            raise ConfigError(f"arms.{name}: random_of stands alone; its shape is the other arm's")
    if all(arm.random_of is not None for arm in arms.values()):
        raise ConfigError("arms: none is pre-trained; expected one or more, such as [arms.dnazen]")
    return arms


ArmTables = Annotated[
    dict[str, dict[str, Any]],
    from_words(lambda words: named_tables(words, "arms"), words_of, "NAME={JSON}"),
]
"""Tables of arms by name: ``[arms.NAME]`` in recipes; NAME or NAME={JSON} on the command line."""


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """Arms that are pre-trained on the same tokens, steps and seed, and compared on GUE."""

    arms: ArmTables
    """Arms, in a recipe tables such as [arms.e4bu] with ggrams (pmi, frequency, random, shuffled or
    none), hides (own, or those of the study's mining), random_of (that arm without its
    pre-training), and tables within (mining, model, masking, optimizer) of what differs from the
    study's. On the command line NAME, or NAME={JSON}."""
    models: Models = ()
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

    def __post_init__(self) -> None:
        names = [*self.resolved_arms, *(model.name for model in self.models)]
        require_different(self.models)
        if twice := sorted(set(self.arms) & {model.name for model in self.models}):
            raise ConfigError(f"models: {twice[0]!r} is the name of an arm; expected another")
        if self.reference is not None and self.reference not in names:
            raise ConfigError(f"reference: no arm {self.reference!r}; expected one of {names}")

    @property
    def shared_arm(self) -> ArmConfig:
        """The arm that differs in nothing."""
        return ArmConfig(
            mining=self.mining,
            model=self.pretrain.model,
            masking=self.pretrain.masking,
            optimizer=self.pretrain.optimizer,
        )

    @property
    def resolved_arms(self) -> dict[str, ArmConfig]:
        """The arms by name, with all their settings."""
        return resolve_arms(self.arms, self.shared_arm)
