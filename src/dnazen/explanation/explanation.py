"""What a fine-tuned model's output owes to each base, token and G-gram of a sequence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64

from ..errors import ConfigError, InputError
from ..inference.classifier import Classifier, open_classifier, predict_logits
from ..inference.labels import predicted, probabilities
from ..sequences.alphabet import normalise
from ..sequences.inputs import InputRecord, records_of
from ..sequences.labelled import Task
from ..tokens.encoding import Length, Tokens, encode_examples
from ..tokens.settings import TooLong, require_max_tokens
from ..tokens.special import UNK
from ..tokens.tokenizer import token_lengths
from ..tokens.windows import token_starts
from .attribution import (
    Attribution,
    Reading,
    Removal,
    Subject,
    ggram_removal,
    integrated_gradients,
    occlusion,
    on_bases,
    on_tokens,
    output_of,
    read,
)


@dataclass(frozen=True, kw_only=True)
class ExplanationConfig:
    """Which output is explained, and how closely."""

    target: str | None = None
    """Label, class or number of the model to explain; by default the predicted one, of each
    sequence."""
    steps: int = 64
    """Points of the path of integrated gradients: more leave a smaller gap."""
    occlusion: bool = True
    """Hide each token in turn too: time grows with the square of the length."""
    max_tokens: int | None = None
    """Longest sequence, [CLS] and [SEP] included; by default that of the fine-tuning."""
    too_long: TooLong = "refuse"
    """Refuse longer sequences, or cut them and count."""
    tokens_per_batch: int = 8192
    """Bound on copies of a sequence x its length; changes memory and speed, not the numbers."""

    def __post_init__(self) -> None:
        for name in ("steps", "tokens_per_batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        require_max_tokens(self.max_tokens)


class Place(NamedTuple):
    """Where a G-gram occurs, in bases of its sequence, 0-based and half-open."""

    start: int
    end: int


class GGramEffect(NamedTuple):
    """One distinct G-gram of a sequence, and what the output owes to it."""

    ggram_id: int
    bases: str
    places: tuple[Place, ...]
    """Every occurrence, left to right."""
    attribution: float
    """By integrated gradients."""
    removal: float
    """The output less that without it."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What the output of one sequence owes to its parts.

    Numbers are in the unit of the output: log-odds of the target in nats, or in regression the
    predicted number (``attribution.output_of``).
    """

    record: InputRecord
    sequence: str
    """As the model reads it: A, C, G, T and N; without what was cut off."""
    prediction: str
    """Spelt as labels are in the data."""
    probability: float
    """Of the target; NaN in regression."""
    target: str
    """The label that is explained."""
    tokens: Tokens
    """Without special tokens; [UNK] is a stretch of N."""
    starts: Int64[np.ndarray, "tokens+1"]
    """Where each token begins, in bases; the last is the sequence's length."""
    attribution: Attribution
    """Integrated gradients of tokens and of G-grams."""
    from_ggrams: Float64[np.ndarray, "tokens"]
    """The G-grams' integrated gradients, shared among the tokens they cover."""
    occlusion: Float64[np.ndarray, "tokens"] | None
    """The output less that with the token hidden; ``None`` if it was not asked for."""
    removal: Removal
    """The output less that without each G-gram, and without any."""
    ggrams: tuple[GGramEffect, ...]
    """By first occurrence."""
    cut: bool
    """Whether the sequence was too long, and cut."""

    @property
    def spans(self) -> list[tuple[int, int]]:
        """First base of each token, and the base behind its last."""
        return list(pairwise(self.starts.tolist()))

    @property
    def texts(self) -> list[str]:
        """The bases of each token; N for a stretch of N of any length."""
        letters = (self.sequence[start:end] for start, end in self.spans)
        return [
            "N" if token == UNK else bases
            for token, bases in zip(self.tokens, letters, strict=True)
        ]

    @cached_property
    def by_token(self) -> Float64[np.ndarray, "tokens"]:
        """Integrated gradients, those of the G-grams shared among the tokens they cover."""
        total: Float64[np.ndarray, "tokens"] = self.attribution.tokens + self.from_ggrams
        return total

    @property
    def by_base(self) -> Float64[np.ndarray, "bases"]:
        """``by_token``, spread evenly over the bases of each token."""
        return on_bases(self.by_token, self.starts)

    @property
    def agreement(self) -> float:
        """Correlation (Pearson) of integrated gradients and occlusion over tokens.

        NaN where there is no occlusion, or either is constant.
        """
        if self.occlusion is None or np.ptp(self.occlusion) == 0 or np.ptp(self.by_token) == 0:
            return float("nan")
        return float(np.corrcoef(self.by_token, self.occlusion)[0, 1])


