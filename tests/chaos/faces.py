"""Faces under fire: python -m tests.chaos.faces --seed 1 --objects 200 [--staged]

Workers index a bucket of drawn pictures with up to four faces, while their processes are killed and the
broker is restarted. Then half of the pictures change, to fewer faces, more or none, and a second job runs
under the same fire. In the end each face of each picture has one row, no picture has a row of a face that it
showed before, and the rows are those of `pictor ingest --local`. Exits with 1 when that is not so.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from devstack.stack import SERVICES, Stack
from pipeline import wiring
from pipeline.ingest.verify import verify_collection
from pipeline.ports import VectorIndex
from pipeline.types import IndexRow, Job, JobState
from tests.chaos.disturbances import Disturbance, all_disturbances
from tests.chaos.run import INLINE_ROLES, JOB_S, STAGED_ROLES, disturb, parse, settled_messages
from tests.chaos.system import Supervisor, place_on
from tests.conftest import REPOSITORY
from tests.face_models import DrawnFace, picture, write_face_model
from tests.fleet import Fleet, settings_of

FACES = (
    *(DrawnFace(person=n, column=9 * n, row=2) for n in range(3)),
    DrawnFace(person=7, column=9, row=5, stride=16),
)
POLICY = {"faces": True, "purposes": [{"code": "test", "text": "A test"}], "roles": ["local"]}
FIRE = {"child killed": 6, "worker killed": 2, "broker restarted": 1}  # of each kind, in each job
Pictures = Mapping[str, Sequence[DrawnFace]]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a job has left. `rows` are by id."""

    job: Job
    rows: Mapping[str, IndexRow]
    differences: int  # between index and version book
    messages: int
    blocks: int
    kills: int


def main() -> int:
    arguments = parse("python -m tests.chaos.faces", objects=200)
    stack = Stack(arguments.dir)
    stack.up(SERVICES)
    faults = run(stack, Path(tempfile.mkdtemp(prefix="pictor-faces-")), arguments)
    print("\n".join(faults) or "each face has one row, and no other row is there")
    return 1 if faults else 0


