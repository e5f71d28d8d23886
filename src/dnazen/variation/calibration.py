"""Percentiles of scores among those of simulated variants of the same class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from ..errors import ConfigError
from ..inference.opened import OpenedModel
from ..records import COUNT, hash_file, read_json, write_json
from ..runs import require_same
from ..sequences.indexed import IndexedGenome
from .rows import CHUNK_ROWS, ScoredAllele, score_rows
from .scores import Score, ranking_scores, scores_of, strands_of
from .settings import CalibrationConfig, ScoringConfig
from .simulation import VariantClass, class_of, draw_variants
from .vcf import VcfRow

_FORMAT = 1
"""Raised whenever scores or draws change, so that no file of before is taken for one of now."""
_KEPT = "what 'dnazen variants --calibrate' keeps"
_IDENTITY = {"identity": {"format": COUNT, "calibrate": COUNT, "calibration_seed": COUNT}}
_FIX = "give it the same, or name another --calibration"

SimulatedScores = Float[np.ndarray, "simulated"]


def scoring_identity(
    model: OpenedModel, genome: IndexedGenome, config: ScoringConfig
) -> dict[str, Any]:
    """What the scores of a variant depend on."""
    return {
        "genome": hash_file(genome.path).sha256,
        **{f"model {path.name}": hash_file(path).sha256 for path in files_of(model)},
        "window_bp": config.window_bp,
        "strands": strands_of(model, config),
    }


def files_of(model: OpenedModel) -> list[Path]:
    """The files that a model was read from."""
    return sorted(path for path in model.origin.directory.iterdir() if path.is_file())


def percentile_scores(model: OpenedModel) -> tuple[Score, ...]:
    """The percentiles that go with ``ranking_scores``, in the same order."""
    scores = ranking_scores(model)
    names = [f"percentile_{score.name.removeprefix('delta_')}" for score in scores]
    return tuple(
        Score(
            name if len(scores) > 1 else "percentile",
            f"Percentile, 0 to 100, of {score.name} among simulated variants of the same class",
        )
        for name, score in zip(names, scores, strict=True)
    )


class Calibration:
    """The scores of simulated variants, made class by class when first needed.

    Parameters
    ----------
    file
        Where they are kept; read if it is there. ``None``: in memory alone.

    Raises
    ------
    ConfigError
        If the file is not there and no number of variants is given, or it was made with another
        number, seed, model, genome, window or strands.
    InputError
        If the file is damaged.
    OutputError
        If it cannot be written.
    """

    def __init__(
        self,
        model: OpenedModel,
        genome: IndexedGenome,
        scoring: ScoringConfig,
        config: CalibrationConfig,
        file: str | Path | None,
    ) -> None:
        file = None if file is None else Path(file)
        self._model, self._genome, self._scoring, self._file = model, genome, scoring, file
        self.scores = percentile_scores(model)
        names = [score.name for score in scores_of(model)]
        self._width = len(names)
        self._columns = {score.name: names.index(score.name) for score in ranking_scores(model)}
        record = None
        if file is not None and file.is_file():
            record = read_json(file, _KEPT, _IDENTITY)
        self.variants = config.calibrate or (record["identity"]["calibrate"] if record else 0)
        if not self.variants:
            raise ConfigError(f"--calibration {file}: no such file; add --calibrate N to make it")
        self._identity = {
            "format": _FORMAT,
            "calibrate": self.variants,
            "calibration_seed": config.calibration_seed,
            **scoring_identity(model, genome, scoring),
        }
        self._classes: dict[str, dict[str, list[float]]] = {}
        if record and file is not None:
            require_same(file, record["identity"], self._identity, fix=_FIX)
            scores_by_class = {str: {name: [float] for name in self._columns}}
            self._classes = read_json(file, _KEPT, {"classes": scores_by_class})["classes"]
        else:
            self._keep()  # where it cannot be written is said before the work

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the percentiles depend on."""
        return self._identity

    def with_percentiles(
        self, rows: Sequence[VcfRow], scored: Sequence[Sequence[ScoredAllele]]
    ) -> list[list[ScoredAllele]]:
        """The alleles of some rows with their percentiles behind their scores.

        NaN where an allele has no class (``class_of``).
        """
        return [
            [
                allele
                if allele.scores is None
                else ScoredAllele("", np.append(allele.scores, self._percentiles(row, alt, allele)))
                for alt, allele in zip(row.alts, alleles, strict=True)
            ]
            for row, alleles in zip(rows, scored, strict=True)
        ]

    def _percentiles(self, row: VcfRow, alt: str, allele: ScoredAllele) -> list[float]:
        wanted = class_of(self._genome, row, alt)
        if wanted is None or allele.scores is None:
            return [np.nan] * len(self._columns)
        simulated = self._scores_of_class(wanted)
        return [
            percentile(allele.scores[column], np.array(simulated[name]))
            for name, column in self._columns.items()
        ]

    def _scores_of_class(self, wanted: VariantClass) -> Mapping[str, Sequence[float]]:
        """By the name of the score, in ascending order."""
        if wanted.name not in self._classes:
            values = self._simulated(wanted)
            self._classes[wanted.name] = {
                name: np.sort(values[:, number]).tolist()
                for number, name in enumerate(self._columns)
            }
            self._keep()
        return self._classes[wanted.name]

    def _keep(self) -> None:
        if self._file is not None:
            write_json(self._file, {"identity": self._identity, "classes": self._classes})

    def _simulated(self, wanted: VariantClass) -> Float[np.ndarray, "variants scores"]:
        longest = self._scoring.window_bp // 2
        seed = self._identity["calibration_seed"]
        rows = draw_variants(self._genome, wanted, self.variants, longest, seed)
        values: list[Float[np.ndarray, "scores"]] = []
        with tqdm(desc=wanted.name, total=len(rows), leave=False, disable=None) as progress:
            for first in range(0, len(rows), CHUNK_ROWS):
                chunk = rows[first : first + CHUNK_ROWS]
                scored = score_rows(self._model, self._genome, chunk, self._scoring)
                values += [allele.scores for [allele] in scored if allele.scores is not None]
                progress.update(len(chunk))
        return np.array(values).reshape(len(values), self._width)[:, list(self._columns.values())]


def percentile(score: float, simulated: SimulatedScores) -> float:
    """The per cent of simulated scores below a score, those equal to it as one half each.

    NaN among none.

    Examples
    --------
    >>> percentile(2.0, np.array([1.0, 2.0, 2.0, 3.0]))
    50.0
    """
    if not len(simulated):
        return np.nan
    return float(50 * ((simulated < score).mean() + (simulated <= score).mean()))