def explain(
    model: str | Path | Classifier,
    sequences: Iterable[str | bytes],
    config: ExplanationConfig | None = None,
) -> list[Explanation | None]:
    """Explain a fine-tuned model's output for sequences; ``None`` for those without A, C, G or T.

    Parameters
    ----------
    model
        A directory that ``dnazen finetune`` wrote, or what ``open_classifier`` gives.
    sequences
        Nucleotide letters in either case, U and IUPAC codes included.

    Raises
    ------
    ConfigError
        If the target is no label of the model.
    InputError
        If the model cannot be opened or reads pairs, a sequence holds a character that is no
        nucleotide, or it is too long and may not be cut.
    """
    classifier = model if isinstance(model, Classifier) else open_classifier(Path(model), "cpu")
    config = ExplanationConfig() if config is None else config
    return [explain_record(classifier, record, config) for record in records_of(sequences)]


def explain_record(
    classifier: Classifier, record: InputRecord, config: ExplanationConfig
) -> Explanation | None:
    """Explain the output for one record; ``None`` if it has no A, C, G or T.

    Raises
    ------
    ConfigError
        If the target is no label of the model.
    InputError
        If the model reads pairs, or the record is too long and may not be cut.
    """
    check_classifier(classifier, config)
    limit = classifier.max_tokens if config.max_tokens is None else config.max_tokens
    encoded = encode_examples(
        classifier.tokenizer,
        [(record.sequence,)],
        Length(limit, config.too_long),
        [record.source],
    )
    (tokens,) = encoded.tokens
    if not len(tokens):
        return None
    (logits,) = predict_logits(classifier.model, classifier.collator, [tokens])
    assert logits is not None
    clean, _ = normalise(record.sequence)
    starts = token_starts(tokens, clean, token_lengths(classifier.tokenizer))
    sequence = clean[: starts[-1]].decode()
    task = classifier.task
    label = _label(task, logits, config.target)
    output = output_of(task.problem_type, label)
    subject = Subject(classifier.model, classifier.collator, output, config.tokens_per_batch)
    attribution = integrated_gradients(subject, tokens, config.steps)
    removal = ggram_removal(subject, tokens)
    here = read(subject, tokens)
    regression = task.problem_type == "regression"
    return Explanation(
        record=record,
        sequence=sequence,
        prediction=predicted(task, logits),
        probability=(
            float("nan")
            if regression
            else float(probabilities(task.problem_type, logits[None])[0, label])
        ),
        target=task.label_names[label],
        tokens=tokens,
        starts=starts,
        attribution=attribution,
        from_ggrams=on_tokens(attribution.ggrams, here, starts),
        occlusion=occlusion(subject, tokens) if config.occlusion else None,
        removal=removal,
        ggrams=_effects(classifier, here, tokens, sequence, starts, attribution, removal),
        cut=bool(encoded.cut),
    )


def check_classifier(classifier: Classifier, config: ExplanationConfig) -> None:
    """Raise unless the model reads one sequence and has the target."""
    names = classifier.task.label_names
    if classifier.sequences_per_example != 1:
        raise InputError("the model reads pairs", expected="a model of one sequence")
    if config.target is not None and config.target not in names:
        raise ConfigError(
            f"target {config.target} is no label of the model; expected one of {', '.join(names)}"
        )
    if config.target is None and classifier.task.problem_type == "regression" and len(names) > 1:
        raise ConfigError(
            f"the model predicts several numbers; name one as target: {', '.join(names)}"
        )


def _label(task: Task, logits: Float[np.ndarray, "labels"], target: str | None) -> int:
    return int(logits.argmax()) if target is None else task.label_names.index(target)


def _effects(
    classifier: Classifier,
    here: Reading,
    tokens: Tokens,
    sequence: str,
    starts: Int64[np.ndarray, "tokens+1"],
    attribution: Attribution,
    removal: Removal,
) -> tuple[GGramEffect, ...]:
    """The G-grams of a sequence by slot, with the places they cover."""
    matcher = classifier.collator.matcher
    if matcher is None:
        return ()
    found = matcher.occurrences(tokens, np.array([0, len(tokens)]))
    places: dict[int, list[Place]] = defaultdict(list)
    for start, ggram in zip(found.start.tolist(), found.ggram_id.tolist(), strict=True):
        end = start + int(matcher.lengths[ggram])
        places[ggram].append(Place(int(starts[start]), int(starts[end])))
    parts = zip(
        here.ggram_ids.tolist(), attribution.ggrams.tolist(), removal.each.tolist(), strict=True
    )
    return tuple(
        GGramEffect(ggram, sequence[slice(*places[ggram][0])], tuple(places[ggram]), ig, lost)
        for ggram, ig, lost in parts
    )