def run(stack: Stack, folder: Path, arguments: argparse.Namespace) -> list[str]:
    """Returns what is not as it must be, in words."""
    rng, staged = random.Random(arguments.seed), arguments.staged
    model = write_face_model(folder / "model")
    (folder / "policy.json").write_text(json.dumps(POLICY), encoding="utf-8")
    bucket = f"faces-{arguments.seed}-{os.getpid()}"
    more = {
        "PICTOR_BATCH_ITEMS": "8",
        "PICTOR_PREPARATION": "staged" if staged else "inline",
        "PICTOR_MODEL": str(model),
        "PICTOR_MODEL_DIR": str(model.parent),
    }
    with place_on(stack, folder, **more) as (env, servers), Fleet(env, folder) as fleet:
        fleet.pictor("init")  # its tables are there after that; a collection of faces needs a policy first
        fleet.pictor("policies", "set", fleet.settings.collection, str(folder / "policy.json"))
        fleet.init()
        faults: list[str] = []
        shown = _choose(arguments.objects, rng)
        fleet.store.make_bucket(bucket)
        _put(fleet, bucket, shown, round_=0)
        with Supervisor(fleet, STAGED_ROLES if staged else INLINE_ROLES) as supervisor:
            for round_ in range(2):
                if round_:
                    others = _choose(arguments.objects, rng)
                    changed = {key: others[key] for key in rng.sample(sorted(others), len(others) // 2)}
                    _put(fleet, bucket, changed, round_=round_)
                    shown = {**shown, **changed}
                fire = [one for one in all_disturbances(supervisor, servers, rng) if one.name in FIRE]
                seen = _job_under_fire(fleet, bucket, _some_of_each(fire), arguments.objects, round_)
                faults += [f"job {round_ + 1}: {fault}" for fault in _faults(seen, shown)]
        return faults + _other_rows(seen.rows, _embedded_rows(env, folder, bucket))


def _choose(count: int, rng: random.Random) -> Pictures:
    """Faces for each key. A picture may show none."""
    return {f"in/{number:05d}.png": [face for face in FACES if rng.random() < 0.5] for number in range(count)}


def _put(fleet: Fleet, bucket: str, pictures: Pictures, *, round_: int) -> None:
    """Each of a size of its own: known bytes are not looked at again."""
    for number, (key, faces) in enumerate(pictures.items()):
        fleet.store.put(
            bucket, key, picture(faces, width=320 + number % 250, height=240 + 2 * (number // 250) + round_)
        )


def _some_of_each(fire: Sequence[Disturbance]) -> list[Disturbance]:
    left = dict(FIRE)
    chosen = []
    for one in fire:
        if left[one.name]:
            left[one.name] -= 1
            chosen.append(one)
    return chosen


def _job_under_fire(
    fleet: Fleet, bucket: str, fire: Sequence[Disturbance], objects: int, round_: int
) -> Seen:
    started = time.monotonic()
    job_id = fleet.submit(f"s3://{bucket}")
    happened = disturb(fleet, job_id, fire, objects, started, print)
    job = fleet.wait_for_job(job_id, timeout_s=JOB_S)
    messages = settled_messages(fleet)
    info = fleet.index.get_collection(fleet.settings.collection)
    assert info is not None
    counts, seconds = job.counts, time.monotonic() - started
    print(
        f"job {round_ + 1}: {counts.indexed} indexed, {counts.unchanged} unchanged, {counts.faces_found} "
        f"faces found, {counts.without_faces} images without; {seconds:.0f} s, {len(happened)} disturbances"
    )
    found = verify_collection(info, fleet.index, fleet.ledger.book, repair=False, first=5)
    return Seen(
        job=job,
        rows=_rows(fleet.index, fleet.settings.collection),
        differences=found.differences,
        messages=sum(messages.values()),
        blocks=len(fleet.staged_keys()),
        kills=len(happened),
    )


def _faults(seen: Seen, shown: Pictures) -> list[str]:
    expected = {key: sorted(map(_place, faces)) for key, faces in shown.items() if faces}
    found: dict[str, list[str]] = {}
    for row in seen.rows.values():
        found.setdefault(row.ref.key, []).append(row.metadata["face_box"])
    wrong = [key for key in expected | found if expected.get(key) != sorted(found.get(key, []))]
    counts = seen.job.counts
    checks = {
        f"it is {seen.job.state}: {seen.job.error}": seen.job.state is JobState.COMPLETED,
        f"counts do not add up: {counts}": counts.scanned == counts.indexed + counts.unchanged == len(shown),
        f"faces differ in {len(wrong)} pictures, such as {wrong[:1]}": not wrong,
        f"index and book differ in {seen.differences} places": not seen.differences,
        f"{seen.messages} messages and {seen.blocks} blocks are left": not seen.messages + seen.blocks,
    }
    return [fault for fault, fine in checks.items() if not fine]


def _place(face: DrawnFace) -> str:
    return f"{face.left},{face.top},{face.side_px},{face.side_px}"


def _rows(index: VectorIndex, collection: str) -> Mapping[str, IndexRow]:
    live = index.live(collection, latest=True)
    image_ids = [image.ref.image_id for image in index.list_images(live)]
    return {row.id: row for rows in index.get_images(live, image_ids).values() for row in rows}


def _embedded_rows(env: Mapping[str, str], folder: Path, bucket: str) -> Mapping[str, IndexRow]:
    """Of the same bucket, indexed by one command with a home of its own."""
    names = ("S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY", "MODEL", "MODEL_DIR", "COLLECTION", "DEVICE")
    alone = {f"PICTOR_{name}": env[f"PICTOR_{name}"] for name in names}
    alone |= {"PICTOR_HOME": str(folder / "alone"), "PICTOR_BUCKETS": bucket}
    commands: Sequence[Sequence[str]] = (
        ("policies", "set", alone["PICTOR_COLLECTION"], str(folder / "policy.json")),
        ("ingest", f"s3://{bucket}", "--local"),
    )
    for command in commands:
        subprocess.run(
            [sys.executable, "-m", "pipeline.cli", *command],
            env={"PATH": os.environ["PATH"], "HOME": str(folder), **alone},
            cwd=REPOSITORY,
            check=True,
        )
    with wiring.open_index(settings_of(alone)) as index:
        return _rows(index, alone["PICTOR_COLLECTION"])


def _other_rows(found: Mapping[str, IndexRow], expected: Mapping[str, IndexRow]) -> list[str]:
    ids = found.keys() ^ expected.keys()
    other = [
        row_id
        for row_id in found.keys() & expected.keys()
        if found[row_id].metadata != expected[row_id].metadata
        or not np.allclose(found[row_id].vector, expected[row_id].vector, atol=1e-6)
    ]
    if not ids and not other:
        return []
    return [f"{len(ids)} rows are only in one of workers and command, and {len(other)} differ"]


if __name__ == "__main__":
    sys.exit(main())
