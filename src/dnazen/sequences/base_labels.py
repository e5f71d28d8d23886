"""A class for every base: how it stands in a cell of a table, and as numbers.

A cell holds a character for each base, or a name for each base joined by ``;``. ``.`` is a base
that is not labelled; nor is a letter that is no A, C, G or T, whatever the cell says of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Int16

from .alphabet import normalise

LABEL_SEPARATOR = ";"
"""Between the names in a cell."""
NOT_LABELLED = "."
NO_CLASS = -100
"""The number of a base that is not labelled; losses and scores leave it out, as PyTorch does."""
MOST_CLASSES = 256

Classes = Int16[np.ndarray, "letters"]
"""The number of each letter's class, or ``NO_CLASS``."""


def class_names(text: str, letters: int) -> list[str]:
    """The class of each letter by name.

    Raises
    ------
    ValueError
        If there are more or fewer than letters; the message says how many.

    Examples
    --------
    >>> class_names("01.", 3), class_names("exon;intron; .", 3)
    (['0', '1', '.'], ['exon', 'intron', '.'])
    """
    if LABEL_SEPARATOR not in text and len(text) == letters:
        return list(text)
    names = [name.strip() or NOT_LABELLED for name in text.split(LABEL_SEPARATOR)]
    if len(names) != letters:
        what = "names" if LABEL_SEPARATOR in text else "characters"
        number = len(names) if LABEL_SEPARATOR in text else len(text)
        raise ValueError(f"{number:,} {what} for {letters:,} bases")
    return names


def numbered(names: Sequence[str], number: Mapping[str, int], sequence: bytes) -> Classes:
    """The classes of a sequence's letters as numbers.

    Raises
    ------
    KeyError
        The name of a class that has no number.
    """
    numbers = {**number, NOT_LABELLED: NO_CLASS}
    distinct = sorted(set(names))
    place = {name: at for at, name in enumerate(distinct)}
    table = np.array([numbers[name] for name in distinct], dtype=np.int16)
    classes: Classes = table[np.fromiter(map(place.__getitem__, names), np.intp, len(names))]
    classes[~is_base(sequence)] = NO_CLASS
    return classes


def spelt_classes(classes: Classes, names: Sequence[str]) -> str:
    """The classes of letters as a cell; the inverse of ``class_names``.

    Examples
    --------
    >>> spelt_classes(np.array([0, 1, NO_CLASS], dtype=np.int16), ("0", "1"))
    '01.'
    >>> spelt_classes(np.array([0, 1], dtype=np.int16), ("exon", "intron"))
    'exon;intron'
    """
    shown = [*names, NOT_LABELLED]
    places = np.where(classes == NO_CLASS, len(names), classes).tolist()
    joint = "" if all(len(name) == 1 for name in names) else LABEL_SEPARATOR
    return joint.join(shown[place] for place in places)


def is_base(sequence: bytes) -> Bool[np.ndarray, "letters"]:
    """Which letters are A, C, G or T (or U), in either case."""
    clean, _ = normalise(sequence)
    known: Bool[np.ndarray, "letters"] = np.frombuffer(clean, dtype=np.uint8) != ord("N")
    return known
