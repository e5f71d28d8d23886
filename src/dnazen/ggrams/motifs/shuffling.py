"""Shuffled sequences: controls that keep a sequence's composition and nothing of its order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np


def shuffle_bases(sequence: str, rng: np.random.Generator) -> str:
    """A random order of the same letters, every order being equally likely."""
    return "".join(rng.permutation(list(sequence)))


def shuffle_dinucleotides(sequence: str, rng: np.random.Generator) -> str:
    """A random sequence with the same number of every pair of neighbours.

    It begins and ends as ``sequence`` does; every such sequence is equally likely. Source:
    Altschul and Erickson 1985, Mol. Biol. Evol. 2:526: each letter's last step is drawn until
    these steps lead from every letter to the final one, then the others are put in any order.

    Examples
    --------
    >>> shuffle_dinucleotides("AAAA", np.random.default_rng(0))
    'AAAA'
    """
    if len(sequence) < 3:
        return sequence
    steps: dict[str, list[str]] = {}
    for letter, following in pairwise(sequence):
        steps.setdefault(letter, []).append(following)
    final = sequence[-1]
    while True:
        last = {x: int(rng.integers(len(after))) for x, after in steps.items() if x != final}
        if all(_leads_to(final, x, {y: steps[y][i] for y, i in last.items()}) for x in last):
            break
    for letter, after in steps.items():
        kept = [after.pop(last[letter])] if letter in last else []
        steps[letter] = [*(after[i] for i in rng.permutation(len(after))), *kept]
    walk = [sequence[0]]
    taken = dict.fromkeys(steps, 0)
    for _ in range(len(sequence) - 1):
        letter = walk[-1]
        walk.append(steps[letter][taken[letter]])
        taken[letter] += 1
    return "".join(walk)


def _leads_to(final: str, letter: str, step: dict[str, str]) -> bool:
    for _ in range(len(step) + 1):
        if letter == final:
            return True
        letter = step[letter]
    return False
