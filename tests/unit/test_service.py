"""The use cases, each with the world in memory: what is returned, what is refused, and to whom."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from pipeline.adapters.ledger.sql_ledger import SqlLedger
from pipeline.errors import (
    ArgumentError,
    ConflictError,
    DeniedError,
    MessageError,
    ModelMismatchError,
    NotFoundError,
    TargetError,
)
from pipeline.ingest.run_batch import run_batch
from pipeline.location import parse_location
from pipeline.ports import Deps, ImageEmbedder
from pipeline.service.access import Caller, Permission, local_caller, permissions_of, require
from pipeline.service.delete import delete_objects, drop_collection
from pipeline.service.models import LoadedOnDemand, ResidentModel
from pipeline.service.move import cancel_job, pause_job, resume_job
from pipeline.service.preview import preview_job
from pipeline.service.retry import retry_failures
from pipeline.service.show import (
    find_job,
    list_collections,
    list_jobs,
    show_collection,
    show_failures,
    show_job,
)
from pipeline.service.submit import Submission, record_refusal, submit_embedded, submit_to_workers
from pipeline.service.verify import verify
from pipeline.testing.memory_audit import MemoryAuditLog
from pipeline.testing.memory_index import MemoryIndex
from pipeline.testing.memory_persons import MemoryPersonBook
from pipeline.testing.memory_store import MemoryStore
from pipeline.types import WORKERS, JobState, KeyRole
from tests.accountable import NO_LOG, accountability
from tests.unit.fakes import (
    BUCKET,
    COLLECTION,
    CONCURRENCY,
    HERE,
    LIMITS,
    OTHER_SPEC,
    SPEC,
    TARGET,
    FakeEmbedder,
    distinct_png,
    error_of,
    indexed_keys,
    plan_one_batch,
    request_of,
)

ME = local_caller()
WANTED = Submission(location=parse_location(f"s3://{BUCKET}/"), collection=COLLECTION, batch_items=4)


# Access

NOW = datetime.now(UTC)
UseCase = Callable[[Deps, Caller], object]
USE_CASES: dict[str, tuple[Permission, UseCase]] = {
    "submit, embedded": (
        Permission.WRITE,
        lambda d, c: submit_embedded(WANTED, d, NO_LOG, c, driver=HERE),
    ),
    "submit, workers": (Permission.WRITE, lambda d, c: submit_to_workers(WANTED, d, NO_LOG, c)),
    "delete": (
        Permission.WRITE,
        lambda d, c: delete_objects(
            BUCKET,
            ["a"],
            collection=COLLECTION,
            index=d.index,
            ledger=d.ledger,
            answers_to=NO_LOG,
            caller=c,
            meant_at=NOW,
            driver=WORKERS,
        ),
    ),
    "drop": (
        Permission.OPERATE,
        lambda d, c: drop_collection(COLLECTION, d.index, d.ledger.book, MemoryPersonBook(), NO_LOG, c),
    ),
    "pause": (Permission.OPERATE, lambda d, c: pause_job("j", d.ledger, c)),
    "resume": (Permission.OPERATE, lambda d, c: resume_job("j", d.ledger, c)),
    "cancel": (Permission.OPERATE, lambda d, c: cancel_job("j", d.ledger, c)),
    "retry": (Permission.OPERATE, lambda d, c: retry_failures("j", d.ledger, d.store, c)),
    "job": (Permission.READ, lambda d, c: find_job("j", d.ledger, c)),
    "job in full": (Permission.READ, lambda d, c: show_job("j", d.ledger, CONCURRENCY, c)),
    "jobs": (Permission.READ, lambda d, c: list_jobs(d.ledger, c, limit=1)),
    "failures": (Permission.READ, lambda d, c: show_failures("j", d.ledger, c)),
    "collections": (Permission.READ, lambda d, c: list_collections(d.index, c)),
    "verify": (
        Permission.READ,
        lambda d, c: verify(COLLECTION, d.index, d.ledger.book, c, repair=False, first=1),
    ),
    "repair": (
        Permission.OPERATE,
        lambda d, c: verify(COLLECTION, d.index, d.ledger.book, c, repair=True, first=1),
    ),
    "preview": (Permission.READ, lambda d, c: preview_job(request_of(), None, d, c, first=1)),
    "collection": (Permission.READ, lambda d, c: show_collection(COLLECTION, d.index, c)),
}


@pytest.mark.parametrize("name", USE_CASES)
def test_each_use_case_asks_for_its_role_and_is_refused_without_a_trace(deps: Deps, name: str) -> None:
    permission, use_case = USE_CASES[name]
    before = deps.ledger.create_job(request_of(), driver=WORKERS, job_id="j")
    others = Caller(who="ann", permissions=frozenset(Permission) - {permission})
    with pytest.raises(DeniedError, match=f"'ann' may not do this: permission {permission} is needed"):
        use_case(deps, others)
    assert deps.ledger.list_jobs() == [before]
    assert deps.index.get_collection(COLLECTION) is not None
    use_case(deps, Caller(who="ann", permissions=frozenset({permission})))


def test_the_local_user_may_everything_and_each_request_has_an_id_of_its_own() -> None:
    for permission in Permission:
        require(local_caller(), permission)
    assert local_caller().who
    assert local_caller().request_id != local_caller().request_id


# Submitting


def test_a_job_for_the_workers_is_made_once_for_each_id(deps: Deps) -> None:
    job = submit_to_workers(WANTED, deps, NO_LOG, ME, job_id="mine")
    assert (job.job_id, job.driver, job.state) == ("mine", WORKERS, JobState.RUNNING)
    assert (job.request.location, job.request.fingerprint) == (f"s3://{BUCKET}/", SPEC.fingerprint)
    assert submit_to_workers(replace(WANTED, batch_items=9), deps, NO_LOG, ME, job_id="mine") == job


def test_a_job_for_the_workers_is_of_the_model_that_its_collection_has(
    deps: Deps, index: MemoryIndex
) -> None:
    """Workers of several models take submissions from one queue."""
    index.create_collection("foreign", OTHER_SPEC)
    job = submit_to_workers(replace(WANTED, collection="foreign"), deps, NO_LOG, ME)
    assert (job.state, job.request.fingerprint) == (JobState.RUNNING, OTHER_SPEC.fingerprint)
    assert job.request.model_name == OTHER_SPEC.name


def test_a_job_for_the_workers_may_fill_a_generation_that_is_not_live(deps: Deps, index: MemoryIndex) -> None:
    index.open_generation(COLLECTION, OTHER_SPEC)
    job = submit_to_workers(replace(WANTED, generation=OTHER_SPEC.fingerprint[:8]), deps, NO_LOG, ME)
    assert (job.state, job.request.fingerprint) == (JobState.RUNNING, OTHER_SPEC.fingerprint)
    assert index.live(COLLECTION).fingerprint == SPEC.fingerprint
    own = submit_to_workers(replace(WANTED, generation=SPEC.fingerprint[:8]), deps, NO_LOG, ME)
    assert (own.state, own.request.fingerprint) == (JobState.RUNNING, SPEC.fingerprint)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (replace(WANTED, generation="abcdef01"), "has no generation 'abcdef01'; there are: f0f0f0f0 (fake)"),
        (replace(WANTED, location=parse_location("s3://gone")), "bucket 'gone' does not exist"),
        (replace(WANTED, collection="no-dashes"), "collection name 'no-dashes'"),
    ],
)
def test_what_can_never_work_fails_the_job_of_the_workers_and_says_why(
    deps: Deps, wanted: Submission, said: str
) -> None:
    job = submit_to_workers(wanted, deps, NO_LOG, ME)
    assert job.state is JobState.FAILED
    assert said in job.error


def test_patterns_that_are_too_many_or_too_long_are_refused_at_every_door(deps: Deps) -> None:
    wanted = replace(WANTED, exclude=["*.png", "x" * 1025])
    for submit in (
        lambda: submit_to_workers(wanted, deps, NO_LOG, ME),
        lambda: submit_embedded(wanted, deps, NO_LOG, ME, driver=HERE),
        lambda: wanted.request_for(SPEC),  # of a dry run
    ):
        with pytest.raises(ArgumentError, match=r"exclude: the pattern .* has 1025 characters"):
            submit()
    assert deps.ledger.list_jobs() == []


def test_what_can_never_work_makes_no_embedded_job_and_no_collection(deps: Deps) -> None:
    wanted = replace(WANTED, location=parse_location("s3://gone"), collection="fresh")
    with pytest.raises(TargetError, match="bucket 'gone' does not exist"):
        submit_embedded(wanted, deps, NO_LOG, ME, driver=HERE)
    assert deps.ledger.list_jobs() == []
    assert deps.index.get_collection("fresh") is None


def test_an_embedded_job_is_made_with_its_collection_and_found_again(deps: Deps) -> None:
    wanted = replace(WANTED, collection="fresh")
    job, resumed = submit_embedded(wanted, deps, NO_LOG, ME, driver=HERE)
    assert (resumed, job.driver, job.request.collection) == (False, HERE, "fresh")
    assert deps.index.get_collection("fresh") is not None
    assert submit_embedded(wanted, deps, NO_LOG, ME, driver=HERE) == (job, True)


@pytest.mark.parametrize(
    "change", [{"keep_missing": True}, {"max_delete_share": 1.0}, {"retry_failed": True}], ids=str
)
def test_a_writer_joins_an_unfinished_job_and_does_not_change_it(deps: Deps, change: dict[str, Any]) -> None:
    """It may be somebody else's, whose images it would remove or whose failures it would try again."""
    writer = Caller(who="wes (k1)", permissions=permissions_of([KeyRole.WRITER]))
    log = MemoryAuditLog()
    answers_to = accountability(deps.index, log)
    job, _ = submit_embedded(WANTED, deps, answers_to, ME, driver=HERE)
    entries = log.head().size
    with pytest.raises(ConflictError, match=f"job {job.job_id} .* has another {next(iter(change))}"):
        submit_embedded(replace(WANTED, **change), deps, answers_to, writer, driver=HERE)
    assert (deps.ledger.get_job(job.job_id), log.head().size) == (job, entries)
    assert submit_embedded(WANTED, deps, answers_to, writer, driver=HERE) == (job, True)
    own, resumed = submit_embedded(
        replace(WANTED, **change), deps, answers_to, writer, driver=HERE, job_id="own"
    )
    assert (own.job_id, resumed) == ("own", False)


