"""Train, dev and test made of letters and labels, without a file."""

from __future__ import annotations

from dnazen.records import InputFile
from dnazen.sequences.labelled import Labelled, Row, Task
from dnazen.sequences.splits import Split, Splits

SINGLE, MULTI, NUMBERS = (
    "single_label_classification",
    "multi_label_classification",
    "regression",
)


def split_of(rows) -> Split:
    """Rows of (letters, label); for pairs, of ((letters, letters), label)."""
    examples = [
        Row(line, str(line - 1), _letters(letters), (str(label),), None)
        for line, (letters, label) in enumerate(rows, 2)
    ]
    source = InputFile("some.csv", 1, "0" * 64)
    return Split(Labelled(source, ("label",), examples), [label for _, label in rows])


def _letters(letters):
    parts = [letters] if isinstance(letters, str) else letters
    return tuple(part.encode() for part in parts)


def splits_of(train, dev, test, problem_type=SINGLE, names=("0", "1")) -> Splits:
    """Labels as ``Split`` has them: numbers of classes, or lists of numbers."""
    task = Task(problem_type, tuple(names))
    return Splits(task, split_of(train), split_of(dev), split_of(test), (), {})
