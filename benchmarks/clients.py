"""Clients that ask one question after the other, and how long each answer took."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

Ask = Callable[[int], object]  # the number of the query


@dataclass(frozen=True, kw_only=True, slots=True)
class Latencies:
    """`ms` has one entry per answer."""

    ms: Sequence[float]
    seconds: float

    def percentile(self, percent: float) -> float:
        return float(np.percentile(self.ms, percent))

    @property
    def per_second(self) -> float:
        return len(self.ms) / self.seconds


def ask_from_clients(ask: Ask, *, clients: int, queries: int, at_most_s: float) -> Latencies:
    """Let threads of this process ask `queries` questions in all, each its own share of them.

    Args:
        at_most_s: no question is asked after this long; at least one of each client is.
    """
    deadline = time.perf_counter() + at_most_s
    together = threading.Barrier(clients)

    def ask_share(client: int) -> list[float]:
        together.wait(60)
        ms: list[float] = []
        for number in range(client, queries, clients):
            started = time.perf_counter()
            if ms and started > deadline:
                break
            ask(number)
            ms.append(1000 * (time.perf_counter() - started))
        return ms

    started = time.perf_counter()
    with ThreadPoolExecutor(clients, thread_name_prefix="client") as pool:
        shares = list(pool.map(ask_share, range(clients)))
    return Latencies(ms=[ms for share in shares for ms in share], seconds=time.perf_counter() - started)
