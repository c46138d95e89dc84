"""The version book's rows, and the statements that other transactions of the ledger make on them."""

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from pipeline.adapters.ledger.rows import Values
from pipeline.adapters.ledger.schema import job, version
from pipeline.adapters.ledger.statements import insert_into, slices
from pipeline.errors import ConflictError
from pipeline.types import (
    BatchReport,
    FailedAt,
    ObjectRef,
    Reason,
    VersionEntry,
    VersionState,
    generation_of,
)

_REF_COLUMNS = ("bucket_id", "bucket", "key", "etag", "size_bytes", "modified_ms")


@functools.lru_cache(maxsize=64)
def bucket_id_of(bucket: str) -> str:
    return hashlib.sha256(bucket.encode()).hexdigest()[:16]


def entry_of(row: sa.Row[Any]) -> VersionEntry:
    return VersionEntry(
        ref=ObjectRef(
            bucket=row.bucket,
            key=row.key,
            etag=row.etag,
            size_bytes=row.size_bytes,
            modified_ms=row.modified_ms,
        ),
        state=VersionState.REMOVED if row.removed else VersionState(row.state),
        vectors=row.vectors,
        stage=FailedAt(row.stage) if row.stage else None,
        reason=Reason(row.reason) if row.reason else None,
        detail=row.detail,
        attempts=row.attempts,
        missing_in=row.missing_in,
        sequence=row.sequence,
    )


def version_values(
    generation: str, entries: Iterable[VersionEntry], *, job_id: str, now: datetime, sequence: int = 0
) -> list[Values]:
    """Ordered by image id: two transactions that lock the same rows in the same order cannot deadlock."""
    values = [
        {
            "generation": generation,
            "image_id": entry.ref.image_id,
            **dict(zip(_REF_COLUMNS, _columns_of(entry.ref), strict=True)),
            "state": entry.state.value,
            "vectors": entry.vectors,
            "stage": entry.stage or "",
            "reason": entry.reason or "",
            "detail": entry.detail,
            "attempts": entry.attempts,
            "job_id": job_id,
            "missing_in": "",
            "at": now,
            "sequence": max(entry.sequence, sequence),
            "removed": False,
        }
        for entry in entries
    ]
    return sorted(values, key=lambda row: str(row["image_id"]))


def _columns_of(ref: ObjectRef) -> tuple[object, ...]:
    return bucket_id_of(ref.bucket), ref.bucket, ref.key, ref.etag, ref.size_bytes, ref.modified_ms


def upsert_versions(
    connection: sa.Connection,
    generation: str,
    entries: Iterable[VersionEntry],
    *,
    job_id: str = "",
    sequence: int = 0,
) -> None:
    """Put entries over what is not newer. A version that fails once more has one attempt more.

    Args:
        sequence: of the entries that have none of their own.
    """
    rows = version_values(generation, entries, job_id=job_id, now=datetime.now(UTC), sequence=sequence)
    if not rows:
        return
    statement = insert_into(connection, version)
    rest = {column.name: statement.excluded[column.name] for column in version.c if not column.primary_key}
    failed_again = sa.and_(
        statement.excluded.state == VersionState.FAILED.value, version.c.etag == statement.excluded.etag
    )
    rest["attempts"] = sa.case((failed_again, version.c.attempts + 1), else_=statement.excluded.attempts)
    is_newest = version.c.sequence <= statement.excluded.sequence
    put = statement.on_conflict_do_update(index_elements=version.primary_key, set_=rest, where=is_newest)
    connection.execute(put, rows)


def write_versions(connection: sa.Connection, report: BatchReport, sequence: int) -> None:
    """Args: `sequence` is that of the plan which made the batch."""
    if not report.versions:
        return  # of a worker that knows no book: the next planner asks the index, in a batch
    query = sa.select(job.c.collection, job.c.fingerprint).where(job.c.job_id == report.job_id)
    of_job = connection.execute(query).one()
    generation = generation_of(of_job.collection, of_job.fingerprint)
    upsert_versions(connection, generation, report.versions, job_id=report.job_id, sequence=sequence)
    _refuse_claimed(connection, generation, report.versions, sequence)


