"""What Pictor publishes: which task with which arguments, and never more than a broker takes."""

from collections.abc import Mapping
from typing import Any, cast

import pytest
from celery import Celery
from kombu.utils.json import dumps

from pipeline.errors import ConfigError
from pipeline.ingest.plan import make_batch
from pipeline.types import PlannedBatch
from tests.unit.fakes import SPEC, ref_of, request_of
from workers.broker.publish import MAX_ARGUMENTS_BYTES, MAX_SHOWN_CHARS, Publisher
from workers.client import PictorClient

RABBITMQ_4_BYTES = 16 * 2**20  # its max_message_size, when nothing else is configured


class FakeApp:
    """Keeps what it is given to send."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Mapping[str, Any]]] = []

    def send_task(self, task: str, **options: Any) -> None:
        self.sent.append((task, options))

    def close(self) -> None: ...

    def parts(self) -> list[list[str]]:
        return [options["kwargs"]["keys"] for _, options in self.sent]

    def body_bytes(self) -> list[int]:
        celery_adds = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
        return [len(dumps([[], options["kwargs"], celery_adds])) for _, options in self.sent]


@pytest.fixture
def app() -> FakeApp:
    return FakeApp()


@pytest.fixture
def client(app: FakeApp) -> PictorClient:
    client = PictorClient("amqp://user:password@127.0.0.1:1/nowhere")
    client._publisher = Publisher(cast("Celery", app), preparation="inline")
    return client


LONGEST = {
    "latin": "k" * 1018,
    "cyrillic": "\u0416" * 1018,
    "emoji": "\U0001f600" * 1018,
    "control": "\x01" * 1018,
}


@pytest.mark.parametrize("start", LONGEST.values(), ids=LONGEST)
@pytest.mark.parametrize("count", [1, 1_000, 10_000])
def test_any_legal_deletion_is_sent_whole_in_messages_that_a_broker_takes(
    app: FakeApp, client: PictorClient, start: str, count: int
) -> None:
    keys = [f"{start}{number:06d}" for number in range(count)]
    client.delete(
        "/" + "b" * 254, keys, collection="c" * 255
    )  # a folder's keys may have 1,024 letters of any kind
    assert [key for part in app.parts() for key in part] == keys
    assert max(app.body_bytes()) <= RABBITMQ_4_BYTES
    assert len(app.sent) <= 1 + 2 * sum(app.body_bytes()) // MAX_ARGUMENTS_BYTES
    assert all(len(options["kwargsrepr"]) < 300 for _, options in app.sent)


def test_more_keys_than_one_message_may_have_go_in_several(app: FakeApp, client: PictorClient) -> None:
    client.delete("shop", [f"{number}.jpg" for number in range(25_000)])
    assert [len(part) for part in app.parts()] == [10_000, 10_000, 5_000]
    assert [options["kwargsrepr"] for _, options in app.sent][-1] == "5000 keys of shop"


@pytest.mark.parametrize("keys", [[], ["a", ""], ["a"] * 20_000 + ["x" * 1025], [5], [b"a"], ["a", None]])
def test_a_deletion_with_a_wrong_key_sends_nothing(
    app: FakeApp, client: PictorClient, keys: list[str]
) -> None:
    with pytest.raises(ConfigError, match=r"^pictor\.delete: keys"):
        client.delete("shop", keys)
    assert app.sent == []


def test_arguments_that_are_too_long_are_refused_with_both_sizes(app: FakeApp) -> None:
    with pytest.raises(
        ConfigError, match=r"^pictor\.ingest: its arguments are 23\.\d MiB .* at most 15 MiB; nothing was"
    ):
        Publisher(cast("Celery", app), preparation="inline").send(
            "pictor.ingest", {"source": "s3://shop", "include": ["\U0001f600" * 1024] * 2000}
        )
    assert app.sent == []


def test_what_is_shown_of_long_arguments_fits_into_a_frame(app: FakeApp, client: PictorClient) -> None:
    client.ingest("s3://shop", include=["x" * 64] * 1000)
    [(_, options)] = app.sent
    assert 20 < len(options["kwargsrepr"]) <= MAX_SHOWN_CHARS + 20
    client.ingest("s3://shop")
    assert "s3://shop" in app.sent[-1][1]["kwargsrepr"]


@pytest.mark.parametrize("letter", ["\x01", "\u0416", "\U0001f600"])
def test_the_longest_batch_of_a_job_fits_into_a_message(app: FakeApp, letter: str) -> None:
    refs = [ref_of(letter * 1024) for _ in range(1000)]
    batch: PlannedBatch = make_batch(refs[:128], job_id="j" * 100, request=request_of(), path="00000000")
    Publisher(cast("Celery", app), preparation="staged").publish_batch("j", batch)
    assert [task for task, _ in app.sent] == ["pictor.prepare_batch"]
    assert [options["queue"].name for _, options in app.sent] == [f"prepare.{SPEC.fingerprint[:8]}"]
    assert max(app.body_bytes()) <= RABBITMQ_4_BYTES
