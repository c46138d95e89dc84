"""Workers come and go with the length of their queue, by the numbers that k8s/ ships.

Nothing is lost, nothing is done twice, and where there is no work there is no worker.
"""

import secrets
from collections.abc import Mapping

import numpy as np
import pytest
from PIL import Image

from pipeline.types import Job, JobState
from tests.chaos.autoscaler import Autoscaler, Rules
from tests.chaos.conftest import MakeFleet
from tests.chaos.pictures import picture
from tests.deploy.rendered import named, render
from tests.fleet import Fleet, wait_until
from tests.image_files import encode

PACE = 1 / 100  # 15 minutes are 9 s. Not faster: the broker's own counts are up to 5 s old
MAX_PODS = 3  # on two cores
# The last eight batches, for which two workers are enough, last longer than the window and a stale count
# together, 6 s and 5 s: else no worker is met at work.
BATCH_ITEMS = 32
BATCHES = 12
ONE_CORE = {"PICTOR_DECODE_THREADS": "1"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rules() -> Rules:
    spec = named(render("gpu"), "ScaledObject", "embed")["spec"]
    rules = Rules.of(spec, pace=PACE, max_pods=MAX_PODS)
    assert rules.min_pods == 0
    return rules


def heavy_pictures() -> Mapping[str, bytes]:
    """A batch of them takes a core several seconds, so that a worker is met in the middle of one."""
    squares = np.random.default_rng(1).integers(0, 256, (60, 60, 3), np.uint8)
    image = Image.fromarray(squares).resize((4000, 4000), Image.Resampling.NEAREST)
    body = encode(image, "PNG")  # no decoder can skip a part of it
    # With a number behind each picture, since the same content again would take its vector from the index.
    return {f"{number:04}.png": body + f"{number}".encode() for number in range(BATCHES * BATCH_ITEMS)}


def work_through(fleet: Fleet, scaler: Autoscaler, bodies: Mapping[str, bytes]) -> Job:
    """A job from no worker to no worker."""
    bucket = f"elastic-{secrets.token_hex(4)}"
    fleet.put_all(bucket, bodies)
    assert scaler.pods == []
    job = fleet.wait_for_job(
        fleet.submit(f"s3://{bucket}/", batch_items=BATCH_ITEMS), JobState.COMPLETED, timeout_s=300
    )
    wait_until(lambda: scaler.pods == [], "there is no work and no worker", 60)
    assert [worker.wait() for worker in scaler.stopped] == [0] * len(scaler.stopped), fleet.logs()
    return job


def test_workers_follow_the_queue_and_nothing_is_lost_or_done_twice(
    make_fleet: MakeFleet, rules: Rules
) -> None:
    fleet = make_fleet()
    fleet.start(queues="plan").ready()
    with Autoscaler(fleet, rules, ONE_CORE) as scaler:
        wait_until(lambda: scaler.polls >= 3, "it looks at the queue")
        assert scaler.pods == scaler.stopped == []

        first = work_through(fleet, scaler, heavy_pictures())
        assert scaler.peak == MAX_PODS
        assert scaler.stopped_with_work > 0

        second = work_through(fleet, scaler, {f"{n}.jpg": picture(n) for n in range(40)})
        assert len(scaler.stopped) > MAX_PODS  # from nothing, once more

    for job, count in ((first, BATCHES * BATCH_ITEMS), (second, 40)):
        assert (job.counts.scanned, job.counts.indexed, job.counts.pending) == (count, count, 0)
    assert len(fleet.indexed_keys()) == first.counts.indexed + second.counts.indexed
    logs = "\n".join(worker.log(10_000) for worker in scaler.stopped)
    assert logs.count(" batch done ") == first.planned_batches + second.planned_batches
    assert [fleet.messages(queue) for queue in ("plan", "embed", "dead")] == [0, 0, 0]
