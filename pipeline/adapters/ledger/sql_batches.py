"""Batches and their reports."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from pipeline.adapters.ledger.engine import InTransactions
from pipeline.adapters.ledger.precedence import next_sequence
from pipeline.adapters.ledger.rows import Values, failure_of, failure_values, planned_batches_of
from pipeline.adapters.ledger.schema import BatchState, batch, batch_is_pending, failure, job
from pipeline.adapters.ledger.statements import (
    are_there,
    close_batch,
    delete_failures,
    insert_batches,
    lock_job,
    select_pending,
    select_seconds,
    take_back,
    update_job,
    upsert_failures,
)
from pipeline.adapters.ledger.versions import plan_again, write_versions
from pipeline.errors import ConflictError
from pipeline.types import (
    RETRIED_FROM,
    BatchRecord,
    BatchReport,
    BatchStatus,
    Failure,
    JobState,
    PlannedBatch,
    generation_of,
)

PAGE_BATCHES = 64  # with bodies of 16 KB a page is 1 MB


class SqlBatches(InTransactions):
    """Part of `SqlLedger`."""

    def pending(self, job_id: str) -> Iterator[PlannedBatch]:
        page = self._pending_page(job_id, after="")
        while page:
            yield from page
            page = self._pending_page(job_id, after=page[-1].path)

    def _pending_page(self, job_id: str, *, after: str) -> list[PlannedBatch]:
        query = select_pending(job_id).where(batch.c.path > after).limit(PAGE_BATCHES)
        return self._read(lambda connection: planned_batches_of(connection.execute(query)))

    def outstanding(self, job_id: str) -> int:
        query = sa.select(sa.func.count()).where(batch.c.job_id == job_id, batch_is_pending)
        return self._read(lambda connection: connection.scalar(query)) or 0

    def find_batch(self, job_id: str, path: str) -> BatchRecord:
        query = (
            sa.select(batch.c.state, batch.c.body, job.c.state.label("job_state"), job.c.driver)
            .select_from(job.outerjoin(batch, sa.and_(batch.c.job_id == job.c.job_id, batch.c.path == path)))
            .where(job.c.job_id == job_id, sa.or_(batch.c.path.is_not(None), job.c.kept_batches > 0))
        )
        row = self._read(lambda connection: connection.execute(query).one_or_none())
        if row is None:
            return BatchRecord(status=BatchStatus.UNKNOWN)
        of_job = {"driver": row.driver, "job_state": JobState(row.job_state)}
        # Without a state: it was pruned. Nobody waits for a batch of that path.
        if row.job_state == JobState.CANCELLED or row.state != BatchState.PENDING:
            return BatchRecord(status=BatchStatus.CLOSED, **of_job)
        return BatchRecord(status=BatchStatus.OPEN, body=row.body, **of_job)

    def report(self, report: BatchReport) -> bool:
        items = report.indexed + report.unchanged + len(report.rejected)
        now = datetime.now(UTC)
        values: Values = {
            "state": BatchState.DONE.value,
            "indexed": report.indexed,
            "unchanged": report.unchanged,
            "failed": len(report.rejected),
            "faces": report.faces,
            "without_faces": report.without_faces,
            "seconds": dict(report.seconds),
            "reported_at": now,
        }

        def write(connection: sa.Connection) -> bool:
            sequence = close_batch(connection, report.job_id, report.path, items, values)
            if sequence is None:
                return False
            upsert_failures(connection, failure_values(report.job_id, report.path, report.rejected, now))
            write_versions(connection, report, sequence)
            return True

        return self._write(write)

    def split_batch(self, job_id: str, path: str, halves: Sequence[PlannedBatch]) -> bool:
        items = sum(half.items for half in halves)

        def split(connection: sa.Connection) -> bool:
            sequence = close_batch(connection, job_id, path, items, {"state": BatchState.SPLIT.value})
            if sequence is None:
                return False
            insert_batches(connection, job_id, halves, sequence)  # they carry the same listing
            return True

        return self._write(split)

    def retry_failures(self, job_id: str, batches: Sequence[PlannedBatch], image_ids: Sequence[str]) -> None:
        def retry(connection: sa.Connection) -> None:
            present = lock_job(connection, job_id)
            failed_in = delete_failures(connection, job_id, image_ids)
            if not failed_in and are_there(connection, job_id, batches):
                return  # the repetition of a call whose answer was lost
            if present.state not in RETRIED_FROM or present.pruned_at:
                raise ConflictError(f"job {job_id} is {present.state}: its failures cannot be retried")
            planned, deleted = sum(planned.items for planned in batches), failed_in.total()
            if planned != deleted:
                raise ConflictError(
                    f"job {job_id}: retry batches of {planned} items for {deleted} failures; "
                    "if another retry came first, ask again"
                )
            take_back(connection, job_id, failed_in)
            generation = generation_of(present.collection, present.fingerprint)
            sequence, above = next_sequence(connection, generation), next_sequence(connection, generation)
            plan_again(connection, generation, image_ids, sequence, above=above)
            insert_batches(connection, job_id, batches, sequence)
            update_job(
                connection, job_id, {"state": JobState.RUNNING.value, "error": "", "finished_at": None}
            )

        self._write(retry)

    def failures(self, job_id: str, *, start_after: str = "") -> Iterator[Failure]:
        query = (
            sa.select(failure)
            .where(failure.c.job_id == job_id, failure.c.key > start_after)
            .order_by(failure.c.key, failure.c.image_id)
        )
        for row in self._stream(query):
            yield failure_of(row)

    def find_failure(self, job_id: str, image_id: str) -> Failure | None:
        query = sa.select(failure).where(failure.c.job_id == job_id, failure.c.image_id == image_id)
        row = self._read(lambda connection: connection.execute(query).first())
        return failure_of(row) if row is not None else None

    def seconds(self, job_id: str) -> Mapping[str, float]:
        def read(connection: sa.Connection) -> dict[str, float]:
            kept = connection.scalar(sa.select(job.c.kept_seconds).where(job.c.job_id == job_id)) or {}
            rows = connection.execute(select_seconds(job_id, connection.dialect.name))
            return kept | {row.key: row.seconds + kept.get(row.key, 0.0) for row in rows}

        return self._read(read)
