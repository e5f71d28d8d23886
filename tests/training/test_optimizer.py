"""Row-wise AdamW against PyTorch's dense AdamW, on all rows and row by row."""

from __future__ import annotations

import copy
import multiprocessing
import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dnazen.model.rows import RowEmbedding, RowGradient
from dnazen.training.optimizer import RowwiseAdamW, mean_over_processes

ROWS, HIDDEN = 6, 3
OPTIONS = {"lr": 0.05, "betas": (0.8, 0.9), "eps": 1e-6, "weight_decay": 0.1}


def table_and_linear(seed=0):
    torch.manual_seed(seed)
    return RowEmbedding(ROWS, HIDDEN, padding_idx=0), torch.nn.Linear(HIDDEN, 1)


def loss_of(table, linear, rows):
    weights = torch.arange(1.0, len(rows) + 1)
    return (linear(table(torch.tensor(rows))).squeeze(1) * weights).tanh().sum()


def test_with_every_row_touched_it_is_dense_adamw():
    table, linear = table_and_linear()
    dense_table, dense_linear = table_and_linear()
    rowwise = RowwiseAdamW(linear.parameters(), table, max_grad_norm=0.5, **OPTIONS)
    dense = torch.optim.AdamW([*dense_linear.parameters(), dense_table.weight], **OPTIONS)
    rng = torch.Generator().manual_seed(1)
    for _ in range(20):
        rows = [*range(1, ROWS), *torch.randint(0, ROWS, (4,), generator=rng).tolist()]
        loss_of(table, linear, rows).backward()
        loss_of(dense_table, dense_linear, rows).backward()
        torch.nn.utils.clip_grad_norm_([*dense_linear.parameters(), dense_table.weight], 0.5)
        rowwise.step()
        dense.step()
        rowwise.zero_grad()
        dense.zero_grad()
    # The padding's row gets no gradient, but dense AdamW decays it.
    torch.testing.assert_close(table.weight[1:], dense_table.weight[1:])
    torch.testing.assert_close(linear.weight, dense_linear.weight)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(1, ROWS - 1), max_size=4), min_size=1, max_size=8))
def test_each_row_moves_as_if_only_its_own_steps_had_been_taken(steps):
    table, linear = table_and_linear()
    start = table.weight.detach().clone()
    optimizer = RowwiseAdamW(linear.parameters(), table, **OPTIONS)
    gradients: dict[int, list[tuple[float, torch.Tensor]]] = {}
    for number, rows in enumerate(steps):
        rate = 0.05 / (number + 1)
        for group in optimizer.param_groups:
            group["lr"] = rate
        if rows:
            twin = table.weight.detach().clone().requires_grad_()
            weights = torch.arange(1.0, len(rows) + 1)
            outputs = (twin[rows] @ linear.weight.T + linear.bias).squeeze(1)
            (gradient,) = torch.autograd.grad((outputs * weights).tanh().sum(), twin)
            for row in set(rows):
                gradients.setdefault(row, []).append((rate, gradient[row]))
            loss_of(table, linear, rows).backward()
        optimizer.step()
        optimizer.zero_grad()
    for row in range(ROWS):
        alone = start[row].clone().requires_grad_()
        dense = torch.optim.AdamW([alone], **OPTIONS)
        for rate, gradient in gradients.get(row, []):
            dense.param_groups[0]["lr"] = rate
            alone.grad = gradient
            dense.step()
        torch.testing.assert_close(table.weight[row], alone)
        if row not in gradients:
            assert torch.equal(table.weight[row], start[row])


def test_the_table_may_have_a_learning_rate_of_its_own():
    table, linear = table_and_linear()
    dense_table, dense_linear = table_and_linear()
    rowwise = RowwiseAdamW(linear.parameters(), table, table_lr=0.3, **OPTIONS)
    groups = [{"params": dense_linear.parameters()}, {"params": [dense_table.weight], "lr": 0.3}]
    dense = torch.optim.AdamW(groups, **OPTIONS)
    rows = [*range(1, ROWS)]
    loss_of(table, linear, rows).backward()
    loss_of(dense_table, dense_linear, rows).backward()
    rowwise.step()
    dense.step()
    torch.testing.assert_close(table.weight[1:], dense_table.weight[1:])
    torch.testing.assert_close(linear.weight, dense_linear.weight)


def test_gradients_accumulate_over_batches():
    table, linear = table_and_linear()
    RowwiseAdamW(linear.parameters(), table, **OPTIONS)
    dense, dense_linear = table_and_linear()
    for rows in ([2, 3, 2], [3, 0, 5]):
        loss_of(table, linear, rows).backward()
        loss_of(dense, dense_linear, rows).backward()
    assert table.weight.grad is None
    rows, gradient = table.take_gradient()
    assert rows.tolist() == [2, 3, 5]
    torch.testing.assert_close(gradient, dense.weight.grad[[2, 3, 5]])
    assert len(table.take_gradient().rows) == 0


def test_what_is_looked_up_without_gradient_is_not_kept():
    table, linear = table_and_linear()
    RowwiseAdamW(linear.parameters(), table, **OPTIONS)
    with torch.no_grad():
        found = table(torch.tensor([1, 2]))
    assert torch.equal(found, table.weight[[1, 2]])
    loss_of(table, linear, [4])  # never went backward
    assert len(table.take_gradient().rows) == 0


def test_its_state_goes_through_a_checkpoint():
    def trained(steps, optimizer, table, linear):
        for number in steps:
            loss_of(table, linear, [1 + number % 3, 4]).backward()
            optimizer.step()
            optimizer.zero_grad()

    table, linear = table_and_linear()
    optimizer = RowwiseAdamW(linear.parameters(), table, **OPTIONS)
    trained(range(5), optimizer, table, linear)
    other_table, other_linear = table_and_linear(seed=9)
    other = RowwiseAdamW(other_linear.parameters(), other_table, **OPTIONS)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    other_table.load_state_dict(table.state_dict())
    other_linear.load_state_dict(linear.state_dict())
    trained(range(5, 9), optimizer, table, linear)
    trained(range(5, 9), other, other_table, other_linear)
    assert torch.equal(table.weight, other_table.weight)
    assert torch.equal(linear.weight, other_linear.weight)


def one_process(rank, store, results):
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=2
    )
    mine = (
        RowGradient(torch.tensor([1, 4]), torch.tensor([[2.0], [4.0]]))
        if rank
        else RowGradient(torch.tensor([], dtype=torch.long), torch.empty(0, 1))
    )
    alone = mean_over_processes(mine)
    both = mean_over_processes(
        RowGradient(torch.tensor([2, 4 + rank]), torch.tensor([[1.0 + rank], [6.0]]))
    )
    results.put([(g.rows.tolist(), g.gradient.tolist()) for g in (alone, both)])
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_processes_share_the_rows_they_touched(tmp_path):
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [
        context.Process(target=one_process, args=(rank, tmp_path / "store", results))
        for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    found = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert found[0] == found[1]
    assert found[0] == [
        ([1, 4], [[1.0], [2.0]]),
        ([2, 4, 5], [[1.5], [3.0], [3.0]]),
    ]
