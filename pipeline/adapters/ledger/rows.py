"""Rows of the ledger from our values and back."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from pipeline.adapters.ledger.schema import BatchState, batch, job
from pipeline.types import (
    FailedAt,
    Failure,
    Job,
    JobCounts,
    JobRequest,
    JobState,
    ObjectRef,
    Pace,
    PlannedBatch,
    Reason,
    Rejected,
)

Values = dict[str, Any]


def select_jobs(which: sa.ColumnElement[bool]) -> sa.Select[Any]:
    """Jobs and their counts, newest first. One statement, so that a count never mixes two moments."""
    pending = batch.c.state == sa.literal_column("'pending'")
    done = batch.c.state == sa.literal_column("'done'")
    kept = job.c.kept_pending + job.c.kept_indexed + job.c.kept_unchanged + job.c.kept_failed
    sums = (
        (job.c.kept_pending + _sum(batch.c["items"], pending)).label("pending"),
        (kept + _sum(batch.c["items"], pending | done)).label("scanned"),
        (job.c.kept_indexed + _sum(batch.c.indexed, done)).label("indexed"),
        (job.c.kept_unchanged + _sum(batch.c.unchanged, done)).label("unchanged"),
        (job.c.kept_failed + _sum(batch.c.failed, done)).label("failed"),
        (job.c.kept_faces + _sum(batch.c.faces, done)).label("faces"),
        (job.c.kept_without_faces + _sum(batch.c.without_faces, done)).label("without_faces"),
    )
    return (
        sa.select(job, *sums)
        .select_from(job.outerjoin(batch))
        .where(which)
        .group_by(job.c.job_id)
        .order_by(job.c.created_at.desc(), job.c.job_id.desc())
    )


def _sum(column: sa.ColumnElement[int], where: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(column).filter(where), 0)


def pace_of(row: sa.Row[Any]) -> Pace | None:
    """None where a clock was set back meanwhile."""
    seconds = (row.ended_at - row.began_at).total_seconds()
    return Pace(job_id=row.job_id, objects=int(row.objects), seconds=seconds) if seconds > 0 else None


def job_of(row: sa.Row[Any]) -> Job:
    return Job(
        job_id=row.job_id,
        request=JobRequest(
            location=row.source,
            bucket=row.bucket,
            prefix=row.prefix,
            collection=row.collection,
            model_name=row.model_name,
            fingerprint=row.fingerprint,
            include=row.include,
            exclude=row.exclude,
            batch_items=row.batch_items,
            keep_missing=row.keep_missing,
            max_delete_share=row.max_delete_share,
            retry_failed=row.retry_failed,
        ),
        driver=row.driver,
        state=JobState(row.state),
        planned=row.planned,
        cursor=row.cursor,
        planned_batches=row.planned_batches,
        counts=JobCounts(
            scanned=row.scanned,
            indexed=row.indexed,
            unchanged=row.unchanged,
            failed=row.failed,
            pending=row.pending,
            ignored=row.ignored,
            removed=row.removed,
            faces_found=row.faces,
            without_faces=row.without_faces,
        ),
        error=row.error,
        created_at=row.created_at,
        finished_at=row.finished_at,
        held=row.held,
        lost=row.lost,
        removals_due=row.removals_due,
        removing=tuple(row.removing.split()),
        pruned_at=row.pruned_at,
    )


def job_values(job_id: str, request: JobRequest, driver: str, now: datetime) -> Values:
    return {
        "job_id": job_id,
        "driver": driver,
        "source": request.location,
        "bucket": request.bucket,
        "prefix": request.prefix,
        "collection": request.collection,
        "model_name": request.model_name,
        "fingerprint": request.fingerprint,
        "include": request.include,
        "exclude": request.exclude,
        "batch_items": request.batch_items,
        **request.sync,
        "state": JobState.RUNNING.value,
        "planned": False,
        "planned_batches": 0,
        "ignored": 0,
        "error": "",
        "created_at": now,
        "updated_at": now,
        "plan_step": -1,
        "plan_nonce": "",
    }


def batch_values(job_id: str, planned: PlannedBatch, now: datetime) -> Values:
    return {
        "job_id": job_id,
        "path": planned.path,
        "state": BatchState.PENDING.value,
        "items": planned.items,
        "indexed": 0,
        "unchanged": 0,
        "failed": 0,
        "created_at": now,
        "body": planned.body,
    }


def planned_batches_of(rows: Iterable[sa.Row[Any]]) -> list[PlannedBatch]:
    return [PlannedBatch(path=row.path, items=row.items, body=row.body) for row in rows]


def failure_values(job_id: str, path: str, failed: Iterable[Rejected], now: datetime) -> list[Values]:
    """Ordered by image id: two reports that lock the same rows in the same order cannot deadlock."""
    values = [
        {
            "job_id": job_id,
            "image_id": rejected.ref.image_id,
            "batch_path": path,
            "bucket": rejected.ref.bucket,
            "key": rejected.ref.key,
            "etag": rejected.ref.etag,
            "size_bytes": rejected.ref.size_bytes,
            "stage": rejected.stage.value,
            "reason": rejected.reason.value,
            "detail": rejected.detail,
            "at": now,
        }
        for rejected in failed
    ]
    return sorted(values, key=lambda row: str(row["image_id"]))


def failure_of(row: sa.Row[Any]) -> Failure:
    return Failure(
        ref=ObjectRef(bucket=row.bucket, key=row.key, etag=row.etag, size_bytes=row.size_bytes),
        batch_path=row.batch_path,
        stage=FailedAt(row.stage),
        reason=Reason(row.reason),
        detail=row.detail,
    )
