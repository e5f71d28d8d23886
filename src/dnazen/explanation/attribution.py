"""What a classifier's output owes to the tokens and the G-grams of one sequence.

- *Integrated gradients* (Sundararajan and others 2017, arXiv 1703.01365) over the embeddings of
  tokens and of G-grams: attributions that sum to the change of the output from a baseline.
- *Occlusion*: the output less that with one token hidden.
- *Removal*: the output less that without one G-gram.

An output is a number a sequence; ``output_of`` makes it from logits. The model must be in
evaluation mode, and is left as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor

from ..model.batches import Collator, Example
from ..model.modeling import DnazenForSequenceClassification
from ..sequences.settings import ProblemType
from ..tokens.encoding import Tokens
from ..tokens.special import MASK

Output = Callable[[Float[Tensor, "batch labels"]], Float[Tensor, "batch"]]


class Subject(NamedTuple):
    """A model, how it reads sequences, and the output that is explained."""

    model: DnazenForSequenceClassification
    collator: Collator
    output: Output
    tokens_per_batch: int = 8192
    """Bound on copies of the sequence x its length; changes memory and speed, not the numbers."""


class Attribution(NamedTuple):
    """Integrated gradients of one sequence; special tokens have none."""

    tokens: Float64[np.ndarray, "tokens"]
    ggrams: Float64[np.ndarray, "slots"]
    """By slot, in the order of the G-grams' first occurrence."""
    output: float
    baseline: float
    """The output at the baseline."""

    @property
    def gap(self) -> float:
        """What attributions miss of ``output - baseline``: the error of the integration."""
        return self.output - self.baseline - float(self.tokens.sum() + self.ggrams.sum())


class Removal(NamedTuple):
    """The output less the output without G-grams."""

    each: Float64[np.ndarray, "slots"]
    """Without that one; all others stay."""
    together: float
    """Without any."""


class Reading(NamedTuple):
    """One sequence as a model reads it, [CLS] and [SEP] included."""

    input_ids: Int[Tensor, "width"]
    ggram_ids: Int[Tensor, "slots"]
    cover_token: Int[Tensor, "pairs"]
    cover_slot: Int[Tensor, "pairs"]

    def only(self, slots: Int[Tensor, "kept"]) -> Reading:
        """The same sequence with some of its G-grams; their slots rise."""
        kept = torch.isin(self.cover_slot, slots)
        return self._replace(
            ggram_ids=self.ggram_ids[slots],
            cover_token=self.cover_token[kept],
            cover_slot=torch.searchsorted(slots, self.cover_slot[kept]),
        )


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


def read(subject: Subject, tokens: Tokens) -> Reading:
    """Find the G-grams of a sequence and put it on the model's device."""
    batch = subject.collator([Example(tokens)])
    none = torch.empty(0, dtype=torch.long)
    names = ("ggram_ids", "cover_token", "cover_slot")
    parts = [batch["input_ids"][0], *(batch.get(name, none) for name in names)]
    return Reading(*(part.to(subject.model.device) for part in parts))


def integrated_gradients(subject: Subject, tokens: Tokens, steps: int = 64) -> Attribution:
    """Attribute the output's change from the baseline to tokens and G-grams.

    Decided here. At the baseline every token but [CLS] and [SEP] has the embedding of [MASK], with
    which pre-training hides tokens, and every G-gram that of id 0, the padding, which stands for
    none. The path is straight, in all embeddings at once; the G-grams' places stay. The integral
    is taken at ``steps`` Gauss-Legendre points. That there are G-grams at all is no part of the
    path; ``ggram_removal`` tells it.

    Time is a forward and a backward pass a step.

    Parameters
    ----------
    tokens
        Without special tokens, as ``encoding.encode_examples`` makes them; not empty.
    """
    here = read(subject, tokens)
    start, change = _path(subject.model, here)
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    summed = [torch.zeros(part.shape[:-1], dtype=torch.float64) for part in change]
    for some in _chunks(steps, subject, len(here.input_ids)):
        at = torch.tensor((nodes[some] + 1) / 2, dtype=start[0].dtype)
        with torch.enable_grad():
            points = [_along(a, b, at).requires_grad_() for a, b in zip(start, change, strict=True)]
            outputs = _output_at(subject, here, points)
            slopes = torch.autograd.grad(outputs.sum(), points)
        weight = torch.tensor(weights[some] / 2)
        for total, slope, step in zip(summed, slopes, change, strict=True):
            # Of each copy: the slope along the path, in 64 bits, as small terms add up to it.
            along = (slope * step).sum(-1).double().cpu()
            total += torch.tensordot(weight, along, dims=1)
    with torch.inference_mode():
        ends = torch.tensor([0.0, 1.0], dtype=start[0].dtype)
        points = [_along(a, b, ends) for a, b in zip(start, change, strict=True)]
        baseline, output = _output_at(subject, here, points).tolist()
    ggrams = summed[1].numpy() if len(summed) == 2 else np.empty(0)
    return Attribution(summed[0].numpy()[1:-1], ggrams, output, baseline)


