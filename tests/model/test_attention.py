"""Attention and ALiBi against sums spelt out for one query, key and head at a time."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention.flex_attention import BlockMask

import dnazen.model.packing
from dnazen.model.attention import alibi_slopes, attend, plan_attention
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


IMPLEMENTATIONS = ["sdpa", "eager", "flex_attention"]

# Without a GPU, FlexAttention's reference implementation runs and says that it is slow; the tracer
# that brings it there looks at gradients that are not there.
pytestmark = [
    pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]


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


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("lengths", [[4, 4], [1], [5, 2, 3], [1, 6]])
@pytest.mark.parametrize("with_slopes", [True, False])
def test_attention_is_the_sum_spelt_out(implementation, lengths, with_slopes):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, sum(lengths), 3, 4, dtype=torch.float64)
    slopes = alibi_slopes(3).double() if with_slopes else None
    layout = layout_of_offsets(torch.tensor([0, *lengths]).cumsum(0))
    rows, probabilities = spelt_out(query, key, value, lengths, slopes)
    for wanted in (False, True):
        plan = plan_attention(
            layout,
            slopes,
            query.flatten(1),
            implementation=implementation,
            probabilities=wanted,
        )
        assert (plan.mask is not None) == (implementation == "flex_attention" and not wanted)
        found = attend(query, key, value, plan)
        torch.testing.assert_close(found.rows, rows)
        assert (found.probabilities is not None) == wanted
    for sequence, length in enumerate(lengths):
        torch.testing.assert_close(
            found.probabilities[sequence, :, :length], probabilities[sequence, :, :length]
        )


def test_gradients_of_the_implementations_agree_in_both_precisions(flex_goes_backward):
    layout = layout_of_offsets(torch.tensor([0, 7, 10]))
    grads = {}
    for dtype in (torch.float32, torch.bfloat16):
        for implementation in IMPLEMENTATIONS:
            torch.manual_seed(1)
            query, key, value = torch.randn(3, 10, 2, 8).to(dtype)
            plan = plan_attention(
                layout, alibi_slopes(2), query.flatten(1), implementation=implementation
            )
            leaf = [x.detach().requires_grad_() for x in (query, key, value)]
            rows = attend(*leaf, plan).rows
            rows.float().square().sum().backward()
            grads[dtype, implementation] = torch.stack([x.grad.float() for x in leaf])
    exact = grads[torch.float32, "sdpa"]
    for implementation in IMPLEMENTATIONS:
        torch.testing.assert_close(grads[torch.float32, implementation], exact)
        torch.testing.assert_close(
            grads[torch.bfloat16, implementation], exact, atol=0.1, rtol=0.05
        )


def test_dropout_hides_probabilities_and_keeps_their_mean():
    torch.manual_seed(0)
    layout = layout_of_offsets(torch.tensor([0, 50]))
    query, key = torch.zeros(2, 50, 4, 8)
    value = torch.ones(50, 4, 8)
    for implementation in IMPLEMENTATIONS:
        plan = plan_attention(
            layout, None, query.flatten(1), dropout_p=0.5, implementation=implementation
        )
        rows = attend(query, key, value, plan).rows
        assert rows.std() > 0.05
        assert abs(float(rows.mean()) - 1) < 0.1


# -- packing


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.sampled_from([2, 4]))
def test_the_blocks_of_a_packing_hold_what_may_meet_and_little_else(lengths, block):
    if not sum(lengths):
        return
    layout = layout_of_offsets(torch.tensor([0, *lengths]).cumsum(0))
    owner = [n for n, length in enumerate(lengths) for _ in range(length)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dnazen.model.packing, "BLOCK", block)
        mask, position = dnazen.model.packing.document_mask(layout, torch.device("cpu"))
    assert position.tolist() == [i for length in lengths for i in range(length)]

    rows = len(owner)
    blocks = -(-rows // block)
    whole = BlockMask.from_kv_blocks(
        mask.full_kv_num_blocks, mask.full_kv_indices, BLOCK_SIZE=block
    ).to_dense()[0, 0]
    partial = BlockMask.from_kv_blocks(
        mask.kv_num_blocks, mask.kv_indices, BLOCK_SIZE=block
    ).to_dense()[0, 0]
    for a in range(blocks):
        for b in range(blocks):
            pairs = [
                i < rows and j < rows and owner[i] == owner[j]
                for i in range(a * block, (a + 1) * block)
                for j in range(b * block, (b + 1) * block)
            ]
            assert bool(whole[a, b]) == all(pairs)
            assert bool(partial[a, b]) == (any(pairs) and not all(pairs))
    seen = mask.mask_mod(None, None, torch.arange(rows)[:, None], torch.arange(rows))
    assert seen.tolist() == [[a == b for b in owner] for a in owner]


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
