"""How long a message lay on its queue. RabbitMQ and Celery do not say when it came, so its sender does.

A sender who waits for the answer also says how long. The broker's own expiration is not used for that: it
would make a dead letter of each search that nobody waits for any more.
"""

import time
from collections.abc import Mapping

from pipeline.errors import TransientError
from workers.broker.headers import as_number

PATIENCE_HEADER = "pictor-patience-s"  # how long the sender waits for an answer; a foreign one may say so
BELIEVED_S = 3600.0  # a longer wait is taken for a clock that was set: nobody would be answered then
DUE_HEADER = "pictor-due-at"  # seconds since 1970 UTC; a foreign sender may set it, and need not

MAX_WAIT_S = 30 * 86_400.0  # one number that anybody can send would outweigh all others in a sum


def due_stamp(delay_s: float = 0) -> dict[str, float]:
    """The header of a message that is published now, to be delivered after a pause."""
    return {DUE_HEADER: time.time() + delay_s}


def patience_stamp(patience_s: float | None) -> dict[str, float]:
    """The header of a message whose sender waits for its answer."""
    return {} if patience_s is None else {PATIENCE_HEADER: patience_s}


def check_still_wanted(headers: Mapping[str, object] | None) -> None:
    """Raises TransientError when the sender has given up by now."""
    patience_s, waited = as_number((headers or {}).get(PATIENCE_HEADER)), waited_s(headers)
    if waited is None or patience_s is None:
        return
    if patience_s < waited <= BELIEVED_S:
        raise TransientError(
            f"this was {waited:.0f} s on its queue, and its sender waits {patience_s:g} s; ask again, and "
            "see whether there are enough workers and all clocks are in step"
        )


def waited_s(headers: Mapping[str, object] | None) -> float | None:
    """Seconds from when the message was due until now. None when its sender did not say, or nothing likely.

    Two machines' clocks differ. A message that seems to start before it was sent has waited 0 s. A message
    that is delivered again has waited since it was first due.
    """
    due_at = as_number((headers or {}).get(DUE_HEADER))
    if due_at is None:
        return None
    now_s = time.time()
    if due_at < now_s - MAX_WAIT_S:
        return None
    return 0.0 if not due_at < now_s else now_s - due_at  # also for a number that no float can hold
