"""The statements of the ledger's transactions. Each function runs inside the caller's transaction."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.adapters.ledger.rows import Values, batch_values, failure_values
from pipeline.adapters.ledger.schema import (
    BatchState,
    batch,
    batch_is_pending,
    failure,
    job,
    job_is_for_workers,
    job_is_running,
)
from pipeline.errors import MessageError, NotFoundError, PictorError
from pipeline.types import COMES_FROM, EMBEDDED, WORKERS, Findings, JobState, PlannedBatch

IDS_PER_STATEMENT = 5000  # SQLite takes 32766 parameters, PostgreSQL 65535


def insert_into(connection: sa.Connection, table: sa.Table) -> Any:
    """An insert that knows what to do on a conflict, in the words of this database."""
    return (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(table)


def no_such_job(job_id: str) -> NotFoundError:
    return NotFoundError(f"no job {job_id!r} in this ledger; `pictor jobs list` shows those that there are")


def lock_job(connection: sa.Connection, job_id: str) -> sa.Row[Any]:
    """The columns of a job that decide, locked until the transaction ends."""
    # key_share: new batches only refer to the row and need not wait for it. SQLite has one writer anyway.
    columns = (
        job.c.state,
        job.c.cursor,
        job.c.planned,
        job.c.removals_due,
        job.c.pruned_at,
        job.c.collection,
        job.c.fingerprint,
        job.c.removing,
    )
    query: sa.Select[Any] = sa.select(*columns).where(job.c.job_id == job_id)
    row = connection.execute(query.with_for_update(key_share=True)).first()
    if row is None:
        raise no_such_job(job_id)
    return row


def update_job(connection: sa.Connection, job_id: str, values: Values) -> bool:
    values = {**values, "updated_at": datetime.now(UTC)}
    return connection.execute(job.update().where(job.c.job_id == job_id).values(values)).rowcount == 1


def move_job(connection: sa.Connection, job_id: str, state: JobState, error: str) -> bool:
    """Compare and set, in one statement: whoever comes late finds the state that was written first."""
    now = datetime.now(UTC)
    ended_at = None if state in (JobState.RUNNING, JobState.PAUSED) else now
    values = {"state": state.value, "error": error, "updated_at": now, "finished_at": ended_at}
    may_move = sa.and_(job.c.job_id == job_id, job.c.state.in_(sorted(COMES_FROM[state])))
    if state is JobState.RUNNING:
        may_move = sa.and_(may_move, job.c.pruned_at.is_(None))  # its batches are gone
    if connection.execute(job.update().where(may_move).values(values)).rowcount:
        return True
    present = connection.execute(sa.select(job.c.state, job.c.error).where(job.c.job_id == job_id)).first()
    if present is None:
        raise no_such_job(job_id)
    return tuple(present) == (state, error)  # moved by an earlier try, whose answer was lost


def move_cursor(connection: sa.Connection, job_id: str, cursor: str) -> None:
    """Raises PictorError when that would be back: a listing out of order would have keys left out."""
    # SQLite compares bytes anyway.
    present = sa.collate(job.c.cursor, "C") if connection.dialect.name == "postgresql" else job.c.cursor
    is_behind = sa.or_(job.c.cursor.is_(None), present < cursor)
    moved = job.update().where(job.c.job_id == job_id, is_behind).values(cursor=cursor)
    if not connection.execute(moved).rowcount:
        raise PictorError(f"job {job_id}: its plan would go back to {cursor!r}; the listing is out of order")


def is_open_to(driver: str) -> sa.ColumnElement[bool]:
    """Of a job that this driver may run."""
    if driver == WORKERS:
        return job_is_for_workers
    return job.c.driver.in_([driver, EMBEDDED])


def looks_done(connection: sa.Connection, job_id: str) -> bool:
    row = connection.execute(
        sa.select(job.c.state, job.c.planned, job.c.removals_due, _has_pending(job_id)).where(
            job.c.job_id == job_id
        )
    ).first()
    if row is None:
        raise no_such_job(job_id)
    if row.state != JobState.RUNNING:
        return bool(row.state == JobState.COMPLETED)
    return bool(row.planned and not row.removals_due and not row.left)


def finish_if_done(connection: sa.Connection, job_id: str) -> bool:
    # The lock comes first, the count second: a retry that adds batches holds the same lock.
    present = lock_job(connection, job_id)
    if present.state != JobState.RUNNING or not present.planned or present.removals_due:
        return bool(present.state == JobState.COMPLETED)
    if connection.scalar(sa.select(_has_pending(job_id))):
        return False
    now = datetime.now(UTC)
    return update_job(connection, job_id, {"state": JobState.COMPLETED.value, "finished_at": now})


def _has_pending(job_id: str) -> sa.Label[bool]:
    return sa.exists().where(batch.c.job_id == job_id, batch_is_pending).label("left")


def select_pending(job_id: str) -> sa.Select[Any]:
    return (
        sa.select(batch.c.path, batch.c["items"], batch.c.body)
        .where(batch.c.job_id == job_id, batch_is_pending)
        .order_by(batch.c.path)
    )


def select_running_looks() -> sa.Select[Any]:
    pending = sa.select(sa.func.count()).where(batch.c.job_id == job.c.job_id, batch_is_pending)
    return sa.select(
        job.c.job_id, job.c.updated_at, pending.correlate(job).scalar_subquery().label("pending")
    ).where(job_is_running, job_is_for_workers)


def select_seconds(job_id: str, dialect: str) -> sa.Select[Any]:
    """Stage and sum. The database opens the JSON: a large job has a million of them."""
    open_object = sa.func.json_each_text if dialect == "postgresql" else sa.func.json_each
    stages = open_object(batch.c.seconds).table_valued("key", "value")
    return (
        sa.select(stages.c.key, sa.func.sum(sa.cast(stages.c.value, sa.Double)).label("seconds"))
        .select_from(batch.join(stages, sa.true()))
        .where(batch.c.job_id == job_id)
        .group_by(stages.c.key)
    )


def insert_batches(
    connection: sa.Connection, job_id: str, batches: Sequence[PlannedBatch], sequence: int
) -> None:
    if not batches:
        return
    now = datetime.now(UTC)
    try:
        connection.execute(
            batch.insert(),
            [batch_values(job_id, planned, now) | {"sequence": sequence} for planned in batches],
        )
    except exc.IntegrityError as err:
        raise PictorError(
            f"job {job_id}: batches {batches[0].path} to {batches[-1].path} were refused: "
            "a path is taken or items are below 0"
        ) from err


def insert_settled(connection: sa.Connection, job_id: str, cursor: str, findings: Findings) -> None:
    """Objects that need no message, as a batch that is done. Its name is unique, as the cursor is."""
    failed = len(findings.known)
    if not findings.unchanged and not failed:
        return
    path = f"listed-{hashlib.sha256(cursor.encode()).hexdigest()[:16]}"
    now = datetime.now(UTC)
    planned = PlannedBatch(path=path, items=findings.unchanged + failed, body=b"")
    counts = {"unchanged": findings.unchanged, "failed": failed}
    done = {"state": BatchState.DONE.value, "body": None, "published_at": now, "reported_at": now}
    connection.execute(batch.insert(), batch_values(job_id, planned, now) | counts | done)
    upsert_failures(connection, failure_values(job_id, path, findings.known, now))


def are_there(connection: sa.Connection, job_id: str, batches: Sequence[PlannedBatch]) -> bool:
    found = 0
    for some in slices([planned.path for planned in batches]):
        mine = sa.and_(batch.c.job_id == job_id, batch.c.path.in_(some))
        found += connection.scalar(sa.select(sa.func.count()).select_from(batch).where(mine)) or 0
    return found == len(batches)


def close_batch(connection: sa.Connection, job_id: str, path: str, items: int, values: Values) -> int | None:
    """Take a batch out of `pending` if it is there and has this many items.

    Returns:
        The number of its plan. None when it was reported or split before.
    """
    mine = sa.and_(batch.c.job_id == job_id, batch.c.path == path)
    waiting = sa.and_(mine, batch_is_pending, batch.c["items"] == items)
    closing = batch.update().where(waiting).values(body=None, **values).returning(batch.c.sequence)
    if (closed := connection.execute(closing).first()) is not None:
        return int(closed.sequence)
    present = connection.execute(sa.select(batch.c.state, batch.c["items"]).where(mine)).first()
    if present is None:
        raise MessageError(f"batch {path} of job {job_id} is not in this ledger")
    if present.state == BatchState.PENDING:
        raise PictorError(f"batch {path} of job {job_id}: {items} items given, {present.items} planned")
    return None


def upsert_failures(connection: sa.Connection, rows: list[Values]) -> None:
    if not rows:
        return
    statement = insert_into(connection, failure)
    rest = {column.name: statement.excluded[column.name] for column in failure.c if not column.primary_key}
    connection.execute(statement.on_conflict_do_update(index_elements=failure.primary_key, set_=rest), rows)


def delete_failures(connection: sa.Connection, job_id: str, image_ids: Sequence[str]) -> Counter[str]:
    """Returns how many were deleted of each batch."""
    failed_in: Counter[str] = Counter()
    for some in slices(sorted(set(image_ids))):
        mine = sa.and_(failure.c.job_id == job_id, failure.c.image_id.in_(some))
        failed_in.update(connection.scalars(failure.delete().where(mine).returning(failure.c.batch_path)))
    return failed_in


def take_back(connection: sa.Connection, job_id: str, failed_in: Counter[str]) -> None:
    """The objects now count in the batches that try them again."""
    statement = (
        batch.update()
        .where(batch.c.job_id == job_id, batch.c.path == sa.bindparam("of_path"))
        .values(
            failed=batch.c.failed - sa.bindparam("retried"), items=batch.c["items"] - sa.bindparam("retried")
        )
    )
    if failed_in:
        rows = [{"of_path": path, "retried": count} for path, count in sorted(failed_in.items())]
        connection.execute(statement, rows)


def slices(values: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), IDS_PER_STATEMENT):
        yield values[start : start + IDS_PER_STATEMENT]
