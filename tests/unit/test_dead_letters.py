"""Dead letters on kombu's own broker in memory: what is listed, replayed, kept and purged."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from amqp.exceptions import PreconditionFailed
from celery import Celery, Task
from celery.exceptions import Reject
from kombu import Connection
from kombu.transport import memory

from tests.unit.fakes import SPEC
from workers.broker.dead_letters import (
    DIED_HEADER,
    DeadLetter,
    Replay,
    count_dead,
    list_dead,
    purge_dead,
    purge_old,
    replay_dead,
    set_aside,
)
from workers.broker.publish import MAX_SHOWN_CHARS
from workers.broker.queue_names import DEAD, PLAN
from workers.broker.queues import DEAD_EXCHANGE, dead_queue, declare_queues, work_queue


@pytest.fixture
def broker() -> Iterator[Connection]:
    yield from broker_of(memory.Transport)


def broker_of(transport: type[memory.Transport]) -> Iterator[Connection]:
    with Connection(transport=transport) as connection:
        declare_queues(connection, SPEC.fingerprint)
        for name in (DEAD, PLAN):
            connection.default_channel.queue_purge(name)  # one memory for the whole process
        yield connection


def bury(broker: Connection, *task_ids: str, queue: str = PLAN, body: bytes = b"[[], {}, {}]") -> None:
    for task_id in task_ids:
        broker.Producer().publish(
            body,
            exchange=DEAD_EXCHANGE,
            routing_key=DEAD,
            content_type="application/json",
            content_encoding="utf-8",
            headers={
                "task": "pictor.ingest",
                "id": task_id,
                "kwargsrepr": "{}",
                "x-pictor-reason": "not wanted",
                "x-pictor-queue": queue,
            },
        )


def buried(broker: Connection) -> list[str]:
    return sorted(letter.task_id for letter in list_dead(broker))


def waiting(broker: Connection) -> list[tuple[str, dict[str, Any]]]:
    """The ids and headers of what is on the queue of the planner."""
    queue = work_queue(PLAN).bind(broker.default_channel)
    found = []
    while (message := queue.get(no_ack=True)) is not None:
        found.append((str(message.headers["id"]), message.headers))
    return found


def test_a_look_changes_nothing_and_says_what_each_letter_is(broker: Connection) -> None:
    bury(broker, "a", "b", body="[[], {}, {'é'}]".encode())
    expected = DeadLetter(
        task="pictor.ingest", task_id="a", queue=PLAN, reason="not wanted", size_bytes=16, shown="{}"
    )
    assert expected in list_dead(broker)
    assert buried(broker) == ["a", "b"]
    assert len(list_dead(broker, limit=1)) == 1


def test_a_page_is_looked_at_and_the_others_are_counted(broker: Connection) -> None:
    names = [f"{number:02d}" for number in range(50)]
    bury(broker, *names)
    assert len(list_dead(broker, 20)) == 20
    assert count_dead(broker) == 50
    assert buried(broker) == names


def bury_at(broker: Connection, task_id: str, **headers: object) -> None:
    broker.Producer().publish(
        b"[[], {}, {}]",
        exchange=DEAD_EXCHANGE,
        routing_key=DEAD,
        headers={"task": "pictor.ingest", "id": task_id, **headers},
    )


def test_old_letters_are_purged_and_letters_of_no_known_age_stay(broker: Connection) -> None:
    now = datetime.now(UTC)
    old, young = now - timedelta(days=91), now - timedelta(days=89)
    for name, died_at in (("old", old), ("young", young)):
        bury_at(broker, name, **{DIED_HEADER: int(died_at.timestamp())})
        death = [{"queue": "embed", "reason": "rejected", "time": died_at.replace(tzinfo=None)}]
        bury_at(broker, f"{name}-of-the-broker", **{"x-death": death})
    bury_at(broker, "unknown")
    forged: list[object] = [True, -1, 2**63, "yesterday", 1.5, None, []]
    for number, value in enumerate(forged):
        bury_at(broker, f"forged-{number}", **{DIED_HEADER: value})
    assert purge_old(broker, timedelta(days=90)) == 2
    left = buried(broker)
    assert [name for name in left if "old" in name] == []
    assert len(left) == 2 + 1 + len(forged)
    assert purge_old(broker, timedelta(days=90)) == 0


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_is_an_hour_off_purges_no_letter_of_today(broker: Connection, hours: int) -> None:
    bury_at(broker, "a", **{DIED_HEADER: int(time.time()) + 3600 * hours})
    assert purge_old(broker, timedelta(days=1)) == 0


def test_a_letter_says_when_it_died(broker: Connection) -> None:
    set_aside(task_on(memory.Transport, kwargs={"v": 1}), "no argument")
    [letter] = list_dead(broker)
    assert letter.died_at is not None
    assert abs((datetime.now(UTC) - letter.died_at).total_seconds()) < 60


def test_a_letter_of_the_broker_has_the_brokers_word_and_one_of_nobody_shows_its_beginning(
    broker: Connection,
) -> None:
    death = [{"queue": "embed", "reason": "delivery_limit"}]
    broker.Producer().publish(
        b"gar\x00bage", exchange=DEAD_EXCHANGE, routing_key=DEAD, headers={"x-death": death}
    )
    [letter] = list_dead(broker)
    assert (letter.task, letter.task_id, letter.queue, letter.reason) == ("?", "", "embed", "delivery_limit")
    assert letter.shown == r"b'gar\x00bage'"


def test_letters_go_back_to_their_queue_without_what_made_them_letters(broker: Connection) -> None:
    bury(broker, "a", "b")
    assert replay_dead(broker) == Replay(replayed=2, left=0)
    assert buried(broker) == []
    found = waiting(broker)
    assert sorted(task_id for task_id, _ in found) == ["a", "b"]
    assert not [name for _, headers in found for name in headers if name.startswith("x-")]
    assert all("pictor-due-at" in headers for _, headers in found)


def test_one_letter_is_replayed_and_the_others_are_said_to_be_left(broker: Connection) -> None:
    bury(broker, "a", "b", "c")
    assert replay_dead(broker, "b") == Replay(replayed=1, left=2)
    assert [task_id for task_id, _ in waiting(broker)] == ["b"]
    assert replay_dead(broker, "b") == Replay(replayed=0, left=2)
    assert buried(broker) == ["a", "c"]


def test_a_letter_of_no_known_queue_is_kept(broker: Connection) -> None:
    bury(broker, "a", queue="")
    bury(broker, "b")
    assert replay_dead(broker) == Replay(replayed=1, left=1)
    assert buried(broker) == ["a"]


def test_a_letter_of_a_model_whose_workers_are_gone_waits_for_them(broker: Connection) -> None:
    bury(broker, "a", queue="embed.0e0e0e0e")
    assert replay_dead(broker) == Replay(replayed=1, left=0)
    message = work_queue("embed.0e0e0e0e").bind(broker.default_channel).get(no_ack=True)
    assert message is not None
    assert message.headers["id"] == "a"


@pytest.mark.parametrize("queue", ["celery_delayed_27", "amq.direct", "embed.0E0E0E0E", "dead", "plan.x"])
def test_a_letter_that_claims_to_be_of_a_queue_that_is_not_ours_is_kept(
    broker: Connection, queue: str
) -> None:
    bury(broker, "a", queue=queue)
    assert replay_dead(broker) == Replay(replayed=0, left=1)


def test_a_letter_that_was_delivered_late_goes_back_to_its_queue(broker: Connection) -> None:
    delayed = "0." * 26 + "1.0." + PLAN  # Celery's routing key: the delay in bits, then the queue
    set_aside(task_on(memory.Transport, kwargs={}, delivery_info={"routing_key": delayed}), "not wanted")
    [letter] = list_dead(broker)
    assert letter.queue == PLAN
    assert replay_dead(broker).replayed == 1
    assert len(waiting(broker)) == 1


class ComesBack(memory.Channel):  # type: ignore[misc]  # kombu is untyped
    """Workers refuse each message at once."""

    def basic_publish(self, message: Any, exchange: str, routing_key: str, **options: Any) -> Any:
        if exchange == PLAN:
            message["headers"] |= {"x-pictor-queue": PLAN}
            exchange, routing_key = DEAD_EXCHANGE.name, DEAD
        return super().basic_publish(message, exchange, routing_key, **options)


class CountsShort(memory.Channel):  # type: ignore[misc]  # kombu is untyped
    """The count of a queue lags behind what was put back."""

    def queue_declare(self, *args: Any, **options: Any) -> Any:
        return super().queue_declare(*args, **options)._replace(message_count=0)


def transport_of(channel: type[memory.Channel]) -> type[memory.Transport]:
    # As over AMQP: what the broker refuses is not tried again.
    features = {"Channel": channel, "recoverable_connection_errors": (), "recoverable_channel_errors": ()}
    return cast("type[memory.Transport]", type("Transport", (memory.Transport,), features))


def test_a_letter_that_comes_back_at_once_is_sent_once_and_stays() -> None:
    for broker in broker_of(transport_of(ComesBack)):
        bury(broker, "a", "b")
        assert replay_dead(broker) == Replay(replayed=2, left=0)
        assert buried(broker) == ["a", "b"]


def test_every_letter_is_replayed_whatever_the_queues_count_says() -> None:
    for broker in broker_of(transport_of(CountsShort)):
        bury(broker, "a", "b", "c")
        assert replay_dead(broker).replayed == 3


def test_what_lies_beyond_the_limit_is_left_and_counted(broker: Connection) -> None:
    bury(broker, "a", "b", "c", "d", "e")
    assert replay_dead(broker, limit=2) == Replay(replayed=2, left=3)
    assert len(buried(broker)) == 3
    assert replay_dead(broker, limit=3) == Replay(replayed=3, left=0)


def test_a_purge_takes_all_and_says_how_many(broker: Connection) -> None:
    bury(broker, "a", "b")
    assert purge_dead(broker) == 2
    assert buried(broker) == []


def task_on(transport: type[memory.Transport], **request: object) -> Task:
    """A task that is being worked on, as far as `set_aside` asks."""
    usual = {"id": "a", "args": (), "kwargsrepr": None, "delivery_info": {"routing_key": PLAN}}
    app = Celery(set_as_current=False)
    app.conf.broker_transport = transport
    return cast(
        "Task", SimpleNamespace(name="pictor.ingest", app=app, request=SimpleNamespace(**usual | request))
    )


def test_what_is_set_aside_has_its_reason_and_can_be_replayed(broker: Connection) -> None:
    set_aside(task_on(memory.Transport, kwargs={"v": 1, "source": "s3://shop"}), "no argument v")
    [letter] = list_dead(broker)
    assert (letter.task, letter.task_id, letter.queue) == ("pictor.ingest", "a", PLAN)
    assert (letter.reason, letter.shown) == ("no argument v", "{'source': 's3://shop', 'v': 1}")
    assert replay_dead(broker).replayed == 1


def test_what_is_shown_of_a_letter_fits_into_a_frame(broker: Connection) -> None:
    task = task_on(memory.Transport, kwargs={"source": "x" * 200_000}, kwargsrepr="k" * 200_000)
    set_aside(task, "r" * 200_000)
    [message] = [dead_queue().bind(broker.default_channel).get(no_ack=True)]
    assert message is not None
    assert max(len(str(value)) for value in message.headers.values()) == MAX_SHOWN_CHARS
    assert json.loads(message.body)[1] == {"source": "x" * 200_000}


class TakesLittle(memory.Channel):  # type: ignore[misc]  # kombu is untyped
    def basic_publish(self, *_: Any, **__: Any) -> None:
        raise PreconditionFailed("PRECONDITION_FAILED - message size 9 is larger than configured max size 5")


def test_a_letter_that_is_too_long_for_the_broker_leaves_the_message_to_it() -> None:
    with pytest.raises(Reject) as error:
        set_aside(task_on(transport_of(TakesLittle), kwargs={"v": 1}), "no argument source")
    assert (error.value.requeue, error.value.reason) == (False, "no argument source")
