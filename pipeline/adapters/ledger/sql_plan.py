"""The planner's writes: batches, the cursor, and the objects that have vanished from the location."""

from collections.abc import Sequence

import sqlalchemy as sa

from pipeline.adapters.ledger.engine import InTransactions
from pipeline.adapters.ledger.precedence import (
    begin_removal,
    end_removal,
    next_sequence,
    oldest_open,
)
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
    enter_planned,
    entry_of,
    mark_missing,
    note_seen,
    unmark_missing,
)
from pipeline.ports import NO_FINDINGS
from pipeline.types import Findings, JobState, ObjectRef, PlannedBatch, VersionEntry, generation_of


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
        # Of its own, so that two planners of a generation do not wait for each other's long transactions.
        sequence, above = self._two_numbers(job_id)

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
            insert_batches(connection, job_id, batches, sequence)
            insert_settled(connection, job_id, cursor, findings)
            generation = generation_of(present.collection, present.fingerprint)
            since = sequence if findings.since is None else findings.since
            enter_planned(
                connection, generation, findings.planned, job_id, sequence, since=since, above=above
            )
            mark_missing(connection, generation, findings.missing, job_id, sequence, since=since)
            note_seen(connection, generation, findings.noted, min(sequence, since))
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

    def _two_numbers(self, job_id: str) -> tuple[int, int]:
        def give(connection: sa.Connection) -> tuple[int, int]:
            query = sa.select(job.c.collection, job.c.fingerprint).where(job.c.job_id == job_id)
            row = connection.execute(query).first()
            if row is None:
                raise no_such_job(job_id)
            generation = generation_of(row.collection, row.fingerprint)
            return next_sequence(connection, generation), next_sequence(connection, generation)

        return self._write(give)

    def plan_again(self, job_id: str, batches: Sequence[PlannedBatch], refs: Sequence[ObjectRef]) -> bool:
        def plan(connection: sa.Connection) -> bool:
            present = lock_job(connection, job_id)
            if present.state != JobState.RUNNING:
                return False
            if are_there(connection, job_id, batches):
                return True  # the repetition of a call whose answer was lost
            generation = generation_of(present.collection, present.fingerprint)
            sequence = next_sequence(connection, generation)
            insert_batches(connection, job_id, batches, sequence)
            enter_planned(connection, generation, refs, job_id, sequence, since=sequence, above=sequence)
            return True

        return self._write(plan)

    def finish_planning(self, job_id: str, *, ignored: int) -> None:
        def finish(connection: sa.Connection) -> None:
            if not lock_job(connection, job_id).planned:  # a repetition must not add `ignored` again
                update_job(connection, job_id, {"planned": True, "ignored": job.c.ignored + ignored})

        self._write(finish)

    def missing(self, job_id: str, *, limit: int) -> list[VersionEntry]:
        query = sa.select(version).where(is_missing, version.c.missing_in == job_id).limit(limit)
        rows = self._read(lambda connection: connection.execute(query).all())
        return [entry_of(row) for row in rows]

    def begin_removal(self, job_id: str, image_ids: Sequence[str]) -> int:
        def begin(connection: sa.Connection) -> int:
            present = lock_job(connection, job_id)
            generation = generation_of(present.collection, present.fingerprint)
            sequence = next_sequence(connection, generation)
            begin_removal(connection, generation, image_ids, sequence, missing_in=job_id)
            update_job(connection, job_id, {"removing": " ".join(image_ids)})
            return sequence

        return self._write(begin)

    def record_removal(self, job_id: str, image_ids: Sequence[str], sequence: int) -> None:
        def remove(connection: sa.Connection) -> None:
            present = lock_job(connection, job_id)
            oldest = oldest_open(connection, present.collection, present.fingerprint)
            # Each row is counted once, however often this is repeated: it has another number then, or none.
            removed = end_removal(
                connection,
                generation_of(present.collection, present.fingerprint),
                image_ids,
                sequence,
                keep=oldest is not None and oldest < sequence,
            )
            update_job(connection, job_id, {"removed": job.c.removed + removed})

        self._write(remove)

    def forget_removing(self, job_id: str) -> None:
        self._write(lambda connection: update_job(connection, job_id, {"removing": ""}))

    def note_present(self, job_id: str, image_ids: Sequence[str]) -> None:
        def note(connection: sa.Connection) -> None:
            present = lock_job(connection, job_id)
            generation = generation_of(present.collection, present.fingerprint)
            unmark_missing(connection, generation, image_ids, job_id)

        self._write(note)

    def finish_removals(self, job_id: str, *, error: str = "") -> None:
        values: Values = {"removals_due": False} | ({"error": error} if error else {})
        if not self._write(lambda connection: update_job(connection, job_id, values)):
            raise no_such_job(job_id)
