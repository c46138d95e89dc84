"""The moment that a deletion is meant for: whoever says it, it stays the same in copies and dead letters."""

import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from workers.broker.meant_at import MAX_TIME_S, MEANT_HEADER, keep_meant_at, kept_meant_at
from workers.broker.queue_wait import DUE_HEADER


def task_of(**headers: object) -> Any:
    request = SimpleNamespace(headers=headers or None)
    request.update = lambda **values: request.__dict__.update(values)
    return SimpleNamespace(request=request)


@pytest.mark.parametrize(
    ("given_s", "headers", "meant_s"),
    [
        (100.0, {MEANT_HEADER: 200.0, DUE_HEADER: 300.0}, 100.0),  # the sender's own word
        (None, {MEANT_HEADER: 200.0, DUE_HEADER: 300.0}, 200.0),  # a copy, which is due later
        (None, {DUE_HEADER: 300.0}, 300.0),
        (None, {MEANT_HEADER: "soon", DUE_HEADER: 300}, 300.0),
        (None, {MEANT_HEADER: True, DUE_HEADER: 300}, 300.0),
        (None, {MEANT_HEADER: float("nan"), DUE_HEADER: 300}, 300.0),
        (None, {MEANT_HEADER: MAX_TIME_S + 1, DUE_HEADER: 300}, 300.0),
        (None, {MEANT_HEADER: -1, DUE_HEADER: 300}, 300.0),
    ],
)
def test_the_moment_is_what_the_sender_says_or_its_copies_or_when_it_was_due(
    given_s: float | None, headers: dict[str, object], meant_s: float
) -> None:
    task = task_of(**headers)
    assert keep_meant_at(task, given_s) == datetime.fromtimestamp(meant_s, UTC)
    assert kept_meant_at(task.request.headers) == {MEANT_HEADER: meant_s}
    assert keep_meant_at(task, None) == datetime.fromtimestamp(meant_s, UTC), "also the next time"


def test_a_message_that_says_nothing_is_meant_for_when_it_is_first_read() -> None:
    task, before_s = task_of(), time.time()
    meant_at = keep_meant_at(task, None)
    assert before_s <= meant_at.timestamp() <= time.time()
    assert keep_meant_at(task, None) == meant_at


def test_a_message_that_no_deletion_has_read_has_no_moment_to_keep() -> None:
    assert kept_meant_at(None) == kept_meant_at({DUE_HEADER: 3.0}) == {}
