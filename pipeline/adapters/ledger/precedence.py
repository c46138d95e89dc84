"""Who decides over an object: numbers of plans and removals, and what was taken out and is remembered.

Each function runs inside the caller's transaction.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from pipeline.adapters.ledger.schema import (
    batch,
    batch_is_pending,
    book,
    is_in_index,
    is_removed,
    job,
    version,
)
from pipeline.adapters.ledger.statements import insert_into
from pipeline.adapters.ledger.versions import of_ids
from pipeline.types import JobState, VersionEntry, VersionState, generation_of

# A plan with its number may not be written yet, and a worker may have a batch of a cancelled job in flight.
GRACE_S = 3600.0
RECENT_US = 60_000_000  # a message is on its queue for less, if all is well


def next_sequence(connection: sa.Connection, generation: str) -> int:
    """Higher than each that was given before, and where clocks allow the microseconds since 1970.

    Two machines' clocks differ, and one may jump: the row, not the clock, decides on the order.
    """
    return _lift_sequence(connection, generation, _microseconds(datetime.now(UTC)), book.c.sequence + 1)


def last_sequence(connection: sa.Connection, generation: str) -> int:
    return connection.scalar(sa.select(book.c.sequence).where(book.c.generation == generation)) or 0


def sequence_at(connection: sa.Connection, generation: str, at: datetime) -> int:
    """The number of a moment: what was planned before has a lower one, what was planned later a higher one.

    A moment that is still to come counts as now.
    """
    now_us, at_us = _microseconds(datetime.now(UTC)), _microseconds(at)
    last_us = last_sequence(connection, generation)
    # Numbers run ahead after a clock was ahead, and no moment can be told from another there. Whoever asks
    # for something to be taken out now must not be told that all of it is newer.
    is_recent = at_us >= now_us - RECENT_US
    if at_us >= now_us or (last_us > now_us and is_recent):
        return next_sequence(connection, generation)
    # A plan that begins after this is told, so it does not doubt what it finds removed.
    _lift_sequence(connection, generation, at_us, book.c.sequence)
    return at_us


def _lift_sequence(
    connection: sa.Connection, generation: str, least: int, present: sa.ColumnElement[int]
) -> int:
    """Write the higher one of `least` and `present`, an expression of the row that is there. Returns it."""
    statement = (
        insert_into(connection, book)
        .values(generation=generation, filled_to="", sequence=least)
        .on_conflict_do_update(
            index_elements=[book.c.generation],
            set_={"sequence": sa.case((present > least, present), else_=least)},
        )
        .returning(book.c.sequence)
    )
    return int(connection.execute(statement).scalar_one())


def _microseconds(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def claim_versions(
    connection: sa.Connection, generation: str, entries: Iterable[VersionEntry], sequence: int
) -> list[str]:
    """Returns the image ids of entries that are as they were read. They have no version from here on."""
    values = {
        "state": VersionState.PLANNED.value,
        "removed": False,
        "etag": "",
        "sequence": sequence,
        "at": datetime.now(UTC),
    }
    claimed = []
    for entry in sorted(entries, key=lambda entry: entry.ref.image_id):
        as_read = sa.and_(
            version.c.generation == generation,
            version.c.image_id == entry.ref.image_id,
            version.c.sequence == entry.sequence,
            version.c.etag == entry.ref.etag,
            version.c.state == _stored_state(entry),  # a report leaves the sequence of its plan
        )
        if connection.execute(version.update().where(as_read).values(values)).rowcount:
            claimed.append(entry.ref.image_id)
    return claimed


def _stored_state(entry: VersionEntry) -> str:
    return (VersionState.PLANNED if entry.state is VersionState.REMOVED else entry.state).value


def lose_rows(connection: sa.Connection, generation: str, sequences: Mapping[str, int] | None) -> None:
    lost = (
        version.update()
        .where(version.c.generation == generation, is_in_index)
        .values(state=VersionState.PLANNED.value, etag="", vectors=0, stage="", reason="", detail="")
    )
    if sequences is None:
        connection.execute(lost)
    elif sequences:
        as_read = (
            version.c.image_id == sa.bindparam("of_id"),
            version.c.sequence == sa.bindparam("of_number"),
        )
        rows = [{"of_id": image_id, "of_number": number} for image_id, number in sorted(sequences.items())]
        connection.execute(lost.where(*as_read), rows)


def begin_removal(
    connection: sa.Connection,
    generation: str,
    image_ids: Sequence[str],
    sequence: int,
    *,
    missing_in: str | None = None,
) -> None:
    """From here on every batch of an older plan is late, and one of a newer plan is left alone.

    Args:
        missing_in: only what this job still has to remove. It is not sure yet that it is gone.
    """
    values: dict[str, object] = {"sequence": sequence}
    where = version.c.sequence <= sequence
    if missing_in is None:
        values |= {"removed": True, "state": VersionState.PLANNED.value, "missing_in": ""}
    else:
        where = sa.and_(where, version.c.missing_in == missing_in)
    for mine in of_ids(generation, image_ids):
        connection.execute(version.update().where(mine, where).values(values | {"at": datetime.now(UTC)}))


def end_removal(
    connection: sa.Connection, generation: str, image_ids: Sequence[str], sequence: int, *, keep: bool
) -> int:
    """Their rows have left the index.

    Args:
        sequence: that of `begin_removal`. What has another one by now is left alone.
        keep: remember them, since an older batch could bring them back.

    Returns:
        How many of them had rows in the index.
    """
    held = 0
    for these in of_ids(generation, image_ids):
        mine = sa.and_(these, version.c.sequence == sequence)
        held += (
            connection.scalar(
                sa.select(sa.func.count()).select_from(version).where(mine, version.c.vectors > 0)
            )
            or 0
        )
        if keep:
            gone = {"removed": True, "state": VersionState.PLANNED.value, "vectors": 0, "missing_in": ""}
            connection.execute(version.update().where(mine).values(gone))
        else:
            connection.execute(version.delete().where(mine))
    return held


def oldest_open(connection: sa.Connection, collection: str, fingerprint: str) -> int | None:
    """The lowest number of a batch that may still write into a generation. None when there is none."""
    lately = datetime.now(UTC) - timedelta(seconds=GRACE_S)
    may_run = sa.or_(job.c.state != JobState.CANCELLED.value, job.c.finished_at > lately)
    query = (
        sa.select(sa.func.min(batch.c.sequence))
        .select_from(batch.join(job, job.c.job_id == batch.c.job_id))
        .where(
            batch_is_pending,
            job.c.collection == collection,
            job.c.fingerprint == fingerprint,
            may_run,
        )
    )
    oldest: int | None = connection.scalar(query)
    return oldest


def sweep_removed(connection: sa.Connection, collection: str, fingerprint: str) -> None:
    """Forget what was taken out, where no batch is left that could bring it back."""
    lately = datetime.now(UTC) - timedelta(seconds=GRACE_S)
    over = sa.and_(
        version.c.generation == generation_of(collection, fingerprint), is_removed, version.c.at < lately
    )
    oldest = oldest_open(connection, collection, fingerprint)
    if oldest is not None:
        over = sa.and_(over, version.c.sequence < oldest)
    connection.execute(version.delete().where(over))
