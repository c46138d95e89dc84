"""A planner is killed while it removes, beside a job of an overlapping source: index = book = bucket."""

import random
from collections.abc import Sequence

import pytest

from pipeline.types import JobState
from tests.chaos.conftest import MakeFleet
from tests.chaos.pictures import picture
from tests.fleet import Fleet, wait_until

OBJECTS = 600  # each that is gone is asked for once more: a second or two in which the planner can be met
FOLDERS = ("in/a/", "in/b/")
SHARES = {"gone": 0.5, "written": 0.1}

pytestmark = [pytest.mark.slow, pytest.mark.repeat]


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_a_planner_that_is_killed_while_it_removes_leaves_index_book_and_bucket_as_one(
    make_fleet: MakeFleet, seed: int
) -> None:
    rng, fleet = random.Random(seed), make_fleet()
    bucket = f"removals-{fleet.vhost}"
    keys = [f"{FOLDERS[number % 2]}{number:04}.jpg" for number in range(OBJECTS)]
    fleet.put_all(bucket, {key: picture(1000 * seed + number) for number, key in enumerate(keys)})
    planner = fleet.start(queues="plan", name="plan-0").ready()
    fleet.start(queues="embed").ready()
    fleet.wait_for_job(fleet.submit(f"s3://{bucket}"), JobState.COMPLETED)
    assert fleet.indexed_keys() == keys_in(fleet, bucket)

    disturb(fleet, bucket, keys, rng)
    sources = [f"s3://{bucket}/", f"s3://{bucket}/{rng.choice(FOLDERS)}"]
    jobs = [fleet.submit(source, max_delete_share=1.0) for source in sources]
    for kills in range(1, rng.randint(2, 3)):
        wait_until(lambda: any(is_removing(fleet, job_id) for job_id in jobs), "a planner removes", 120)
        planner.kill9()
        planner = fleet.start(queues="plan", name=f"plan-{kills}").ready()

    for job_id in jobs:
        fleet.wait_for_job(job_id, JobState.COMPLETED)
        wait_until(lambda: not is_due(fleet, job_id), "its removals are done", 120)  # noqa: B023
    assert fleet.indexed_keys() == keys_in(fleet, bucket)
    verified = fleet.pictor("verify", fleet.settings.collection)
    assert verified.returncode == 0, verified.stdout
    assert fleet.messages("dead") == 0


def disturb(fleet: Fleet, bucket: str, keys: Sequence[str], rng: random.Random) -> None:
    """Delete some, and write others anew."""
    chosen = rng.sample(keys, len(keys))
    gone, written = (int(share * len(keys)) for share in SHARES.values())
    for key in chosen[:gone]:
        fleet.store.delete(bucket, key)
    fleet.put_all(bucket, {key: picture(rng.randrange(10**8)) for key in chosen[gone : gone + written]})


def keys_in(fleet: Fleet, bucket: str) -> list[str]:
    return sorted(ref.key for ref in fleet.store.list_objects(bucket))


def is_removing(fleet: Fleet, job_id: str) -> bool:
    job = fleet.job(job_id)
    return job is not None and bool(job.removing)


def is_due(fleet: Fleet, job_id: str) -> bool:
    job = fleet.job(job_id)
    return job is None or job.removals_due
