"""How scores of random variants depend on length, window and strand: what an unbiased one must not.

    python benchmarks/indels.py MODEL GENOME.fa [--contig NAME] [--count 30]

Random SNVs, insertions (of bases from elsewhere in the contig) and deletions, each read in windows
of four starts and on both strands. A table to stdout: for each kind, over its variants,

``llr, ln4, corrected``   mean of the ratio, of the ratio plus ln 4 for each base gained, and of the
                          ratio corrected by the window's own cost a base; mean of both strands
``sd``                    of ``corrected``
``windows``               SD over the starts of a variant's window, root mean square, over ``sd``
``strands``               correlation of ``corrected`` between the strands
"""

from __future__ import annotations

import argparse
import itertools
import math
from collections.abc import Iterator

import numpy as np

import dnazen
from dnazen.sequences.alphabet import BASES, reverse_complement
from dnazen.sequences.indexed import IndexedGenome
from dnazen.variation.alignment import AllelePair
from dnazen.variation.scores import score_pairs

WINDOW_BP = 512
LENGTHS = (1, 2, 5, 10, 20)
SHIFTS = (0, -96, -37, 59)
"""Of the windows' starts, in bases."""


def changes(
    genome: IndexedGenome, contigs: list[str], kind: str, length: int, rng: np.random.Generator
) -> Iterator[list[AllelePair]]:
    """Yield a random change without end: its windows, each on both strands."""
    sizes = np.array([genome.lengths[name] for name in contigs], dtype=float)
    while True:
        contig = contigs[rng.choice(len(contigs), p=sizes / sizes.sum())]
        place, source = rng.integers(WINDOW_BP, genome.lengths[contig] - WINDOW_BP, 2).tolist()
        lost = 0 if kind == "insertion" else length
        put = b"" if kind == "deletion" else genome.fetch(contig, source, source + length)
        if kind == "SNV" and put == genome.fetch(contig, place, place + 1):
            continue
        pairs = []
        for shift in SHIFTS:
            first = place - WINDOW_BP // 2 + shift
            ref = genome.fetch(contig, first, first + WINDOW_BP)
            offset = place - first
            pair = AllelePair(ref, ref[:offset] + put + ref[offset + lost :])
            pairs += [pair, AllelePair(*map(reverse_complement, pair))]
        if not (b"".join(itertools.chain(*pairs))).translate(None, BASES):
            yield pairs


def main() -> None:
    """Print a row for each kind and length."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("genome")
    parser.add_argument("--contig", help="by default all that are longer than 10,000 bases")
    parser.add_argument("--count", type=int, default=30, help="of each kind and length")
    arguments = parser.parse_args()
    model, rng = dnazen.load(arguments.model), np.random.default_rng(0)
    kinds = [("SNV", 1), *itertools.product(("insertion", "deletion"), LENGTHS)]
    columns = [model.score_names.index(name) for name in ("llr", "llr_corrected")]
    print("kind\tlength\tllr\tln4\tcorrected\tsd\twindows\tstrands")
    with IndexedGenome(arguments.genome) as genome:
        long = [name for name, length in genome.lengths.items() if length > 10_000]
        contigs = [arguments.contig] if arguments.contig else long
        for kind, length in kinds:
            drawn = itertools.islice(changes(genome, contigs, kind, length, rng), arguments.count)
            scores = np.array([score_pairs(model, pairs)[:, columns] for pairs in drawn])
            llr, corrected = np.moveaxis(scores.reshape(-1, len(SHIFTS), 2, 2), -1, 0)
            gained = {"insertion": length, "deletion": -length}.get(kind, 0)
            mean = corrected.mean(axis=2)
            of_windows = math.sqrt(mean.var(axis=1, ddof=1).mean()) / mean[:, 0].std(ddof=1)
            values = [
                llr[:, 0].mean(),
                llr[:, 0].mean() + gained * math.log(4),
                mean[:, 0].mean(),
                mean[:, 0].std(ddof=1),
                of_windows,
                np.corrcoef(corrected[:, 0, 0], corrected[:, 0, 1])[0, 1],
            ]
            print(kind, length, *(f"{value:.2f}" for value in values), sep="\t", flush=True)


if __name__ == "__main__":
    main()
