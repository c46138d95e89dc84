"""Requests that carry an Idempotency-Key."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class RequestState(StrEnum):
    """What is known of the Idempotency-Key of a request that has just come."""

    NEW = "new"  # nobody has sent it, or nothing came of it
    IN_FLIGHT = "in_flight"  # the same request is being worked on, perhaps by another process
    ANSWERED = "answered"  # the same request was answered, and what it made is there
    OTHER = "other"  # another request has had this key


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyedRequest:
    """One attempt of a request.

    Args:
        name: a digest of the tenant and of the Idempotency-Key.
        digest: of the method, the path and the body.
        attempt: which no other attempt has.
        until: how long the attempt may take. Then another one may begin.
    """

    name: str
    digest: str
    attempt: str
    until: datetime
