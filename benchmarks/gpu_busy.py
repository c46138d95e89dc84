"""How busy a GPU is while something runs, as its driver sees it."""

import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

INTERVAL_MS = 100


@dataclass
class BusySamples:
    """Shares of time in which a kernel ran, with the time.time() at which each was said."""

    seen: list[tuple[float, float]] = field(default_factory=list)

    def share_between(self, began: float, ended: float) -> float | None:
        """Mean share, 0..1; None when nothing was said in that time."""
        shares = [share for at, share in self.seen if began <= at <= ended]
        return sum(shares) / len(shares) if shares else None


@contextmanager
def watched_gpu() -> Iterator[BusySamples]:
    """Samples of the first GPU; none on a machine without nvidia-smi."""
    samples = BusySamples()
    try:
        process = subprocess.Popen(
            [
                *("nvidia-smi", "--id=0", "--query-gpu=utilization.gpu"),
                *("--format=csv,noheader,nounits", f"--loop-ms={INTERVAL_MS}"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    except FileNotFoundError:
        yield samples
        return
    reader = threading.Thread(target=_read, args=(process, samples), name="gpu-busy")
    reader.start()
    try:
        yield samples
    finally:
        process.terminate()
        reader.join(30)
        process.wait(30)


def _read(process: "subprocess.Popen[str]", samples: BusySamples) -> None:
    assert process.stdout
    with process.stdout:
        for line in process.stdout:
            if line.strip().isdigit():  # a driver that cannot tell says so in words
                samples.seen.append((time.time(), int(line) / 100))
