"""Which stage a job waits for most, in one line, from the seconds that its batches report."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Bottleneck:
    """`share` of the worker time, 0..1, went into `stage`. `advice` is how to lower it."""

    stage: str
    share: float
    advice: str

    def __str__(self) -> str:
        return f"{self.stage}-bound: {100 * self.share:.0f} % of worker time, {self.advice}"


# Where a batch's own thread is at any moment; one after the other, so that their sum is its whole time.
_OWN_STAGES = ("lookup", "wait", "load", "device", "write", "report")

_ADVICE = {
    "lookup": "the vector index answers slowly: give it more memory or nodes",
    "load": "the staging bucket is slow: bring it nearer to the embed workers",
    "device": "add embed workers or a faster device",
    "write": "the vector index takes rows slowly: give it more nodes, or raise PICTOR_BATCH_ITEMS",
    "report": "the ledger answers slowly: give its database a faster disk, or raise PICTOR_BATCH_ITEMS",
}
_FETCH = "raise PICTOR_FETCH_THREADS, or bring the workers nearer to the objects"
_DECODE = "add cores, or decode on workers of their own (PICTOR_PREPARATION=staged)"
_FETCH_STAGED = "raise PICTOR_FETCH_THREADS, or add prepare workers"
_DECODE_STAGED = "add prepare workers"


def find_bottleneck(
    seconds: Mapping[str, float], *, fetch_threads: int, decode_threads: int
) -> Bottleneck | None:
    """Name the stage that takes the largest share of the worker time.

    Worker time is that of the threads that own a batch each, in whatever process: they look up, wait for
    pixels, load a staged block, hold the device, write and report, one after the other. `fetch` and `decode`
    are no part of it: they are summed over the threads beside them and overlap with all the rest, so that
    they may be many times what anybody waited. What they cost a batch is `wait`, and all of that goes
    to the slower of the two: the one with more seconds for each of its threads.

    This cannot tell whether the device is slow of itself or because decoding takes its cores (on a
    machine without a GPU); and, of a staged job, how many workers there are of each tier: a share says where
    the time of all went, and the queue that grows says which tier has too few.

    Args:
        seconds: by stage, summed over the reports of a job. See PhaseClock.
        fetch_threads, decode_threads: of a worker. Only their ratio matters.

    Returns:
        None when nothing was measured.
    """
    shares = {stage: seconds.get(stage, 0.0) for stage in _OWN_STAGES}
    total_s = sum(shares.values())
    if total_s <= 0:
        return None
    fetch_s = seconds.get("fetch", 0.0) / fetch_threads
    decode_s = seconds.get("decode", 0.0) / decode_threads
    shares["fetch" if fetch_s > decode_s else "decode"] = shares.pop("wait")
    stage = max(shares, key=lambda name: shares[name])
    return Bottleneck(stage=stage, share=shares[stage] / total_s, advice=_advice(stage, "load" in seconds))


def _advice(stage: str, staged: bool) -> str:
    match stage:
        case "fetch":
            return _FETCH_STAGED if staged else _FETCH
        case "decode":
            return _DECODE_STAGED if staged else _DECODE
        case _:
            return _ADVICE[stage]
