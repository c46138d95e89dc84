"""Workers come and go with the length of their queue, by the numbers that k8s/ ships.

Nothing is lost, nothing is done twice, and where there is no work there is no worker.
"""

import secrets
from collections.abc import Mapping

import pytest

from pipeline.types import Job, JobState
from tests.chaos.autoscaler import Autoscaler, Rules
from tests.chaos.conftest import MakeFleet
from tests.chaos.pictures import picture
from tests.deploy.rendered import named, render
from tests.fleet import Fleet, wait_until

PACE = 1 / 100  # 15 minutes are 9 s. Not faster: the broker's own counts are up to 5 s old
MAX_PODS = 3  # on two cores
# The last eight batches, for which two workers are enough, last longer than the window and a stale count
# together, 6 s and 5 s: else no worker is met at work.
BATCH_ITEMS = 32
BATCHES = 12
# So that a worker is met in the middle of a batch. It waits, and leaves the cores to others.
SLOW = {"PICTOR_DECODE_THREADS": "1", "PICTOR_TEST_GROUP_S": "6"}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rules() -> Rules:
    spec = named(render("gpu"), "ScaledObject", "embed")["spec"]
    rules = Rules.of(spec, pace=PACE, max_pods=MAX_PODS)
    assert rules.min_pods == 0
    return rules


def pictures(first: int, count: int) -> Mapping[str, bytes]:
    return {f"{number:05}.jpg": picture(number) for number in range(first, first + count)}


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
    with Autoscaler(fleet, rules, SLOW) as scaler:
        wait_until(lambda: scaler.polls >= 3, "it looks at the queue")
        assert scaler.pods == scaler.stopped == []

        first = work_through(fleet, scaler, pictures(0, BATCHES * BATCH_ITEMS))
        assert scaler.peak == MAX_PODS
        assert scaler.stopped_with_work > 0

        second = work_through(fleet, scaler, pictures(10_000, 40))
        assert len(scaler.stopped) > MAX_PODS  # from nothing, once more

    for job, count in ((first, BATCHES * BATCH_ITEMS), (second, 40)):
        assert (job.counts.scanned, job.counts.indexed, job.counts.pending) == (count, count, 0)
    assert len(fleet.indexed_keys()) == first.counts.indexed + second.counts.indexed
    logs = "\n".join(worker.log(10_000) for worker in scaler.stopped)
    assert logs.count(" batch done ") == first.planned_batches + second.planned_batches
    assert [fleet.messages(queue) for queue in ("plan", "embed", "dead")] == [0, 0, 0]
