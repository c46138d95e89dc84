"""Requests that carry an Idempotency-Key, in the ledger's database."""

from dataclasses import asdict
from datetime import datetime

import sqlalchemy as sa

from pipeline.adapters.ledger.engine import InTransactions
from pipeline.adapters.ledger.request_schema import api_request
from pipeline.adapters.ledger.statements import insert_into
from pipeline.types import KeyedRequest, RequestState


class SqlRequestBook(InTransactions):
    """Implements `ports.RequestBook`."""

    def begin(self, request: KeyedRequest, *, now: datetime) -> RequestState:
        found = sa.select(api_request).where(api_request.c.name == request.name)

        def begin(connection: sa.Connection) -> RequestState:
            connection.execute(api_request.delete().where(api_request.c.until <= now))
            values = asdict(request) | {"answered": False}
            # The primary key decides between two that come at once: the later waits for the earlier's commit.
            connection.execute(insert_into(connection, api_request).values(values).on_conflict_do_nothing())
            return _state_of(request, connection.execute(found).first())

        return self._write(begin)

    def end(self, request: KeyedRequest, *, kept_until: datetime, answer: str = "") -> None:
        values = {"answered": True, "until": kept_until, "answer": answer}
        ended = api_request.update().where(*_is_mine(request)).values(values)
        self._write(lambda connection: connection.execute(ended))

    def answer_of(self, request: KeyedRequest) -> str:
        found = sa.select(api_request.c.answer).where(api_request.c.name == request.name)
        return self._read(lambda connection: connection.scalar(found) or "")

    def forget(self, request: KeyedRequest) -> None:
        forgotten = api_request.delete().where(*_is_mine(request))
        self._write(lambda connection: connection.execute(forgotten))


def _is_mine(request: KeyedRequest) -> tuple[sa.ColumnElement[bool], ...]:
    return api_request.c.name == request.name, api_request.c.attempt == request.attempt


def _state_of(request: KeyedRequest, row: "sa.Row[tuple[object, ...]] | None") -> RequestState:
    if row is None:  # the earlier one was forgotten at this moment
        return RequestState.IN_FLIGHT
    if row.attempt == request.attempt:
        return RequestState.NEW
    if row.digest != request.digest:
        return RequestState.OTHER
    return RequestState.ANSWERED if row.answered else RequestState.IN_FLIGHT
