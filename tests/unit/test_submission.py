"""The arguments of the public tasks: what is read, and what a refusal says."""

import subprocess
import sys

import pytest

from pipeline.errors import ConfigError, MessageError
from tests.unit.fakes import error_of
from workers.broker.consumer import message_error, task_error
from workers.client import PictorClient
from workers.submission import (
    Arguments,
    DeleteArguments,
    IngestArguments,
    JobArguments,
    SearchArguments,
    read_arguments,
)

GOOD: dict[type[Arguments], dict[str, object]] = {
    IngestArguments: {"v": 1, "source": "s3://shop/products/"},
    DeleteArguments: {"v": 1, "bucket": "shop", "keys": ["a.jpg"]},
    SearchArguments: {"v": 1, "query": "s3://shop/a.jpg"},
    JobArguments: {"v": 1, "job_id": "j-1"},
}


def refusal(kind: type[Arguments], **changes: object) -> str:
    return error_of(lambda: read_arguments(kind, "pictor.task", GOOD[kind] | changes), MessageError)


@pytest.mark.parametrize("kind", GOOD)
def test_the_shortest_arguments_are_enough(kind: type[Arguments]) -> None:
    assert read_arguments(kind, "pictor.task", GOOD[kind]).v == 1


def test_everything_an_ingestion_may_say_is_read() -> None:
    given = {
        "v": 1,
        "source": "s3://shop",
        "collection": "images",
        "job_id": "2026-11-24.shop_1",
        "include": ["*.jpg"],
        "exclude": ["tmp/*"],
        "batch_items": 1000,
        "keep_missing": True,
        "max_delete_share": 0.5,
        "retry_failed": True,
        "generation": "0e0e0e0e",
    }
    assert read_arguments(IngestArguments, "pictor.ingest", given).model_dump() == given


@pytest.mark.parametrize("digits", ["", "0e0e0e0", "0E0E0E0E", "0e" * 33, "no digits"])
def test_a_generation_is_named_by_digits_of_its_fingerprint(digits: str) -> None:
    assert "generation" in refusal(IngestArguments, generation=digits)


def test_a_prefix_may_hold_whatever_a_key_may() -> None:
    source = "s3://shop/a b/ü%20\n#?"
    assert read_arguments(IngestArguments, "pictor.ingest", {"v": 1, "source": source}).source == source


@pytest.mark.parametrize("kind", GOOD)
def test_the_version_is_looked_at_first(kind: type[Arguments]) -> None:
    wrong = {"v": 2, "future": True}
    assert error_of(lambda: read_arguments(kind, "pictor.task", wrong), MessageError) == (
        "pictor.task: version 2; this worker reads version 1 of the arguments"
    )
    assert error_of(lambda: read_arguments(kind, "pictor.task", {}), MessageError) == (
        "pictor.task: no argument v; this worker reads version 1 of the arguments"
    )


