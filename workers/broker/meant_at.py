"""The moment that a message is meant for: when it was sent, or first read where its sender does not say.

A message may be read long after: after an outage, from the dead letters, or once more after a crash.
"""

import time
from collections.abc import Mapping
from datetime import UTC, datetime

from celery import Task

from workers.broker.headers import as_number
from workers.broker.queue_wait import DUE_HEADER

MAX_TIME_S = 253_402_300_799  # the end of the year 9999, which a date can hold
MEANT_HEADER = "pictor-meant-at"  # seconds since 1970 UTC; copies and dead letters of a message carry it on


def keep_meant_at(task: Task, given_s: float | None) -> datetime:
    """When the message of a task was meant, which every copy of it will say, too.

    Args:
        given_s: what the arguments say, by the sender's clock.
    """
    headers = dict(task.request.headers or {})
    candidates = (given_s, headers.get(MEANT_HEADER), headers.get(DUE_HEADER))
    meant_s = next((seconds for value in candidates if (seconds := _seconds(value)) is not None), time.time())
    task.request.update(headers=headers | {MEANT_HEADER: meant_s})
    return datetime.fromtimestamp(meant_s, UTC)


def kept_meant_at(headers: Mapping[str, object] | None) -> dict[str, object]:
    """The header to put on a copy. Empty where there is none."""
    meant_s = _seconds((headers or {}).get(MEANT_HEADER))
    return {} if meant_s is None else {MEANT_HEADER: meant_s}


def _seconds(value: object) -> float | None:
    """None for what is no time."""
    number = as_number(value)
    return float(number) if number is not None and 0 <= number <= MAX_TIME_S else None
