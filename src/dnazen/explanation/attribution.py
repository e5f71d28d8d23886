"""What a classifier's output owes to the tokens and the G-grams of one sequence.

- *Integrated gradients* (Sundararajan and others 2017, arXiv 1703.01365) over the embeddings of
  tokens and of G-grams, and over what bases and k-mers say: attributions that sum to the change
  of the output from a baseline.
- *Occlusion*: the output less that with one token hidden.
- *Removal*: the output less that without one G-gram.

Each reads many copies of the sequence, through the loop that reads everything (``inference.loop``):
points of the path, copies with a token hidden, copies without a G-gram. An output is a number a
sequence; ``output_of`` makes it from logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int, Int64
from torch import Tensor

from ..inference.opened import OpenedModel
from ..model.bases import bases_of_tokens
from ..model.batches import Example
from ..model.classifier import SequenceClassifier
from ..model.encoder import FusedEncoder
from ..model.layout import Layout
from ..sequences.settings import ProblemType
from ..tokens.encoding import Tokens
from ..tokens.special import CLS, MASK, SEP
from .settings import ExplanationConfig

Output = Callable[[Float[Tensor, "batch labels"]], Float[Tensor, "batch"]]


class Attribution(NamedTuple):
    """Integrated gradients of one sequence; special tokens have none."""

    tokens: Float64[np.ndarray, "tokens"]
    ggrams: Float64[np.ndarray, "slots"]
    """By slot, in the order of the G-grams' first occurrence."""
    bases: Float64[np.ndarray, "tokens"]
    """Of what base view and k-mers say themselves, by the tokens that hold the bases; 0 for a
    model without them."""
    output: float
    baseline: float
    """The output at the baseline."""

    @property
    def gap(self) -> float:
        """What attributions miss of ``output - baseline``: the error of the integration."""
        parts = self.tokens.sum() + self.ggrams.sum() + self.bases.sum()
        return self.output - self.baseline - float(parts)


class Removal(NamedTuple):
    """The output less the output without G-grams."""

    by_slot: Float64[np.ndarray, "slots"]
    """Without that one; all others stay."""
    together: float
    """Without any."""


class MatchedGGrams(NamedTuple):
    """The G-grams of a sequence as the model is shown them."""

    ids: Int64[np.ndarray, "slots"]
    cover_token: Int64[np.ndarray, "pairs"]
    """The token, [CLS] not counted, that ..."""
    cover_slot: Int64[np.ndarray, "pairs"]
    """... this slot's G-gram covers."""


def output_of(problem_type: ProblemType, label: int) -> Output:
    """The output that speaks for one label, from logits.

    Decided here: the log-odds of the label, log(p / (1 - p)) in nats. For one class of several
    that is its logit less the logarithm of the sum of the others' exponentials, so what raises all
    logits alike is no reason for a class. In regression it is the predicted number.
    """
    if problem_type != "single_label_classification":
        return lambda logits: logits[:, label]

    def log_odds(logits: Float[Tensor, "batch labels"]) -> Float[Tensor, "batch"]:
        others = torch.cat([logits[:, :label], logits[:, label + 1 :]], dim=1)
        return logits[:, label] - others.logsumexp(1)

    return log_odds


def matched_ggrams(model: OpenedModel, tokens: Tokens) -> MatchedGGrams:
    """The G-grams of a sequence; none for a model without them."""
    batch = model.collator([Example(tokens)])
    none = torch.empty(0, dtype=torch.long)
    ids, token, slot = (
        batch.get(name, none).numpy() for name in ("ggram_ids", "cover_token", "cover_slot")
    )
    return MatchedGGrams(ids, token - 1, slot)


class _PathPoint(NamedTuple):
    """The sequence on the way from the baseline to itself."""

    tokens: Tokens
    at: float
    """0 is the baseline, 1 the sequence."""


class _Slopes(NamedTuple):
    """Derivatives of the output along the path at one point of it."""

    tokens: Float64[np.ndarray, "tokens"]
    ggrams: Float64[np.ndarray, "slots"]
    side: Float64[np.ndarray, "labels"]
    """By the logits of the views below the tokens."""


