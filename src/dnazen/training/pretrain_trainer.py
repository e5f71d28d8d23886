"""The trainer of pre-training: batches by a plan, and scores on what is held out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerControl

from ..ggrams.masking import NO_LABEL
from ..inference.loop import run
from ..model.batches import Collator, Example
from .batch_plan import BatchPlan, ExampleKey


class PretrainTrainer(Trainer):
    """Hugging Face's Trainer on our batch plan, with a masked-LM evaluation in constant memory."""

    def __init__(
        self,
        *,
        plan: BatchPlan,
        tokens_per_batch: int,
        heldout_collator: Collator,
        bases: Int[np.ndarray, "vocabulary"],
        repeat_weight: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.tokens_per_batch = tokens_per_batch
        self.heldout_collator = heldout_collator
        self.bases = torch.from_numpy(bases)
        self.repeat_weight = repeat_weight
        self._trained_tokens: Tensor | int = 0

    def training_step(self, model: nn.Module, inputs: dict[str, Tensor], *rest: Any) -> Tensor:
        """Train on a batch, and count its tokens."""
        self._trained_tokens = self._trained_tokens + inputs["attention_mask"].sum()
        loss: Tensor = super().training_step(model, inputs, *rest)
        return loss

    def trained_tokens(self) -> int:
        """Tokens that this process was trained on, padding left out; waits for the device."""
        return int(self._trained_tokens)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The batch plan, dealt out to the processes of a distributed run."""
        loader = DataLoader(
            self.train_dataset,
            batch_sampler=self.plan,
            collate_fn=self.data_collator,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory,
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Tensor], *args: Any, **kwargs: Any
    ) -> Any:
        """The loss of a batch, in which tokens of repeats count as little as asked."""
        repeat = inputs.pop("repeat", None)
        if repeat is not None and self.repeat_weight != 1:
            inputs["label_weights"] = 1 - (1 - self.repeat_weight) * repeat
        return super().compute_loss(model, inputs, *args, **kwargs)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Held-out loss (nats a predicted token), accuracy, and bits per base of those tokens.

        The loss is also told apart for tokens of repeats and the others, where there are both.
        Masks are the same at every evaluation, and no random number is drawn from the training's
        streams. With G-grams, also the spread of their last states: the root mean squared distance
        from their mean, as a fraction of their root mean squared length (Decided here). Near 0 all
        G-grams have one state, and only mark what they cover.
        """
        model = self.model
        # Of repeats and of others: nats, correct, predicted tokens, bases.
        sums = torch.zeros(2, 4, dtype=torch.float64)
        states = torch.zeros(2 + model.config.hidden_size, dtype=torch.float64)

        def add_up(batch: dict[str, Tensor], examples: Sequence[Example]) -> list[None]:
            labels = batch.pop("labels").flatten()
            repeat = batch.pop("repeat", torch.zeros_like(labels)).flatten()
            cells = (labels != NO_LABEL).nonzero().squeeze(1)
            output = model.dnazen(**batch, wanted=cells)
            logits, truth = model.head(output.last_hidden_state).float(), labels[cells]
            each = torch.stack(
                [
                    cross_entropy(logits, truth, reduction="none").cpu().double(),
                    (logits.argmax(-1) == truth).cpu().double(),
                    torch.ones(len(truth), dtype=torch.float64),
                    self.bases[truth.cpu()].double(),
                ],
                dim=1,
            )
            sums.index_add_(0, repeat[cells].cpu(), each)
            if output.ggram_hidden_state is not None:
                states.add_(_sums_of_states(output.ggram_hidden_state))
            return [None] * len(examples)

        with self.compute_loss_context_manager():  # the arithmetic of the training
            for _done in run(
                model,
                self.heldout_collator,
                self._heldout_examples(),
                add_up,
                tokens_per_batch=self.tokens_per_batch,
            ):
                pass
        # As objects, since not every device has 64 bits.
        others, repeats = sum(gather_object([sums.numpy()])).tolist()
        nats, correct, predicted, bases = map(sum, zip(others, repeats, strict=True))
        metrics = {
            "eval_loss": nats / predicted,
            "eval_accuracy": correct / predicted,
            "eval_bits_per_bp": nats / math.log(2) / bases,
            "eval_predicted_tokens": predicted,
        }
        if others[2] and repeats[2]:
            metrics["eval_loss_repeats"] = repeats[0] / repeats[2]
            metrics["eval_loss_others"] = others[0] / others[2]
        ggrams, squares, *total = sum(gather_object([states.numpy()])).tolist()
        if ggrams:
            metrics["eval_ggram_spread"] = _spread(ggrams, squares, total)
        self.log(dict(metrics))  # which adds the pass it is in
        self.control: TrainerControl = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def _heldout_examples(self) -> Iterator[Example]:
        """This process' part of the held-out examples."""
        for number in range(self.args.process_index, len(self.eval_dataset), self.args.world_size):
            yield self.eval_dataset[ExampleKey(0, number)]


def _sums_of_states(states: Float[Tensor, "slots hidden"]) -> Float64[Tensor, "2+hidden"]:
    """How many, the sum of their squared lengths, and their sum."""
    exact = states.double().cpu()
    counts = torch.tensor([len(exact), exact.square().sum()], dtype=torch.float64)
    return torch.cat([counts, exact.sum(0)])


def _spread(ggrams: float, squares: float, total: list[float]) -> float:
    """Distance of states from their mean (root mean square) over their length (likewise)."""
    return math.sqrt(max(0.0, 1 - math.fsum(x * x for x in total) / (ggrams * squares)))
