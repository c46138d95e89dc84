"""More clients than a service can answer, who ask again at once: what becomes of their questions."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from benchmarks.http_ways import TOO_BUSY

OK = 200


@dataclass(kw_only=True)
class Crowd:
    """`ms` are of those that were answered."""

    ms: list[float] = field(default_factory=list)
    refused: int = 0
    errors: int = 0
    seconds: float = 0.0

    def percentile(self, percent: float) -> float:
        return float(np.percentile(self.ms, percent)) if self.ms else float("inf")


def crowd(
    ask: Callable[[str], tuple[int, bytes]], ids: Sequence[str], *, clients: int, seconds: float
) -> Crowd:
    """Let clients ask for as long as this. Nobody heeds `Retry-After`."""
    deadline = time.perf_counter() + seconds
    together = threading.Barrier(clients)

    def ask_on(client: int) -> Crowd:
        mine, number = Crowd(), client
        together.wait(60)
        while (began := time.perf_counter()) < deadline:
            number += clients
            try:
                status, _ = ask(ids[number % len(ids)])
            except OSError:
                status = 0
            if status == OK:
                mine.ms.append(1000 * (time.perf_counter() - began))
            mine.refused += status == TOO_BUSY
            mine.errors += status not in (OK, TOO_BUSY)
        return mine

    began = time.perf_counter()
    with ThreadPoolExecutor(clients, thread_name_prefix="crowd") as pool:
        found = list(pool.map(ask_on, range(clients)))
    return Crowd(
        ms=[ms for one in found for ms in one.ms],
        refused=sum(one.refused for one in found),
        errors=sum(one.errors for one in found),
        seconds=time.perf_counter() - began,
    )
