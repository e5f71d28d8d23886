"""What a fine-tuned model's output owes to each base, token and G-gram of a sequence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from ..errors import ConfigError, InputError
from ..inference.labels import predicted, probabilities
from ..inference.opened import OpenedModel, opened
from ..inference.prediction import MAX_TOKENS, mean_logits
from ..model.batches import Example
from ..sequences.alphabet import normalise, reverse_complement
from ..sequences.inputs import InputRecord, records_of
from ..settings import settings_or_default
from ..tokens.encoding import Length, Tokens
from ..tokens.special import UNK
from ..tokens.strands import encode_strands
from ..tokens.tokenizer import token_lengths
from ..tokens.windows import token_starts
from .attribution import (
    Attribution,
    MatchedGGrams,
    Output,
    Removal,
    ggram_removal,
    integrated_gradients,
    matched_ggrams,
    occlusion,
    on_bases,
    on_tokens,
    output_of,
)
from .settings import ExplanationConfig
from .strands import GGramEffect, Interval, Strand, StrandReading, mean_of_strands


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What the output of one sequence owes to its parts.

    Numbers are in the unit of the output: log-odds of the target in nats, or in regression the
    predicted number (``attribution.output_of``). Of a model that reads both strands the output is
    the mean over them (Decided here), and what the other strand's tokens did is given to the
    tokens of this one that hold the same bases.
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
    """By first occurrence; those of the other strand behind."""
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
        total: Float64[np.ndarray, "tokens"] = (
            self.attribution.tokens + self.from_ggrams + self.attribution.bases
        )
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
    model: str | Path | OpenedModel,
    sequences: Iterable[str | bytes],
    config: ExplanationConfig | None = None,
) -> list[Explanation | None]:
    """Explain a fine-tuned model's output for sequences; ``None`` for those without A, C, G or T.

    Parameters
    ----------
    model
        A directory that ``dnazen finetune`` wrote, or what ``dnazen.load`` gives.
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
    model = opened(model)
    config = settings_or_default(config, ExplanationConfig)
    return [explain_record(model, record, config) for record in records_of(sequences)]


def explain_record(
    model: OpenedModel, record: InputRecord, config: ExplanationConfig
) -> Explanation | None:
    """Explain the output for one record; ``None`` if it has no A, C, G or T.

    Raises
    ------
    ConfigError
        If the target is no label of the model.
    InputError
        If the model is not fine-tuned or reads pairs, the record is too long and may not be cut,
        or the model gives what is no finite number.
    """
    require_explainable(model, config)
    limit = Length(config.max_tokens or model.config.max_tokens or MAX_TOKENS, config.too_long)
    both = model.config.strands == "average"
    example, source = (record.sequence,), [record.source]
    encoded = encode_strands(model.tokenizer, [example], limit, source, both=both)
    by_strand = [[Example(tokens) for tokens in strand.tokens] for strand in encoded]
    (logits,) = mean_logits(model.classifier, model.collator, by_strand)
    if logits is None:
        return None
    strands = _strands(model, record, [strand.tokens[0] for strand in encoded])
    task = model.task
    names = task.label_names
    label = int(logits.argmax()) if config.target is None else names.index(config.target)
    output = output_of(task.problem_type, label)
    readings = [_read_strand(model, strand, output, config) for strand in strands]
    for reading in readings:
        attribution = reading.attribution
        if not np.isfinite([attribution.output, attribution.baseline, attribution.gap]).all():
            raise InputError(
                f"gives outputs for {record.source} that are no finite numbers", path=model.source
            )
    likely = np.full(len(names), np.nan)
    if task.problem_type != "regression":
        likely = probabilities(task.problem_type, logits[None])[0]
    together = readings[0] if len(readings) == 1 else mean_of_strands(*readings)
    return Explanation(
        record=record,
        sequence=together.strand.sequence,
        prediction=predicted(task, logits),
        probability=float(likely[label]),
        target=names[label],
        tokens=together.strand.tokens,
        starts=together.strand.starts,
        attribution=together.attribution,
        from_ggrams=together.from_ggrams,
        occlusion=together.occlusion,
        removal=together.removal,
        ggrams=together.ggrams,
        cut=bool(encoded[0].cut),
    )


def _strands(model: OpenedModel, record: InputRecord, tokens: Sequence[Tokens]) -> list[Strand]:
    """The strands of a record as the model reads them, from their tokens."""
    clean, _ = normalise(record.sequence)
    lengths = token_lengths(model.tokenizer)
    strands = []
    for strand_tokens in tokens:
        starts = token_starts(strand_tokens, clean, lengths)
        strands.append(Strand(strand_tokens, starts, clean[: starts[-1]].decode()))
        clean = reverse_complement(clean[: starts[-1]])
    return strands


def _read_strand(
    model: OpenedModel, strand: Strand, output: Output, config: ExplanationConfig
) -> StrandReading:
    """What the output of one strand owes to its parts."""
    tokens, starts = strand.tokens, strand.starts
    attribution = integrated_gradients(model, tokens, output, config)
    removal = ggram_removal(model, tokens, output, config)
    ggrams = matched_ggrams(model, tokens)
    return StrandReading(
        strand,
        attribution,
        on_tokens(attribution.ggrams, ggrams, starts),
        occlusion(model, tokens, output, config) if config.occlusion else None,
        removal,
        _effects(model, ggrams, tokens, strand.sequence, starts, attribution, removal),
    )


def require_explainable(model: OpenedModel, config: ExplanationConfig) -> None:
    """Raise unless the model is fine-tuned, reads one sequence, and has the target."""
    names = model.task.label_names
    if model.config.sequences_per_example != 1:
        raise InputError("the model reads pairs", expected="a model of one sequence")
    if config.target is not None and config.target not in names:
        raise ConfigError(
            f"target {config.target} is no label of the model; expected one of {', '.join(names)}"
        )
    if config.target is None and model.task.problem_type == "regression" and len(names) > 1:
        raise ConfigError(
            f"the model predicts several numbers; name one as target: {', '.join(names)}"
        )


def _effects(
    model: OpenedModel,
    ggrams: MatchedGGrams,
    tokens: Tokens,
    sequence: str,
    starts: Int64[np.ndarray, "tokens+1"],
    attribution: Attribution,
    removal: Removal,
) -> tuple[GGramEffect, ...]:
    """The G-grams of a sequence by slot, with the intervals they cover."""
    matcher = model.collator.matcher
    if matcher is None:
        return ()
    occurrences = matcher.occurrences(tokens, np.array([0, len(tokens)]))
    intervals: dict[int, list[Interval]] = defaultdict(list)
    for start, ggram_id in zip(
        occurrences.start.tolist(), occurrences.ggram_id.tolist(), strict=True
    ):
        end = start + int(matcher.lengths[ggram_id])
        intervals[ggram_id].append(Interval(int(starts[start]), int(starts[end])))
    columns = zip(
        ggrams.ids.tolist(), attribution.ggrams.tolist(), removal.by_slot.tolist(), strict=True
    )
    return tuple(
        GGramEffect(
            ggram_id,
            sequence[slice(*intervals[ggram_id][0])],
            tuple(intervals[ggram_id]),
            integrated,
            removed,
        )
        for ggram_id, integrated, removed in columns
    )
