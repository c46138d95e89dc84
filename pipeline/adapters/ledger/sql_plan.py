"""The planner's writes: batches, the cursor, and the objects that have vanished from the location."""

from collections.abc import Sequence

import sqlalchemy as sa

from pipeline.adapters.ledger.engine import InTransactions
from pipeline.adapters.ledger.rows import Values
from pipeline.adapters.ledger.schema import is_missing, job, version
from pipeline.adapters.ledger.statements import (
    are_there,
    insert_batches,
    insert_settled,
    lock_job,
    move_cursor,
    no_such_job,
    update_job,
)
from pipeline.adapters.ledger.versions import (
    delete_versions,
    enter_planned,
    entry_of,
    mark_missing,
    note_seen,
)
from pipeline.ports import NO_FINDINGS
from pipeline.types import Findings, JobState, PlannedBatch, VersionEntry, generation_of


class SqlPlan(InTransactions):
    """Part of `SqlLedger`."""

    def record_plan(
        self,
        job_id: str,
        batches: Sequence[PlannedBatch],
        *,
        after: str | None = None,
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
            if present.cursor != after:
                return False
            move_cursor(connection, job_id, cursor)
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
