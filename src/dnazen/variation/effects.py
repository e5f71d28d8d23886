"""How much a change of the sequence changes what a model says: the scores of variants.

A change is two windows of a genome that differ by an allele. One base can re-tokenise its
neighbours, so the two are compared where their tokenisations differ. docs/variants.md has the
formulas.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int64
from scipy.special import logsumexp
from tokenizers import Tokenizer

from ..errors import InputError
from ..inference.classifier import open_classifier
from ..inference.likelihood import HiddenToken, hidden_log_likelihoods, readings
from ..inference.settings import TOKENS_PER_BATCH
from ..model.batches import Collator
from ..model.directory import load_weights, open_directory, read_weights
from ..model.modeling import DnazenForMaskedLM, DnazenForSequenceClassification
from ..sequences.alphabet import reverse_complement
from ..tokens.encoding import Length, Tokens, encode_examples
from ..tokens.special import UNK
from ..tokens.tokenizer import token_lengths

Strands = Literal["forward", "average"]

_MOST_NAME = 100
"""Letters of a column's name, which files are named by too."""
_UNLIMITED = Length(np.iinfo(np.int64).max, "refuse")


class Change(NamedTuple):
    """A window of a genome with one allele and with another, between the same flanks."""

    ref: bytes
    """Nucleotide letters, at least one of them A, C, G or T."""
    alt: bytes


class Column(NamedTuple):
    """A score, and what it means in words for the header of a VCF."""

    name: str
    meaning: str


class Window(NamedTuple):
    """A tokenised stretch of letters."""

    tokens: Tokens
    ends: Int64[np.ndarray, "tokens"]
    """Letters up to the end of each token; a stretch of N is one [UNK]."""


class Compared(NamedTuple):
    """The tokens in which the two windows of a change are compared."""

    ref: range
    alt: range


LLR = Column(
    "llr",
    "Masked-LM log-likelihood ratio, alternative over reference, in nats, summed over the tokens "
    "that differ; negative where the model finds the alternative less likely",
)
DISTANCE = Column(
    "distance", "Euclidean distance between the mean final states of the tokens that differ"
)
LOST = Column("ggrams_lost", "Occurrences of G-grams in the reference that the alternative lacks")
GAINED = Column("ggrams_gained", "Occurrences of G-grams that only the alternative has")


