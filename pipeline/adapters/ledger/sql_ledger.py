"""The ledger in SQLite or PostgreSQL.

Every method is one transaction. Each may be repeated when its answer was lost, and then finds its work done.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

import sqlalchemy as sa

from pipeline.adapters.ledger.engine import (
    Transactions,
    location_of,
    make_engine,
    make_folder,
    read_url,
    repeated,
    translated,
)
from pipeline.adapters.ledger.migrate import check_schema, is_current, migrate
from pipeline.adapters.ledger.rows import (
    Values,
    failure_of,
    failure_values,
    job_of,
    job_values,
    planned_batches_of,
    select_jobs,
)
from pipeline.adapters.ledger.schema import (
    REVISION,
    BatchState,
    batch,
    batch_is_pending,
    failure,
    is_missing,
    job,
    job_is_for_workers,
    job_is_running,
    version,
)
from pipeline.adapters.ledger.sql_version_book import SqlVersionBook
from pipeline.adapters.ledger.statements import (
    are_there,
    close_batch,
    delete_failures,
    finish_if_done,
    insert_batches,
    insert_settled,
    is_open_to,
    lock_job,
    looks_done,
    no_such_job,
    select_pending,
    select_running_looks,
    select_seconds,
    slices,
    take_back,
    update_job,
    upsert_failures,
)
from pipeline.adapters.ledger.versions import (
    delete_versions,
    enter_planned,
    entry_of,
    mark_missing,
    note_seen,
    plan_again,
    write_versions,
)
from pipeline.errors import ConflictError
from pipeline.ports import NO_FINDINGS
from pipeline.types import (
    BatchReport,
    BatchStatus,
    Failure,
    Findings,
    Job,
    JobRequest,
    JobState,
    PlannedBatch,
    VersionEntry,
    generation_of,
)

PAGE_BATCHES = 64  # with bodies of 16 KB a page is 1 MB
PAGE_ROWS = 1000


def open_ledger(url: str, *, ca_file: str = "") -> "SqlLedger":
    """Open the ledger at an SQLAlchemy URL.

    A SQLite file is made and migrated here. A PostgreSQL schema is only checked: it serves many processes,
    and `pictor init` changes it once, when its operator says so.

    Args:
        ca_file: see `read_url`.

    Raises:
        ConfigError: the URL cannot be a ledger's, or the schema is not of this Pictor's revision.
    """
    address = read_url(url, ca_file=ca_file)
    make_folder(address)
    engine = make_engine(address)
    try:
        if address.drivername != "sqlite":
            repeated(lambda: check_schema(engine))
        elif not repeated(lambda: is_current(engine)):
            migrate(url)
    except BaseException:
        engine.dispose()
        raise
    return SqlLedger(engine)


class SqlLedger:
    """Implements `ports.Ledger`. Made by `open_ledger`; share one between all threads of a process."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        transactions = Transactions(engine)
        self._writer = transactions.writer
        self._read, self._write = transactions.read, transactions.write
        self.book = SqlVersionBook(transactions)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._engine.dispose()

    def describe(self) -> str:
        """Where it is and the revision of its schema, for people. No password."""
        return f"{location_of(self._engine.url)}, schema {REVISION}"

    # Jobs

    def create_job(self, request: JobRequest, *, driver: str, job_id: str | None = None) -> Job:
        now = datetime.now(UTC)
        new_id = job_id or f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"

        def insert(connection: sa.Connection) -> None:
            # There already when only the answer was lost, or when a caller submits its job twice.
            if not connection.scalar(sa.select(sa.exists().where(job.c.job_id == new_id))):
                connection.execute(job.insert(), job_values(new_id, request, driver, now))

        self._write(insert)
        return self.get_job(new_id)

    def get_job(self, job_id: str) -> Job:
        row = self._read(lambda connection: connection.execute(select_jobs(job.c.job_id == job_id)).first())
        if row is None:
            raise no_such_job(job_id)
        return job_of(row)

    def list_jobs(self, *, limit: int = 50) -> list[Job]:
        newest = sa.select(job.c.job_id).order_by(job.c.created_at.desc(), job.c.job_id.desc()).limit(limit)
        query = select_jobs(job.c.job_id.in_(newest.scalar_subquery()))
        return [job_of(row) for row in self._read(lambda connection: connection.execute(query).all())]

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

    def running_jobs(self) -> list[str]:
        """Ids, oldest first."""
        query = sa.select(job.c.job_id).where(job_is_running).order_by(job.c.created_at, job.c.job_id)
        return list(self._read(lambda connection: connection.scalars(query).all()))

    def running_looks(self) -> dict[str, tuple[datetime, int]]:
        """Of each running job of the workers something that changes whenever its planner, an operator or a
        report moves it.

        Cheap at any size of job: only what is pending is counted.
        """
        rows = self._read(lambda connection: connection.execute(select_running_looks()).all())
        return {row.job_id: (row.updated_at, row.pending) for row in rows}

    def set_state(self, job_id: str, state: JobState, *, error: str = "") -> None:
        over = state not in (JobState.RUNNING, JobState.PAUSED)
        values: Values = {
            "state": state.value,
            "error": error,
            "finished_at": datetime.now(UTC) if over else None,
        }
        if not self._write(lambda connection: update_job(connection, job_id, values)):
            raise no_such_job(job_id)

    def finish_if_done(self, job_id: str) -> bool:
        # Asked after every batch: a look without a lock says "not yet" nearly every time.
        if not self._read(lambda connection: looks_done(connection, job_id)):
            return False
        return self._write(lambda connection: finish_if_done(connection, job_id))

    # Planning

    def record_plan(
        self,
        job_id: str,
        batches: Sequence[PlannedBatch],
        *,
        cursor: str,
        ignored: int,
        findings: Findings = NO_FINDINGS,
    ) -> bool:
        def record(connection: sa.Connection) -> bool:
            present = lock_job(connection, job_id)
            if present.state != JobState.RUNNING:
                return False
            # Each call moves the cursor on. One that does not is the repetition of a call whose answer was
            # lost, provided that its batches are there.
            if present.cursor == cursor and are_there(connection, job_id, batches):
                return True
            insert_batches(connection, job_id, batches)
            insert_settled(connection, job_id, cursor, findings)
            generation = generation_of(present.collection, present.fingerprint)
            enter_planned(connection, generation, findings.planned, job_id)
            mark_missing(connection, generation, findings.missing, job_id)
            note_seen(connection, generation, findings.noted)
            return update_job(
                connection,
                job_id,
                {
                    "cursor": cursor,
                    "planned_batches": job.c.planned_batches + len(batches),
                    "ignored": job.c.ignored + ignored,
                    "held": job.c.held + findings.held,
                    "lost": job.c.lost + findings.lost,
                    "removals_due": sa.true() if findings.missing else job.c.removals_due,
                },
            )

        return self._write(record)

    def finish_planning(self, job_id: str, *, ignored: int) -> None:
        def finish(connection: sa.Connection) -> None:
            if not lock_job(connection, job_id).planned:  # a repetition must not add `ignored` again
                update_job(connection, job_id, {"planned": True, "ignored": job.c.ignored + ignored})

        self._write(finish)

    def set_sync(self, job_id: str, request: JobRequest) -> None:
        values = {
            "keep_missing": request.keep_missing,
            "max_delete_share": request.max_delete_share,
            "retry_failed": request.retry_failed,
        }
        if not self._write(lambda connection: update_job(connection, job_id, values)):
            raise no_such_job(job_id)

    # Removal of what is in the source no more

    def missing(self, job_id: str, *, limit: int) -> list[VersionEntry]:
        query = sa.select(version).where(is_missing, version.c.missing_in == job_id).limit(limit)
        rows = self._read(lambda connection: connection.execute(query).all())
        return [entry_of(row) for row in rows]

    def record_removal(self, job_id: str, image_ids: Sequence[str]) -> None:
        def remove(connection: sa.Connection) -> None:
            present = lock_job(connection, job_id)
            generation = generation_of(present.collection, present.fingerprint)
            # Each row is deleted once, so it is counted once, however often this is repeated.
            removed = delete_versions(connection, generation, image_ids)
            update_job(connection, job_id, {"removed": job.c.removed + removed})

        self._write(remove)

    def note_present(self, job_id: str, image_ids: Sequence[str]) -> None:
        def note(connection: sa.Connection) -> None:
            present = lock_job(connection, job_id)
            generation = generation_of(present.collection, present.fingerprint)
            mark_missing(connection, generation, image_ids, "")

        self._write(note)

    def finish_removals(self, job_id: str, *, error: str = "") -> None:
        values: Values = {"removals_due": False} | ({"error": error} if error else {})
        if not self._write(lambda connection: update_job(connection, job_id, values)):
            raise no_such_job(job_id)

    def retry_failures(self, job_id: str, batches: Sequence[PlannedBatch], image_ids: Sequence[str]) -> None:
        def retry(connection: sa.Connection) -> None:
            present = lock_job(connection, job_id)
            failed_in = delete_failures(connection, job_id, image_ids)
            if not failed_in and are_there(connection, job_id, batches):
                return  # the repetition of a call whose answer was lost
            planned, deleted = sum(planned.items for planned in batches), failed_in.total()
            if planned != deleted:
                raise ConflictError(
                    f"job {job_id}: retry batches of {planned} items for {deleted} failures; "
                    "if another retry came first, ask again"
                )
            take_back(connection, job_id, failed_in)
            plan_again(connection, generation_of(present.collection, present.fingerprint), image_ids)
            insert_batches(connection, job_id, batches)
            update_job(
                connection, job_id, {"state": JobState.RUNNING.value, "error": "", "finished_at": None}
            )

        self._write(retry)

    # Batches

    def pending(self, job_id: str) -> Iterator[PlannedBatch]:
        page = self._pending_page(job_id, after="")
        while page:
            yield from page
            page = self._pending_page(job_id, after=page[-1].path)

    def outstanding(self, job_id: str) -> int:
        query = sa.select(sa.func.count()).where(batch.c.job_id == job_id, batch_is_pending)
        return self._read(lambda connection: connection.scalar(query)) or 0

    def report(self, report: BatchReport) -> bool:
        items = report.indexed + report.unchanged + len(report.rejected)
        now = datetime.now(UTC)
        values: Values = {
            "state": BatchState.DONE.value,
            "indexed": report.indexed,
            "unchanged": report.unchanged,
            "failed": len(report.rejected),
            "seconds": dict(report.seconds),
            "reported_at": now,
        }

        def write(connection: sa.Connection) -> bool:
            if not close_batch(connection, report.job_id, report.path, items, values):
                return False
            upsert_failures(connection, failure_values(report.job_id, report.path, report.rejected, now))
            write_versions(connection, report)
            return True

        return self._write(write)

    def batch_status(self, job_id: str, path: str) -> BatchStatus:
        query = (
            sa.select(batch.c.state, job.c.state)
            .join(job, job.c.job_id == batch.c.job_id)
            .where(batch.c.job_id == job_id, batch.c.path == path)
        )
        row = self._read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            return BatchStatus.UNKNOWN
        return (
            BatchStatus.CLOSED
            if row[1] == JobState.CANCELLED or row[0] != BatchState.PENDING
            else BatchStatus.OPEN
        )

    def split_batch(self, job_id: str, path: str, halves: Sequence[PlannedBatch]) -> bool:
        items = sum(half.items for half in halves)

        def split(connection: sa.Connection) -> bool:
            if not close_batch(connection, job_id, path, items, {"state": BatchState.SPLIT.value}):
                return False
            insert_batches(connection, job_id, halves)
            return True

        return self._write(split)

    def failures(self, job_id: str) -> Iterator[Failure]:
        query = (
            sa.select(failure).where(failure.c.job_id == job_id).order_by(failure.c.key, failure.c.image_id)
        )
        with translated(self._engine.url), self._engine.connect() as connection:
            for row in connection.execution_options(yield_per=PAGE_ROWS).execute(query):
                yield failure_of(row)

    def seconds(self, job_id: str) -> Mapping[str, float]:
        query = select_seconds(job_id, self._engine.dialect.name)
        rows = self._read(lambda connection: connection.execute(query).all())
        return {row.key: row.seconds for row in rows}

    # The outbox of the distributed way: commit, publish, mark. A crash in between publishes twice, never not.

    def unpublished(self, job_id: str, limit: int) -> list[PlannedBatch]:
        """Pending batches that no queue has taken yet, by path."""
        query = select_pending(job_id).where(batch.c.published_at.is_(None)).limit(limit)
        return self._read(lambda connection: planned_batches_of(connection.execute(query)))

    def mark_published(self, job_id: str, paths: Sequence[str]) -> None:
        """Safe to run twice."""
        now = datetime.now(UTC)

        def mark(connection: sa.Connection) -> None:
            for some in slices(paths):
                mine = sa.and_(batch.c.job_id == job_id, batch.c.path.in_(some))
                connection.execute(batch.update().where(mine).values(published_at=now))

        self._write(mark)

    def forget_published(self, job_id: str) -> None:
        waiting = sa.and_(batch.c.job_id == job_id, batch_is_pending)
        self._write(
            lambda connection: connection.execute(batch.update().where(waiting).values(published_at=None))
        )

    # The planner's chain of messages

    def claim_step(self, job_id: str, step: int, nonce: str) -> bool:
        free = sa.or_(
            job.c.plan_step < step,
            sa.and_(job.c.plan_step == step, job.c.plan_nonce == nonce),  # the same message, delivered again
        )

        def claim(connection: sa.Connection) -> bool:
            values = {"plan_step": step, "plan_nonce": nonce, "stepped_at": datetime.now(UTC)}
            mine = job.update().where(job.c.job_id == job_id, job_is_for_workers, free).values(values)
            return connection.execute(mine).rowcount == 1

        return self._write(claim)

    def stalled_jobs(self, older_than_s: float) -> list[tuple[str, int]]:
        """Running jobs of the workers whose planner has taken no step for so long, and its last step."""
        limit = datetime.now(UTC) - timedelta(seconds=older_than_s)
        moved = sa.func.coalesce(job.c.stepped_at, job.c.created_at)
        query = sa.select(job.c.job_id, job.c.plan_step).where(
            job_is_running, job_is_for_workers, moved < limit
        )
        return [(row[0], row[1]) for row in self._read(lambda connection: connection.execute(query).all())]

    def _pending_page(self, job_id: str, *, after: str) -> list[PlannedBatch]:
        query = select_pending(job_id).where(batch.c.path > after).limit(PAGE_BATCHES)
        return self._read(lambda connection: planned_batches_of(connection.execute(query)))
