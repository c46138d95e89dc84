"""One job under fire: python -m tests.chaos.run --seed 1 --objects 3000 [--staged]

While it runs, processes of its workers are killed and services are stopped, frozen and restarted, at moments
that the progress in the ledger decides. In the end every good object is in the index once, every bad one has
its reason, and nothing is left behind. Prints a table; exits with 1 when that is not so.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from devstack.stack import SERVICES, Stack
from pipeline.types import Job, JobState, image_id_of
from tests.chaos.disturbances import Disturbance, all_disturbances
from tests.chaos.pictures import Gallery, make_gallery
from tests.chaos.system import Supervisor, place_on
from tests.fleet import POLL_S, Fleet, wait_until
from tests.index_rows import ids_in

BATCH_ITEMS = 16
BROKEN_SHARE = 0.02
FIRST_AT, LAST_AT = 0.03, 0.85  # of the objects: when the first and the last disturbance happen
JOB_S = 1200.0
INLINE_ROLES = {"planner": ("plan,search", 1), "embed-a": ("embed", 2), "embed-b": ("embed", 1)}
STAGED_ROLES = {"planner": ("plan,search", 1), "prepare": ("prepare", 2), "embed": ("embed", 2)}
COUNTED_EVERY_S = 6.0  # the broker's own interval is 5 s
QUEUES = ("plan", "prepare", "embed", "dead")


@dataclass(frozen=True, kw_only=True)
class Happened:
    """`done` objects of the job had been settled when the disturbance began."""

    name: str
    done: int
    at_s: float
    took_s: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    job: Job
    gallery: Gallery
    bucket: str
    happened: Sequence[Happened]
    ids: Sequence[str]  # in the index, sorted
    rows: int
    failures: Mapping[str, str]
    messages: Mapping[str, int]
    staged: Sequence[str]
    seconds: float
    splits: int
    trials: int
    exits: Mapping[int, int]

    def faults(self) -> list[str]:
        """What is not as it must be, in words; empty when all is well."""
        counts, total = self.job.counts, len(self.gallery.bodies)
        good = sorted(image_id_of(self.bucket, key) for key in self.gallery.good_keys)
        checks = {
            f"the job is {self.job.state}": self.job.state is JobState.COMPLETED,
            f"scanned {counts.scanned} of {total}": counts.scanned == total,
            f"counts do not add up: {counts}": counts.scanned
            == counts.indexed + counts.unchanged + counts.failed + counts.pending,
            f"{counts.pending} are pending": counts.pending == 0,
            f"indexed ids: {len(self.ids)}, expected {len(good)}": list(self.ids) == good,
            f"count(*) is {self.rows}, expected {len(good)}": self.rows == len(good),
            f"failures differ: {_differences(self.failures, self.gallery.reasons)}": self.failures
            == self.gallery.reasons,
            f"messages are left: {self.messages}": not any(self.messages.values()),
            f"staged blocks are left: {self.staged[:5]}": not self.staged,
            f"too late: {[e.name for e in self.happened if e.done >= total]}": all(
                event.done < total for event in self.happened
            ),
        }
        return [fault for fault, fine in checks.items() if not fine]


def run(
    stack: Stack, folder: Path, *, seed: int, objects: int, staged: bool, tell: Callable[[str], None]
) -> Outcome:
    """Do one run on the servers of a running stack, and leave nothing of it there but its bucket."""
    rng = random.Random(seed)
    gallery = make_gallery(objects, broken=int(objects * BROKEN_SHARE), killers=1, seed=seed)
    bucket = f"chaos-{seed}-{os.getpid()}"
    more = {"PICTOR_BATCH_ITEMS": str(BATCH_ITEMS), "PICTOR_PREPARATION": "staged" if staged else "inline"}
    with place_on(stack, folder, **more) as (env, servers), Fleet(env, folder) as fleet:
        fleet.init()
        _upload(fleet, bucket, gallery)
        with Supervisor(fleet, STAGED_ROLES if staged else INLINE_ROLES) as supervisor:
            started = time.monotonic()
            job_id = fleet.submit(f"s3://{bucket}")
            happened = disturb(
                fleet, job_id, all_disturbances(supervisor, servers, rng), objects, started, tell
            )
            job = fleet.wait_for_job(job_id, timeout_s=JOB_S)
            seconds = time.monotonic() - started
            return _outcome(fleet, supervisor, job, gallery, bucket, happened, seconds)


def _upload(fleet: Fleet, bucket: str, gallery: Gallery) -> None:
    fleet.store.make_bucket(bucket)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: fleet.store.put(bucket, *item), gallery.bodies.items()))


def disturb(
    fleet: Fleet,
    job_id: str,
    disturbances: Sequence[Disturbance],
    objects: int,
    started: float,
    tell: Callable[[str], None],
) -> list[Happened]:
    happened = []
    for number, disturbance in enumerate(disturbances):
        share = FIRST_AT + (LAST_AT - FIRST_AT) * number / (len(disturbances) - 1)
        wait_until(lambda: _done(fleet, job_id) >= share * objects, f"{share:.0%} of the job", JOB_S)  # noqa: B023
        begun, done = time.monotonic(), _done(fleet, job_id)
        disturbance.do()
        now = time.monotonic()
        event = Happened(name=disturbance.name, done=done, at_s=begun - started, took_s=now - begun)
        tell(f"{event.at_s:6.1f} s  {event.done:5d} done  {event.name} ({event.took_s:.1f} s)")
        happened.append(event)
    return happened


def _done(fleet: Fleet, job_id: str) -> int:
    job = fleet.job(job_id)
    return job.counts.scanned - job.counts.pending if job else 0


def _outcome(
    fleet: Fleet,
    supervisor: Supervisor,
    job: Job,
    gallery: Gallery,
    bucket: str,
    happened: Sequence[Happened],
    seconds: float,
) -> Outcome:
    messages = settled_messages(fleet)
    name = fleet.settings.collection
    info = fleet.index.get_collection(name)
    return Outcome(
        job=job,
        gallery=gallery,
        bucket=bucket,
        happened=happened,
        ids=ids_in(fleet.index, fleet.index.live(name)),
        rows=info.rows if info else 0,
        failures={failure.ref.key: failure.reason for failure in fleet.ledger.failures(job.job_id)},
        messages=messages,
        staged=fleet.staged_keys(),
        seconds=seconds,
        splits=supervisor.log_lines("batch split"),
        trials=supervisor.log_lines("trial "),
        exits=dict(supervisor.exits),
    )


def settled_messages(fleet: Fleet) -> Mapping[str, int]:
    """When they are all gone for longer than the broker takes to count, or after a minute."""
    deadline, quiet_since = time.monotonic() + 60, time.monotonic()
    while True:
        messages = {queue: fleet.messages(queue) for queue in QUEUES}
        now = time.monotonic()
        quiet_since = now if any(messages.values()) else quiet_since
        if now - quiet_since > COUNTED_EVERY_S or now > deadline:
            return messages
        time.sleep(POLL_S)


def _differences(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    keys = sorted(key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key))
    return [f"{key}: {found.get(key)}, expected {expected.get(key)}" for key in keys[:5]]


def table(seed: int, staged: bool, outcome: Outcome) -> str:
    counts, kinds = outcome.job.counts, Counter(event.name for event in outcome.happened)
    kills = kinds["child killed"], kinds["worker killed"]
    cells = [
        str(seed),
        "staged" if staged else "inline",
        f"{counts.scanned}",
        f"{outcome.rows}",
        f"{counts.failed}",
        f"{kills[0]} + {kills[1]}",
        f"{len(outcome.happened) - sum(kills)}",
        f"{outcome.splits}",
        f"{outcome.seconds:.0f}",
        "as expected" if not outcome.faults() else "; ".join(outcome.faults()),
    ]
    return f"| {' | '.join(cells)} |"


COLUMNS = (
    "seed", "preparation", "objects", "in the index", "failed", "children + workers killed", "outages",
    "batches split", "seconds", "end",
)  # fmt: skip
HEAD = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


def main() -> int:
    arguments = parse("python -m tests.chaos.run", objects=3000)
    folder = Path(tempfile.mkdtemp(prefix="pictor-chaos-"))
    stack = Stack(arguments.dir)
    stack.up(SERVICES)
    outcome = run(
        stack, folder, seed=arguments.seed, objects=arguments.objects, staged=arguments.staged, tell=print
    )
    print(f"exits of workers: {dict(outcome.exits)}; logs: {folder}")
    print(HEAD)
    print(table(arguments.seed, arguments.staged, outcome))
    return 1 if outcome.faults() else 0


def parse(program: str, *, objects: int) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--objects", type=int, default=objects)
    parser.add_argument("--staged", action="store_true", help="with prepare workers and a staging bucket")
    parser.add_argument(
        "--dir", type=Path, default=Path(".stack"), help="of a stack; it is started, not stopped"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
