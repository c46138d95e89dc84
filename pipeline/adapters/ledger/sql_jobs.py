"""Jobs: made, found, moved and ended."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from pipeline.adapters.ledger.engine import InTransactions
from pipeline.adapters.ledger.precedence import sweep_removed
from pipeline.adapters.ledger.rows import job_of, job_values, pace_of, select_jobs
from pipeline.adapters.ledger.schema import BatchState, batch, job, job_is_running
from pipeline.adapters.ledger.statements import (
    finish_if_done,
    insert_into,
    is_open_to,
    lock_job,
    looks_done,
    move_job,
    no_such_job,
    update_job,
)
from pipeline.location import Location
from pipeline.ports.ledger import PACE_JOBS
from pipeline.types import Job, JobRequest, JobState, Pace, new_job_id


class SqlJobs(InTransactions):
    """Part of `SqlLedger`."""

    def create_job(self, request: JobRequest, *, driver: str, job_id: str | None = None) -> Job:
        now = datetime.now(UTC)
        new_id = job_id or new_job_id()

        def insert(connection: sa.Connection) -> None:
            # There already when only the answer was lost, or when a caller submits its job twice: perhaps
            # at this very moment, to two processes.
            once = insert_into(connection, job).on_conflict_do_nothing(index_elements=job.primary_key)
            connection.execute(once, job_values(new_id, request, driver, now))

        self._write(insert)
        return self.get_job(new_id)

    def get_job(self, job_id: str) -> Job:
        row = self._read(lambda connection: connection.execute(select_jobs(job.c.job_id == job_id)).first())
        if row is None:
            raise no_such_job(job_id)
        return job_of(row)

    def list_jobs(
        self,
        *,
        limit: int = 50,
        before: str | None = None,
        without: Sequence[str] = (),
        of: Callable[[str], bool] | None = None,
    ) -> list[Job]:
        newest = sa.select(job.c.job_id).order_by(job.c.created_at.desc(), job.c.job_id.desc()).limit(limit)
        if before is not None:
            made = sa.select(job.c.created_at).where(job.c.job_id == before).scalar_subquery()
            newest = newest.where(
                (job.c.created_at < made) | ((job.c.created_at == made) & (job.c.job_id < before))
            )
        newest = newest.where(*_left_out(without), self._is_of(of))
        query = select_jobs(job.c.job_id.in_(newest.scalar_subquery()))
        return [job_of(row) for row in self._read(lambda connection: connection.execute(query).all())]

    def locations(self, *, without: Sequence[str], of: Callable[[str], bool] | None = None) -> list[Location]:
        counts = sa.and_(job.c.bucket != "", *_left_out(without), self._is_of(of))
        each = sa.select(job.c.source, job.c.bucket, job.c.prefix).where(counts).distinct()
        rows = self._read(lambda connection: connection.execute(each).all())
        return [Location(url=row.source, bucket=row.bucket, prefix=row.prefix) for row in rows]

    def find_pace(self, fingerprint: str, *, of: Callable[[str], bool] | None = None) -> Pace | None:
        ended = sa.and_(
            job.c.fingerprint == fingerprint, job.c.state == JobState.COMPLETED.value, self._is_of(of)
        )
        newest = sa.select(job.c.job_id).where(ended).order_by(job.c.created_at.desc()).limit(PACE_JOBS)
        indexed = sa.func.sum(batch.c.indexed)
        largest = (
            sa.select(batch.c.job_id)
            .where(batch.c.job_id.in_(newest.scalar_subquery()), batch.c.state == BatchState.DONE.value)
            .group_by(batch.c.job_id)
            .order_by(indexed.desc())
            .limit(1)
        )
        span: sa.Select[Any] = sa.select(
            batch.c.job_id,
            indexed.label("objects"),
            sa.func.min(batch.c.created_at).label("began_at"),
            sa.func.max(batch.c.reported_at).label("ended_at"),
        ).where(batch.c.job_id == largest.scalar_subquery(), batch.c.indexed > 0)
        row = self._read(lambda connection: connection.execute(span.group_by(batch.c.job_id)).first())
        return pace_of(row) if row is not None else None

    def find_unfinished(self, request: JobRequest, *, driver: str) -> Job | None:
        same = sa.and_(
            job_is_running,
            is_open_to(driver),
            job.c.source == request.location,
            job.c.bucket == request.bucket,
            job.c.prefix == request.prefix,
            job.c.collection == request.collection,
            job.c.fingerprint == request.fingerprint,
            job.c.include == request.include,
            job.c.exclude == request.exclude,
        )
        row = self._read(lambda connection: connection.execute(select_jobs(same).limit(1)).first())
        return job_of(row) if row is not None else None

    def take_up(self, job_id: str, driver: str) -> bool:
        mine = job.update().where(job.c.job_id == job_id, is_open_to(driver)).values(driver=driver)
        return self._write(lambda connection: connection.execute(mine).rowcount == 1)

    def set_sync(self, job_id: str, request: JobRequest) -> None:
        if not self._write(lambda connection: update_job(connection, job_id, request.sync)):
            raise no_such_job(job_id)

    def set_state(self, job_id: str, state: JobState, *, error: str = "") -> bool:
        return self._write(lambda connection: move_job(connection, job_id, state, error))

    def finish_if_done(self, job_id: str) -> bool:
        # Asked after every batch: a look without a lock says "not yet" nearly every time.
        if not self._read(lambda connection: looks_done(connection, job_id)):
            return False

        def finish(connection: sa.Connection) -> bool:
            is_done = finish_if_done(connection, job_id)
            if is_done:
                present = lock_job(connection, job_id)
                sweep_removed(connection, present.collection, present.fingerprint)
            return is_done

        return self._write(finish)

    def _is_of(self, of: Callable[[str], bool] | None) -> sa.ColumnElement[bool]:
        """Of a job of a collection that `of` takes."""
        if of is None:
            return sa.true()
        each = sa.select(job.c.collection).distinct()
        names = self._read(lambda connection: connection.scalars(each).all())
        return job.c.collection.in_([name for name in names if of(name)])


def _left_out(without: Sequence[str]) -> list[sa.ColumnElement[bool]]:
    return [~job.c.job_id.startswith(beginning, autoescape=True) for beginning in without]
