"""How long a message lay on its queue. RabbitMQ and Celery do not say when it came, so its sender does."""

import time
from collections.abc import Mapping

DUE_HEADER = "pictor-due-at"  # seconds since 1970 UTC; a foreign sender may set it, and need not

MAX_WAIT_S = 30 * 86_400.0  # one number that anybody can send would outweigh all others in a sum


def due_stamp(delay_s: float = 0) -> dict[str, float]:
    """The header of a message that is published now, to be delivered after a pause."""
    return {DUE_HEADER: time.time() + delay_s}


def waited_s(headers: Mapping[str, object] | None) -> float | None:
    """Seconds from when the message was due until now; None when its sender did not say, or nothing likely.

    Two machines' clocks differ. A message that seems to start before it was sent has waited 0 s. A message
    that is delivered again has waited since it was first due.
    """
    due_at = (headers or {}).get(DUE_HEADER)
    if not isinstance(due_at, int | float) or isinstance(due_at, bool):
        return None
    now_s = time.time()
    if due_at < now_s - MAX_WAIT_S:
        return None
    return 0.0 if not due_at < now_s else now_s - due_at  # also for a number that no float can hold
