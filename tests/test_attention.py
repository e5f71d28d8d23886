"""Attention and ALiBi against sums spelt out for one query, key and head at a time."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen.model.attention import alibi_slopes, attend, attention_bias
from dnazen.model.layout import layout_of_mask, layout_of_offsets

# Worked by hand from the ALiBi paper: powers of one ratio, then every other one of twice the heads.
SLOPES = {
    1: [2**-8],
    2: [2**-4, 2**-8],
    8: [2**-1, 2**-2, 2**-3, 2**-4, 2**-5, 2**-6, 2**-7, 2**-8],
    12: [
        *(2**-1, 2**-2, 2**-3, 2**-4, 2**-5, 2**-6, 2**-7, 2**-8),
        *(0.7071067811865476, 0.35355339059327379, 0.17677669529663689, 0.088388347648318447),
    ],
    16: [
        *(0.7071067811865476, 0.5, 0.35355339059327379, 0.25, 0.17677669529663689, 0.125),
        *(0.088388347648318447, 0.0625, 0.044194173824159223, 0.03125, 0.022097086912079612),
        *(0.015625, 0.011048543456039806, 0.0078125, 0.005524271728019903, 0.00390625),
    ],
}


@pytest.mark.parametrize("heads", SLOPES)
def test_slopes_are_those_of_the_paper(heads):
    torch.testing.assert_close(
        alibi_slopes(heads), torch.tensor(SLOPES[heads]), rtol=1e-7, atol=0.0
    )


@pytest.mark.parametrize("heads", range(1, 33))
def test_every_head_has_a_slope_of_its_own(heads):
    slopes = alibi_slopes(heads).tolist()
    assert len(set(slopes)) == heads
    assert all(0 < slope < 1 for slope in slopes)


def spelt_out(query, key, value, lengths, slopes):
    """Mixed rows and probabilities of sequences of these lengths, number by number."""
    heads, size = query.shape[1:]
    width = max(lengths)
    mixed = torch.zeros_like(query)
    probabilities = torch.zeros(len(lengths), heads, width, width, dtype=query.dtype)
    first = 0
    for sequence, length in enumerate(lengths):
        for head in range(heads):
            for i in range(length):
                logits = []
                for j in range(length):
                    product = sum(
                        float(query[first + i, head, d]) * float(key[first + j, head, d])
                        for d in range(size)
                    )
                    slope = 0.0 if slopes is None else float(slopes[head])
                    logits.append(product / math.sqrt(size) - slope * abs(i - j))
                total = sum(math.exp(x) for x in logits)
                for j in range(length):
                    p = math.exp(logits[j]) / total
                    probabilities[sequence, head, i, j] = p
                    mixed[first + i, head] += p * value[first + j, head]
        first += length
    return mixed.flatten(1), probabilities


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("lengths", [[4, 4], [1], [5, 2, 3], [1, 6]])
@pytest.mark.parametrize("with_slopes", [True, False])
def test_attention_is_the_sum_spelt_out(implementation, lengths, with_slopes):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, sum(lengths), 3, 4, dtype=torch.float64)
    slopes = alibi_slopes(3).double() if with_slopes else None
    layout = layout_of_offsets(torch.tensor([0, *lengths]).cumsum(0))
    bias = attention_bias(layout, slopes, torch.float64, query.device)
    rows, probabilities = spelt_out(query, key, value, lengths, slopes)
    for wanted in (False, True):
        found = attend(
            query, key, value, layout, bias, implementation=implementation, probabilities=wanted
        )
        torch.testing.assert_close(found.rows, rows)
        assert (found.probabilities is not None) == wanted
    for sequence, length in enumerate(lengths):
        torch.testing.assert_close(
            found.probabilities[sequence, :, :length], probabilities[sequence, :, :length]
        )


def test_gradients_of_the_implementations_agree_in_both_precisions():
    torch.manual_seed(0)
    layout = layout_of_offsets(torch.tensor([0, 7, 10]))
    grads = {}
    for dtype in (torch.float32, torch.bfloat16):
        for implementation in ("sdpa", "eager"):
            torch.manual_seed(1)
            query, key, value = torch.randn(3, 10, 2, 8).to(dtype)
            bias = attention_bias(layout, alibi_slopes(2), dtype, query.device)
            leaf = [x.detach().requires_grad_() for x in (query, key, value)]
            rows = attend(*leaf, layout, bias, implementation=implementation).rows
            rows.float().square().sum().backward()
            grads[dtype, implementation] = torch.stack([x.grad.float() for x in leaf])
    exact = grads[torch.float32, "sdpa"]
    torch.testing.assert_close(grads[torch.float32, "eager"], exact)
    for implementation in ("sdpa", "eager"):
        torch.testing.assert_close(
            grads[torch.bfloat16, implementation], exact, atol=0.1, rtol=0.05
        )


def test_dropout_hides_probabilities_and_keeps_their_mean():
    torch.manual_seed(0)
    layout = layout_of_offsets(torch.tensor([0, 50]))
    query, key = torch.zeros(2, 50, 4, 8)
    value = torch.ones(50, 4, 8)
    for implementation in ("sdpa", "eager"):
        rows = attend(
            query, key, value, layout, None, dropout_p=0.5, implementation=implementation
        ).rows
        assert rows.std() > 0.05
        assert abs(float(rows.mean()) - 1) < 0.1


lengths_ = st.lists(st.integers(0, 6), min_size=1, max_size=5)


@settings(deadline=None)
@given(lengths_)
def test_layouts_box_and_flatten_without_loss(lengths):
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    layout = layout_of_offsets(offsets)
    rows = torch.arange(2.0 * sum(lengths)).view(-1, 2) + 1
    box = layout.box(rows)
    kept = [n for n in lengths if n]
    assert box.shape == (len(kept), max(kept, default=0), 2)
    assert torch.equal(layout.flat(box), rows)
    for line, (start, length) in zip(
        box, [(int(s), n) for s, n in zip(offsets, lengths, strict=False) if n], strict=True
    ):
        assert torch.equal(line[:length], rows[start : start + length])
        assert not line[length:].any()


@settings(deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=4))
def test_a_mask_may_have_holes_anywhere(mask):
    present = torch.tensor(mask)
    layout = layout_of_mask(present.long())
    cells = [i for i, here in enumerate(present.flatten().tolist()) if here]
    values = torch.randn(len(mask), 4, 3)
    flat = layout.flat(values)
    assert torch.equal(flat, values.view(-1, 3)[cells])
    assert torch.equal(layout.box(flat), values * present[..., None])
    assert layout.rows_at(torch.tensor(cells, dtype=torch.long)).tolist() == list(range(len(cells)))
