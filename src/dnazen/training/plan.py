"""The simple regression beside a model: on k-mers of sequences, or on neighbouring bases."""

from __future__ import annotations

from ..sequences.splits import Splits
from .kmers import KmerPlan, plan_kmers
from .neighbours import NeighbourPlan, plan_neighbours
from .settings import FinetuneConfig

Plan = KmerPlan | NeighbourPlan


def plan_baseline(splits: Splits, config: FinetuneConfig) -> Plan:
    """Fit the regression that goes with the labels, before a model is trained on them.

    Raises
    ------
    ConfigError
        If the settings do not go with these labels.
    """
    of_bases = splits.task.problem_type == "base_classification"
    return (plan_neighbours if of_bases else plan_kmers)(splits, config)
