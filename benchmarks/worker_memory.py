"""The memory of a real worker while it works through a long job."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

from benchmarks.distributed import Distributed
from benchmarks.photographs import draw_jpeg
from benchmarks.servers import resident_bytes_of
from pipeline.types import JobState
from tests.fleet import Fleet

PICTURE_PX = (96, 72)
BODIES = 64
SAMPLE_S = 0.2
JOB_S = 600.0
UPLOADS_AT_ONCE = 8
WINDOW = 0.1  # memory at a place in the job is the median of what was seen within a tenth before and after it


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    done: int  # images of the job that are settled
    resident_bytes: int


def upload_pictures(fleet: Fleet, bucket: str, count: int) -> None:
    bodies = [draw_jpeg(*PICTURE_PX, seed=seed) for seed in range(BODIES)]
    fleet.store.make_bucket(bucket)
    with ThreadPoolExecutor(UPLOADS_AT_ONCE) as pool:
        for _ in pool.map(
            lambda n: fleet.store.put(bucket, f"{n:06d}.jpg", bodies[n % BODIES]), range(count)
        ):
            pass


def watch_job(way: Distributed, source: str) -> list[Sample]:
    """Run a job to its end and sample the memory of the children that embed.

    Raises:
        RuntimeError: it did not end well, or in time.
    """
    job_id = way.submit(source)
    [embed] = [worker for worker in way.workers if worker.name.startswith("embed")]
    pids = embed.children_pids()
    samples: list[Sample] = []
    deadline = time.monotonic() + JOB_S
    while (job := way.fleet.job(job_id)) is None or job.state is JobState.RUNNING:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{job_id} runs still after {JOB_S:g} s: {job}")
        if job is not None:
            done = job.counts.scanned - job.counts.pending
            samples.append(Sample(done=done, resident_bytes=resident_bytes_of(pids)))
        time.sleep(SAMPLE_S)
    if job.state is not JobState.COMPLETED or job.counts.failed:
        raise RuntimeError(f"{job_id} is {job.state}, counts are {job.counts}")
    return samples


def resident_at(samples: Sequence[Sample], images: int) -> float:
    """Bytes when so many images were done."""
    near = sorted(samples, key=lambda sample: abs(sample.done - images))
    within = [sample for sample in near if abs(sample.done - images) <= WINDOW * images]
    return median(sample.resident_bytes for sample in within or near[:1])
