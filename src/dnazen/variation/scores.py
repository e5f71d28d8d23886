"""How much a change of the sequence changes what a model says. docs/variants.md has the formulas.

A masked LM gives a log-likelihood ratio, a fine-tuned model the changes of its outputs.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32
from scipy.special import logsumexp
from torch import Tensor

from ..errors import InputError
from ..inference.likelihood import HiddenToken, nats_per_base, token_log_likelihoods
from ..inference.opened import OpenedModel
from ..model.settings import Strands
from ..sequences.alphabet import reverse_complement
from ..settings import settings_or_default
from ..tokens.encoding import Tokens
from ..tokens.special import UNK
from .alignment import AllelePair, DifferingTokens, TokenisedSequence, differing_tokens, tokenise
from .settings import ScoringConfig

_MOST_NAME = 100
"""Letters of a score's name, which files are named by too."""


class Score(NamedTuple):
    """What a score is called, and what it means in words for the header of a VCF."""

    name: str
    meaning: str


LLR = Score(
    "llr",
    "Masked-LM log-likelihood ratio, alternative over reference, in nats, summed over the tokens "
    "that differ; negative where the model finds the alternative less likely",
)
CORRECTED = Score(
    "llr_corrected",
    "The log-likelihood ratio with the length of the allele taken out: plus, for each base gained, "
    "the mean nats that a base of the reference window costs the model, and minus them for each "
    "base lost",
)
DISTANCE = Score(
    "distance", "Euclidean distance between the mean final states of the tokens that differ"
)
LOST = Score("ggrams_lost", "Occurrences of G-grams in the reference that the alternative lacks")
GAINED = Score("ggrams_gained", "Occurrences of G-grams that only the alternative has")


def scores_of(model: OpenedModel) -> tuple[Score, ...]:
    """The scores that a model gives, those of its head first.

    Raises
    ------
    InputError
        If it has neither a masked-LM head nor a classifier, classifies bases, or reads pairs of
        sequences.
    """
    corrected = [CORRECTED] if model.classifier_network is None else []
    ggrams = [] if model.vocabulary is None else [LOST, GAINED]
    return (*head_scores(model), *corrected, DISTANCE, *ggrams)


def ranking_scores(model: OpenedModel) -> tuple[Score, ...]:
    """The scores to rank variants of all kinds by: the corrected ratio, or those of the head.

    Raises
    ------
    InputError
        As ``scores_of``.
    """
    head = head_scores(model)
    return (CORRECTED,) if model.classifier_network is None else head


def head_scores(model: OpenedModel) -> tuple[Score, ...]:
    """The scores that are a change of what the model says: a ratio, or of each output of a
    classifier, of two classes the second.

    Raises
    ------
    InputError
        As ``scores_of``.
    """
    model.require_whole_sequences()
    if model.classifier_network is None:
        if model.masked_lm_network is None:
            raise InputError(
                "a model without a head",
                path=model.source,
                expected="a pre-trained model with its masked-LM head, or a fine-tuned one",
            )
        return (LLR,)
    if model.config.sequences_per_example != 1:
        raise InputError(
            "a model of pairs", path=model.source, expected="one that reads single sequences"
        )
    numbers = _outputs(model)
    labels = [model.task.label_names[number] for number in numbers]
    labels = [
        label if label.isprintable() else f"label {number}"
        for label, number in zip(labels, numbers, strict=True)
    ]
    names = [re.sub(r"\W", "_", label, flags=re.ASCII) for label in labels]
    if len({name.upper() for name in names}) < len(names) or max(map(len, names)) > _MOST_NAME:
        names = list(map(str, numbers))
    what = "the prediction of" if model.task.problem_type == "regression" else "the log-odds of"
    return tuple(
        Score(f"delta_{name}", f"Change of {what} {label} in the fine-tuned model")
        for name, label in zip(names, labels, strict=True)
    )


def strands_of(model: OpenedModel, config: ScoringConfig) -> Strands:
    """The strands that are read: as asked, else as the model was fine-tuned."""
    strands: Strands = config.strands or model.config.strands
    return strands


