"""The base view against bases read one by one; what is beside a sequence changes nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen.model.bases import NONE, UNKNOWN, BaseView, bases_of_tokens, token_base_table
from dnazen.model.layout import layout_of_mask
from dnazen.tokens.special import CLS, MASK, PAD, SEP, UNK

STRINGS = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", "A", "C", "G", "T", "ACG", "TT", "GATTACA"]
TABLE = token_base_table(STRINGS)

sequences = st.lists(st.integers(0, len(STRINGS) - 1).filter(lambda t: t != PAD), max_size=9)


def view_of(channels, hidden_size):
    view = BaseView(TABLE.shape, channels, hidden_size)
    view.table.copy_(TABLE)
    return view


def spelt(tokens):
    """(code, number of the token) of each base of a sequence, token by token."""
    codes = {UNK: [UNKNOWN], MASK: [UNKNOWN], CLS: [], SEP: [], PAD: []}
    return [
        (code, number)
        for number, token in enumerate(tokens)
        for code in codes.get(
            token, ["ACGT".index(base) for base in STRINGS[token] if base in "ACGT"]
        )
    ]


def boxed(batch):
    width = max(map(len, batch))
    ids = torch.tensor([[*tokens, *[PAD] * (width - len(tokens))] for tokens in batch])
    mask = torch.tensor([[1] * len(tokens) + [0] * (width - len(tokens)) for tokens in batch])
    layout = layout_of_mask(mask)
    return layout.flat(ids), layout


def states_of(view, tokens):
    """The states of the bases of one sequence; of one without bases a row of 0."""
    bases = spelt(tokens)
    if not bases:
        return torch.zeros(1, view.second.out_channels)
    seen = torch.zeros(1, 4, len(bases))
    for place, (code, _) in enumerate(bases):
        if code < 4:
            seen[0, code, place] = 1
    return torch.relu(view.second(torch.relu(view.first(seen))))[0].T


def one_by_one(view, tokens):
    """What each token of one sequence gets, by the definition."""
    bases, states = spelt(tokens), states_of(view, tokens)
    rows = []
    for number in range(len(tokens)):
        own = [states[place] for place, (_, owner) in enumerate(bases) if owner == number]
        if own:
            stacked = torch.stack(own)
            rows.append(view.output(torch.cat([stacked.amax(0), stacked.mean(0)])))
        else:
            rows.append(torch.zeros(view.output.out_features))
    return torch.stack(rows)


@settings(deadline=None)
@given(st.lists(sequences.filter(len), min_size=1, max_size=4))
def test_each_token_gets_what_its_bases_say_whatever_is_beside_it(batch):
    torch.manual_seed(0)
    view = view_of(channels=5, hidden_size=3)
    torch.nn.init.normal_(view.output.weight)
    flat, layout = boxed(batch)
    with torch.no_grad():
        added = view.on_tokens(view(flat, layout), len(flat))
        expected = torch.cat([one_by_one(view, tokens) for tokens in batch])
    torch.testing.assert_close(added, expected, rtol=0, atol=1e-5)


@settings(deadline=None)
@given(st.lists(sequences.filter(len), min_size=1, max_size=4))
def test_the_largest_states_are_those_of_each_sequence_alone(batch):
    torch.manual_seed(0)
    view = view_of(channels=5, hidden_size=3)
    flat, layout = boxed(batch)
    with torch.no_grad():
        found = view.largest(view(flat, layout), len(batch))
        expected = torch.stack([states_of(view, tokens).amax(0) for tokens in batch])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@settings(deadline=None)
@given(st.lists(sequences.filter(len), min_size=1, max_size=4))
def test_bases_are_those_of_the_tokens(batch):
    flat, layout = boxed(batch)
    bases = bases_of_tokens(TABLE, flat, layout)
    for row, tokens in zip(bases.codes.tolist(), batch, strict=True):
        codes = [code for code, _ in spelt(tokens)]
        assert row == codes + [NONE] * (len(row) - len(codes))
    assert bases.codes.flatten()[bases.cells].tolist() == [c for t in batch for c, _ in spelt(t)]


def test_a_new_view_adds_nothing():
    flat, layout = boxed([[CLS, 9, 11, SEP]])
    view = view_of(channels=4, hidden_size=6)
    assert not view.on_tokens(view(flat, layout), len(flat)).any()


@pytest.mark.parametrize("hidden", [5, 9, 11])
def test_a_hidden_token_tells_nothing_of_its_bases(hidden):
    seen = []
    for token in (MASK, UNK):
        flat, layout = boxed([[CLS, 7, token, 8, SEP]])
        seen.append(bases_of_tokens(TABLE, flat, layout).codes.tolist())
    assert seen[0] == seen[1] == [[2, UNKNOWN, 3]]
    assert (TABLE[hidden] != NONE).sum() == len(STRINGS[hidden])


def test_gradients_reach_every_weight_once_the_view_has_begun():
    flat, layout = boxed([[CLS, 9, 11, SEP], [CLS, 5, SEP]])
    view = view_of(channels=4, hidden_size=6)
    torch.nn.init.normal_(view.output.weight)
    view.on_tokens(view(flat, layout), len(flat)).square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in view.parameters())
