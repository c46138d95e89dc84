"""A connection to PostgreSQL that gives up on a server which says nothing.

A server bounds its statements itself. One that is frozen does not, and the kernel of its machine goes on to
acknowledge what is sent, so that no timeout of the network ends the wait.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import psycopg
import sqlalchemy as sa
from sqlalchemy import exc

PING_S = 2.0  # there is nothing to do for the answer, and a new connection is tried next
OPEN_S = 5.0  # as libpq's connect_timeout, which ends with the connection of the network
LOOK_S = 0.1  # psycopg's own interval


class PatientConnection(psycopg.Connection[Any]):
    """Closes itself when an answer does not come in time."""

    answer_s = OPEN_S  # while it is being opened

    def wait(self, gen: Any, interval: float = LOOK_S, timeout: float | None = None) -> Any:
        patience_s = self.answer_s if timeout is None else timeout
        give_up_at = time.monotonic() + patience_s
        try:
            return super().wait(gen, interval, patience_s)
        except psycopg.OperationalError:
            if time.monotonic() >= give_up_at:
                self.pgconn.finish()  # an answer that comes now would be taken for that of the next question
            raise

    @contextmanager
    def answering_within(self, seconds: float) -> Iterator[None]:
        usual_s, self.answer_s = self.answer_s, seconds
        try:
            yield
        finally:
            self.answer_s = usual_s


def use_patient_connections(engine: sa.Engine, *, answer_s: float) -> None:
    """Let an engine open these, and ask each whether it is alive before it is used."""

    @sa.event.listens_for(engine, "do_connect")
    def connect(_dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
        opened = PatientConnection.connect(*arguments, **options)
        opened.answer_s = answer_s
        return opened

    @sa.event.listens_for(engine, "checkout")
    def ping(connection: PatientConnection, _record: Any, _fairy: Any) -> None:
        try:
            with connection.answering_within(PING_S):
                engine.dialect.do_ping(cast("Any", connection))  # it is one of psycopg
        except psycopg.Error as err:  # the others in the pool are no better
            raise exc.InvalidatePoolError from err