@dataclass(frozen=True)
class Scorer:
    """A model with what it takes to score changes; ``open_scorer`` makes one.

    Parameters
    ----------
    model
        In evaluation mode. A masked LM gives a log-likelihood ratio, a fine-tuned model the
        changes of its outputs.
    strands
        ``average`` scores each change on both strands and gives the mean.
    tokens_per_batch
        Bound on sequences x longest of a batch; changes memory and speed, not the scores.
    """

    model: DnazenForMaskedLM | DnazenForSequenceClassification
    tokenizer: Tokenizer
    collator: Collator
    strands: Strands = "forward"
    tokens_per_batch: int = TOKENS_PER_BATCH

    @property
    def columns(self) -> tuple[Column, ...]:
        """The scores that this model gives."""
        return (
            *([LLR] if isinstance(self.model, DnazenForMaskedLM) else _delta_columns(self.model)),
            DISTANCE,
            *([LOST, GAINED] if self.collator.matcher is not None else []),
        )

    @property
    def targets(self) -> int:
        """How many of ``columns``, the first ones, are what the model says: ratio or outputs."""
        return len(_targets(self.model)) or 1

    def score(self, changes: Sequence[Change]) -> Float[np.ndarray, "changes columns"]:
        """The scores of changes, one column each of ``columns``; 0 where nothing is changed.

        What recurs, a window or a hidden token of one, is read once. Memory grows with the number
        of changes: give long lists in parts.
        """
        asked = list(changes)
        if self.strands == "average":
            asked += [
                Change(reverse_complement(ref), reverse_complement(alt)) for ref, alt in changes
            ]
        scores = np.zeros((len(asked), len(self.columns)))
        real = [number for number, change in enumerate(asked) if change.ref != change.alt]
        if real:
            scores[real] = self._score([asked[number] for number in real])
        strands = 2 if self.strands == "average" else 1
        per_strand = scores.reshape(strands, len(changes), len(self.columns))
        mean: Float[np.ndarray, "changes columns"] = per_strand.mean(axis=0)
        return mean

    def _score(self, changes: Sequence[Change]) -> Float[np.ndarray, "changes columns"]:
        letters = dict.fromkeys(itertools.chain.from_iterable(changes))
        windows = tokenised(self.tokenizer, letters)
        compared = [compare(change, *(windows[each] for each in change)) for change in changes]
        distances, deltas = self._distances_and_deltas(changes, windows, compared)
        if isinstance(self.model, DnazenForMaskedLM):
            deltas = self._log_ratios(self.model, changes, windows, compared)[:, None]
        return np.column_stack([deltas, distances, self._ggram_changes(changes, windows)])

    def _log_ratios(
        self,
        model: DnazenForMaskedLM,
        changes: Sequence[Change],
        windows: dict[bytes, Window],
        compared: Sequence[Compared],
    ) -> Float[np.ndarray, "changes"]:
        """Pseudo-log-likelihood of the alternative's tokens less that of the reference's."""
        hidden = {
            (letters, place): HiddenToken(windows[letters].tokens, place)
            for change, spans in zip(changes, compared, strict=True)
            for letters, span in zip(change, spans, strict=True)
            for place in span
            if windows[letters].tokens[place] != UNK
        }
        found = hidden_log_likelihoods(
            model, self.collator, list(hidden.values()), self.tokens_per_batch
        )
        likely: dict[tuple[bytes, int], float] = dict(zip(hidden, found.tolist(), strict=True))

        def total(letters: bytes, span: range) -> float:
            return sum(likely.get((letters, place), 0.0) for place in span)

        return np.array(
            [
                total(change.alt, spans.alt) - total(change.ref, spans.ref)
                for change, spans in zip(changes, compared, strict=True)
            ]
        )

    def _distances_and_deltas(
        self,
        changes: Sequence[Change],
        windows: dict[bytes, Window],
        compared: Sequence[Compared],
    ) -> tuple[Float[np.ndarray, "changes"], Float[np.ndarray, "changes targets"]]:
        """Between the states of the two windows, and of a classifier's outputs (else no target)."""
        asked: dict[bytes, list[tuple[int, int, range]]] = {letters: [] for letters in windows}
        for number, (change, spans) in enumerate(zip(changes, compared, strict=True)):
            for side, (letters, span) in enumerate(zip(change, spans, strict=True)):
                asked[letters].append((number, side, span))
        means = np.zeros((len(changes), 2, self.model.config.hidden_size))
        outputs = np.zeros((len(changes), 2, len(_targets(self.model))))
        texts = list(windows)
        tokens = [windows[letters].tokens for letters in texts]
        for text, reading in readings(self.model, self.collator, tokens, self.tokens_per_batch):
            for number, side, span in asked[texts[text]]:
                means[number, side] = reading.states[span.start : span.stop].mean(axis=0)
                if reading.logits is not None:
                    outputs[number, side] = _outputs(self.model, reading.logits)
        return (
            np.linalg.norm(means[:, 1] - means[:, 0], axis=1),
            outputs[:, 1] - outputs[:, 0],
        )

    def _ggram_changes(
        self, changes: Sequence[Change], windows: dict[bytes, Window]
    ) -> Float[np.ndarray, "changes columns"]:
        """Occurrences lost and gained, two columns; none where the model has no G-grams."""
        matcher = self.collator.matcher
        if matcher is None:
            return np.zeros((len(changes), 0))
        counts = {
            letters: Counter(
                matcher.occurrences(
                    window.tokens, np.array([0, len(window.tokens)])
                ).ggram_id.tolist()
            )
            for letters, window in windows.items()
        }
        return np.array(
            [
                [
                    (counts[change.ref] - counts[change.alt]).total(),
                    (counts[change.alt] - counts[change.ref]).total(),
                ]
                for change in changes
            ],
            dtype=np.float64,
        )


def open_scorer(
    directory: str | Path,
    *,
    device: str = "cpu",
    strands: Strands = "forward",
    tokens_per_batch: int = TOKENS_PER_BATCH,
) -> Scorer:
    """Open a pre-trained or fine-tuned model, ours or a released one, to score changes.

    Raises
    ------
    InputError
        If a part of it is missing or damaged, it has neither a masked-LM head nor a classifier,
        or it reads pairs of sequences.
    """
    directory = Path(directory)
    parts = open_directory(directory)
    weights = read_weights(directory, parts.config)
    if any(name.startswith("classifier.") for name in weights):
        classifier = open_classifier(directory, device)
        if classifier.sequences_per_example != 1:
            raise InputError(
                "a model of pairs", path=directory, expected="one that reads single sequences"
            )
        return Scorer(
            classifier.model, classifier.tokenizer, classifier.collator, strands, tokens_per_batch
        )
    if not any(name.startswith("head.") for name in weights):
        raise InputError(
            "a model without a head",
            path=directory,
            expected="a pre-trained model with its masked-LM head, or a fine-tuned one",
        )
    model = DnazenForMaskedLM(parts.config)
    load_weights(model, weights, directory, may_miss=())
    model.eval().to(device)
    return Scorer(model, parts.tokenizer, Collator.of(parts), strands, tokens_per_batch)


def tokenised(tokenizer: Tokenizer, letters: Iterable[bytes]) -> dict[bytes, Window]:
    """Each of some stretches of letters as tokens, with where they end."""
    texts = list(letters)
    encoded = encode_examples(tokenizer, [(text,) for text in texts], _UNLIMITED, [""] * len(texts))
    lengths = token_lengths(tokenizer)
    windows = {}
    for text, tokens in zip(texts, encoded.tokens, strict=True):
        bases = lengths[tokens]
        bases[tokens == UNK] = [len(run) for run in re.findall(rb"[^ACGTUacgtu]+", text)]
        windows[text] = Window(tokens, np.cumsum(bases))
    return windows


