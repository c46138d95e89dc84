"""What public tasks may name, where the operator allows some buckets and collections only."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipeline.errors import DeniedError
from pipeline.location import parse_location
from pipeline.ports import Deps
from pipeline.service.access import Caller, Permission, local_caller, require_names
from pipeline.service.delete import delete_objects
from pipeline.service.submit import Submission, submit_to_workers
from pipeline.settings import Settings
from pipeline.types import WORKERS, JobState
from tests.accountable import NO_LOG
from tests.unit.fakes import BUCKET, COLLECTION, error_of
from tests.unit.memory_broker import MemoryBroker, Settled, message_of
from workers.process.context import Context, make_current

ELSEWHERE = "press"


def caller(*, buckets: str = "*", collections: str = "*") -> Caller:
    settings = Settings(allowed_buckets=buckets, allowed_collections=collections)
    return Caller(
        who="broker",
        permissions=frozenset({Permission.READ, Permission.SEARCH, Permission.WRITE}),
        buckets=settings.bucket_globs,
        collections=settings.collection_globs,
    )


@pytest.mark.parametrize(
    ("allowed", "name", "may"),
    [
        ("*", "anything", True),
        ("shop", "shop", True),
        ("shop", "shop2", False),
        ("shop", "Shop", False),
        ("shop-*, press", "shop-eu", True),
        ("shop-*, press", "press", True),
        ("shop-*, press", "pressed", False),
        (",", "shop", False),
    ],
)
def test_names_are_allowed_by_globs(allowed: str, name: str, may: bool) -> None:
    asks: list[Callable[[], None]] = [
        lambda: require_names(caller(buckets=allowed), collection=COLLECTION, buckets=[name]),
        lambda: require_names(caller(collections=allowed), collection=name),
    ]
    for ask in asks:
        if may:
            ask()
        else:
            assert name in error_of(ask, DeniedError)


def test_the_user_of_the_machine_may_name_all() -> None:
    require_names(local_caller(), collection="anything", buckets=["anything", "/home/me"])


def test_a_submission_elsewhere_is_denied_and_makes_no_job(deps: Deps) -> None:
    def submit(url: str, collection: str) -> object:
        wanted = Submission(location=parse_location(url), collection=collection, batch_items=8)
        return submit_to_workers(wanted, deps, NO_LOG, caller(buckets=BUCKET, collections=COLLECTION))

    for url, collection in ((f"s3://{ELSEWHERE}/", COLLECTION), (f"s3://{BUCKET}/", "others")):
        assert "may not use" in error_of(lambda url=url, to=collection: submit(url, to), DeniedError)  # type: ignore[misc]
    assert deps.ledger.list_jobs() == []


def test_a_deletion_elsewhere_is_denied(deps: Deps) -> None:
    restricted = caller(buckets=BUCKET, collections=COLLECTION)
    for bucket, collection in ((ELSEWHERE, COLLECTION), (BUCKET, "others"), ("/home/me", COLLECTION)):
        with pytest.raises(DeniedError, match="may not use"):
            delete_objects(
                bucket,
                ["a.jpg"],
                collection=collection,
                index=deps.index,
                ledger=deps.ledger,
                answers_to=NO_LOG,
                caller=restricted,
                meant_at=datetime.now(UTC),
                driver=WORKERS,
            )


# The public tasks


@pytest.fixture
def restricted(context: Context) -> Context:
    """This worker's operator allows one bucket and one collection."""
    settings = Settings(allowed_buckets=BUCKET, allowed_collections=COLLECTION)
    changed = replace(context, settings=settings)
    make_current(changed)
    return changed


@pytest.mark.parametrize(
    "elsewhere",
    [{"query": f"s3://{ELSEWHERE}/a.png"}, {"query": "0a" * 16, "collection": "others"}],
)
def test_a_search_elsewhere_is_answered_with_denied(
    broker: MemoryBroker, restricted: Context, elsewhere: dict[str, str]
) -> None:
    settled, answer = broker.deliver(message_of("pictor.search", v=1, **elsewhere))
    assert (settled, answer["code"], answer["hits"]) == (Settled.ACKNOWLEDGED, "denied", [])


def test_a_submission_elsewhere_is_a_dead_letter_and_a_refused_job(
    broker: MemoryBroker, restricted: Context
) -> None:
    broker.deliver(message_of("pictor.ingest", v=1, source=f"s3://{ELSEWHERE}/", job_id="mine"))
    [job] = restricted.deps.ledger.list_jobs()
    assert (job.job_id.startswith("refused-"), job.state) == (True, JobState.FAILED)
    assert "may not use bucket 'press'" in job.error
    assert "may not use bucket 'press'" in broker.dead()[0].reason


def test_a_deletion_elsewhere_is_a_dead_letter(broker: MemoryBroker, restricted: Context) -> None:
    broker.deliver(message_of("pictor.delete", v=1, bucket=ELSEWHERE, keys=["a.png"]))
    assert "may not use bucket 'press'" in broker.dead()[0].reason


@pytest.mark.parametrize("bucket", ["shop@evil.example", "evil.example#", "a..b"])
@pytest.mark.parametrize(
    ("task", "arguments"),
    [
        ("pictor.ingest", {"source": "s3://{}/"}),
        ("pictor.delete", {"bucket": "{}", "keys": ["a.png"]}),
    ],
)
def test_a_name_that_is_none_ends_as_a_dead_letter(
    broker: MemoryBroker, context: Context, task: str, arguments: dict[str, object], bucket: str
) -> None:
    given = {
        name: value.format(bucket) if isinstance(value, str) else value for name, value in arguments.items()
    }
    broker.deliver(message_of(task, v=1, **given))
    assert "bucket name" in broker.dead()[0].reason


def test_a_search_by_a_name_that_is_none_is_answered(broker: MemoryBroker, context: Context) -> None:
    for arguments in ({"query": "s3://shop@evil.example/a"}, {"query": "0a" * 16, "bucket": "evil.example#"}):
        _, answer = broker.deliver(message_of("pictor.search", v=1, **arguments))
        assert "bucket name" in answer["error"]