def test_the_user_of_the_machine_goes_on_with_a_job_under_other_options(deps: Deps) -> None:
    job, _ = submit_embedded(WANTED, deps, NO_LOG, ME, driver=HERE)
    again, resumed = submit_embedded(replace(WANTED, keep_missing=True), deps, NO_LOG, ME, driver=HERE)
    assert (again.job_id, resumed, again.request.keep_missing) == (job.job_id, True, True)


def test_a_refused_submission_is_a_failed_job(ledger: SqlLedger) -> None:
    error = MessageError("source: wrong")
    for _ in range(2):  # a message may be delivered twice
        record_refusal("/photos", "images", ledger, job_id="refused-1", error=error)
    [job] = ledger.list_jobs()
    assert (job.state, job.error, job.request.location) == (JobState.FAILED, "source: wrong", "/photos")


# Deleting and looking


def test_objects_are_deleted_by_key_whether_or_not_they_are_there(deps: Deps, store: MemoryStore) -> None:
    for number in range(3):
        store.put(BUCKET, f"{number}.png", distinct_png(number))
    run_batch(plan_one_batch(deps), deps, LIMITS)
    for _ in range(2):
        delete_objects(
            BUCKET,
            ["1.png", "never.png"],
            collection=COLLECTION,
            index=deps.index,
            ledger=deps.ledger,
            answers_to=NO_LOG,
            caller=ME,
            meant_at=datetime.now(UTC),
            driver=WORKERS,
        )
        assert indexed_keys(deps) == ["0.png", "2.png"]