def score_pairs(
    model: OpenedModel, pairs: Sequence[AllelePair], config: ScoringConfig | None = None
) -> Float[np.ndarray, "pairs scores"]:
    """The scores of changes, in the order of ``scores_of``; 0 where nothing is changed.

    What recurs, a sequence or a hidden token of one, is read once. Memory grows with the number of
    changes: give long lists in parts.

    Raises
    ------
    InputError
        As ``scores_of``; or if the model gives what is no finite number.
    """
    config = settings_or_default(config, ScoringConfig)
    strands = [list(pairs)]
    if strands_of(model, config) == "average":
        strands.append([AllelePair(*map(reverse_complement, pair)) for pair in pairs])
    on_all = [pair for strand in strands for pair in strand]
    scores = np.zeros((len(on_all), len(scores_of(model))))
    changed = [number for number, pair in enumerate(on_all) if pair.ref != pair.alt]
    if changed:
        scores[changed] = _scores(model, [on_all[number] for number in changed], config)
    if not np.isfinite(scores).all():
        raise InputError("gives scores that are no finite numbers", path=model.source)
    by_strand = scores.reshape(len(strands), len(pairs), scores.shape[1])
    mean: Float[np.ndarray, "pairs scores"] = by_strand.mean(axis=0)
    return mean


def _scores(
    model: OpenedModel, pairs: Sequence[AllelePair], config: ScoringConfig
) -> Float[np.ndarray, "pairs scores"]:
    sequences = tokenise(model.tokenizer, dict.fromkeys(itertools.chain.from_iterable(pairs)))
    differing = [differing_tokens(pair, *(sequences[allele] for allele in pair)) for pair in pairs]
    budget = config.tokens_per_batch
    distances, changes = _distances_and_changes(model, pairs, sequences, differing, budget)
    if model.classifier_network is None:
        ratios = _log_ratios(model, pairs, sequences, differing, budget)
        corrections = _length_corrections(model, pairs, sequences, budget)
        changes = np.column_stack([ratios, ratios + corrections])
    return np.column_stack([changes, distances, _ggram_changes(model, pairs, sequences)])


def _log_ratios(
    model: OpenedModel,
    pairs: Sequence[AllelePair],
    sequences: Mapping[bytes, TokenisedSequence],
    differing: Sequence[DifferingTokens],
    tokens_per_batch: int,
) -> Float[np.ndarray, "pairs"]:
    """Pseudo-log-likelihood of the alternative's tokens less that of the reference's."""
    hidden = {
        (allele, position): HiddenToken(sequences[allele].tokens, position)
        for pair, spans in zip(pairs, differing, strict=True)
        for allele, span in zip(pair, spans, strict=True)
        for position in span
        if sequences[allele].tokens[position] != UNK
    }
    values = token_log_likelihoods(model, hidden.values(), tokens_per_batch=tokens_per_batch)
    by_token: dict[tuple[bytes, int], float] = dict(zip(hidden, values.tolist(), strict=True))

    def total(allele: bytes, span: range) -> float:
        return sum(by_token.get((allele, position), 0.0) for position in span)

    return np.array(
        [
            total(pair.alt, spans.alt) - total(pair.ref, spans.ref)
            for pair, spans in zip(pairs, differing, strict=True)
        ]
    )


def _length_corrections(
    model: OpenedModel,
    pairs: Sequence[AllelePair],
    sequences: Mapping[bytes, TokenisedSequence],
    tokens_per_batch: int,
) -> Float[np.ndarray, "pairs"]:
    """What the bases gained would cost at the mean of the reference, in nats; minus those lost.

    Decided here: 0 where no base is gained or lost, so substitutions keep their ratio. The
    reference alone is the measure, so that all alleles of a place have the same.
    """
    gained = np.array([_scored_bases(pair.alt) - _scored_bases(pair.ref) for pair in pairs])
    references = list(
        dict.fromkeys(pair.ref for pair, bases in zip(pairs, gained, strict=True) if bases)
    )
    tokens = [sequences[letters].tokens for letters in references]
    costs = nats_per_base(model, tokens, tokens_per_batch=tokens_per_batch).tolist()
    by_reference = dict(zip(references, costs, strict=True))
    mean_costs = np.array([by_reference.get(pair.ref, 0.0) for pair in pairs])
    corrections: Float[np.ndarray, "pairs"] = gained * mean_costs
    return corrections


def _scored_bases(letters: bytes) -> int:
    return sum(map(letters.upper().count, b"ACGTU"))


