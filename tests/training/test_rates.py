"""The learning rate found by trials: a table of losses in place of the trainings."""

from __future__ import annotations

import math

import pytest

from dnazen.training.rates import TRIAL_STEPS, choose_rate, rates_for
from dnazen.training.settings import FinetuneConfig, LoraConfig

RATES = (1e-4, 3e-4, 9e-4)
LONG = 4 * TRIAL_STEPS


def chosen(*losses, steps=LONG):
    return choose_rate(RATES, steps, dict(zip(RATES, losses, strict=True)).__getitem__)


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ((0.3, 0.2, 0.4), 1),
        ((0.1, 0.2, 0.4), 0),
        ((0.3, 0.2, 0.1), 2),
        ((0.2, 0.2, 0.2), 0),  # the lowest of equals
        ((0.6, math.nan, 0.5), 2),
        ((0.6, math.nan, math.nan), 0),
        ((math.nan, 5.0, math.inf), 1),
    ],
)
def test_it_is_the_rate_of_the_lowest_dev_loss(losses, best):
    choice = chosen(*losses)
    assert choice.learning_rate == RATES[best]
    assert list(choice.losses) == list(RATES)


def test_all_is_tried_before_anything_is_chosen():
    tried = []
    choose_rate(RATES, LONG, lambda rate: tried.append(rate) or 1.0)
    assert tried == list(RATES)


def test_a_training_too_short_for_trials_has_the_rate_in_the_middle():
    def trial(_):
        raise AssertionError("nothing is tried")

    choice = choose_rate(RATES, LONG - 1, trial)
    assert choice == (RATES[1], {})
    assert choice.sentence() == (
        "learning rate 0.0003, by the size of the model: the training is too short to try others"
    )


def test_the_choice_is_told_with_what_was_tried():
    assert chosen(0.3, 0.2, math.nan).sentence() == (
        "learning rate 0.0003, of the lowest dev loss after 150 steps "
        "(0.0001: 0.3000, 0.0003: 0.2000, 0.0009: nan)"
    )


@pytest.mark.parametrize(
    ("width", "settings", "middle"),
    [
        (64, {}, 1e-3),
        (128, {}, 1e-3),
        (256, {}, 5e-4),
        (768, {}, 1e-3 / 6),
        (768, {"lora": LoraConfig(rank=4)}, 1e-3 / 2),
    ],
)
def test_wider_models_are_tried_at_lower_rates_and_adapters_at_higher(width, settings, middle):
    rates = rates_for(width, FinetuneConfig(**settings))
    assert rates == pytest.approx((middle / 3, middle, middle * 3))
