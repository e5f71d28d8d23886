"""What is said of a set of explanations in the end."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..sequences.alphabet import Counts, normalise
from .explanation import Explanation

GAP = 0.01
"""A gap of integrated gradients that is worth a note, in the output's unit and of its change."""


class ExplanationAccount:
    """Counts records, and how far their attributions can be trusted, as they come."""

    def __init__(self) -> None:
        self.counts = Counts()
        self.records = self.empty = self.cut = self.gaps = 0
        self.largest_gap = 0.0
        self.agreements: list[float] = []

    def add(self, letters: bytes, explanation: Explanation | None) -> None:
        """Count one record, as its file has it, and its explanation."""
        self.counts = self.counts.plus(normalise(letters)[1])
        self.records += 1
        if explanation is None:
            self.empty += 1
            return
        attribution = explanation.attribution
        change = abs(attribution.output - attribution.baseline)
        self.cut += explanation.cut
        self.gaps += abs(attribution.gap) > GAP * max(1.0, change)
        self.largest_gap = max(self.largest_gap, abs(attribution.gap))
        if not np.isnan(explanation.agreement):
            self.agreements.append(explanation.agreement)

    @property
    def numbers(self) -> dict[str, Any]:
        """By name, for the record of a run."""
        return {
            "records": self.records,
            "without_a_base": self.empty,
            "cut": self.cut,
            "largest_gap": self.largest_gap,
            "gaps_above_tolerance": self.gaps,
            "median_agreement": float(np.median(self.agreements)) if self.agreements else None,
            "normalisation": self.counts,
        }

    def sentence(self) -> str:
        """The same in words."""
        text = (
            f"{self.records:,} records, {self.empty:,} of them without A, C, G or T, {self.cut:,} "
            f"cut; attributions miss at most {self.largest_gap:.2g} of the change of an output"
        )
        if self.agreements:
            text += f"; their median correlation with occlusion is {np.median(self.agreements):.2f}"
        return text
