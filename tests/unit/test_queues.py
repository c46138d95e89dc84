"""Names of queues: by role and model, those of the version before, and what is none."""

from typing import cast

import pytest
from kombu import Queue

from pipeline.errors import ArgumentError
from tests.unit.memory_broker import MemoryBroker
from workers.broker.celery_config import celery_config
from workers.broker.queue_names import (
    FORMER_QUEUES,
    consumed_queues,
    is_work_queue,
    model_queues,
    queue_of,
    read_roles,
    role_of,
)
from workers.broker.queues import former_queues

MODEL = "f5c4f95b" + "0" * 56
FORMER = FORMER_QUEUES.values()


def test_a_role_is_read_by_its_name() -> None:
    assert read_roles(["plan", "search"]) == ["plan", "search"]


def test_the_former_name_of_a_role_is_understood_once() -> None:
    assert read_roles(["ingest"]) == ["prepare"]
    assert read_roles(["prepare", "ingest", "plan", "plan"]) == ["prepare", "plan"]


@pytest.mark.parametrize(
    ("names", "named"),
    [
        (["plan", "emded"], "emded"),
        ([], r"\(none\)"),
        (["dead"], "dead"),
        (["embed.f5c4f95b"], "embed.f5c4f95b"),
    ],
)
def test_a_role_that_is_none_is_refused_with_those_that_there_are(names: list[str], named: str) -> None:
    with pytest.raises(ArgumentError, match=f"^--queues {named}: plan, prepare, embed, search are allowed$"):
        read_roles(names)


@pytest.mark.parametrize(
    ("roles", "queues"),
    [
        (["plan"], ["plan"]),
        (["prepare"], ["prepare.f5c4f95b"]),
        (["embed"], ["embed.f5c4f95b"]),
        (["search"], ["search", "search.f5c4f95b"]),
        (["plan", "search"], ["plan", "search", "search.f5c4f95b"]),
    ],
)
def test_a_worker_takes_from_the_queues_of_its_roles_and_its_model(
    roles: list[str], queues: list[str]
) -> None:
    assert consumed_queues(roles, MODEL, there=[]) == queues


def test_a_worker_also_takes_what_the_version_before_has_left() -> None:
    assert consumed_queues(["prepare"], MODEL, there=FORMER) == ["prepare.f5c4f95b", "ingest"]
    assert consumed_queues(["embed"], MODEL, there=FORMER) == ["embed.f5c4f95b", "embed"]
    assert consumed_queues(["embed"], MODEL, there=["ingest"]) == ["embed.f5c4f95b"]
    assert consumed_queues(["plan", "search"], MODEL, there=FORMER) == ["plan", "search", "search.f5c4f95b"]


@pytest.mark.parametrize("name", ["plan", "search", *FORMER, *model_queues(MODEL)])
def test_every_queue_that_work_waits_on_is_one(name: str) -> None:
    assert is_work_queue(name)
    assert queue_of(name) == name
    assert queue_of("0." * 27 + f"1.{name}") == name  # as Celery sends what is to be delivered later
    assert role_of(name) in ("plan", "prepare", "embed", "search")


@pytest.mark.parametrize(
    "name",
    ["", "dead", "pictor.dead", "celery_delayed_2", "plan.f5c4f95b", "embed.f5c4", "embed.F5C4F95B", None],
)
def test_no_other_queue_is_one(name: object) -> None:
    assert not is_work_queue(name)


def test_a_routing_key_of_no_queue_of_ours_names_none() -> None:
    assert queue_of("celeryev.worker") == ""
    assert queue_of("embed.f5c4f95b.plan") == "plan"  # who binds by `#.plan` delivers that to `plan`


def test_a_worker_knows_the_queues_that_it_takes_from_and_no_other() -> None:
    """It binds each to Celery's delays, and has the rights to do so with its own alone."""
    names = ["embed.f5c4f95b", "embed"]
    config = celery_config("amqp://", 0.0, names)
    assert [queue.name for queue in cast("tuple[Queue, ...]", config["task_queues"])] == names


def test_who_only_submits_declares_nothing_and_sends_no_events() -> None:
    config = celery_config("amqp://", 0.0)
    queues = cast("tuple[Queue, ...]", config["task_queues"])
    assert [queue.name for queue in queues] == ["plan", "search"]
    assert all(queue.no_declare and queue.exchange.no_declare for queue in queues)
    assert config["task_send_sent_event"] is False


def test_the_queues_of_the_version_before_are_taken_over_where_they_are(broker: MemoryBroker) -> None:
    with broker.app.connection_for_write() as connection:
        assert former_queues(connection, ["plan", "prepare", "embed"]) == {"ingest", "embed"}
        assert former_queues(connection, ["plan", "search"]) == set()
        with connection.channel() as channel:
            channel.queue_delete("ingest")
        assert former_queues(connection, ["prepare", "embed"]) == {"embed"}