def compare(change: Change, ref: Window, alt: Window) -> Compared:
    """The tokens in which a change's windows are compared.

    Decided here: all but the leading and the trailing tokens that the two have in common and that
    lie clear of the change. So both sides cover the same bases of either flank, whatever the
    change did to the tokens, and no side is empty.

    Examples
    --------
    >>> window = lambda tokens, ends: Window(np.array(tokens), np.array(ends))
    >>> compare(
    ...     Change(b"ACGTACCC", b"ACGTTCCC"),
    ...     window([7, 8, 9, 7], [2, 4, 6, 8]),
    ...     window([7, 5, 6, 6, 9, 7], [2, 3, 4, 5, 6, 8]),
    ... )
    Compared(ref=range(1, 3), alt=range(1, 5))
    """
    before, after = clear_of(change)
    leading = _in_common(
        ref.tokens[: np.searchsorted(ref.ends, before, "right")],
        alt.tokens[: np.searchsorted(alt.ends, before, "right")],
    )
    ref_starts, alt_starts = _starts(ref), _starts(alt)
    trailing = _in_common(
        ref.tokens[np.searchsorted(ref_starts, len(change.ref) - after) :][::-1],
        alt.tokens[np.searchsorted(alt_starts, len(change.alt) - after) :][::-1],
    )
    return Compared(
        range(leading, len(ref.tokens) - trailing), range(leading, len(alt.tokens) - trailing)
    )


def clear_of(change: Change) -> tuple[int, int]:
    """Letters at the left and at the right end of both windows that a change does not touch.

    Decided here: an insertion or deletion touches the base before and the base after it, and all
    of a repeat that it could as well stand elsewhere in. So every spelling of a change, and its
    reverse complement, touches the same bases. The two windows must differ.

    Examples
    --------
    >>> clear_of(Change(b"GGACC", b"GGTCC"))  # a substitution
    (2, 2)
    >>> clear_of(Change(b"GGCC", b"GGTCC"))  # an insertion
    (1, 1)
    >>> clear_of(Change(b"GGTTTCC", b"GGTTCC"))  # a deletion of any of three T
    (1, 1)
    """
    size = min(len(change.ref), len(change.alt))
    left = _in_common(*(np.frombuffer(side[:size], dtype=np.uint8) for side in change))
    right = _in_common(
        *(np.frombuffer(side[len(side) - size :], dtype=np.uint8)[::-1] for side in change)
    )
    if left + right < size:
        return left, right
    return max(0, size - right - 1), max(0, size - left - 1)


def _in_common(one: np.ndarray, other: np.ndarray) -> int:
    """Leading items that two arrays have in common."""
    size = min(len(one), len(other))
    different = one[:size] != other[:size]
    return int(different.argmax()) if different.any() else size


def _starts(window: Window) -> Int64[np.ndarray, "tokens"]:
    return np.concatenate(([0], window.ends[:-1]))


def _targets(model: DnazenForMaskedLM | DnazenForSequenceClassification) -> list[int]:
    """The outputs whose changes are told: of two classes the second, else all; none of an LM."""
    if isinstance(model, DnazenForMaskedLM):
        return []
    labels = list(range(model.config.num_labels))
    return labels[1:] if len(labels) == 2 and _chooses_one(model) else labels


def _chooses_one(model: DnazenForSequenceClassification) -> bool:
    return (model.config.problem_type or "single_label_classification").startswith("single")


def _delta_columns(model: DnazenForSequenceClassification) -> list[Column]:
    numbers = _targets(model)
    labels = [str(model.config.id2label[number]) for number in numbers]
    labels = [
        label if label.isprintable() else f"label {number}"
        for label, number in zip(labels, numbers, strict=True)
    ]
    names = [re.sub(r"\W", "_", label, flags=re.ASCII) for label in labels]
    if len({name.upper() for name in names}) < len(names) or max(map(len, names)) > _MOST_NAME:
        names = list(map(str, numbers))
    what = "the prediction of" if model.config.problem_type == "regression" else "the log-odds of"
    return [
        Column(f"delta_{name}", f"Change of {what} {label} in the fine-tuned model")
        for name, label in zip(names, labels, strict=True)
    ]


def _outputs(
    model: DnazenForMaskedLM | DnazenForSequenceClassification, logits: Float[np.ndarray, "labels"]
) -> Float[np.ndarray, "targets"]:
    """Log-odds of each target, or its prediction in regression."""
    if isinstance(model, DnazenForSequenceClassification) and _chooses_one(model):
        return np.array([logits[n] - logsumexp(np.delete(logits, n)) for n in _targets(model)])
    return logits