def test_a_dropped_collection_is_told_for_the_last_time(index: MemoryIndex, ledger: SqlLedger) -> None:
    assert drop_collection(COLLECTION, index, ledger.book, MemoryPersonBook(), NO_LOG, ME).name == COLLECTION
    assert list_collections(index, ME) == []


def test_a_collection_that_is_not_there_is_said_alike_by_whoever_looks_for_it(
    deps: Deps, index: MemoryIndex
) -> None:
    def refusals() -> set[str]:
        models = LoadedOnDemand(index, never_loaded, requested="", precision="auto")
        return {
            error_of(lambda: show_collection("nowhere", index, ME), NotFoundError),
            error_of(
                lambda: drop_collection("nowhere", index, deps.ledger.book, MemoryPersonBook(), NO_LOG, ME),
                NotFoundError,
            ),
            error_of(lambda: models.answering(replace(TARGET, name="nowhere")), NotFoundError),
        }

    assert refusals() == {f"collection 'nowhere' does not exist; there are: {COLLECTION}"}
    index.drop_collection(COLLECTION)
    assert refusals() == {
        "collection 'nowhere' does not exist; there is none yet, `pictor ingest SOURCE` makes one"
    }
    with pytest.raises(TargetError, match="collection 'nowhere' does not exist"):
        delete_objects(
            BUCKET,
            ["a"],
            collection="nowhere",
            index=index,
            ledger=deps.ledger,
            answers_to=NO_LOG,
            caller=ME,
            meant_at=NOW,
            driver=WORKERS,
        )


def test_a_job_that_is_not_there_is_said_alike_by_whoever_looks_for_it(ledger: SqlLedger) -> None:
    assert {
        error_of(look, NotFoundError)
        for look in (
            lambda: find_job("x", ledger, ME),
            lambda: show_job("x", ledger, CONCURRENCY, ME),
            lambda: show_failures("x", ledger, ME),
            lambda: pause_job("x", ledger, ME),
        )
    } == {"no job 'x' in this ledger; `pictor jobs list` shows those that there are"}


