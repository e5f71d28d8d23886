"""The examples that choose a model while it is trained, and how they judge it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate.utils import gather_object
from jaxtyping import Float
from torch import Tensor
from transformers import Trainer, TrainerControl

from ..inference.prediction import mean_logits
from ..model.batches import Example
from ..sequences.base_labels import NO_CLASS
from ..sequences.labelled import Label
from ..sequences.settings import ProblemType
from .batch_plan import LengthBuckets
from .blend import Blend, best_blend
from .losses import Loss
from .metrics import Scores, score
from .rows import label_rows, logit_rows
from .scale import Scale
from .selection import rank

Logits = Float[np.ndarray, "rows labels"]
Collate = Callable[[Sequence[Example]], dict[str, Tensor]]

_ALONE = Blend(1.0, 0.0)


class Judgement(NamedTuple):
    """What dev says of a model's logits."""

    blend: Blend
    loss: float
    scores: Scores
    """Of the blended logits."""
    deep: Scores
    """Of the deep head alone."""


class Dev(NamedTuple):
    """The examples that choose, and how."""

    problem_type: ProblemType
    strands: tuple[list[Example], ...]
    """Each row as it is given, and a second time reverse complemented if both are read; labels as
    the loss takes them."""
    labels: list[Label]
    """In the data's own unit; of bases as the loss takes them."""
    scale: Scale | None
    metric: str | None
    """The score that chooses; ``None`` leaves it to the loss."""
    loss: Loss
    kmers: Logits | None = None
    """What the k-mer regression says of each row; ``None`` leaves k-mers out."""

    def judge(self, logits: Logits) -> Judgement:
        """Blend the logits of the deep head with those of k-mers, and score both.

        Logits that are not finite have no score, however good the k-mers are: the model that gave
        them cannot be kept.
        """
        labels = torch.as_tensor(label_rows([label_of(example) for example in self.strands[0]]))
        blend, mixed = _ALONE, logits
        if self.kmers is not None and np.isfinite(logits).all():
            blend = best_blend(logits, self.kmers, lambda mixed: self.loss(mixed, labels))
            mixed = blend.of(logits, self.kmers) if blend.deep else blend.kmers * self.kmers
        loss = self.loss(torch.from_numpy(mixed), labels)
        return Judgement(blend, float(loss), self._scores(mixed), self._scores(logits))

    def _scores(self, logits: Logits) -> Scores:
        values = logits if self.scale is None else self.scale.unscaled(logits)
        return score(self.problem_type, label_rows(self.labels), values)


class FinetuneTrainer(Trainer):
    """Hugging Face's Trainer, whose evaluation goes through the loop that all predictions take."""

    def __init__(self, *, dev: Dev, collate: Collate, **kwargs: Any) -> None:
        def loss(
            outputs: Any, labels: Tensor, num_items_in_batch: Tensor | int | None = None
        ) -> Tensor:
            logits = outputs.logits
            if dev.problem_type == "base_classification":
                labelled = labels != NO_CLASS
                logits, labels = logits[labelled], labels[labelled]
            mean = dev.loss(logits, labels)
            if num_items_in_batch is None:
                return mean
            return mean * labels.numel() / num_items_in_batch  # of all batches of a step

        super().__init__(
            eval_dataset=dev.strands[0],
            data_collator=collate,
            compute_loss_func=loss,
            **kwargs,
        )
        self.dev = dev
        self.judgement: Judgement | None = None
        """The newest."""

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthBuckets:
        rows = self.train_dataset if train_dataset is None else train_dataset
        lengths = np.array([len(example.tokens) for example in rows])
        return LengthBuckets(lengths, self.args.train_batch_size, self.args.seed)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Loss and scores on dev, and the rank of the model by them; draws no random number."""
        judged = self.judgement = self.dev.judge(self.dev_logits())
        metrics = {
            "eval_loss": judged.loss,
            **{f"eval_{name}": value for name, value in judged.scores.items()},
            "eval_collapsed": float(judged.deep["collapsed"]),
        }
        self.log(dict(metrics))
        metric = self.dev.metric
        # Where bases of a rare class are not called yet, the loss tells epochs apart.
        silent = self.dev.problem_type == "base_classification" and judged.scores["collapsed"]
        chosen = math.nan if metric is None or silent else judged.scores[metric]
        metrics["eval_rank"] = rank(metric, chosen, judged.loss)
        self.control: TrainerControl = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def dev_logits(self) -> Logits:
        """What the deep head says of the rows of dev; each process reads its part."""
        processes = self.args.world_size
        parts = [examples[self.args.process_index :: processes] for examples in self.dev.strands]
        with self.compute_loss_context_manager():  # the arithmetic of the training
            mine = mean_logits(self.model, self.data_collator, parts)
        logits: list[Any] = [None] * len(self.dev.labels)
        for process, part in enumerate(gather_object([mine])):
            logits[process::processes] = part
        return logit_rows(logits, self.dev.labels)


def label_of(example: Example) -> Any:
    """The label, of an example that has one."""
    assert example.label is not None
    return example.label
