"""Requests that carry an Idempotency-Key, so that each is worked on once."""

from datetime import datetime
from typing import Protocol

from pipeline.types import KeyedRequest, RequestState


class RequestBook(Protocol):
    """Safe to share between threads and processes. What one has written, the next call of any other sees."""

    def begin(self, request: KeyedRequest, *, now: datetime) -> RequestState:
        """NEW for one attempt alone, whoever else tries at the same time. Also forgets what is over.

        Safe to run twice: the same attempt is NEW again.
        """
        ...

    def end(self, request: KeyedRequest, *, kept_until: datetime, answer: str = "") -> None:
        """It was answered. Safe to run twice. An attempt that took too long is not the request's any more.

        Args:
            answer: to be given again, where it would not follow from what the request has made.
        """
        ...

    def answer_of(self, request: KeyedRequest) -> str:
        """What was kept of an answer to the same request, or ""."""
        ...

    def forget(self, request: KeyedRequest) -> None:
        """Nothing came of it, so that it may be tried again. Safe to run twice."""
        ...
