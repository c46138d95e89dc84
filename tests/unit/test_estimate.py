"""What a job would take, before it is submitted."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.embedded import DriverOptions, run_job
from pipeline.errors import ConflictError, DeniedError
from pipeline.ingest.run_batch import run_batch
from pipeline.ports import Deps
from pipeline.service.access import Caller, Permission, local_caller
from pipeline.service.estimate import MAX_LIST_S, MAX_LISTED, Estimate, EstimatePorts, estimate_job
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import Capability, JobRequest, ModelSpec, ObjectRef, Pace
from tests.unit.fakes import (
    BUCKET,
    HERE,
    LIMITS,
    SPEC,
    TARGET,
    distinct_png,
    plan_one_batch,
    ref_of,
    request_of,
)


def estimate(
    deps: Deps,
    request: JobRequest | None = None,
    *,
    spec: ModelSpec = SPEC,
    caller: Caller | None = None,
    vector_type: str = "float32",
) -> Estimate:
    request = request or request_of()
    existing = deps.index.get_generation(TARGET)
    ports = EstimatePorts(store=deps.store, ledger=deps.ledger)
    return estimate_job(request, spec, existing, vector_type, ports, caller or local_caller())


def put(store: MemoryStore, *keys: str) -> int:
    """Returns their bytes."""
    for number, key in enumerate(keys):
        store.put(BUCKET, key, distinct_png(number))
    return sum(store.stat(BUCKET, key).size_bytes for key in keys)


def test_what_is_new_is_counted_and_weighed(deps: Deps, store: MemoryStore) -> None:
    size_bytes = put(store, "1.png", "2.png", "3.png")
    put(store, "notes.txt", ".hidden.png")
    assert estimate(deps) == Estimate(
        is_complete=True,
        listed=5,
        ignored=2,
        unchanged=0,
        objects=3,
        size_bytes=size_bytes,
        vector_bytes=3 * 4 * SPEC.dim,
        pace=None,
    )
    assert estimate(deps).seconds is None
    assert estimate(deps, vector_type="float16").vector_bytes == 3 * 2 * SPEC.dim


def test_patterns_choose_what_is_counted(deps: Deps, store: MemoryStore) -> None:
    put(store, "in/1.png", "in/2.png", "out/1.png")
    found = estimate(deps, request_of(prefix="in/", exclude=("*2.png",)))
    assert (found.listed, found.ignored, found.objects) == (2, 1, 1)


def test_what_is_indexed_in_this_version_is_no_work(deps: Deps, store: MemoryStore) -> None:
    put(store, "1.png", "2.png")
    job = deps.ledger.create_job(request_of(), driver=HERE)
    run_job(job, deps, LIMITS, DriverOptions(retry_delays_s=()), on_progress=lambda _: None)
    store.put(BUCKET, "2.png", distinct_png(40))
    put(store, "3.png")
    found = estimate(deps)
    assert (found.listed, found.unchanged, found.objects) == (3, 1, 2)
    assert found.pace is not None
    assert (found.pace.job_id, found.pace.objects) == (job.job_id, 2)


class Endless(MemoryStore):
    def list_objects(
        self, bucket: str, prefix: str = "", start_after: str | None = None
    ) -> Iterator[ObjectRef]:
        number = 0
        while True:
            number += 1
            yield ref_of(f"{number:012}.png", bucket=bucket)


def test_a_listing_without_end_is_left(deps: Deps) -> None:
    found = estimate(replace(deps, store=Endless(BUCKET)))
    assert (found.is_complete, found.listed) == (False, MAX_LISTED)


def test_a_slow_listing_is_left_after_its_time(deps: Deps) -> None:
    seconds = iter(range(1_000_000))
    ports = EstimatePorts(store=Endless(BUCKET), ledger=deps.ledger, clock_s=lambda: next(seconds))
    found = estimate_job(request_of(), SPEC, None, "float32", ports, local_caller())
    assert (found.is_complete, found.listed < MAX_LISTED) == (False, True)
    assert next(seconds) <= MAX_LIST_S + 3


def test_the_time_follows_from_the_pace_of_an_earlier_job(
    deps: Deps, store: MemoryStore, ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, "1.png", "2.png", "3.png")
    pace = Pace(job_id="earlier", objects=100, seconds=50.0)
    monkeypatch.setattr(ledger, "find_pace", {SPEC.fingerprint: pace}.get)
    assert (estimate(deps).pace, estimate(deps).seconds) == (pace, 1.5)


def test_a_model_of_parts_may_have_any_number_of_vectors(deps: Deps, store: MemoryStore) -> None:
    put(store, "1.png")
    views = replace(SPEC, capabilities=(Capability.IMAGES, Capability.VIEWS))
    assert estimate(deps, spec=views).vector_bytes is None


def test_a_collection_that_the_book_does_not_know_cannot_be_told(deps: Deps, store: MemoryStore) -> None:
    put(store, "1.png")
    run_batch(plan_one_batch(deps), deps, LIMITS)
    deps.ledger.book.forget_generation(TARGET.generation)
    with pytest.raises(ConflictError, match="before Pictor kept a version book"):
        estimate(deps)


def test_who_may_not_submit_may_not_list(deps: Deps) -> None:
    reader = Caller(who="ann", permissions=frozenset(Permission) - {Permission.WRITE})
    elsewhere = Caller(who="ben", permissions=frozenset(Permission), buckets=("others",))
    for caller in (reader, elsewhere):
        with pytest.raises(DeniedError):
            estimate(deps, caller=caller)