def _refuse_claimed(
    connection: sa.Connection, generation: str, versions: Sequence[VersionEntry], sequence: int
) -> None:
    """Who claims an object leaves it to the batch that has it, so that one must not end without a look.
    Nor may one whose object a later listing did not show: nobody else has a batch of it.

    After the writing: what was written is locked, and what was not is seen here. A newer plan is no matter:
    it has a batch of its own.
    """
    own = {entry.ref.image_id: max(entry.sequence, sequence) for entry in versions}
    is_planned = version.c.state == VersionState.PLANNED.value
    is_open = sa.or_(version.c.etag == "", sa.and_(is_planned, version.c.missing_in != ""))
    is_claimed = sa.and_(is_open, version.c.sequence > sequence)
    for entry in select_versions(connection, generation, list(own), is_claimed):
        if entry.sequence > own[entry.ref.image_id]:
            raise ConflictError(f"{entry.ref.key!r} was claimed while its batch was at work")


def enter_planned(
    connection: sa.Connection,
    generation: str,
    refs: Iterable[ObjectRef],
    job_id: str,
    sequence: int,
    *,
    since: int,
    above: int,
) -> None:
    """Before any vector is written: whatever a batch that is never reported leaves in the index is known of.

    From here on every batch of an older plan is late. Of an object that is known already, the rows in the
    index stay, and so do the attempts of the same version. What a newer plan says stays altogether.

    Args:
        since: whoever has a higher number than this may have listed, or removed, after this plan has listed.
            Where the two do not agree, only the store can tell. Such an object is claimed for nobody, so that
            every batch asks the store.
        above: the number of such a claim, higher than `sequence`.
    """
    rows = [(ref.image_id, *_columns_of(ref)) for ref in sorted(refs, key=lambda ref: ref.image_id)]
    if not rows:
        return
    now = {"state": VersionState.PLANNED.value, "job_id": job_id, "missing_in": "", "at": datetime.now(UTC)}
    now |= {"sequence": sequence, "removed": False}
    new = {"generation": generation, "vectors": 0, "stage": "", "reason": "", "detail": "", "attempts": 0}
    columns = {"image_id": sa.Text, **{name: version.c[name].type for name in _REF_COLUMNS}}
    common = {name: sa.literal(value, version.c[name].type) for name, value in (now | new).items()}
    source = sa.select(*_unpacked(connection, rows, columns), *common.values()).where(sa.true())
    statement = insert_into(connection, version).from_select([*columns, *common], source)
    over: dict[str, Any] = {name: statement.excluded[name] for name in ("etag", "size_bytes", "modified_ms")}
    over["attempts"] = sa.case((version.c.etag == statement.excluded.etag, version.c.attempts), else_=0)
    new_ms = statement.excluded.modified_ms
    is_same = sa.and_(
        version.c.etag == statement.excluded.etag,
        version.c.modified_ms.is_not_distinct_from(new_ms),
        version.c.missing_in == "",
        sa.not_(version.c.removed),
    )
    number = functools.partial(sa.literal, type_=version.c.sequence.type)
    is_in_doubt = sa.and_(version.c.sequence > since, sa.not_(is_same))
    over["etag"] = sa.case((is_in_doubt, ""), else_=statement.excluded.etag)
    over["sequence"] = sa.case((is_in_doubt, number(above)), else_=number(sequence))
    is_newest = version.c.sequence <= sequence
    connection.execute(
        statement.on_conflict_do_update(index_elements=version.primary_key, set_=now | over, where=is_newest)
    )