@pytest.mark.parametrize("version", [True, False, 0, -1, 2**63, "1", [1], 1.5])
def test_a_version_is_the_number_one(version: object) -> None:
    given = GOOD[JobArguments] | {"v": version}
    assert "this worker reads version 1" in error_of(
        lambda: read_arguments(JobArguments, "pictor.job", given), MessageError
    )


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        (IngestArguments, {"source": 5}, "source: Input should be a valid string"),
        (IngestArguments, {"source": "/photos"}, "source: String should match"),
        (IngestArguments, {"source": "s3:///x"}, "source: String should match"),
        (IngestArguments, {"source": "s3://shop/\0"}, "source: .*cannot be stored"),
        (IngestArguments, {"source": "s3://shop/" + "x" * 2048}, "source: .*at most 2048 characters"),
        (IngestArguments, {"job_id": "../etc"}, "job_id: String should match"),
        (IngestArguments, {"job_id": "x" * 101}, "job_id: String should match"),
        (IngestArguments, {"job_id": "x\n"}, "job_id: String should match"),
        (IngestArguments, {"batch_items": 0}, "batch_items: .*greater than or equal to 1"),
        (IngestArguments, {"batch_items": "64"}, "batch_items: .*valid integer"),
        (IngestArguments, {"include": "*.jpg"}, "include: .*valid list"),
        (IngestArguments, {"include": ["x"] * 1001}, "include: .*at most 1000 items"),
        (IngestArguments, {"include": ["x" * 1025]}, "include.0: .*at most 1024"),
        (
            IngestArguments,
            {"exclude": ["x" * 1024] * 65},
            "exclude: .*66560 characters together",
        ),
        (IngestArguments, {"colection": "images"}, "colection: Extra inputs are not permitted"),
        (DeleteArguments, {"keys": []}, "keys: .*at least 1 item"),
        (DeleteArguments, {"keys": [""]}, "keys.0: .*at least 1"),
        (DeleteArguments, {"keys": ["a"] * 10_001}, "keys: .*at most 10000 items"),
        (DeleteArguments, {"bucket": ""}, "bucket: .*at least 1"),
        (SearchArguments, {"k": 0}, "k: .*greater than or equal to 1"),
        (SearchArguments, {"min_score": 1.5}, "min_score: .*less than or equal to 1"),
        (SearchArguments, {"where": {"field": "width", "eq": "x"}}, "where: .*whole number"),
        (SearchArguments, {"where": [1]}, "where: .*dictionary"),
        (SearchArguments, {"metadata": {"a": 1}}, "metadata.a: .*valid string"),
        (JobArguments, {"job_id": None}, "job_id: Input should be a valid string"),
    ],
)
def test_a_refusal_names_the_task_the_argument_and_what_was_allowed(
    kind: type[Arguments], changes: dict[str, object], said: str
) -> None:
    with pytest.raises(MessageError, match=rf"^pictor\.task: {said}"):
        read_arguments(kind, "pictor.task", GOOD[kind] | changes)


def test_a_missing_argument_is_named() -> None:
    wrong = {"v": 1, "bucket": "shop"}
    assert error_of(lambda: read_arguments(DeleteArguments, "pictor.delete", wrong), MessageError) == (
        "pictor.delete: keys: Field required"
    )


def test_a_refusal_repeats_no_value_and_stays_short() -> None:
    text = refusal(DeleteArguments, keys=[5] * 10_000, **{"x" * 5_000: "a secret"})
    assert "secret" not in text
    assert len(text) < 600
    assert "more" in text


def test_half_a_surrogate_pair_is_refused() -> None:
    assert "source" in refusal(IngestArguments, source="s3://shop/\ud800")


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.ingest("/photos"),
        lambda client: client.ingest("s3://shop", job_id="no good"),
        lambda client: client.delete("shop", []),
        lambda client: client.search("s3://shop/a.jpg", k=0),
        lambda client: client.job(""),
    ],
)
def test_the_client_says_so_before_anything_is_sent(call) -> None:  # type: ignore[no-untyped-def]
    # Nothing listens on port 1: what got as far as sending would be another error.
    with PictorClient("amqp://user:password@127.0.0.1:1/nowhere") as client, pytest.raises(ConfigError):
        call(client)


TASK = {"task": "pictor.ingest", "id": "x"}
JSON = "application/json"


