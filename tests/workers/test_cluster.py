"""Work spread over the node processes of a real Ray cluster, and workers that die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from dnazen import cli
from dnazen.errors import ConfigError, DnazenError, InputError
from dnazen.tokens.corpus import ARRAYS
from dnazen.workers import cluster
from dnazen.workers.cluster import Workers, by_name, connected, spread

ray = pytest.importorskip("ray", reason="the extra 'ray' is not installed")

# Ray's own sockets and deprecation notes are not ours to mend.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning")


def square(number):
    return number * number, os.getpid()


def fatal_once(folder, function, item):
    """Kill the worker that first meets this function; the second try works."""
    mark = Path(folder) / getattr(function, "func", function).__name__
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return function(item)


def fatal(_):
    os.kill(os.getpid(), signal.SIGKILL)


def picky(number):
    if number == 3:
        raise InputError("is broken", path="a.fa", line=3, fix="mend it")
    return number


def node_of(_):
    time.sleep(0.2)  # what takes no time at all may be done by one node before another is asked
    return ray.get_runtime_context().get_node_id()


@pytest.fixture(scope="module")
def address():
    """A head and two more nodes, each a process of its own with one processor, on the loopback."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    tests = str(Path(__file__).parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join([tests, os.environ.get("PYTHONPATH", "")])
    node = {
        "num_cpus": 1,
        "object_store_memory": 100 << 20,
        "node_ip_address": "127.0.0.2",  # for 127.0.0.1 Ray would put the machine's own address
        "include_dashboard": False,
    }
    many = Cluster(initialize_head=True, head_node_args=node)
    node.pop("include_dashboard")
    for _ in range(2):
        many.add_node(**node)
    assert many.address.startswith("127.0.0.2:")
    with connected(many.address):
        yield many.address
    many.shutdown()


def test_results_come_in_order_from_several_nodes(address):
    found = list(spread(square, range(20), address))
    assert [number for number, _ in found] == [n * n for n in range(20)]
    assert os.getpid() not in {pid for _, pid in found}
    assert len(set(spread(node_of, range(40), address))) > 1
    assert (Workers(ray=address).together, Workers(ray=address).beside) == (3, 1)


def test_items_are_drawn_as_they_are_needed(address):
    drawn = []

    def endless():
        while True:
            drawn.append(len(drawn))
            yield drawn[-1]

    results = spread(square, endless(), address)
    assert next(results)[0] == 0
    assert len(drawn) <= cluster.TASKS_A_CPU * 3
    results.close()


def test_a_killed_worker_costs_a_retry_and_nothing_else(address, tmp_path):
    found = spread(partial(fatal_once, tmp_path, square), range(4), address)
    assert [number for number, _ in found] == [0, 1, 4, 9]
    assert [mark.name for mark in tmp_path.iterdir()] == ["square"]


def test_an_item_that_always_kills_is_told(address, monkeypatch):
    monkeypatch.setattr(cluster, "RETRIES", 1)
    with pytest.raises(DnazenError, match="died 2 times over one item"):
        list(spread(fatal, [1], address))


def test_what_the_function_raises_is_raised_here(address):
    results = spread(picky, range(6), address)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match=r"^a\.fa:3: is broken; mend it$"):
        list(results)


def test_a_corpus_and_its_ggrams_are_the_same_bytes_though_workers_die(
    address, ground, tmp_path, monkeypatch
):
    """Both commands, a worker of every pass killed at its work, against a run without cluster."""

    def killing(function, items, where):
        return spread(partial(fatal_once, tmp_path / "marks", function), items, where)

    (tmp_path / "marks").mkdir()
    monkeypatch.chdir(tmp_path)
    build = ["corpus", "build", str(ground.genome), "--tokenizer", str(ground.tokenizer)]
    build += ["--window-bp", "200"]
    mine = ["ggrams", "mine", "corpus", "--min-pmi", "0.5", "--min-count", "2"]
    for folder, more in (("alone", []), ("spread", ["--ray", address])):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        if more:
            monkeypatch.setattr(cluster, "spread", killing)
        assert cli.main([*build, "-o", "corpus", *more]) == 0
        assert cli.main([*mine, "-o", "ggrams.tsv", *more]) == 0
    for name in (*(f"corpus/{array}.npy" for array in ARRAYS), "ggrams.tsv"):
        assert (tmp_path / "spread" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    passes = {"_tokens_and_pairs", "_strong_of_rows", "_part", "_occurrences", "tokenise_windows"}
    assert {mark.name for mark in (tmp_path / "marks").iterdir()} == passes
    assert (tmp_path / "alone" / "ggrams.tsv").read_text().count("\n") > 100


def test_no_ray_is_told_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    cluster._ray.cache_clear()
    with pytest.raises(ConfigError, match=r"not installed; run: pip install 'dnazen\[ray\]'"):
        list(spread(square, [1], "local"))
    cluster._ray.cache_clear()


def test_no_cluster_is_told_at_once():
    script = "from dnazen.workers.cluster import spread; list(spread(len, ['a'], '127.0.0.1:1'))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "ConfigError: no Ray cluster answers at '127.0.0.1:1'" in done.stderr


def test_threads_are_workers_too():
    for workers in (Workers(), Workers(threads=3)):
        assert [number for number, _ in workers.map(square, range(5))] == [0, 1, 4, 9, 16]
        assert workers.together == workers.beside == workers.threads


def test_mapped_arrays_travel_by_name(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(10))
    whole = np.load(tmp_path / "a.npy", mmap_mode="r")
    for array, named in ((whole, True), (whole[2:5], False), (np.arange(3), False)):
        again = by_name(array)
        assert (again.func is np.memmap) == named
        assert again().tolist() == array.tolist()