class _SidePath(NamedTuple):
    """What the views below the tokens say themselves, from no base seen to all."""

    start: Float[Tensor, "1 labels"]
    shares: Float[Tensor, "tokens labels"]
    """What the bases of each token add in the end."""

    @classmethod
    def of(cls, model: OpenedModel, tokens: Tokens) -> _SidePath | None:
        """That of a sequence; ``None`` for a model without such views."""
        network, config = model.classifier, model.config
        if not (config.base_channels or config.kmers):
            return None
        ids = torch.from_numpy(tokens.astype(np.int64)).to(model.device)
        start = torch.zeros(1, config.num_labels, device=model.device)
        shares = start.new_zeros(len(ids), config.num_labels)
        with torch.inference_mode():
            if config.kmers:
                layout = Layout(1, len(ids), None, None)
                bases = bases_of_tokens(network.kmers.table, ids, layout)
                start += network.kmers.output.bias
                shares.index_add_(0, bases.token, network.kmers.shares(bases.codes))
            if config.base_channels:
                nothing, _ = _maxima(network, torch.full_like(ids, MASK))
                seen, token = _maxima(network, ids)
                start += network.base_head(nothing)[None]
                added = (seen - nothing)[:, None] * network.base_head.weight.T
                shares.index_add_(0, token, added)
        return cls(start.clone(), shares.clone())

    def at(self, places: Float[Tensor, "points"]) -> Float[Tensor, "points labels"]:
        """The logits at places between 0 and 1."""
        return self.start + places[:, None] * self.shares.sum(0)


def _maxima(
    network: SequenceClassifier, ids: Int[Tensor, "tokens"]
) -> tuple[Float[Tensor, "channels"], Int[Tensor, "channels"]]:
    """The largest state of each channel of the base view, and the token that holds it."""
    ends = ids.new_tensor([CLS]), ids.new_tensor([SEP])
    whole = torch.cat([ends[0], ids, ends[1]])
    reading = network.dnazen.bases(whole, Layout(1, len(whole), None, None))
    largest, place = reading.states.max(dim=0)
    return largest, reading.bases.token[place] - 1


def integrated_gradients(
    model: OpenedModel, tokens: Tokens, output: Output, config: ExplanationConfig
) -> Attribution:
    """Attribute the output's change from the baseline to tokens and G-grams.

    Decided here. At the baseline every token but [CLS] and [SEP] has the embedding of [MASK], with
    which pre-training hides tokens, and every G-gram that of id 0, the padding, which stands for
    none, and no base is seen. The path is straight, in all embeddings and in what bases and k-mers
    say themselves at once; the G-grams' places stay. A k-mer's part is shared evenly among its
    bases, that of a channel of the base view is its largest place's. The integral
    is taken at ``config.steps`` Gauss-Legendre points. That there are G-grams at all is no part of
    the path; ``ggram_removal`` says what they do.

    Time is a forward and a backward pass a step.

    Parameters
    ----------
    tokens
        Without special tokens, as ``encoding.encode_examples`` makes them; not empty.
    """
    side = _SidePath.of(model, tokens)

    def slopes(inputs: dict[str, Tensor], points: Sequence[_PathPoint]) -> list[_Slopes]:
        starts, changes, at = _path(model, inputs, points)
        of_side = None if side is None else side.at(at[0].flatten()).requires_grad_()
        with torch.enable_grad():
            embeddings = [
                (start + where * change).requires_grad_()
                for start, change, where in zip(starts, changes, at, strict=True)
            ]
            outputs = output(_logits_at(model, inputs, embeddings, of_side))
            wanted = [*embeddings, *([] if of_side is None else [of_side])]
            gradients = list(torch.autograd.grad(outputs.sum(), wanted))
        by_side = np.zeros((len(points), 0))
        if of_side is not None:
            by_side = gradients.pop().double().cpu().numpy()
        # In 64 bits, as small terms add up to the derivative along the path.
        along = [
            (gradient * change).sum(-1).double().cpu().numpy()
            for gradient, change in zip(gradients, changes, strict=True)
        ]
        bounds = inputs["ggram_offsets"].tolist() if len(along) == 2 else [0] * (len(points) + 1)
        ggrams = along[1] if len(along) == 2 else np.empty(0)
        return [
            _Slopes(row[1:-1], ggrams[first:last], side_row)
            for row, (first, last), side_row in zip(
                along[0], pairwise(bounds), by_side, strict=True
            )
        ]

    def values(inputs: dict[str, Tensor], points: Sequence[_PathPoint]) -> list[float]:
        starts, changes, at = _path(model, inputs, points)
        embeddings = [
            start + where * change for start, change, where in zip(starts, changes, at, strict=True)
        ]
        of_side = None if side is None else side.at(at[0].flatten())
        outputs: list[float] = output(_logits_at(model, inputs, embeddings, of_side)).tolist()
        return outputs

    nodes, weights = np.polynomial.legendre.leggauss(config.steps)
    points = [_PathPoint(tokens, (node + 1) / 2) for node in nodes.tolist()]
    budget = config.tokens_per_batch
    of_tokens = np.zeros(len(tokens))
    of_ggrams: Float64[np.ndarray, "slots"] = np.zeros(len(matched_ggrams(model, tokens).ids))
    of_bases = np.zeros(len(tokens))
    shares = None if side is None else side.shares.double().cpu().numpy()
    results = model.run(points, slopes, tokens_per_batch=budget, gradients=True)
    for (_, point_slopes), weight in zip(results, (weights / 2).tolist(), strict=True):
        assert point_slopes is not None
        of_tokens += weight * point_slopes.tokens
        of_ggrams += weight * point_slopes.ggrams
        if shares is not None:
            of_bases += weight * (shares @ point_slopes.side)
    ends = [_PathPoint(tokens, 0.0), _PathPoint(tokens, 1.0)]
    baseline, whole = _outputs(model.run(ends, values, tokens_per_batch=budget))
    return Attribution(of_tokens, of_ggrams, of_bases, whole, baseline)