@pytest.mark.parametrize(
    ("headers", "content_type", "body", "fault"),
    [
        (TASK, JSON, b"[[], {}, {}]", ""),
        (TASK, JSON, "[[1], {}, null]", ""),
        (TASK | {"retries": 3, "expires": None}, JSON, b"[[], {}, {}]", ""),
        ({}, JSON, b"[[], {}, {}]", "headers"),
        (None, JSON, b"[[], {}, {}]", "headers"),
        ({"task": "pictor.ingest"}, JSON, b"[[], {}, {}]", "headers"),
        ({"task": 5, "id": "x"}, JSON, b"[[], {}, {}]", "headers"),
        (TASK | {"retries": "abc"}, JSON, b"[[], {}, {}]", "retries"),
        (TASK | {"retries": -6}, JSON, b"[[], {}, {}]", "retries"),
        (TASK | {"retries": True}, JSON, b"[[], {}, {}]", "retries"),
        (TASK | {"retries": ""}, JSON, b"[[], {}, {}]", "retries"),
        (TASK | {"retries": None}, JSON, b"[[], {}, {}]", ""),
        (TASK | {"expires": 5}, JSON, b"[[], {}, {}]", "expires"),
        (TASK, "application/x-python-serialize", b"\x80\x04K\x01.", "x-python-serialize"),
        (TASK, None, b"[[], {}, {}]", "content type is None"),
        (TASK, JSON, b"garbage", "not JSON"),
        (TASK, JSON, b"\xff\xfe", "not JSON"),
        (TASK, JSON, b"[" * 100_000, "not JSON"),
        (TASK, JSON, b"{}", "arguments"),
        (TASK, JSON, b"[[], {}]", "arguments"),
        (TASK, JSON, b"[[], 5, {}]", "arguments"),
        (TASK | {"retries": 2**31}, JSON, b"[[], {}, {}]", "retries"),
        (TASK | {"task": "celery.map"}, JSON, b"[[], {}, {}]", "its task 'celery.map' is none of Pictor's"),
        (TASK | {"task": "no.such.task"}, JSON, b"[[], {}, {}]", "none of Pictor's"),
        (TASK, JSON, b'[[], {}, {"callbacks": null, "errbacks": null, "chain": [], "chord": null}]', ""),
        (TASK, JSON, b'[[], {}, {"callbacks": [{"task": "celery.map"}]}]', "tasks to run after it"),
        (TASK, JSON, b'[[], {}, {"chain": [{"task": "pictor.plan_job"}]}]', "tasks to run after it"),
        (TASK, JSON, b"[[], {}, []]", "arguments"),
    ],
)
def test_what_is_no_task_is_told_from_what_is_one(
    headers: object, content_type: str | None, body: bytes | str, fault: str
) -> None:
    found = message_error(headers, content_type, body)
    assert fault in found
    assert bool(found) == bool(fault)


def test_the_client_needs_neither_torch_nor_milvus_nor_a_database() -> None:
    heavy = ("torch", "torchvision", "pymilvus", "sqlalchemy", "psycopg", "minio", "obstore", "PIL")
    program = f"""
import sys
sys.modules.update(dict.fromkeys({heavy!r}))  # to import one of them is now an error
from workers.client import PictorClient
PictorClient("amqp://user:password@127.0.0.1:1/nowhere").close()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("task", "routing_key"),
    [
        ("pictor.ingest", "plan"),
        ("pictor.plan_job", "0." * 27 + "1.plan"),
        ("pictor.search", "search"),
        ("pictor.search", "search.f5c4f95b"),
        ("pictor.embed_batch", "embed.f5c4f95b"),
        ("pictor.embed_batch", "embed"),  # of the version before
        ("pictor.ingest_batch", "ingest"),
        ("pictor.prepare_batch", "0." * 27 + "1.prepare.f5c4f95b"),
        ("no.such.task", "plan"),  # for Celery to refuse
    ],
)
def test_a_task_is_taken_from_the_queues_of_its_role(task: str, routing_key: str) -> None:
    assert task_error(task, routing_key) == ""


@pytest.mark.parametrize(
    ("task", "routing_key"),
    [
        ("pictor.embed_batch", "plan"),
        ("pictor.prepare_batch", "search"),
        ("pictor.plan_job", "search"),
        ("pictor.ingest", "search.f5c4f95b"),
        ("pictor.search", "plan"),
        ("pictor.embed_batch", "embed.f5c4f95b.plan"),
        ("pictor.ingest", ""),
        ("pictor.ingest", None),
    ],
)
def test_a_task_that_came_by_the_queue_of_another_role_is_refused(task: str, routing_key: object) -> None:
    """Who may only submit writes to `plan` and `search`."""
    assert task_error(task, routing_key).startswith(f"{task} does not belong on queue ")