def occlusion(subject: Subject, tokens: Tokens) -> Float64[np.ndarray, "tokens"]:
    """The output less that with a token hidden by [MASK], for each token.

    G-grams are matched anew: those that hold a hidden token are gone, as in pre-training.
    """
    hidden = np.repeat(tokens[None], len(tokens) + 1, axis=0)
    hidden[np.arange(len(tokens)), np.arange(len(tokens))] = MASK
    outputs = []
    for some in _chunks(len(hidden), subject, len(tokens) + 2):
        batch = subject.collator([Example(row) for row in hidden[some]])
        outputs.append(_output_of_batch(subject, batch))
    found = np.concatenate(outputs)
    lost: Float64[np.ndarray, "tokens"] = found[-1] - found[:-1]
    return lost


def ggram_removal(subject: Subject, tokens: Tokens) -> Removal:
    """The output less that without a G-gram, for each distinct one and for all together.

    The tokens stay as they are, and so do the other G-grams, nested ones too.
    """
    here = read(subject, tokens)
    slots = torch.arange(len(here.ggram_ids), device=here.ggram_ids.device)
    readings = [here.only(slots[slots != slot]) for slot in slots]
    readings += [here, here.only(slots[:0])]
    outputs = [
        _output_of_batch(subject, _batched(readings[some]))
        for some in _chunks(len(readings), subject, len(here.input_ids))
    ]
    *without, whole, bare = np.concatenate(outputs)
    return Removal(whole - np.array(without, dtype=np.float64), float(whole - bare))


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
    ggrams: Float64[np.ndarray, "slots"], here: Reading, starts: Int64[np.ndarray, "tokens+1"]
) -> Float64[np.ndarray, "tokens"]:
    """Share the attribution of each G-gram among the tokens it covers, by their bases.

    Decided here: all occurrences share one slot, and each base under it gets the same.
    """
    widths = np.diff(starts)
    token = here.cover_token.cpu().numpy() - 1  # [CLS]
    slot = here.cover_slot.cpu().numpy()
    covered = np.bincount(slot, weights=widths[token], minlength=len(ggrams))
    shares = ggrams[slot] * widths[token] / covered[slot]
    spread = np.zeros(len(widths))
    np.add.at(spread, token, shares)
    return spread


def _path(
    model: DnazenForSequenceClassification, here: Reading
) -> tuple[list[Tensor], list[Tensor]]:
    """Embeddings of tokens and, if there are any, G-grams at the baseline; and the way to go."""
    hidden = here.input_ids.clone()
    hidden[1:-1] = MASK
    tables = [(model.dnazen.embeddings.word_embeddings, hidden, here.input_ids)]
    if len(here.ggram_ids):
        rows = model.dnazen.ggram_embeddings.word_embeddings
        tables.append((rows, torch.zeros_like(here.ggram_ids), here.ggram_ids))
    start = [table(first).detach() for table, first, _ in tables]
    end = [table(last).detach() for table, _, last in tables]
    return start, [b - a for a, b in zip(start, end, strict=True)]


def _along(
    start: Float[Tensor, "rows hidden"], change: Float[Tensor, "rows hidden"], at: Tensor
) -> Float[Tensor, "points rows hidden"]:
    return start + at.to(start.device)[:, None, None] * change


def _output_at(subject: Subject, here: Reading, points: list[Tensor]) -> Float[Tensor, "points"]:
    """The output at embeddings of (points, width, hidden) and of (points, slots, hidden)."""
    inputs = _batched([here] * len(points[0])) | {"inputs_embeds": points[0]}
    if len(points) == 2:
        inputs["ggram_embeds"] = points[1].flatten(0, 1)
    return subject.output(subject.model(**inputs).logits)


def _batched(readings: list[Reading]) -> dict[str, Tensor]:
    """Readings of one length as a batch."""
    device = readings[0].input_ids.device
    width = len(readings[0].input_ids)
    slots = np.cumsum([0, *(len(x.ggram_ids) for x in readings)]).tolist()
    return {
        "input_ids": torch.stack([x.input_ids for x in readings]),
        "ggram_ids": torch.cat([x.ggram_ids for x in readings]),
        "ggram_offsets": torch.tensor(slots, device=device),
        "cover_token": torch.cat([x.cover_token + n * width for n, x in enumerate(readings)]),
        "cover_slot": torch.cat(
            [x.cover_slot + n for n, x in zip(slots[:-1], readings, strict=True)]
        ),
    }


@torch.inference_mode()
def _output_of_batch(subject: Subject, batch: dict[str, Tensor]) -> Float64[np.ndarray, "batch"]:
    device = subject.model.device
    logits = subject.model(**{name: tensor.to(device) for name, tensor in batch.items()}).logits
    found: Float64[np.ndarray, "batch"] = subject.output(logits).double().cpu().numpy()
    return found


def _chunks(count: int, subject: Subject, width: int) -> Iterator[slice]:
    """Copies of a sequence, as many together as the token budget allows."""
    most = max(1, subject.tokens_per_batch // width)
    return (slice(start, start + most) for start in range(0, count, most))