def occlusion(
    model: OpenedModel, tokens: Tokens, output: Output, config: ExplanationConfig
) -> Float64[np.ndarray, "tokens"]:
    """The output less that with a token hidden by [MASK], for each token.

    G-grams are matched anew: those that hold a hidden token are gone, as in pre-training.
    """
    copies = np.repeat(tokens[None], len(tokens) + 1, axis=0)
    copies[np.arange(len(tokens)), np.arange(len(tokens))] = MASK

    def values(inputs: dict[str, Tensor], examples: Sequence[Example]) -> list[float]:
        outputs: list[float] = output(model.classifier(**inputs).logits).tolist()
        return outputs

    examples = map(Example, copies)
    budget = config.tokens_per_batch
    *hidden, whole = _outputs(model.run(examples, values, tokens_per_batch=budget))
    return whole - np.array(hidden, dtype=np.float64)


class _CopyWithout(NamedTuple):
    """The sequence without some of its G-grams."""

    tokens: Tokens
    removed: slice
    """Of its slots."""


def ggram_removal(
    model: OpenedModel, tokens: Tokens, output: Output, config: ExplanationConfig
) -> Removal:
    """The output less that without a G-gram, for each distinct one and for all together.

    The tokens stay as they are, and so do the other G-grams, nested ones too.
    """

    def values(inputs: dict[str, Tensor], copies: Sequence[_CopyWithout]) -> list[float]:
        if "ggram_ids" in inputs:
            kept = torch.ones_like(inputs["ggram_ids"], dtype=torch.bool)
            bounds = pairwise(inputs["ggram_offsets"].tolist())
            for copy, (first, last) in zip(copies, bounds, strict=True):
                kept[first:last][copy.removed] = False
            inputs = inputs | _only_slots(inputs, kept)
        outputs: list[float] = output(model.classifier(**inputs).logits).tolist()
        return outputs

    slots = range(len(matched_ggrams(model, tokens).ids))
    removed = [*(slice(slot, slot + 1) for slot in slots), slice(0, 0), slice(None)]
    copies = [_CopyWithout(tokens, part) for part in removed]
    budget = config.tokens_per_batch
    *without, whole, bare = _outputs(model.run(copies, values, tokens_per_batch=budget))
    return Removal(whole - np.array(without, dtype=np.float64), whole - bare)


