"""Dropout from random bytes: its law, its gradient, and GEGLU with it against plain PyTorch."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import gelu

from dnazen.model.dropout import Dropout, GatedGelu


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_elements_are_dropped_at_the_rate_wherever_they_stand(p):
    torch.manual_seed(0)
    size = 1 << 16
    out = Dropout(p)(torch.ones(8 * size + 3))
    rate = round(p * 256) / 256
    values = sorted(set(out.tolist()))
    assert values == [0.0, pytest.approx(1 / (1 - rate))]
    # The eight bytes of a random word drop alike and independently of each other.
    lanes = (out[: 8 * size].view(size, 8) == 0).double()
    bound = 6 * (rate * (1 - rate) / size) ** 0.5
    assert (lanes.mean(0) - rate).abs().max() < bound
    together = (lanes.T @ lanes) / size
    off_diagonal = ~torch.eye(8, dtype=torch.bool)
    assert (together - rate**2)[off_diagonal].abs().max() < bound


def test_the_gradient_goes_where_the_value_went():
    torch.manual_seed(1)
    x = torch.randn(40, 7, dtype=torch.float64, requires_grad=True)
    out = Dropout(0.3)(x)
    weights = torch.randn_like(out)
    (out * weights).sum().backward()
    torch.testing.assert_close(x.grad, weights * (out / x).detach())


def test_outside_training_nothing_is_dropped():
    x = torch.randn(3, 4)
    assert Dropout(0.9).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_the_same_seed_drops_the_same():
    x = torch.ones(1000)
    torch.manual_seed(5)
    first = Dropout(0.2)(x)
    second = Dropout(0.2)(x)
    torch.manual_seed(5)
    assert torch.equal(Dropout(0.2)(x), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_gated_gelu_without_dropout_is_the_product(dtype):
    torch.manual_seed(2)
    x = torch.randn(9, 14, dtype=dtype, requires_grad=True)
    twin = x.detach().clone().requires_grad_()
    out = GatedGelu(0.5).eval()(x)
    gate, linear = twin.chunk(2, dim=1)
    expected = gelu(gate) * linear
    assert torch.equal(out, expected)
    weights = torch.randn_like(out)
    (out * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(x.grad, twin.grad)


def test_gated_gelu_drops_after_the_product():
    torch.manual_seed(3)
    x = torch.randn(50, 20, dtype=torch.float64, requires_grad=True)
    twin = x.detach().clone().requires_grad_()
    out = GatedGelu(0.4)(x)
    gate, linear = twin.chunk(2, dim=1)
    product = gelu(gate) * linear
    factor = (out / product).detach()
    scale = 256 / (256 - round(0.4 * 256))
    assert sorted({round(f, 9) for f in factor.flatten().tolist()}) == [0.0, round(scale, 9)]
    weights = torch.randn_like(out)
    (out * weights).sum().backward()
    (product * factor * weights).sum().backward()
    torch.testing.assert_close(x.grad, twin.grad)
