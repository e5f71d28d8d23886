"""Pure functions over many workers: the threads of this process, or a Ray cluster (extra ``ray``).

Results come in the order of the items, so whoever does the work, the outcome is the same. On a
cluster every machine has the same dnazen and sees the same files under the same paths; what a
function is given travels once to each machine, mapped arrays by their file's name.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from mmap import mmap
from typing import Any, TypeVar

import numpy as np

from ..errors import ConfigError, DnazenError

Item = TypeVar("Item")
Result = TypeVar("Result")

LOCAL = "local"
"""The address that stands for a cluster of this machine alone, started for the job."""

TASKS_A_CPU = 2
"""Items sent out and not yet taken back, for each processor: one at work, one waiting."""
RETRIES = 5
"""How often an item is begun anew when its worker dies; then its machine is to blame."""


@dataclass(frozen=True)
class Workers:
    """Who runs the parts of a job."""

    threads: int = 1
    """Threads of this process, where there is no cluster."""
    ray: str | None = None
    """Address of a Ray cluster, or ``local``; None: threads."""
    memory_gb: float = 1.0
    """What the parts at work on one machine may use, for those that can do with less."""

    def share(self, a_gigabyte: int) -> int:
        """What one part may use of something that there is so much of in a gigabyte."""
        return int(a_gigabyte * self.memory_gb) // self.beside

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield ``function(item)`` for each item, in their order."""
        if self.ray is not None:
            yield from spread(function, items, self.ray)
        elif self.threads == 1:
            yield from map(function, items)
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                yield from pool.map(function, items)

    @property
    def together(self) -> int:
        """Items at work at the same time."""
        return self.threads if self.ray is None else sum(_cpus(self.ray))

    @property
    def beside(self) -> int:
        """Items at work at the same time on one machine, which share its memory."""
        return self.threads if self.ray is None else max(_cpus(self.ray))


def spread(
    function: Callable[[Item], Result], items: Iterable[Item], address: str
) -> Iterator[Result]:
    """Yield ``function(item)`` for each item, in their order, worked out on a Ray cluster.

    Items are drawn as processors fall free, so there may be any number. A worker that dies costs
    its item another try and nothing else. What ``function`` raises is raised here.

    Parameters
    ----------
    function
        A pure function; it, the items and the results are pickled.
    address
        ``host:port`` of a cluster, or ``local`` for one of this machine. A cluster that this
        process is connected to already (``connected``) is used whatever the address.

    Raises
    ------
    ConfigError
        If Ray is not installed, or no cluster answers.
    DnazenError
        If an item's worker dies every time.
    """
    with connected(address):
        ray = _ray()
        remote = ray.remote(_call).options(num_cpus=1, max_retries=RETRIES)
        shared = ray.put(function)
        most = TASKS_A_CPU * sum(_cpus(address))
        out: deque[Any] = deque()
        try:
            for item in items:
                out.append(remote.remote(shared, item))
                if len(out) >= most:
                    yield _result(ray, out.popleft())
            while out:
                yield _result(ray, out.popleft())
        finally:
            for reference in out:
                ray.cancel(reference, force=True)


@contextlib.contextmanager
def connected(address: str | None) -> Iterator[None]:
    """Stay connected to a cluster for several calls of ``spread``; None connects to none."""
    if address is None or _ray().is_initialized():
        yield
        return
    ray = _ray()
    _knock(address)
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "configure_logging": True}
    if address == LOCAL:
        quiet |= {"include_dashboard": False}
    host = "127.0.0.1" if address == LOCAL else address.rpartition(":")[0]
    if host.startswith("127."):  # nodes of the loopback know this machine by no other name
        quiet |= {"_node_ip_address": host}
    try:
        ray.init(address=address, **quiet)
    except Exception as error:  # a bare ConnectionError, RuntimeError or ValueError, by version
        raise _no_answer(address, error) from None
    try:
        yield
    finally:
        ray.shutdown()


def by_name(array: np.ndarray) -> Callable[[], np.ndarray]:
    """How another process comes by an array: a mapped file is mapped anew, others are copied."""
    if isinstance(array, np.memmap) and isinstance(array.base, mmap) and array.filename:
        return partial(
            np.memmap,
            os.path.abspath(array.filename),
            dtype=array.dtype,
            mode="r",
            offset=array.offset,
            shape=array.shape,
        )
    return partial(np.asarray, array)


def _knock(address: str) -> None:
    """Raise at once where nobody listens; Ray itself would try for many minutes."""
    host, _, port = address.rpartition(":")
    if host and "/" not in host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise _no_answer(address, error) from None


def _no_answer(address: str, error: Exception) -> ConfigError:
    reason = " ".join(str(error).split())[:200]
    return ConfigError(
        f"no Ray cluster answers at {address!r} ({reason}); expected 'local', or HOST:PORT as "
        "'ray start --head' prints it"
    )


@cache
def _ray() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent home
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise ConfigError(
            "--ray needs Ray, which is not installed; run: pip install 'dnazen[ray]'"
        ) from None
    return ray


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    """Run one item, in a worker process that has one processor."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    return function(item)


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        reason = " ".join(str(error).split())[:200]
        raise DnazenError(
            f"a worker of the Ray cluster died {RETRIES + 1} times over one item ({reason}); "
            "is its machine short of memory?"
        ) from None


def _cpus(address: str) -> list[int]:
    """Processors of each machine of the cluster."""
    with connected(address):
        alive = [node["Resources"] for node in _ray().nodes() if node["Alive"]]
    return [int(resources["CPU"]) for resources in alive if resources.get("CPU")] or [1]
