"""How often 95 % intervals hold the truth: seeds by their variance, or resampled like the rows.

``python benchmarks/intervals.py`` simulates two models of equal skill, five seeds each: seeds
differ in skill, test rows in difficulty. Printed are the shares of worlds in which the interval of
the paired difference holds 0, for the package's intervals and for those of a bootstrap that
resamples seeds and rows both, and the mean widths.
"""

from __future__ import annotations

import argparse

import numpy as np

from dnazen.gue.statistics import estimate, resampled_scores, scores_of

SEEDS = 5


def predictions(rng, labels, ease, spread):
    """Predictions of seeds that differ by ``spread``; a right one has a chance of about 0.8."""
    skill = 1 + rng.normal(0, spread, (SEEDS, 1))
    right = skill + ease + rng.normal(0, 0.5, (SEEDS, len(labels))) > 0
    return np.where(right, labels, 1 - labels)


def intervals(rng, rows: int, spread: float, draws: int):
    """The two intervals of the difference of two equal models."""
    labels, ease = rng.integers(2, size=rows), rng.normal(size=rows)
    arms = {arm: predictions(rng, labels, ease, spread) for arm in "ab"}
    drawn = resampled_scores(labels, arms, 2, "mcc", draws=draws, rng_seed=int(rng.integers(2**32)))
    scores = {arm: scores_of(labels, arms[arm], 2, "mcc") for arm in "ab"}
    differences = drawn["a"] - drawn["b"]
    ours = estimate(scores["a"] - scores["b"], differences).interval
    picked = rng.integers(SEEDS, size=(draws, SEEDS))
    both = np.percentile(np.take_along_axis(differences, picked, 1).mean(1), [2.5, 97.5])
    return ours, both


def main() -> None:
    """Print a row for each spread of seeds and number of rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=400)
    parser.add_argument("--draws", type=int, default=500)
    settings = parser.parse_args()
    rng = np.random.default_rng(0)
    print("rows\tspread of seeds\theld\twidth\theld, seeds resampled\twidth, seeds resampled")
    for rows in (300, 1000):
        for spread in (0.0, 0.1, 0.3):
            found = np.array(
                [intervals(rng, rows, spread, settings.draws) for _ in range(settings.worlds)]
            )
            held = ((found[..., 0] <= 0) & (found[..., 1] >= 0)).mean(0)
            width = np.diff(found, axis=-1).mean((0, 2))
            print(
                rows,
                spread,
                *(f"{h:.3f}\t{w:.3f}" for h, w in zip(held, width, strict=True)),
                sep="\t",
            )


if __name__ == "__main__":
    main()
