"""The outbox of the distributed way: commit, publish, mark. A crash in between publishes twice, never not."""

from collections.abc import Sequence
from datetime import UTC, datetime

import sqlalchemy as sa

from pipeline.adapters.ledger.engine import InTransactions
from pipeline.adapters.ledger.rows import planned_batches_of
from pipeline.adapters.ledger.schema import batch, batch_is_pending
from pipeline.adapters.ledger.statements import select_pending, slices
from pipeline.types import PlannedBatch


class SqlOutbox(InTransactions):
    """Part of `SqlLedger`."""

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