# Which model answers for a collection


def never_loaded(source: str, precision: str) -> ImageEmbedder:
    raise AssertionError(f"{source} was loaded")


@pytest.mark.parametrize(("requested", "loaded"), [("", "fake"), ("moved.toml", "moved.toml")])
def test_the_model_of_a_collection_is_loaded_once_from_its_record_or_from_where_it_is_now(
    index: MemoryIndex, requested: str, loaded: str
) -> None:
    loads: list[tuple[str, str]] = []

    def load(source: str, precision: str) -> ImageEmbedder:
        loads.append((source, precision))
        return FakeEmbedder()

    models = LoadedOnDemand(index, load, requested=requested, precision="auto")
    assert models.answering(TARGET) is models.answering(TARGET)
    assert loads == [(loaded, "float32")]  # as the collection's record says


def test_collections_of_one_model_share_it(index: MemoryIndex) -> None:
    """Else the memory of a service would grow with each tenant."""
    loads: list[str] = []

    def load(source: str, _precision: str) -> ImageEmbedder:
        loads.append(source)
        return FakeEmbedder()

    models = LoadedOnDemand(index, load, requested="", precision="auto")
    refs = [TARGET, *(index.create_collection(f"tenant_{name}_images", SPEC).ref for name in "abc")]
    assert len({id(models.answering(ref)) for ref in refs}) == len(loads) == 1


def test_a_loaded_model_answers_while_another_is_loaded(index: MemoryIndex) -> None:
    slow = index.create_collection("slow", OTHER_SPEC).ref
    begun, go_on = threading.Event(), threading.Event()

    def load(source: str, _precision: str) -> ImageEmbedder:
        if source == OTHER_SPEC.address:
            begun.set()
            assert go_on.wait(30)
            return FakeEmbedder(OTHER_SPEC)
        return FakeEmbedder()

    models = LoadedOnDemand(index, load, requested="", precision="auto")
    models.answering(TARGET)
    with ThreadPoolExecutor(2) as pool:
        waiting = pool.submit(models.answering, slow)
        assert begun.wait(30)
        pool.submit(models.answering, TARGET).result(30)
        assert not waiting.done()
        go_on.set()
        assert waiting.result(30).spec == OTHER_SPEC


def test_another_model_does_not_answer(index: MemoryIndex) -> None:
    other = FakeEmbedder(OTHER_SPEC)
    loaded = LoadedOnDemand(index, lambda _source, _precision: other, requested="", precision="auto")
    resident = ResidentModel(other, index)
    said = [
        error_of(lambda: loaded.answering(TARGET), ModelMismatchError),
        error_of(lambda: resident.answering(TARGET), ModelMismatchError),
    ]
    assert said[0] == said[1], "one fact, one wording"


def test_a_model_that_turns_out_to_be_another_s_is_loaded_once(index: MemoryIndex) -> None:
    """Else each search of a picture would leave a model in memory, with a thread of its own."""
    loads: list[str] = []

    def load(source: str, _precision: str) -> ImageEmbedder:
        loads.append(source)
        return FakeEmbedder(OTHER_SPEC)

    models = LoadedOnDemand(index, load, requested="other.toml", precision="auto")
    for _ in range(3):
        error_of(lambda: models.answering(TARGET), ModelMismatchError)
    assert loads == ["other.toml"]


def test_where_the_requested_model_is_a_default_other_collections_keep_their_own(index: MemoryIndex) -> None:
    other = index.create_collection("other", OTHER_SPEC).ref
    loads: list[str] = []

    def load(source: str, _precision: str) -> ImageEmbedder:
        loads.append(source)
        return FakeEmbedder() if source == SPEC.address else FakeEmbedder(OTHER_SPEC)

    models = LoadedOnDemand(index, load, requested="moved.toml", else_own=True, precision="auto")
    for _ in range(2):
        assert models.answering(other).spec == OTHER_SPEC
        assert models.answering(TARGET).spec == SPEC
    assert loads == ["moved.toml", SPEC.address]


def test_the_bucket_of_staged_pixels_is_no_source(deps: Deps) -> None:
    staged = replace(deps, staging_bucket=BUCKET)
    job = submit_to_workers(replace(WANTED, collection="other"), staged, NO_LOG, ME)
    assert (job.state, job.error) == (
        JobState.FAILED,
        f"bucket {BUCKET} holds pixels on their way to the GPU tier; it is no source",
    )
    with pytest.raises(TargetError, match="no source"):
        submit_embedded(replace(WANTED, collection="other"), staged, NO_LOG, ME, driver=HERE)
    assert staged.index.get_collection("other") is None