def _unpacked(
    connection: sa.Connection, rows: Sequence[Sequence[object]], columns: Mapping[str, Any]
) -> list[sa.ColumnElement[Any]]:
    """The rows as one JSON text, which the database opens: a planner enters a million of them, and one
    statement for each takes many times as long."""
    if connection.dialect.name == "postgresql":
        row = sa.func.json_array_elements(sa.literal(rows, sa.JSON)).table_valued("value").c.value
        return [
            sa.cast(row.op("->>")(place), kind).label(name)
            for place, (name, kind) in enumerate(columns.items())
        ]
    row = sa.func.json_each(json.dumps(rows, ensure_ascii=False)).table_valued("value").c.value
    return [sa.func.json_extract(row, f"$[{place}]").label(name) for place, name in enumerate(columns)]


def plan_again(
    connection: sa.Connection, generation: str, image_ids: Sequence[str], sequence: int, *, above: int
) -> None:
    """What failed is tried again. What somebody has planned, indexed or removed since is in doubt.

    Args:
        above: see `enter_planned`.
    """
    number = functools.partial(sa.literal, type_=version.c.sequence.type)
    still_failed = version.c.state == VersionState.FAILED.value
    values = {
        "state": VersionState.PLANNED.value,
        "sequence": sa.case((still_failed, number(sequence)), else_=number(above)),
        "etag": sa.case((still_failed, version.c.etag), else_=""),
        "removed": False,
    }
    for mine in of_ids(generation, image_ids):
        connection.execute(version.update().where(mine).values(values))


def insert_unknown(connection: sa.Connection, generation: str, entries: Iterable[VersionEntry]) -> None:
    """Add missing entries. Existing ones were written by a report and know more."""
    rows = version_values(generation, entries, job_id="", now=datetime.now(UTC))
    if rows:
        statement = insert_into(connection, version)
        connection.execute(statement.on_conflict_do_nothing(index_elements=version.primary_key), rows)


def mark_missing(
    connection: sa.Connection,
    generation: str,
    image_ids: Sequence[str],
    job_id: str,
    sequence: int,
    *,
    since: int,
) -> None:
    """The listing of a plan did not show them: its number makes older batches late, as one that did would.

    Args:
        since: what is missing by a listing that may be newer stays that job's to remove.
    """
    is_free = sa.or_(version.c.sequence <= since, version.c.missing_in == "")
    for mine in of_ids(generation, image_ids):
        known = sa.and_(mine, version.c.sequence <= sequence, is_free)
        connection.execute(version.update().where(known).values(missing_in=job_id, sequence=sequence))


def unmark_missing(connection: sa.Connection, generation: str, image_ids: Sequence[str], job_id: str) -> None:
    for mine in of_ids(generation, image_ids):
        marked = sa.and_(mine, version.c.missing_in == job_id)
        connection.execute(version.update().where(marked).values(missing_in=""))


def note_seen(connection: sa.Connection, generation: str, refs: Iterable[ObjectRef], sequence: int) -> None:
    """They are there, and were written at this time. A version that was reported meanwhile is left alone."""
    statement = (
        version.update()
        .where(
            version.c.generation == generation,
            version.c.image_id == sa.bindparam("of_id"),
            version.c.etag == sa.bindparam("of_etag"),
            version.c.sequence <= sequence,
        )
        .values(modified_ms=sa.bindparam("of_ms"), missing_in="")
    )
    rows = [
        {"of_id": ref.image_id, "of_etag": ref.etag, "of_ms": ref.modified_ms}
        for ref in sorted(refs, key=lambda ref: ref.image_id)
    ]
    if rows:
        connection.execute(statement, rows)


def select_versions(
    connection: sa.Connection,
    generation: str,
    image_ids: Sequence[str],
    where: sa.ColumnElement[bool] | None = None,
) -> list[VersionEntry]:
    """Those that are there, in order of the image id."""
    found: list[VersionEntry] = []
    for mine in of_ids(generation, image_ids):
        query = sa.select(version).where(mine, sa.true() if where is None else where)
        found += map(entry_of, connection.execute(query.order_by(version.c.image_id)))
    return found


def of_ids(generation: str, image_ids: Sequence[str]) -> Iterator[sa.ColumnElement[bool]]:
    for some in slices(sorted(set(image_ids))):
        yield sa.and_(version.c.generation == generation, version.c.image_id.in_(some))
