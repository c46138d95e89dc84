"""Which jobs have details that may go, and one page of it. Each function runs in the caller's transaction.

A page moves the counts of its batches into the row of their job, so that the counts of a job are the same
before, between and after its pages.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from pipeline.adapters.ledger.rows import Values
from pipeline.adapters.ledger.schema import BatchState, batch, failure, job
from pipeline.adapters.ledger.statements import lock_job, slices, update_job
from pipeline.types import JobState, Prunable, Pruned, PruneScope

PAGE_ROWS = 1000  # in one transaction: a tenth of a second, for which SQLite lets nobody else write

_ENDED = sorted({JobState.COMPLETED, JobState.CANCELLED, JobState.FAILED})
_is_refused = job.c.fingerprint == ""  # a submission that could not be read: nothing was ever planned for it
_is_cancelled = job.c.state == JobState.CANCELLED.value
# Batches that no retry and no resume can need: done without a failure, or split.
_is_settled = sa.and_(batch.c.state != BatchState.PENDING.value, batch.c.failed == 0)
_COUNTS = ("indexed", "unchanged", "failed", "faces", "without_faces")


def find_prunable(connection: sa.Connection, older_than: timedelta) -> list[Prunable]:
    """Oldest first."""
    is_old = sa.and_(job.c.state.in_(_ENDED), job.c.finished_at < _now(connection) - older_than)
    ranked = _ranked().subquery()
    mine = batch.c.job_id == job.c.job_id
    query = (
        sa.select(
            job.c.job_id,
            _is_refused.label("is_refused"),
            sa.and_(ranked.c.age == 1, ~_is_cancelled).label("may_go_on"),
            sa.exists().where(mine).label("has_batches"),
            sa.exists().where(mine, _is_settled).label("has_settled"),
        )
        .join(ranked, ranked.c.job_id == job.c.job_id)
        .where(is_old)
        .order_by(job.c.finished_at, job.c.job_id)
    )
    return [found for row in connection.execute(query) if (found := _prunable(row))]


def _prunable(row: sa.Row[Any]) -> Prunable | None:
    if row.is_refused:
        return Prunable(job_id=row.job_id, scope=PruneScope.JOB)
    if row.may_go_on:
        return Prunable(job_id=row.job_id, scope=PruneScope.SETTLED) if row.has_settled else None
    return Prunable(job_id=row.job_id, scope=PruneScope.DETAILS) if row.has_batches else None


def _ranked() -> sa.Select[Any]:
    """Jobs by age, from 1 on, among those of the same source, filters, collection and model.

    One that was cancelled makes no other job old: it can be neither retried nor resumed.
    """
    same = (job.c[name] for name in ("source", "collection", "fingerprint", "include", "exclude"))
    newest_first = (_is_cancelled, job.c.created_at.desc(), job.c.job_id.desc())
    age = sa.func.row_number().over(partition_by=list(same), order_by=newest_first)
    return sa.select(job.c.job_id, age.label("age"))


def count_prunable(connection: sa.Connection, found: Prunable) -> Pruned:
    """The rows of a job that `prune_page` would delete in all."""
    if found.scope is PruneScope.JOB:
        return Pruned(jobs=1)
    batches = sa.select(sa.func.count()).select_from(batch).where(*_batches_of(found))
    if found.scope is PruneScope.SETTLED:
        return Pruned(batches=connection.scalar(batches) or 0)
    failures = sa.select(sa.func.count()).select_from(failure).where(failure.c.job_id == found.job_id)
    return Pruned(batches=connection.scalar(batches) or 0, failures=connection.scalar(failures) or 0)


def prune_page(connection: sa.Connection, found: Prunable) -> Pruned:
    """Delete a page of a job's details. Nothing when nothing is left, or when the job runs again."""
    present = lock_job(connection, found.job_id)
    if present.state not in _ENDED:
        return Pruned()
    if found.scope is PruneScope.JOB:
        connection.execute(job.delete().where(job.c.job_id == found.job_id, _is_refused))
        return Pruned(jobs=1)
    if found.scope is PruneScope.DETAILS:
        if present.pruned_at is None:  # first of all: nothing is retried of a job that is half gone
            update_job(connection, found.job_id, {"pruned_at": datetime.now(UTC)})
        if failures := _delete_failures(connection, found.job_id):
            return Pruned(failures=failures)
    return Pruned(batches=_delete_batches(connection, found))


def _delete_failures(connection: sa.Connection, job_id: str) -> int:
    page = sa.select(failure.c.image_id).where(failure.c.job_id == job_id).limit(PAGE_ROWS)
    mine = sa.and_(failure.c.job_id == job_id, failure.c.image_id.in_(page.scalar_subquery()))
    return connection.execute(failure.delete().where(mine)).rowcount


def _delete_batches(connection: sa.Connection, found: Prunable) -> int:
    columns = (batch.c.path, batch.c.state, batch.c["items"], batch.c.seconds, *(batch.c[n] for n in _COUNTS))
    rows = connection.execute(sa.select(*columns).where(*_batches_of(found)).limit(PAGE_ROWS)).all()
    if not rows:
        return 0
    for paths in slices([row.path for row in rows]):
        connection.execute(batch.delete().where(batch.c.job_id == found.job_id, batch.c.path.in_(paths)))
    kept = connection.scalar(sa.select(job.c.kept_seconds).where(job.c.job_id == found.job_id))
    update_job(connection, found.job_id, _kept(rows) | {"kept_seconds": _add_seconds(kept or {}, rows)})
    return len(rows)


def _batches_of(found: Prunable) -> list[sa.ColumnElement[bool]]:
    mine = batch.c.job_id == found.job_id
    return [mine, _is_settled] if found.scope is PruneScope.SETTLED else [mine]


def _kept(rows: Sequence[sa.Row[Any]]) -> Values:
    pending = sum(row._mapping["items"] for row in rows if row.state == BatchState.PENDING)
    sums = {name: sum(getattr(row, name) for row in rows) for name in _COUNTS}
    return {
        f"kept_{name}": job.c[f"kept_{name}"] + count
        for name, count in {"batches": len(rows), "pending": pending, **sums}.items()
    }


def _add_seconds(kept: dict[str, float], rows: Iterable[sa.Row[Any]]) -> dict[str, float]:
    sums = Counter(kept)
    for row in rows:
        sums.update(row.seconds or {})
    return dict(sums)


def _now(connection: sa.Connection) -> Any:
    """The server's clock where there is one: an operator's machine may be off by more than a retention."""
    return sa.func.now() if connection.dialect.name == "postgresql" else datetime.now(UTC)
