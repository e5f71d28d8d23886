"""How often pre-training is to draw the windows of a corpus: by their file, and by regions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64

from ..errors import ConfigError, InputError
from ..sequences.regions import read_bed_rows
from .settings import CorpusConfig


class WindowWeights:
    """The weights of windows, as ``CorpusConfig`` asks for them.

    Decided here: a window weighs the mean of its bases, each ``region_weight`` within a region and
    1 elsewhere, times the weight of its file.

    Raises
    ------
    InputError
        If the BED file cannot be read.
    ConfigError
        If a weight is of a file that is none of the genomes'.
    """

    def __init__(self, config: CorpusConfig, genomes: tuple[Path, ...]) -> None:
        known = {str(path) for path in genomes} | {path.name for path in genomes}
        if strange := [name for name in config.file_weights if name not in known]:
            raise ConfigError(
                f"file_weights: {strange[0]!r} is none of the genomes; expected a path or a file "
                f"name among {', '.join(sorted(path.name for path in genomes)[:5])}"
            )
        self.config = config
        self.met = 0
        """Windows that held bases of a region."""
        self._regions: dict[str, Int64[np.ndarray, "regions 2"]] = {}
        if config.regions is not None:
            rows: dict[str, list[tuple[int, int]]] = {}
            for row in read_bed_rows(config.regions):
                rows.setdefault(row.region.chrom, []).append((row.region.start, row.region.end))
            self._regions = {chrom: _merged(pairs) for chrom, pairs in rows.items()}

    def of_record(
        self, file: Path, record: str, starts: list[int], ends: list[int]
    ) -> Float32[np.ndarray, "windows"]:
        """The weights of windows of a record, which are sorted and do not overlap."""
        by_name = self.config.file_weights
        weight = by_name.get(str(file), by_name.get(file.name, 1.0))
        first, last = np.array(starts, dtype=np.int64), np.array(ends, dtype=np.int64)
        weights = np.full(len(first), weight, dtype=np.float32)
        if (regions := self._regions.get(record)) is not None and len(first):
            within = _bases_before(regions, last) - _bases_before(regions, first)
            self.met += int((within > 0).sum())
            share = within / (last - first)
            weights *= (1 + (self.config.region_weight - 1) * share).astype(np.float32)
        return weights

    def require_met(self) -> None:
        """Raise InputError if no region lies in any window, which is a matter of names."""
        if self.config.regions is not None and not self.met:
            raise InputError(
                "none of its regions lies in the genomes",
                path=self.config.regions,
                expected="the names of contigs as the genomes have them",
                fix=f"the file names {', '.join(list(self._regions)[:3]) or 'none'}",
            )


def _merged(pairs: list[tuple[int, int]]) -> Int64[np.ndarray, "regions 2"]:
    """Sorted regions without overlap that cover the same bases."""
    merged: list[list[int]] = []
    for start, end in sorted(pairs):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return np.array(merged, dtype=np.int64).reshape(-1, 2)


def _bases_before(
    regions: Int64[np.ndarray, "regions 2"], places: Int64[np.ndarray, "places"]
) -> Int64[np.ndarray, "places"]:
    """Bases of merged regions that stand before each place."""
    starts, ends = regions.T
    lengths = np.concatenate([[0], np.cumsum(ends - starts)])
    begun = np.searchsorted(starts, places, side="right")
    beyond = np.where(begun > 0, np.maximum(0, ends[begun - 1] - places), 0)
    before: Int64[np.ndarray, "places"] = lengths[begun] - beyond
    return before
