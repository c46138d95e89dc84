"""Which jobs run, and who plans them: processes look after the jobs of others that died."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

from pipeline.adapters.ledger.engine import InTransactions
from pipeline.adapters.ledger.schema import job, job_is_for_workers, job_is_running
from pipeline.adapters.ledger.statements import select_running_looks


class SqlWatch(InTransactions):
    """Part of `SqlLedger`."""

    def claim_step(self, job_id: str, step: int, nonce: str) -> bool:
        free = sa.or_(
            job.c.plan_step == step - 1,  # no later one: it would leave no room for the steps that are due
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

    def running_jobs(self) -> list[str]:
        """Ids, oldest first."""
        query = sa.select(job.c.job_id).where(job_is_running).order_by(job.c.created_at, job.c.job_id)
        return list(self._read(lambda connection: connection.scalars(query).all()))

    def running_looks(self) -> dict[str, tuple[datetime, int]]:
        """Of each running job of the workers something that changes whenever its planner, an operator or a
        report moves it.

        Cheap at any size of job, because only pending batches are counted.
        """
        rows = self._read(lambda connection: connection.execute(select_running_looks()).all())
        return {row.job_id: (row.updated_at, row.pending) for row in rows}