def on_bases(
    tokens: Float64[np.ndarray, "tokens"], starts: Int64[np.ndarray, "tokens+1"]
) -> Float64[np.ndarray, "bases"]:
    """Spread the attribution of each token evenly over its bases, so that the sum stays.

    Decided here: a model reads a token whole and cannot tell its bases apart.

    Examples
    --------
    >>> on_bases(np.array([3.0, 1.0]), np.array([0, 2, 3])).tolist()
    [1.5, 1.5, 1.0]
    """
    widths = np.diff(starts)
    spread: Float64[np.ndarray, "bases"] = np.repeat(tokens / np.maximum(widths, 1), widths)
    return spread


def on_tokens(
    values: Float64[np.ndarray, "slots"],
    ggrams: MatchedGGrams,
    starts: Int64[np.ndarray, "tokens+1"],
) -> Float64[np.ndarray, "tokens"]:
    """Share the attribution of each G-gram among the tokens it covers, by their bases.

    Decided here: all occurrences share one slot, and each base under it gets the same.
    """
    widths = np.diff(starts)
    covered_bp = widths[ggrams.cover_token]
    total_bp = np.bincount(ggrams.cover_slot, weights=covered_bp, minlength=len(values))
    shares = values[ggrams.cover_slot] * covered_bp / total_bp[ggrams.cover_slot]
    spread = np.zeros(len(widths))
    np.add.at(spread, ggrams.cover_token, shares)
    return spread


def _path(
    model: OpenedModel, inputs: dict[str, Tensor], points: Sequence[_PathPoint]
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Embeddings at the baseline, the change to those of the sequence, and how far each is.

    Of the tokens of all points and, if there are any, of their G-grams.
    """
    input_ids = inputs["input_ids"]  # copies of one sequence, so none is padded
    baseline = input_ids.clone()
    baseline[:, 1:-1] = MASK
    encoder = model.encoder
    assert isinstance(encoder, FusedEncoder)  # what has a classifier has ours
    tables = [(encoder.token_embeddings, baseline, input_ids)]
    at = torch.tensor([point.at for point in points], dtype=model.dtype, device=model.device)
    places = [at[:, None, None]]
    ggram_ids = inputs.get("ggram_ids")
    if ggram_ids is not None and len(ggram_ids):
        rows = encoder.ggram_embeddings.word_embeddings
        tables.append((rows, torch.zeros_like(ggram_ids), ggram_ids))
        places.append(at.repeat_interleave(inputs["ggram_offsets"].diff())[:, None])
    starts = [table(first).detach() for table, first, _ in tables]
    ends = [table(last).detach() for table, _, last in tables]
    return starts, [end - start for start, end in zip(starts, ends, strict=True)], places


def _logits_at(
    model: OpenedModel,
    inputs: dict[str, Tensor],
    embeddings: Sequence[Tensor],
    side_logits: Float[Tensor, "batch labels"] | None,
) -> Float[Tensor, "batch labels"]:
    """The logits at embeddings of tokens and, if there are any, of G-grams and side views."""
    names = ("inputs_embeds", "ggram_embeds")
    logits: Float[Tensor, "batch labels"] = model.classifier(
        **inputs, **dict(zip(names, embeddings, strict=False)), side_logits=side_logits
    ).logits
    return logits


def _only_slots(inputs: dict[str, Tensor], kept: Bool[Tensor, "slots"]) -> dict[str, Tensor]:
    """The G-grams of a batch, but for some of their slots."""
    pairs = kept[inputs["cover_slot"]]
    before = torch.cat([kept.new_zeros(1, dtype=torch.long), kept.cumsum(0)])
    return {
        "ggram_ids": inputs["ggram_ids"][kept],
        "ggram_offsets": before[inputs["ggram_offsets"]],
        "cover_token": inputs["cover_token"][pairs],
        "cover_slot": before[inputs["cover_slot"][pairs]],
    }


def _outputs(results: Iterable[tuple[object, float | None]]) -> list[float]:
    """The outputs of copies, none of which is empty."""
    return [value for _, value in results if value is not None]
