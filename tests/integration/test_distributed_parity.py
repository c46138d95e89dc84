"""The same bucket, embedded, through GPU workers alone, and through both tiers: the same index and ledger."""

import dataclasses
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.types import IndexRow, Job, JobState
from tests.chaos.pictures import Gallery, make_gallery, picture
from tests.fleet import Fleet, own_place, wait_until
from tests.sample_data import photograph_sets
from tests.services import MilvusServer, PostgresServer, RabbitMQServer, S3Server

OBJECTS, BROKEN = 200, 24
GARBAGE = b"<html>moved</html>" * 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """One of the ways to run: what its collection and its ledger hold."""

    rows: Mapping[str, IndexRow]  # by key
    counts: Mapping[str, Any]
    failures: Sequence[Mapping[str, Any]]


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    return make_gallery(OBJECTS, broken=BROKEN, killers=0, seed=20261124)


@pytest.fixture(scope="module")
def shop(fleet: Fleet, gallery: Gallery) -> str:
    """A bucket with the gallery, keys that are hard to spell, and photographs."""
    name = f"shop-{secrets.token_hex(4)}"
    odd = {
        f"in/{key}.jpg": picture(500 + place) for place, key in enumerate(["ü ß", "a+b%20c", "x//y", "ω#?"])
    }
    fleet.put_all(name, {**gallery.bodies, **odd, **photographs(20)})
    return name


def photographs(most: int) -> Mapping[str, bytes]:
    """So many of each set."""
    return {
        f"photos/{name}-{path.name}": path.read_bytes()
        for name, folder in photograph_sets().items()
        for path in sorted(folder.rglob("*.jpg"))[:most]
    }