class _Span(NamedTuple):
    """The tokens of a sequence that one pair compares."""

    pair: int
    allele: int
    """0 is the reference, 1 the alternative."""
    tokens: range


class _SpannedSequence(NamedTuple):
    """A sequence to read once, with all the spans of it that are asked of."""

    tokens: Tokens
    spans: list[_Span]


class _Reading(NamedTuple):
    """What a model makes of such a sequence."""

    means: list[Float32[np.ndarray, "hidden"]]
    """Of the final states over each span."""
    outputs: Float[np.ndarray, "outputs"]
    """Of the classifier; none of a masked LM."""


def _distances_and_changes(
    model: OpenedModel,
    pairs: Sequence[AllelePair],
    sequences: Mapping[bytes, TokenisedSequence],
    differing: Sequence[DifferingTokens],
    tokens_per_batch: int,
) -> tuple[Float[np.ndarray, "pairs"], Float[np.ndarray, "pairs outputs"]]:
    """Between the states of the two alleles, and of a classifier's outputs."""
    spanned = {
        letters: _SpannedSequence(sequence.tokens, []) for letters, sequence in sequences.items()
    }
    for number, (pair, spans) in enumerate(zip(pairs, differing, strict=True)):
        for which, (allele, span) in enumerate(zip(pair, spans, strict=True)):
            spanned[allele].spans.append(_Span(number, which, span))

    def forward(inputs: dict[str, Tensor], batch: Sequence[_SpannedSequence]) -> list[_Reading]:
        if model.classifier_network is None:
            states, logits = model.encoder(**inputs).last_hidden_state, np.empty((len(batch), 0))
        else:
            output = model.classifier(**inputs, output_hidden_states=True)
            states, logits = output.hidden_states[-1], output.logits.float().cpu().numpy()
        arrays = states.float().cpu().numpy()[:, 1:]  # [CLS]
        return [
            _Reading(
                [array[span.start : span.stop].mean(axis=0) for _, _, span in sequence.spans],
                _output_values(model, row),
            )
            for array, row, sequence in zip(arrays, logits, batch, strict=True)
        ]

    means = np.zeros((len(pairs), 2, model.config.hidden_size))
    outputs = np.zeros((len(pairs), 2, len(_outputs(model))))
    for sequence, reading in model.run(
        spanned.values(), forward, tokens_per_batch=tokens_per_batch
    ):
        if reading is None:
            continue
        for (pair_number, which, _), mean in zip(sequence.spans, reading.means, strict=True):
            means[pair_number, which] = mean
            outputs[pair_number, which] = reading.outputs
    return np.linalg.norm(means[:, 1] - means[:, 0], axis=1), outputs[:, 1] - outputs[:, 0]


def _ggram_changes(
    model: OpenedModel,
    pairs: Sequence[AllelePair],
    sequences: Mapping[bytes, TokenisedSequence],
) -> Float[np.ndarray, "pairs columns"]:
    """Occurrences lost and gained, two columns; none where the model has no G-grams."""
    matcher = model.collator.matcher
    if matcher is None:
        return np.zeros((len(pairs), 0))
    counts = {
        letters: Counter(
            matcher.occurrences(
                sequence.tokens, np.array([0, len(sequence.tokens)])
            ).ggram_id.tolist()
        )
        for letters, sequence in sequences.items()
    }
    return np.array(
        [
            [
                (counts[pair.ref] - counts[pair.alt]).total(),
                (counts[pair.alt] - counts[pair.ref]).total(),
            ]
            for pair in pairs
        ],
        dtype=np.float64,
    )


def _outputs(model: OpenedModel) -> list[int]:
    """The outputs whose changes are scores: of two classes the second, else all; none of an LM."""
    if model.classifier_network is None:
        return []
    outputs = list(range(model.config.num_labels))
    return outputs[1:] if len(outputs) == 2 and _chooses_one(model) else outputs


def _output_values(
    model: OpenedModel, logits: Float[np.ndarray, "labels"]
) -> Float[np.ndarray, "outputs"]:
    """Log-odds of each output, or its prediction in regression."""
    if model.classifier_network is not None and _chooses_one(model):
        return np.array([logits[n] - logsumexp(np.delete(logits, n)) for n in _outputs(model)])
    return logits


def _chooses_one(model: OpenedModel) -> bool:
    return model.task.problem_type == "single_label_classification"