@pytest.fixture(scope="module")
def staged_fleet(
    rabbitmq: RabbitMQServer,
    s3_server: S3Server,
    milvus_server: MilvusServer,
    postgres: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("staged")
    place = own_place(rabbitmq, s3_server, milvus_server, postgres, folder, PICTOR_PREPARATION="staged")
    with place as env, Fleet(env, folder) as fleet:
        fleet.init()
        workers = [fleet.start(queues="plan,prepare", children=2), fleet.start(queues="embed")]
        for worker in workers:
            worker.ready()
        yield fleet
        assert fleet.terminate() == [0, 0], fleet.logs()


def way_of(fleet: Fleet, job_id: str, bucket: str) -> Way:
    [counts] = fleet.pictor_json("jobs", "show", job_id)
    # By id, which waits for every write; the server's iterator was once seen to find nothing right then.
    ids = [ref.image_id for ref in fleet.store.list_objects(bucket)]
    rows = fleet.index.get_rows(fleet.index.live(fleet.settings.collection), ids)
    return Way(
        rows={row.ref.key: row for row in rows},
        counts={name: counts[name] for name in COUNTS},
        failures=fleet.pictor_json("jobs", "failures", job_id),
    )


COUNTS = ("scanned", "indexed", "unchanged", "failed", "pending", "ignored", "state")


@pytest.fixture(scope="module")
def embedded(fleet: Fleet, shop: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """The same commands with Milvus Lite, SQLite and no broker."""
    home = tmp_path_factory.mktemp("embedded")
    apart = {
        "PICTOR_MILVUS_URI": "",
        "PICTOR_MILVUS_TOKEN": "",
        "PICTOR_LEDGER_URL": "",
        "PICTOR_HOME": str(home),
    }
    with Fleet({**fleet.env, **apart}, home) as alone:
        [counts] = alone.pictor_json("ingest", f"s3://{shop}", "--local")
        yield way_of(alone, counts["job_id"], shop)


@pytest.fixture(scope="module")
def inline(fleet: Fleet, shop: str) -> Way:
    [counts] = fleet.pictor_json("ingest", f"s3://{shop}")  # by PICTOR_BROKER_URL
    return way_of(fleet, counts["job_id"], shop)


@pytest.fixture(scope="module")
def staged(staged_fleet: Fleet, shop: str) -> Way:
    return way_of(staged_fleet, finished(staged_fleet, shop).job_id, shop)


def assert_same(one: Way, other: Way) -> None:
    assert one.counts == other.counts
    assert one.failures == other.failures
    assert one.rows.keys() == other.rows.keys()
    for key, row in one.rows.items():
        twin = other.rows[key]
        assert plain(row) == plain(twin)
        assert float(np.dot(row.vector, twin.vector)) >= 0.9999, key


def plain(row: IndexRow) -> object:
    return row.id, row.ref, row.width, row.height, dict(row.metadata)


def test_the_embedded_way_settles_every_object(embedded: Way, gallery: Gallery) -> None:
    assert embedded.counts["indexed"] == len(embedded.rows) >= OBJECTS - BROKEN + 4
    assert {failure["key"]: failure["reason"] for failure in embedded.failures} == gallery.reasons


def test_gpu_workers_alone_leave_the_same_index_and_ledger(embedded: Way, inline: Way) -> None:
    assert_same(embedded, inline)


def test_two_tiers_leave_the_same_index_and_ledger(embedded: Way, staged: Way) -> None:
    assert_same(embedded, staged)


def test_nothing_is_left_in_the_staging_bucket_or_on_a_queue(staged_fleet: Fleet, staged: Way) -> None:
    assert staged.counts["pending"] == 0
    wait_until(lambda: staged_fleet.staged_keys() == [], "no block is left")
    for queue in ("plan", "prepare", "embed", "dead"):
        staged_fleet.wait_for_queue(queue, 0)


@pytest.mark.parametrize("tiers", ["one", "two"])
def test_a_second_run_embeds_what_changed_and_drops_what_became_bad(
    tiers: str, fleet: Fleet, staged_fleet: Fleet, shop: str, inline: Way, staged: Way, gallery: Gallery
) -> None:
    system, first = (fleet, inline) if tiers == "one" else (staged_fleet, staged)
    finished(
        system, shop
    )  # the other tier's run has written two objects again, which is noticed by their times
    same = finished(system, shop)
    assert (same.counts.indexed, same.counts.unchanged) == (0, first.counts["indexed"])
    changed, spoilt = gallery.good_keys[:2]
    try:
        system.store.put(shop, changed, picture(7777))
        system.store.put(shop, spoilt, GARBAGE)
        second = finished(system, shop)
        assert (second.counts.indexed, second.counts.failed) == (1, first.counts["failed"] + 1)
        after = way_of(system, second.job_id, shop)
        assert after.rows.keys() == first.rows.keys() - {spoilt}
        assert after.rows[changed].ref.etag != first.rows[changed].ref.etag
        assert float(np.dot(after.rows[changed].vector, first.rows[changed].vector)) < 0.999
    finally:
        for key in (changed, spoilt):
            system.store.put(shop, key, gallery.bodies[key])


def finished(system: Fleet, shop: str) -> Job:
    job = system.wait_for_job(system.submit(f"s3://{shop}"))
    assert job.state is JobState.COMPLETED, job.error
    return job


def test_the_command_reports_the_counts_of_a_job_that_workers_did(
    fleet: Fleet, shop: str, inline: Way
) -> None:
    broker = fleet.env["PICTOR_BROKER_URL"]
    done = fleet.pictor("ingest", f"s3://{shop}/photos/", "--broker", broker, "--max-failure-rate", "0")
    assert done.returncode == 0, done.stderr
    assert "submitted job" in done.stderr
    done = fleet.pictor("ingest", f"s3://{shop}/in/", "--broker", broker, "--max-failure-rate", "0.01")
    assert done.returncode == 1
    assert f"{BROKEN} of" in done.stderr


def test_a_folder_cannot_be_given_to_workers(fleet: Fleet, tmp_path: Path) -> None:
    done = fleet.pictor("ingest", str(tmp_path), "--broker", fleet.env["PICTOR_BROKER_URL"])
    assert done.returncode == 2
    assert "workers elsewhere cannot read a folder" in done.stderr
